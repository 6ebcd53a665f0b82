"""The process of a service that starts as root: it holds the listening socket, and lets others do everything else.

What parses bytes from the network is a *worker*: the same command again, as the account ``teleport``, with the
listening socket and a socket to the monitor. When the supervisor is stopped, or told to begin anew (``SIGHUP``), the
worker stops accepting, leaves the cluster to its successor, and lives until its last session has ended.

What passes between the two is three messages on a socket, and its end: the worker says :data:`UP` when it serves and
:data:`RETIRED` when its successor may start; the supervisor's end closing means the same to a worker as SIGTERM.
"""

from __future__ import annotations

import json
import os
import pwd
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_conch.config.addresses import Address
from teleport_conch.errors import PortInUse, StartError, TeleportError
from teleport_conch.ssh.monitor import frames
from teleport_conch.ssh.monitor.orders import Settings as SessionSettings
from teleport_conch.ssh.processes import monitored
from teleport_conch.starting import Reactor, StartingService, holder_of, stop_with

VARIABLE = "TELEPORT_CONCH_WORKER"
UP, RETIRED = b"U", b"R"
RETIRE_S = 15.0
"""How long a worker may take to leave the cluster before its successor starts, in seconds."""

AGAIN_S = 1.0
"""Before another worker replaces one that ended by itself, in seconds."""

REAP_S = 0.2
BACKLOG = 1024


@frozen
class Inherited:
    """The descriptors that a worker was started with."""

    listening: int
    monitor: int
    control: int


def inherited(environment: MutableMapping[str, str]) -> Inherited | None:
    """What this process was given, if it is a worker; what it starts itself is none."""
    text = environment.pop(VARIABLE, "")
    if not text:
        return None
    found = Inherited(**json.loads(text))
    for fd in (found.listening, found.monitor, found.control):
        os.set_inheritable(fd, False)
    return found


def account_for(name: str) -> pwd.struct_passwd | None:
    """The account of workers, where we are root and it exists."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(name)
    return None


def line_for(name: str) -> str:
    """The line that makes the account."""
    return f"useradd --system --home-dir /var/lib/teleport --shell /usr/sbin/nologin {name}"


@frozen
class Plan:
    """What a supervisor starts.

    :ivar what: the service, in a sentence: ``The node``.
    :ivar words: the command line of a worker.
    :ivar environment: for workers.
    """

    what: str
    listen: Address
    data_dir: Path
    account: pwd.struct_passwd
    sessions: SessionSettings
    words: Sequence[str]
    environment: Mapping[str, str]

    @property
    def anchors(self) -> Path:
        """Beside ``data_dir``, which is the workers' own."""
        return self.data_dir.with_name(f"{self.data_dir.name}.monitor") / "authorities"


class Supervisor(StartingService):
    """Keeps one worker serving."""

    _log = Logger()

    def __init__(self, reactor: Reactor, plan: Plan) -> None:
        super().__init__(reactor)
        self._supervised = reactor
        self._plan = plan
        self._worker: Worker | None = None

    async def start_up(self) -> None:
        """Socket, folder, worker."""
        self._socket = _listening(self._plan)
        give_folder(self._plan.data_dir, self._plan.account)
        signal.signal(signal.SIGHUP, lambda *_: self._supervised.callFromThread(self._hang_up))
        await self._start_worker().up
        self._log.info("{what} is served by the account {name}.", what=self._plan.what, name=self._plan.account.pw_name)

    def stopService(self) -> Deferred[None]:
        """Goes as soon as a successor may start; the worker goes when its last session has ended."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.running = 0
        await self._retire()
        await super().stopService()
        if hasattr(self, "_socket"):
            self._socket.close()

    async def _retire(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.retire()
            with suppress(Exception):
                await worker.retired.addTimeout(RETIRE_S, self._supervised)

    def _hang_up(self) -> None:
        self._log.info("{what} starts anew; sessions go on.", what=self._plan.what)
        Deferred.fromCoroutine(self._renew()).addErrback(self._failed)

    async def _renew(self) -> None:
        await self._retire()
        if self.running:
            await self._start_worker().up

    def _start_worker(self) -> Worker:
        self._worker = worker = Worker.start(self._supervised, self._plan, self._socket, self._ended)
        return worker

    def _ended(self, worker: Worker) -> None:
        """A worker is gone. One that never served said why itself, and the next would say the same."""
        if worker is not self._worker:
            return
        self._worker = None
        if not worker.served:
            sentence = f"{self._plan.what} could not be started; the reason is the last line above."
            stop_with(self._supervised, Failure(StartError(sentence)))
        elif self.running:
            self._log.error("A worker has ended by itself; another is started.")
            self._supervised.callLater(AGAIN_S, self._again)

    def _again(self) -> None:
        if self.running and self._worker is None:
            try:
                self._start_worker()
            except StartError as problem:
                stop_with(self._supervised, Failure(problem))


def _spawn(plan: Plan, given: Mapping[str, int]) -> subprocess.Popen[bytes]:
    """A worker's process, which gets these descriptors."""
    return subprocess.Popen(
        list(plan.words),
        env={**plan.environment, VARIABLE: json.dumps(given)},
        stdin=subprocess.DEVNULL,
        pass_fds=tuple(given.values()),
        user=plan.account.pw_uid,
        group=plan.account.pw_gid,
        extra_groups=os.getgrouplist(plan.account.pw_name, plan.account.pw_gid),
        start_new_session=True,
    )


