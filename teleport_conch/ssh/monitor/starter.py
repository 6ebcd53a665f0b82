"""The process that starts sessions: forked before any cryptography was loaded, it forks fast and knows no key.

It believes the monitor, which is the only one that it listens to, and holds nothing of a session but its number: the
descriptors go to the server, and the process is waited for.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import sys
import termios
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import NamedTuple, NoReturn

from teleport_conch import wire
from teleport_conch.ssh import terminal_setup
from teleport_conch.ssh.monitor import birth, host, orders, pam, records
from teleport_conch.ssh.monitor.birth import Birth
from teleport_conch.ssh.monitor.frames import Frame, Peer
from teleport_conch.ssh.monitor.host import Refusal
from teleport_conch.ssh.monitor.loop import Conversation, Loop
from teleport_conch.ssh.monitor.orders import Account, Order, Settings
from teleport_conch.wire import Reader, WireError

PAM_DEADLINE_S = 60.0
"""How long PAM may take to let a person in, in seconds."""

MAX_SESSIONS = 10_000
MAX_CELLS = 4096
DEFAULT_COLS, DEFAULT_ROWS = 80, 25
PIPE_BYTES = 1 << 20
NO_OOM_KILL = "-1000"
_OOM = "/proc/self/oom_score_adj"
_STARTED, _FAILED, _ENDED, _WELL = b"S", b"F", b"E", b"W"

Task = Callable[[socket.socket], None]
"""What a child of the starter does; it answers on the socket."""


class Session(NamedTuple):
    """A session that runs: its number, its process, and what the records of logins say of it."""

    number: int
    pid: int
    login: records.Login | None


class Starter:
    """Starts sessions by order, waits for their processes, and says how they ended."""

    def __init__(self, loop: Loop, link: Peer, settings: Settings) -> None:
        self._loop = loop
        self._settings = settings
        self._pam = _pam_library(settings)
        self._oom = _oom_score()
        self._children: dict[int, Session] = {}
        self._keepers: set[int] = set()
        self._by_number: dict[int, Session] = {}
        self._linked = True
        self._watch_children()
        self._link = Conversation(loop, link, self._received, self._unlinked)

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
        except (WireError, KeyError) as problem:
            sys.stderr.write(f"the starter of sessions: an order that cannot be read: {problem!r}\n")

    def _refuse(self, number: int, code: str, sentence: str) -> None:
        self._link.send(orders.REFUSED, number, orders.pack_refusal(code, sentence))

    def _check(self, number: int, body: bytes) -> None:
        """Whether the host lets an account in, before anything is started for it."""
        reader = Reader(body)
        account, client_host = orders.read_account(reader), orders.read_text(reader)
        host.check_shell(account)
        if self._pam is None:
            host.check_login(account, host.shadow_of(account.name) if os.geteuid() == 0 else None)
            self._link.send(orders.DONE, number)
            return
        task = partial(_ask_pam, self._pam, self._settings.pam_service, account, client_host)
        self._keep(_Keeper(self._loop, task), number, lambda message: self._link.send(orders.DONE, number))

    def _start(self, number: int, body: bytes) -> None:
        order = orders.read_order(body)
        if len(self._by_number) >= MAX_SESSIONS:
            raise Refusal(f"This host runs {MAX_SESSIONS} sessions, and no more.", "LIMIT_EXCEEDED")
        host.check_shell(order.account)
        if self._pam is None:
            host.check_nologin(order.account)
        with ExitStack() as theirs, ExitStack() as ours:
            ends, kept, tty = _descriptors(order, theirs, ours)
            born = Birth(order, self._settings, _groups(order.account), ends, tty, self._oom)
            if self._pam is None:
                self._start_plainly(number, born, kept)
            else:
                self._start_with_pam(number, born, kept, self._pam)
            ours.pop_all()

    def _broker(self, number: int, body: bytes) -> None:
        """Starts what makes Unix sockets as an account, with a socket to the server that asked for it."""
        reader = Reader(body)
        account = orders.read_account(reader)
        reader.end()
        if len(self._by_number) >= MAX_SESSIONS:
            raise Refusal(f"This host runs {MAX_SESSIONS} sessions, and no more.", "LIMIT_EXCEEDED")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            pid = _fork()
            if pid == 0:
                birth.become_broker(account, theirs.fileno())
            session = Session(number, pid, None)
            self._children[pid] = self._by_number[number] = session
            ours.setblocking(False)
            self._link.send(orders.DONE, number, wire.uint32(pid), (ours.detach(),))

    def _start_plainly(self, number: int, born: Birth, kept: tuple[int, ...]) -> None:
        pid = _fork()
        if pid == 0:
            birth.become(born, _environment(born, {}))
        self._children[pid] = self._started(number, pid, born, kept)

    def _start_with_pam(self, number: int, born: Birth, kept: tuple[int, ...], library: pam.Library) -> None:
        keeper = _Keeper(self._loop, partial(_hold, library, born), born.ends, kept)

        def told(message: bytes) -> None:
            if message[:1] == _STARTED:
                keeper.kept = ()
                keeper.session = self._started(number, int.from_bytes(message[1:5], "big"), born, kept)
            elif keeper.session is not None:
                self._ended(keeper.session, int.from_bytes(message[1:5], "big"))

        self._keep(keeper, number, told)

    def _keep(self, keeper: _Keeper, number: int, told: Callable[[bytes], None]) -> None:
        def heard(message: bytes) -> None:
            if message[:1] == _FAILED:
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
        self._link.send(orders.EXITED, session.number, wire.uint32(status))

    def _unlinked(self) -> None:
        """The monitor has gone: no more sessions, and those that run are waited for."""
        self._linked = False
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        if not self._linked and not self._children and not self._keepers:
            self._loop.stop()


class _Keeper:
    """A child that speaks with PAM, and tells what comes of it.

    :param task: runs in the child, and is given the socket that it answers on.
    :param needed: descriptors that the child keeps open.
    :param kept: descriptors that are ours to close, unless somebody takes them out of here.
    """

    def __init__(self, loop: Loop, task: Task, needed: tuple[int, ...] = (), kept: tuple[int, ...] = ()) -> None:
        self._loop = loop
        self._deadline = 0
        self._spoke = False
        self.session: Session | None = None
        self.kept = kept
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            _alone(theirs, needed, task)
        theirs.close()

    def listen(self, heard: Callable[[bytes], None]) -> None:
        """Waits for the first message until :data:`PAM_DEADLINE_S` are over, and for more until the child ends."""
        self._heard = heard
        self._deadline = self._loop.after(PAM_DEADLINE_S, self._too_late)
        self._loop.watch(self._ours.fileno(), lambda events: self._ready())

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
            self._heard(_ENDED + wire.uint32(signal.SIGKILL))


def _fork() -> int:
    """A fork whose child meets signals only once it is ready for them: :func:`birth.become` lets them in."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _refusal(refusal: Refusal) -> bytes:
    return _FAILED + orders.pack_refusal(refusal.code, refusal.sentence)


