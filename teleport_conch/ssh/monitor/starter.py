"""The process that starts sessions: forked before any cryptography was loaded, it forks fast and knows no key.

It believes the monitor, which is the only one that it listens to, and holds nothing of a session but its number: the
descriptors go to the server, and the process is waited for.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial

from teleport_conch import wire
from teleport_conch.ssh.monitor import birth, host, orders, pam, records
from teleport_conch.ssh.monitor.admissions import Admissions
from teleport_conch.ssh.monitor.birth import Birth
from teleport_conch.ssh.monitor.descriptors import descriptors
from teleport_conch.ssh.monitor.frames import Frame, Peer
from teleport_conch.ssh.monitor.host import Refusal
from teleport_conch.ssh.monitor.keeper import (
    FAILED,
    STARTED,
    Keeper,
    Session,
    Starting,
    admit,
    environment,
    fork,
    groups_of,
    hold,
)
from teleport_conch.ssh.monitor.loop import Conversation, Loop
from teleport_conch.ssh.monitor.orders import Settings
from teleport_conch.ssh.monitor.traced import Telling
from teleport_conch.ssh.monitor.tracing import Tracing
from teleport_conch.ssh.tracing.joining import Followed
from teleport_conch.ssh.tracing.kernel import Untraceable
from teleport_conch.ssh.tracing.tracer import Sizes, Tracer
from teleport_conch.wire import Reader

MAX_SESSIONS = 10_000
NO_OOM_KILL = "-1000"
_OOM = "/proc/self/oom_score_adj"


class Starter:
    """Starts sessions by order, waits for their processes, and says how they ended."""

    def __init__(self, loop: Loop, link: Peer, settings: Settings) -> None:
        self._loop = loop
        self._settings = settings
        self._oom = _oom_score()
        self._admissions = Admissions(loop)
        self._children: dict[int, Session] = {}
        self._keepers: set[int] = set()
        self._by_number: dict[int, Session] = {}
        self._linked = True
        self._watch_children()
        self._link = Conversation(loop, link, self._received, self._unlinked)
        self._tracing = _tracing(loop, self._link, settings)
        self._with_pam = _with_pam(settings, self._oom, self._tracing)

    # Orders.

    def _received(self, frame: Frame) -> None:
        frame.close()
        handlers = {
            orders.START: self._start,
            orders.BROKER: self._broker,
            orders.CHECK: self._check,
            orders.SIGNAL: self._signal,
        }
        try:
            handlers[frame.kind](frame.number, frame.body)
        except Refusal as refusal:
            self._refuse(frame.number, refusal.code, refusal.sentence)
        except OSError as problem:
            self._refuse(frame.number, "SPAWN_FAILED", f"This host could not start the session: {problem.strerror}.")
        except Exception:  # noqa: BLE001  # whatever one order meets, the others are carried out
            traceback.print_exc()
            self._refuse(frame.number, "SPAWN_FAILED", "This host could not start the session; why is in the log.")

    def _refuse(self, number: int, code: str, sentence: str) -> None:
        self._untrace(number)
        self._link.send(orders.REFUSED, number, orders.pack_refusal(code, sentence))

    def _check(self, number: int, body: bytes) -> None:
        """Whether the host lets an account in, before anything is started for it."""
        reader = Reader(body)
        account, client_host = orders.read_account(reader), orders.read_text(reader)
        host.check_shell(account)
        if self._with_pam is None:
            host.check_login(account, host.shadow_of(account.name) if os.geteuid() == 0 else None)
            self._link.send(orders.DONE, number)
            return
        keeper = Keeper(self._loop, partial(admit, self._with_pam, account, client_host), self._with_pam.threads)

        def let_in(message: bytes) -> None:
            self._link.send(orders.DONE, number)
            self._admissions.add(number, keeper)

        self._keep(keeper, number, let_in)

    def _start(self, number: int, body: bytes) -> None:
        order = orders.read_order(body)
        self._check_room()
        host.check_shell(order.account)
        if self._with_pam is None:
            host.check_nologin(order.account)
        followed = self._trace(number, order.program.traced)
        with ExitStack() as theirs, ExitStack() as ours:
            ends, kept, tty = descriptors(order, theirs, ours)
            born = Birth(order, self._settings, groups_of(order.account), ends, tty, self._oom, followed)
            if self._with_pam is None:
                self._start_plainly(number, born, kept)
            else:
                self._start_with_pam(number, born, kept, self._with_pam)
            ours.pop_all()

    def _trace(self, number: int, kinds: int) -> Followed | None:
        if not kinds:
            return None
        if self._tracing is None:
            sentence = "This host cannot record what the programs of a session do, as roles of this login ask for."
            raise Refusal(sentence)
        return self._tracing.begin(number, kinds)

    def _untrace(self, number: int) -> None:
        if self._tracing is not None:
            self._tracing.end(number)

    def _broker(self, number: int, body: bytes) -> None:
        """Starts what makes Unix sockets as an account, with a socket to the server that asked for it."""
        reader = Reader(body)
        account = orders.read_account(reader)
        reader.end()
        self._check_room()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            pid = fork()
            if pid == 0:
                birth.become_broker(account, theirs.fileno())
            session = Session(number, pid, None)
            self._children[pid] = self._by_number[number] = session
            ours.setblocking(False)
            self._link.send(orders.DONE, number, wire.uint32(pid), (ours.detach(),))

    def _check_room(self) -> None:
        """Also for those that PAM has not let in yet: each is a process already."""
        if max(len(self._by_number), len(self._keepers)) >= MAX_SESSIONS:
            raise Refusal(f"This host runs {MAX_SESSIONS} sessions, and no more.", "LIMIT_EXCEEDED")

    def _start_plainly(self, number: int, born: Birth, kept: tuple[int, ...]) -> None:
        pid = fork()
        if pid == 0:
            birth.become(born, environment(born, {}))
        self._children[pid] = self._started(number, pid, born, kept)

    def _start_with_pam(self, number: int, born: Birth, kept: tuple[int, ...], starting: Starting) -> None:
        """By the child that let the person in, if it still waits."""
        keeper = self._admissions.take(born.order.admission)
        if keeper is None:
            keeper = Keeper(self._loop, partial(hold, starting, born), (*born.ends, *starting.threads), kept)
        else:
            keeper.go_on(number, orders.pack_order(born.order), born.ends, kept)

        def told(message: bytes) -> None:
            if message[:1] == STARTED:
                keeper.kept = ()
                keeper.session = self._started(number, int.from_bytes(message[1:5], "big"), born, kept)
            elif keeper.session is not None:
                self._ended(keeper.session, int.from_bytes(message[1:5], "big"))

        self._keep(keeper, number, told)

    def _keep(self, keeper: Keeper, number: int, told: Callable[[bytes], None]) -> None:
        def heard(message: bytes) -> None:
            if message[:1] == FAILED:
                self._refuse(number, *orders.read_refusal(message[1:]))
            else:
                told(message)

        keeper.listen(heard)
        self._keepers.add(keeper.pid)

    def _started(self, number: int, pid: int, born: Birth, kept: tuple[int, ...]) -> Session:
        login = None
        if born.tty and self._settings.login_records:
            login = born.login._replace(pid=pid)
        session = Session(number, pid, login)
        self._by_number[number] = session
        self._link.send(orders.DONE, number, wire.uint32(pid) + orders.text(born.tty), kept)
        if self._tracing is not None:
            self._tracing.started(number)
        return session

    def _signal(self, number: int, body: bytes) -> None:
        """To the whole process group, as long as its leader lives: the number is certainly its own until then."""
        session = self._by_number.get(number)
        if session is not None:
            wanted = Reader(body).uint32()
            with suppress(ProcessLookupError, PermissionError):
                try:
                    os.killpg(session.pid, wanted)
                except ProcessLookupError:
                    # It has not made its group yet, and finds the signal when it has.
                    os.kill(session.pid, wanted)

    # Processes.

    def _watch_children(self) -> None:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self._loop.watch(reading, lambda events: self._reap(reading))

    def _reap(self, waking: int) -> None:
        with suppress(BlockingIOError):
            os.read(waking, 4096)
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                session = self._children.pop(pid, None)
                if session is not None:
                    self._ended(session, status)
                self._keepers.discard(pid)
        self._leave_if_done()

    def _ended(self, session: Session, status: int) -> None:
        if self._by_number.pop(session.number, None) is None:
            return
        if session.login is not None and os.geteuid() == 0:
            records.logout(records.Files(), session.login)
        self._untrace(session.number)
        self._link.send(orders.EXITED, session.number, wire.uint32(status))

    def _unlinked(self) -> None:
        """The monitor has gone: no more sessions, and those that run are waited for."""
        self._linked = False
        self._admissions.close()
        if self._tracing is not None:
            self._tracing.close()
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        if not self._linked and not self._children and not self._keepers:
            self._loop.stop()


def _tracing(loop: Loop, link: Conversation, settings: Settings) -> Tracing | None:
    """What records the programs of sessions, where the configuration says so; that this host can was tried before."""
    if not settings.tracing:
        return None
    try:
        return Tracing(loop, Tracer(Sizes(*settings.tracing)), Telling(link))
    except Untraceable as reason:
        sys.stderr.write(f"the starter: no session is recorded, and none that should be is started: {reason}\n")
        sys.stderr.flush()
        return None


def _with_pam(settings: Settings, oom_score_adj: str, tracing: Tracing | None) -> Starting | None:
    """PAM with all modules of the service loaded, which every fork then has already."""
    if not settings.pam_service:
        return None
    library = pam.Library()
    library.template = library.transaction(settings.pam_service, "root")
    return Starting(library, settings, oom_score_adj, () if tracing is None else (tracing.threads,))


def _oom_score() -> str:
    """What sessions get back, once this process has put itself out of the way of the kernel's killer."""
    if os.geteuid() != 0:
        return ""
    try:
        with open(_OOM, "r+") as file:
            before = file.read().strip()
            file.seek(0)
            file.write(NO_OOM_KILL)
            return before
    except OSError:
        return ""


def run(end: socket.socket, settings: Settings) -> None:
    """The life of the process."""
    loop = Loop()
    Starter(loop, Peer(end), settings)
    loop.run()
