"""Starting the process of a session as an account of this host, without a fork.

A fork copies the page tables of the whole service (11 ms at 504 MB, where this was measured), ``posix_spawn`` does not
(below 1 ms); but it can neither change the account nor the directory. So it starts a chain of programs that replace one
another under one process id: ``setpriv``, as root and with nothing of the peer's in its environment, becomes the
account; ``/bin/sh`` sets the session's environment and goes to the home directory; the session's program follows. See
``docs/decisions/argv0-of-login-shells.rst`` for the figures, and for what this way cannot do.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import PurePath

from attrs import frozen

from teleport_conch.errors import AccessDenied, BadParameter, SpawnFailed
from teleport_conch.ssh.account import Account
from teleport_conch.ssh.processes.pipes import grow_pipe
from teleport_conch.ssh.processes.terminal import Terminal

SHELLS_WITH_LOGIN_OPTION = frozenset(
    {"ash", "bash", "csh", "dash", "fish", "ksh", "ksh93", "mksh", "sh", "tcsh", "zsh"}
)
"""Shells that ``-l`` makes a login shell of."""

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the programs of the chain are looked for, and all that the privileged one finds in its environment."""

_CARRIER = "_teleport_conch_session_"
"""The session's variables travel to the trampoline as the values of variables with this prefix and a number.

``setpriv`` runs as root: a variable such as LD_PRELOAD must not reach it under its own name. An argument list could
hold them too, but every account of the host can read that.
"""

_TRAMPOLINE = """\
umask 022
while [ "$1" != -- ]; do eval "command export \\"\\$$1\\""; unset "$1"; shift; done
cd -- "$2" 2>/dev/null || { echo "Could not change to the home directory $2." >&2; cd /; }
unset OLDPWD
shift 2
exec "$@"
"""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

_DEFAULTED_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
"""Python ignores SIGPIPE and SIGXFSZ, ``nohup`` SIGHUP; a child would inherit that."""


@frozen
class Spawned:
    """A started process and our non-inheritable ends of its descriptors; who gets this owns them all.

    With a terminal, ``input`` and ``output`` are two descriptors of its master side, and there is no ``error``.
    """

    pid: int
    input: int
    output: int
    error: int | None


def spawn(
    account: Account,
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    login_shell: bool,
    terminal: Terminal | None,
) -> Spawned:
    """Start ``argv`` as ``account``, leader of a new session and process group, in the home directory.

    The program sees ``environment`` (with :data:`SYSTEM_PATH` where it has no PATH, and the PWD of the shell in front),
    umask 022, default signals, descriptors 0 to 2 and nothing else of this process. Its supplementary groups are those
    of the first account with this uid.

    :param argv: the program, by its whole path, and its arguments.
    :param login_shell: pass ``-l`` to a shell known to take it.
    :param terminal: becomes the controlling terminal; otherwise three pipes are made.
    :raises AccessDenied: we are not root, and ``account`` is not our own.
    :raises BadParameter: a relative program, a NUL byte, or a name that no variable can have.
    :raises SpawnFailed: no process or descriptor is left, the command is too long, or ``setpriv`` is missing.
    """
    _keep_descriptors()
    program = [*privileges(account, os.geteuid()), *_trampoline(account, argv, environment, login_shell)]
    carriers = {"PATH": SYSTEM_PATH, **_carriers(environment)}
    try:
        if terminal is None:
            return _on_pipes(account, program, carriers)
        return _on_terminal(terminal, program, carriers)
    except ValueError as error:
        raise BadParameter("A command or a variable of the session holds a NUL byte or is not text.") from error
    except OSError as error:
        raise SpawnFailed(f"This host could not start the session: {error.strerror}.") from error


