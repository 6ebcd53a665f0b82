"""What happens in a forked process before it becomes a session: in the order of ``sshd``, and ending in ``execve``.

Nothing here returns to its caller. What fails is written to the session's own standard error.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

from teleport_conch.ssh.monitor import host, records
from teleport_conch.ssh.monitor.orders import ANY_RC, NO_RC, Account, Order, Settings
from teleport_conch.ssh.monitor.pam import Transaction
from teleport_conch.ssh.tracing.joining import Followed

MOTD = Path("/etc/motd")
BROKER = Path(__file__).parent.with_name("socket_broker.py")
SYSTEM_RC = "/etc/ssh/sshrc"
USER_RC = ".ssh/rc"
HUSH = ".hushlogin"
_FAILED = 1
CHANGED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)
"""Those that the starter, or Python in it, ignores or hears; to go through all that there are takes a millisecond."""


class Birth(NamedTuple):
    """All that a session's process is made of.

    :ivar groups: the supplementary groups.
    :ivar ends: what becomes its standard input, output and error; three times the same with a terminal.
    :ivar tty: the path of its terminal, empty without one.
    :ivar oom_score_adj: what the service itself was started with.
    :ivar followed: as what the kernel records it; None where it does not.
    """

    order: Order
    settings: Settings
    groups: Sequence[int]
    ends: tuple[int, int, int]
    tty: str = ""
    oom_score_adj: str = ""
    followed: Followed | None = None
    files: records.Files = records.Files()

    @property
    def login(self) -> records.Login:
        """How the records of this host name it; in the process itself."""
        account = self.order.account
        return records.Login(
            os.getpid(), self.tty.removeprefix("/dev/"), account.name, account.uid, self.order.client_host
        )

    @property
    def greets(self) -> bool:
        """Whether this is a person's shell on a terminal."""
        return bool(self.tty) and self.order.program.command is None


def become(birth: Birth, environment: Mapping[str, str], pam: Transaction | None = None) -> NoReturn:
    """Turns this forked process into the session. ``environment`` has what PAM added."""
    try:
        _open_session(birth)
        greeting = _record(birth, pam)
        _leave_root(birth, pam)
        _enter_home(birth.order.account.home)
        if birth.greets and birth.settings.greeting and not os.path.exists(HUSH):
            _write(1, greeting)
        _run_rc(birth.order, environment)
        _execute(birth.order, environment)
    except BaseException as problem:  # noqa: BLE001  # nothing may return from here
        _write(2, f"The session could not be started: {problem}\n")
    finally:
        os._exit(_FAILED)


def become_broker(account: Account, control: int) -> NoReturn:
    """Turns this forked process into the program that makes sockets, which becomes the account before anything else."""
    try:
        _fresh_signals()
        os.setsid()
        os.dup2(control, 0)
        words = [sys.executable, "-I", "-S", str(BROKER), account.name, str(account.uid), str(account.gid)]
        os.execve(words[0], words, {})  # noqa: S606  # our own program
    finally:
        os._exit(_FAILED)


def _fresh_signals() -> None:
    for each in CHANGED_SIGNALS:
        signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _open_session(birth: Birth) -> None:
    """A new session with its descriptors, its terminal, and the signals of a fresh process."""
    if birth.followed is not None:
        birth.followed.join()
    _fresh_signals()
    os.setsid()
    if birth.tty:
        fcntl.ioctl(birth.ends[0], termios.TIOCSCTTY, 0)
    for number, fd in enumerate(birth.ends):
        os.dup2(fd, number)
    os.umask(0o022)


def _record(birth: Birth, pam: Transaction | None) -> str:
    """Writes the login down, and answers what its shell says first."""
    said = "" if pam is None else pam.messages
    if not birth.tty:
        return said
    last = records.last_login_line(records.last_login(birth.files, birth.order.account.uid))
    if birth.settings.login_records and os.geteuid() == 0:
        records.login(birth.files, birth.login)
    # PAM has a module of its own for the message of the day.
    return f"{last}{host.read_start(MOTD)}" if pam is None else f"{said}{last}"


def _leave_root(birth: Birth, pam: Transaction | None) -> None:
    account = birth.order.account
    if birth.oom_score_adj:
        _tell("/proc/self/oom_score_adj", birth.oom_score_adj)
    if os.geteuid() != 0:
        return
    if pam is None:
        # With PAM this is pam_loginuid's to do. Without CAP_AUDIT_CONTROL (containers) it cannot be done.
        _tell("/proc/self/loginuid", str(account.uid))
    os.setgroups(birth.groups)
    os.setgid(account.gid)
    if pam is not None:
        pam.refresh_credentials()
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)


def _tell(path: str, value: str) -> None:
    with suppress(OSError):
        fd = os.open(path, os.O_WRONLY)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)


def _enter_home(home: str) -> None:
    """As the account, since root may not reach a home on NFS."""
    try:
        os.chdir(home)
    except OSError:
        _write(2, f"Could not change to the home directory {home}.\n")
        os.chdir("/")


def _run_rc(order: Order, environment: Mapping[str, str]) -> None:
    """``~/.ssh/rc`` or ``/etc/ssh/sshrc``, as sshd(8) has it; the session waits for its end."""
    if order.program.rc == ANY_RC and os.path.exists(USER_RC):
        words = [order.account.shell, "-c", f"/bin/sh {USER_RC}"]
    elif order.program.rc != NO_RC and os.path.exists(SYSTEM_RC):
        words = ["/bin/sh", SYSTEM_RC]
    else:
        return
    from_nothing = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    with suppress(OSError):
        os.waitpid(os.posix_spawn(words[0], words, dict(environment), file_actions=from_nothing), 0)


def _execute(order: Order, environment: Mapping[str, str]) -> NoReturn:
    """The shell itself with a hyphen in front of its name, by which it knows that it is a login shell."""
    shell, command = order.account.shell, order.program.command
    name = os.path.basename(shell)
    words = [f"-{name}"] if command is None else [name, "-c", command]
    os.execve(shell, words, dict(environment))  # noqa: S606  # the shell is what is started


def _write(fd: int, text: str) -> None:
    with suppress(OSError):
        os.write(fd, text.encode("utf-8", "surrogateescape"))