def _alone(report: socket.socket, needed: tuple[int, ...], task: Task) -> NoReturn:
    """Runs ``task`` in a child that has nothing else of the starter's open."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
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


def _ask_pam(library: pam.Library, service: str, account: Account, client_host: str, report: socket.socket) -> None:
    transaction = library.transaction(service, account.name)
    transaction.describe(pam.PAM_RHOST, client_host)
    transaction.describe(pam.PAM_TTY, "ssh")
    transaction.check_account()
    transaction.end()
    report.send(_WELL)


def _hold(library: pam.Library, born: Birth, report: socket.socket) -> None:
    """Opens the session of PAM, starts the process in it, and closes it when that has ended."""
    transaction = library.transaction(born.settings.pam_service, born.order.account.name)
    transaction.describe(pam.PAM_RHOST, born.order.client_host)
    transaction.describe(pam.PAM_TTY, born.tty or "ssh")
    transaction.open_session()
    pid = _fork()
    if pid == 0:
        report.close()
        birth.become(born, _environment(born, transaction.environment()), transaction)
    for fd in set(born.ends):
        os.close(fd)
    report.send(_STARTED + wire.uint32(pid))
    _, status = os.waitpid(pid, 0)
    report.send(_ENDED + wire.uint32(status))
    transaction.close_session()


def _environment(born: Birth, from_pam: dict[str, str]) -> dict[str, str]:
    program = born.order.program
    on_terminal = {"SSH_TTY": born.tty, "TERM": program.terminal.term} if program.terminal is not None else {}
    given = dict(program.environment)
    if born.settings.pam_service:
        given.pop("MAIL", None)  # pam_mail's to say, as with sshd
    return {**given, **from_pam, **on_terminal}


def _groups(account: Account) -> list[int]:
    return os.getgrouplist(account.name, account.gid) if os.geteuid() == 0 else []


def _descriptors(order: Order, theirs: ExitStack, ours: ExitStack) -> tuple[tuple[int, int, int], tuple[int, ...], str]:
    """The session's three ends, what the server gets (input, output, error; or the terminal's master), and the tty."""
    if order.program.terminal is not None:
        return _terminal(order, theirs, ours)
    stdin, to_it = _pipe(order.account, theirs, ours)
    from_it, stdout = _pipe(order.account, ours, theirs)
    complaints, stderr = _pipe(order.account, ours, theirs)
    return (stdin, stdout, stderr), (to_it, from_it, complaints), ""


def _pipe(account: Account, readers: ExitStack, writers: ExitStack) -> tuple[int, int]:
    """A pipe whose ends two owners close; the account may open it again as ``/dev/stdout``."""
    reading, writing = os.pipe()
    readers.callback(os.close, reading)
    writers.callback(os.close, writing)
    if os.geteuid() == 0:
        os.fchown(reading, account.uid, account.gid)
    with suppress(OSError):
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return reading, writing


def _terminal(order: Order, theirs: ExitStack, ours: ExitStack) -> tuple[tuple[int, int, int], tuple[int, ...], str]:
    wanted = order.program.terminal
    assert wanted is not None
    master, slave = os.openpty()
    ours.callback(os.close, master)
    theirs.callback(os.close, slave)
    size = (wanted.rows or DEFAULT_ROWS, wanted.cols or DEFAULT_COLS, wanted.xpixel, wanted.ypixel)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *(min(each, MAX_CELLS) for each in size)))
    try:
        terminal_setup.apply_modes(slave, terminal_setup.decode(wanted.modes))
    except (ValueError, termios.error) as problem:
        raise Refusal(f"This host could not prepare a terminal: {problem.args[-1]}", "BAD_PARAMETER") from None
    if os.geteuid() == 0:
        terminal_setup.give_to(slave, order.account.uid, order.account.gid)
    return (slave, slave, slave), (master,), os.ttyname(slave)


def _pam_library(settings: Settings) -> pam.Library | None:
    """PAM with all modules of the service loaded, which every fork then has already."""
    if not settings.pam_service:
        return None
    library = pam.Library()
    library.template = library.transaction(settings.pam_service, "root")
    return library


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
