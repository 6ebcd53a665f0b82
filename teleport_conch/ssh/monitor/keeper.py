"""Children of the starter that speak with PAM: whether a person is let in, and for a session as long as it lives."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from teleport_conch import wire
from teleport_conch.ssh.monitor import birth, frames, orders, pam, records
from teleport_conch.ssh.monitor.birth import Birth
from teleport_conch.ssh.monitor.frames import Frame, Peer
from teleport_conch.ssh.monitor.host import Refusal
from teleport_conch.ssh.monitor.loop import Loop
from teleport_conch.ssh.monitor.orders import Account, Order, Settings
from teleport_conch.ssh.tracing.joining import Followed

PAM_DEADLINE_S = 60.0
"""How long PAM may take to let a person in, in seconds."""

STARTED, FAILED, ENDED, WELL = b"S", b"F", b"E", b"W"

Task = Callable[[socket.socket], None]
"""What a child of the starter does; it answers on the socket."""


class Session(NamedTuple):
    """A session that runs: its number, its process, and what the records of logins say of it."""

    number: int
    pid: int
    login: records.Login | None


class Keeper:
    """A child that speaks with PAM, and tells what comes of it.

    :param task: runs in the child, and is given the socket that it answers on.
    :param needed: descriptors that the child keeps open.
    :param kept: descriptors that are ours to close, unless somebody takes them out of here.
    """

    def __init__(self, loop: Loop, task: Task, needed: tuple[int, ...] = (), kept: tuple[int, ...] = ()) -> None:
        self._loop = loop
        self.session: Session | None = None
        self.kept = kept
        self._ours, theirs = frames.pair()
        self.pid = os.fork()
        if self.pid == 0:
            _alone(theirs, needed, task)
        theirs.close()

    def listen(self, heard: Callable[[bytes], None]) -> None:
        """Waits for the next message until :data:`PAM_DEADLINE_S` are over, and for more until the child ends."""
        self._heard = heard
        self._spoke = False
        self._deadline = self._loop.after(PAM_DEADLINE_S, self._too_late)
        self._loop.watch(self._ours.fileno(), lambda events: self._ready())

    @property
    def open(self) -> bool:
        """Whether the child has not ended, as far as is known."""
        return self._ours.fileno() >= 0

    def go_on(self, number: int, order: bytes, needed: tuple[int, ...], kept: tuple[int, ...]) -> None:
        """Hands a child that waits, as :func:`admit` does, what it is to start, and the descriptors for it.

        :raises OSError: it has ended.
        """
        try:
            socket.send_fds(self._ours, [Frame(orders.START, number, order).packed()], needed)
        except OSError:
            self.dismiss()
            raise
        self.kept = kept

    def dismiss(self) -> None:
        """Ends a child that waits."""
        self._ours.shutdown(socket.SHUT_WR)

    def _ready(self) -> None:
        message = self._ours.recv(8192)
        if message:
            self._say(message)
        else:
            self._close()

    def _say(self, message: bytes) -> None:
        self._spoke = True
        self._loop.forget(self._deadline)
        self._heard(message)

    def _too_late(self) -> None:
        self._say(_refusal(Refusal(f"PAM did not answer within {PAM_DEADLINE_S:.0f} seconds.", "SPAWN_FAILED")))
        os.kill(self.pid, signal.SIGKILL)

    def _close(self) -> None:
        self._loop.unwatch(self._ours.fileno())
        self._ours.close()
        for fd in self.kept:
            os.close(fd)
        if not self._spoke:
            self._say(_refusal(Refusal("PAM ended without an answer.", "SPAWN_FAILED")))
        elif self.session is not None:
            # Nothing new where it has said so already.
            self._heard(ENDED + wire.uint32(signal.SIGKILL))


def fork() -> int:
    """A fork whose child meets signals only once it is ready for them: :func:`birth.become` lets them in."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, birth.CHANGED_SIGNALS)
    pid = -1
    try:
        pid = os.fork()
    finally:
        # Also where the host has no room for a process: who does not hear of its children waits for them for ever.
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _refusal(refusal: Refusal) -> bytes:
    return FAILED + orders.pack_refusal(refusal.code, refusal.sentence)


