"""The accounts of this host, in which sessions run."""

from __future__ import annotations

import pwd
import re

from attrs import frozen

from teleport_conch.errors import NotFound

NAME_LENGTH = 32
"""Longest account name, in characters (``LOGIN_NAME_MAX`` of Linux tools)."""

_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*\$?", re.ASCII)


@frozen
class Account:
    """An account of this host, as ``passwd(5)`` has it."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


def is_account_name(name: str) -> bool:
    """Whether ``name`` may be looked up at all, put into a path or an argument list, and printed."""
    return len(name) <= NAME_LENGTH and _NAME.fullmatch(name) is not None and name.strip(".") != ""


def lookup(name: str) -> Account:
    """The account called ``name``, from the host's own database.

    The name came from a peer: one that no account can have is refused before anything is asked, and is not repeated
    in the sentence.

    :raises NotFound: no such account.
    """
    if not is_account_name(name):
        raise NotFound(
            "There is no such account on this host: a name has 1 to 32 letters, digits, dots, underscores and hyphens, "
            "and does not begin with a hyphen."
        )
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise NotFound(f"There is no account {name} on this host.") from None
    home = entry.pw_dir if entry.pw_dir.startswith("/") else "/"
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid, home=home, shell=entry.pw_shell or "/bin/sh")
