"""What this host says of an account without PAM, as ``sshd`` asks for it: shadow(5), nologin(5) and the shell."""

from __future__ import annotations

import ctypes
import os
import stat
import time
from pathlib import Path
from typing import NamedTuple

from teleport_conch.ssh.monitor.orders import Account

NOLOGIN = Path("/etc/nologin")
MAX_TEXT_BYTES = 4 << 10
_DAY_S = 86_400


class Refusal(Exception):
    """A session that is not to be. ``code`` is one of :mod:`teleport_conch.errors`, which is not imported here."""

    def __init__(self, sentence: str, code: str = "ACCESS_DENIED") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code


class Shadow(NamedTuple):
    """What shadow(5) has of an account: the password's hash, and the day since 1970 on which it expires, or -1."""

    password: str
    expires: int


class _Spwd(ctypes.Structure):
    _fields_ = (
        ("sp_namp", ctypes.c_char_p),
        ("sp_pwdp", ctypes.c_char_p),
        ("sp_lstchg", ctypes.c_long),
        ("sp_min", ctypes.c_long),
        ("sp_max", ctypes.c_long),
        ("sp_warn", ctypes.c_long),
        ("sp_inact", ctypes.c_long),
        ("sp_expire", ctypes.c_long),
        ("sp_flag", ctypes.c_ulong),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.getspnam.restype = ctypes.POINTER(_Spwd)
_libc.getspnam.argtypes = (ctypes.c_char_p,)


def shadow_of(name: str) -> Shadow | None:
    """The shadow entry, from wherever the host keeps it; None where there is none, or where it may not be read."""
    entry = _libc.getspnam(os.fsencode(name))
    if not entry:
        return None
    return Shadow(os.fsdecode(entry.contents.sp_pwdp or b""), entry.contents.sp_expire)


def check_login(account: Account, shadow: Shadow | None, today: int | None = None) -> None:
    """Whether an account may log in at all, by the rules that ``sshd`` has without PAM.

    :param today: days since 1970.
    :raises Refusal: it is locked or expired.
    """
    if shadow is None:
        return
    day = int(time.time() // _DAY_S) if today is None else today
    if shadow.password.startswith("!"):
        raise Refusal(f"The account {account.name} is locked on this host.")
    if 0 < shadow.expires < day:
        raise Refusal(f"The account {account.name} has expired on this host.")


def check_shell(account: Account) -> None:
    """The program of an account's sessions has to exist.

    :raises Refusal: it does not, or cannot be executed.
    """
    try:
        mode = os.stat(account.shell).st_mode
    except OSError:
        raise Refusal(f"The shell {account.shell} of the account {account.name} does not exist.") from None
    if not stat.S_ISREG(mode) or not mode & 0o111:
        raise Refusal(f"The shell {account.shell} of the account {account.name} is not executable.")


def check_nologin(account: Account, path: Path = NOLOGIN) -> None:
    """While ``path`` exists, only root may have sessions; others read what is in it.

    :raises Refusal: with the text of the file.
    """
    if account.uid != 0 and path.exists():
        raise Refusal(read_start(path).strip() or "This host takes no logins now.")


def read_start(path: Path) -> str:
    """The first :data:`MAX_TEXT_BYTES` of a file of the host; nothing where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_TEXT_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
