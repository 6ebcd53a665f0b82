"""A worker, as its supervisor sees it.

What passes between the two is two messages on a socket, and its end: the worker says :data:`UP` when it serves and
:data:`RETIRED` when its successor may start; the supervisor's end closing means the same to a worker as SIGTERM.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_conch.errors import StartError
from teleport_conch.ssh.monitor import frames
from teleport_conch.ssh.processes import launching
from teleport_conch.starting import Reactor
from teleport_conch.supervisor.given import Given
from teleport_conch.supervisor.plan import Plan

UP, RETIRED = b"U", b"R"
REAP_S = 0.2
"""How often an ended worker is waited for."""


@frozen
class Seat:
    """A worker's place among those of a plan, with the sockets that its holder listens on, by their listeners."""

    number: int
    sockets: Mapping[str, socket.socket]


@implementer(IReadDescriptor)
@define(eq=False, slots=False)
class Worker:
    """A worker.

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
    def start(cls, reactor: Reactor, plan: Plan, seat: Seat, ended: Callable[[Worker], None]) -> Worker:
        """A worker, and where it needs one a monitor, that are made for one another."""
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                process = _started(plan, seat, theirs)
        except StartError:
            control.close()
            raise
        control.setblocking(False)
        worker = cls(reactor, process, control, ended)
        reactor.addReader(worker)
        return worker

    def retire(self) -> None:
        """Tells it to stop accepting, and to end with its last client."""
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


def _started(plan: Plan, seat: Seat, control: socket.socket) -> subprocess.Popen[bytes]:
    with ExitStack() as opened:
        monitor = None
        if plan.sessions is not None:
            ours, servers = frames.pair()
            opened.enter_context(ours)
            with servers:
                launching.launch([servers], plan.sessions, plan.kept)
            monitor = ours.fileno()
        listening = {name: each.fileno() for name, each in seat.sockets.items()}
        given = Given(listening, control.fileno(), monitor, seat.number, plan.workers)
        try:
            return _spawn(plan, given)
        except OSError as problem:
            raise _cannot_run(plan, problem) from problem


def _spawn(plan: Plan, given: Given) -> subprocess.Popen[bytes]:
    account = plan.account
    groups = None if account is None else os.getgrouplist(account.pw_name, account.pw_gid)
    return subprocess.Popen(
        list(plan.words),
        env={**plan.environment, **given.to_environment()},
        stdin=subprocess.DEVNULL,
        pass_fds=given.descriptors(),
        user=None if account is None else account.pw_uid,
        group=None if account is None else account.pw_gid,
        extra_groups=groups,
        start_new_session=True,
    )


def _cannot_run(plan: Plan, problem: OSError) -> StartError:
    if plan.account is None:
        return StartError(f"{plan.words[0]} cannot be run: {problem.strerror}.")
    return StartError(
        f"The account {plan.account.pw_name} cannot run {plan.words[0]}: {problem.strerror}. "
        "Install Python and this package where it may read them, such as below /opt."
    )