def privileges(account: Account, euid: int) -> list[str]:
    """The words in front of a command that make a process of ``euid`` one of ``account``.

    :raises AccessDenied: only root can do that for another account.
    :raises SpawnFailed: ``setpriv`` is not installed.
    """
    if euid != 0:
        if account.uid != euid:
            raise AccessDenied(f"This service does not run as root and can start sessions only as {name_of(euid)}.")
        return []
    setpriv = shutil.which("setpriv", path=SYSTEM_PATH)
    if setpriv is None:
        raise SpawnFailed("Sessions need the program setpriv; install the package util-linux on this host.")
    return [setpriv, f"--reuid={account.uid}", f"--regid={account.gid}", "--init-groups", "--"]


@cache
def _keep_descriptors() -> None:
    """Once for this process: what it was started with (sockets of systemd, pipes of a supervisor) is not passed on.

    What Python opens itself is never inherited.
    """
    for entry in os.listdir("/proc/self/fd"):
        if int(entry) > 2:
            with suppress(OSError):
                os.set_inheritable(int(entry), False)


def name_of(uid: int) -> str:
    """What the account with this uid is called, also where it has no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the account with uid {uid}"


def _trampoline(account: Account, argv: Sequence[str], environment: Mapping[str, str], login_shell: bool) -> list[str]:
    if not argv or not argv[0].startswith("/"):
        raise BadParameter("The program of a session is named by its whole path.")
    login = ["-l"] if login_shell and PurePath(argv[0]).name in SHELLS_WITH_LOGIN_OPTION else []
    names = (f"{_CARRIER}{number}" for number in range(len(environment)))
    return ["/bin/sh", "-c", _TRAMPOLINE, "sh", *names, "--", account.home, argv[0], *login, *argv[1:]]


def _carriers(environment: Mapping[str, str]) -> dict[str, str]:
    for name in environment:
        if not _VARIABLE.fullmatch(name) or name.startswith(_CARRIER):
            raise BadParameter("A variable of the session has a name that no variable can have.")
    return {f"{_CARRIER}{number}": f"{name}={value}" for number, (name, value) in enumerate(environment.items())}


def _on_pipes(account: Account, program: Sequence[str], environment: Mapping[str, str]) -> Spawned:
    with ExitStack() as theirs, ExitStack() as ours:
        stdin, our_input = _pipe(account, theirs, ours)
        our_output, stdout = _pipe(account, ours, theirs)
        our_error, stderr = _pipe(account, ours, theirs)
        grow_pipe(our_input)
        grow_pipe(our_output)
        places = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate((stdin, stdout, stderr))]
        pid = _posix_spawn(program, environment, places)
        ours.pop_all()
    return Spawned(pid=pid, input=our_input, output=our_output, error=our_error)


def _pipe(account: Account, readers: ExitStack, writers: ExitStack) -> tuple[int, int]:
    """A pipe whose two ends are closed by two owners; the account may open it again as ``/dev/stdout``."""
    read, write = os.pipe()
    readers.callback(os.close, read)
    writers.callback(os.close, write)
    if os.geteuid() == 0:
        os.fchown(read, account.uid, account.gid)
    return read, write


def _on_terminal(terminal: Terminal, program: Sequence[str], environment: Mapping[str, str]) -> Spawned:
    """Open the terminal by its path: that makes it the controlling terminal of the session's leader."""
    with ExitStack() as ours:
        our_input = os.dup(terminal.master)
        ours.callback(os.close, our_input)
        our_output = os.dup(terminal.master)
        ours.callback(os.close, our_output)
        places = [
            (os.POSIX_SPAWN_OPEN, 0, terminal.name, os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_DUP2, 0, 2),
        ]
        pid = _posix_spawn(program, environment, places)
        ours.pop_all()
    terminal.close_slave()
    return Spawned(pid=pid, input=our_input, output=our_output, error=None)


def _posix_spawn(program: Sequence[str], environment: Mapping[str, str], places: Sequence[tuple[object, ...]]) -> int:
    return os.posix_spawn(
        program[0],
        list(program),
        environment,
        file_actions=places,
        setsid=True,
        setsigmask=(),
        setsigdef=_DEFAULTED_SIGNALS,
    )