def _alone(report: socket.socket, needed: tuple[int, ...], task: Task) -> NoReturn:
    """Runs ``task`` in a child that has nothing else of the starter's open."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        report.setblocking(True)
        before = 3
        for fd in sorted({report.fileno(), *needed}):
            os.closerange(before, fd)
            before = fd + 1
        os.closerange(before, os.sysconf("SC_OPEN_MAX"))
        task(report)
    except Refusal as refusal:
        report.send(_refusal(refusal))
    except BaseException as problem:  # noqa: BLE001  # nothing may return from here
        report.send(_refusal(Refusal(f"The session could not be started: {problem}.", "SPAWN_FAILED")))
    finally:
        os._exit(0)


class Starting(NamedTuple):
    """What every child needs.

    :ivar oom_score_adj: see :class:`~teleport_conch.ssh.monitor.birth.Birth`.
    :ivar threads: see :class:`~teleport_conch.ssh.tracing.joining.Followed`; empty where the kernel records nothing.
    """

    library: pam.Library
    settings: Settings
    oom_score_adj: str
    threads: tuple[int, ...] = ()

    def transaction(self, account: Account, client_host: str) -> pam.Transaction:
        transaction = self.library.transaction(self.settings.pam_service, account.name)
        transaction.describe(pam.PAM_RHOST, client_host)
        transaction.describe(pam.PAM_TTY, "ssh")
        return transaction

    def birth(self, number: int, order: Order, ends: tuple[int, ...]) -> Birth:
        """A session on the descriptors ``ends``, which are three times the same terminal, or three pipes."""
        stdin, stdout, stderr = ends
        followed = Followed(self.threads[0], number) if self.threads and order.program.traced else None
        tty = "" if order.program.terminal is None else os.ttyname(stdin)
        groups = groups_of(order.account)
        return Birth(order, self.settings, groups, (stdin, stdout, stderr), tty, self.oom_score_adj, followed)


def admit(starting: Starting, account: Account, client_host: str, report: socket.socket) -> None:
    """Says whether PAM lets a person in, and waits for a session to hold, until the starter has none."""
    transaction = starting.transaction(account, client_host)
    transaction.check_account()
    report.send(WELL)
    try:
        frame = Peer(report).receive()
    except EOFError:
        frame = None
    if frame is None:
        transaction.end()
    else:
        born = starting.birth(frame.number, orders.read_order(frame.body), frame.descriptors)
        _hold(transaction, born, report)


def hold(starting: Starting, born: Birth, report: socket.socket) -> None:
    """Holds a session of a person who was let in earlier."""
    _hold(starting.transaction(born.order.account, born.order.client_host), born, report)


def _hold(transaction: pam.Transaction, born: Birth, report: socket.socket) -> None:
    """Opens the session of PAM, starts the process in it, and closes it when that has ended."""
    if born.tty:
        transaction.describe(pam.PAM_TTY, born.tty)
    transaction.open_session()
    pid = fork()
    if pid == 0:
        report.close()
        birth.become(born, environment(born, transaction.environment()), transaction)
    for fd in set(born.ends):
        os.close(fd)
    report.send(STARTED + wire.uint32(pid))
    _, status = os.waitpid(pid, 0)
    report.send(ENDED + wire.uint32(status))
    transaction.close_session()


def groups_of(account: Account) -> list[int]:
    """The supplementary groups of an account."""
    return os.getgrouplist(account.name, account.gid) if os.geteuid() == 0 else []


def environment(born: Birth, from_pam: dict[str, str]) -> dict[str, str]:
    program = born.order.program
    on_terminal = {"SSH_TTY": born.tty, "TERM": program.terminal.term} if program.terminal is not None else {}
    given = dict(program.environment)
    if born.settings.pam_service:
        given.pop("MAIL", None)  # pam_mail's to say, as with sshd
    return {**given, **from_pam, **on_terminal}