def _cannot_run(plan: Plan, problem: OSError) -> StartError:
    return StartError(
        f"The account {plan.account.pw_name} cannot run {plan.words[0]}: {problem.strerror}. "
        "Install Python and this package where it may read them, such as below /opt."
    )


@implementer(IReadDescriptor)
@define(eq=False, slots=False)
class Worker:
    """A worker, as its supervisor sees it.

    :ivar up: fires when it serves; :ivar retired: when its successor may start.
    """

    _reactor: Reactor
    _process: subprocess.Popen[bytes]
    _control: socket.socket
    _ended: Callable[[Worker], None]
    served: bool = False
    up: Deferred[None] = field(factory=Deferred)
    retired: Deferred[None] = field(factory=Deferred)

    @classmethod
    def start(cls, reactor: Reactor, plan: Plan, listening: socket.socket, ended: Callable[[Worker], None]) -> Worker:
        """A monitor and a worker that are made for one another."""
        theirs, monitors = frames.pair()
        control, workers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, monitors, workers:
            monitored.launch([monitors], plan.sessions, plan.anchors)
            given = {"listening": listening.fileno(), "monitor": theirs.fileno(), "control": workers.fileno()}
            try:
                process = _spawn(plan, given)
            except OSError as problem:
                control.close()
                raise _cannot_run(plan, problem) from problem
        control.setblocking(False)
        worker = cls(reactor, process, control, ended)
        reactor.addReader(worker)
        return worker

    def retire(self) -> None:
        """Tells it to stop accepting, and to end with its last session."""
        self._process.send_signal(signal.SIGTERM)

    def fileno(self) -> int:
        return self._control.fileno()

    def logPrefix(self) -> str:
        return "worker"

    def doRead(self) -> Failure | None:
        try:
            message = self._control.recv(16)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            message = b""
        if message == UP and not self.served:
            self.served = True
            self.up.callback(None)
        elif message == RETIRED and not self.retired.called:
            self.retired.callback(None)
        elif not message:
            self._over()
        return None

    def connectionLost(self, reason: Failure) -> None:
        """See :meth:`doRead`."""
        self._over()

    def _over(self) -> None:
        if self._control.fileno() < 0:
            return
        self._reactor.removeReader(self)
        self._control.close()
        self._reap()
        if not self.retired.called:
            self.retired.callback(None)
        self._ended(self)

    def _reap(self) -> None:
        """It closed its socket because it is ending, and has ended in a moment."""
        if self._process.poll() is None:
            self._reactor.callLater(REAP_S, self._reap)


@implementer(IReadDescriptor)
class Control(Service):
    """The worker's side: says how far it is, and hears of the supervisor's end."""

    def __init__(self, reactor: Reactor, fd: int) -> None:
        self._reactor = reactor
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)

    def startService(self) -> None:
        super().startService()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
        self._reactor.addReader(self)

    def say(self, message: bytes) -> None:
        """:data:`UP` or :data:`RETIRED`; a supervisor that has gone does not have to know."""
        with suppress(OSError):
            self._socket.send(message)

    def stopService(self) -> None:
        super().stopService()
        self._reactor.removeReader(self)

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "supervisor"

    def doRead(self) -> Failure | None:
        """The supervisor says nothing, so this is its end."""
        self._reactor.removeReader(self)
        with suppress(ReactorNotRunning):  # it is stopping already
            self._reactor.stop()
        return None

    def connectionLost(self, reason: Failure) -> None:
        """See :meth:`doRead`."""


def give_folder(data_dir: Path, account: pwd.struct_passwd) -> None:
    """Makes ``data_dir`` the account's, with what is in it, if it is root's as yet.

    Once it is the account's, root changes nothing in it: whoever owns a folder can lead root elsewhere with links.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if data_dir.stat().st_uid != 0:
            return
        for folder, _, files in os.walk(data_dir, topdown=False):
            for name in (*(os.path.join(folder, file) for file in files), folder):
                if os.lstat(name).st_uid == 0:
                    os.lchown(name, account.pw_uid, account.pw_gid)
    except OSError as problem:
        raise StartError(f"data_dir {data_dir} cannot be given to {account.pw_name}: {problem.strerror}.") from problem


def _listening(plan: Plan) -> socket.socket:
    address = (plan.listen.host, plan.listen.port)
    family = socket.AF_INET6 if ":" in plan.listen.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
        made.setblocking(False)  # which Twisted does to sockets of its own only
    except OSError as problem:
        made.close()
        raise _cannot_listen(plan, problem) from problem
    return made


def _cannot_listen(plan: Plan, problem: OSError) -> TeleportError:
    where = f"port {plan.listen.port} of {plan.listen.host}"
    holder = holder_of(plan.listen.port)
    if holder:
        return PortInUse(
            f"{plan.what} cannot listen on {where}: it is in use by {holder}. Stop that, or set another listen_addr."
        )
    return StartError(f"{plan.what} cannot listen on {where}: {problem.strerror}.")


def own_words() -> list[str]:
    """The command line of this process, to start it again."""
    return [sys.executable, *sys.argv]
