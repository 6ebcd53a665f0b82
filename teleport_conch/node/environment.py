"""The environment of a session: what the host gives, what the client may add, and what says where one is."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from attrs import frozen

from teleport_conch.ssh.account import Account

DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/games"
DEFAULT_ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LOGIN_DEFS = Path("/etc/login.defs")
LOCALES = (Path("/etc/default/locale"), Path("/etc/locale.conf"))
MAX_FILE_BYTES = 64 << 10
REMEMBERED_TEXTS = 8
"""Files of the host whose lines were read, and are not read again for each session."""

_ASSIGNMENT = re.compile(
    r"(?:export\s+)?(?P<name>LANG|LANGUAGE|LC_[A-Z]+)=(?P<quote>[\"']?)(?P<value>[^\"']*)(?P=quote)"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NEVER = frozenset(("HOME", "LOGNAME", "PATH", "SHELL", "USER"))


@frozen
class Place:
    """Where a session runs, and for whom, as its programs can read it.

    ``client`` and ``server`` are addresses (host, port); ``client`` is the person's own, behind whatever proxy.
    """

    user: str
    session_id: str
    host_uuid: str
    cluster: str
    client: tuple[str, int]
    server: tuple[str, int]


def accepts(name: str, patterns: Sequence[str]) -> bool:
    """Whether the allow-list ``patterns`` (exact, or ending in ``*``) lets a client set ``name``."""
    is_name = _NAME.fullmatch(name) is not None and name not in _NEVER
    return is_name and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def host_environment(account: Account, login_defs: str, locales: Sequence[str]) -> dict[str, str]:
    """PATH and locale as the host's files say (``login.defs``, and the first of ``locales`` that says anything)."""
    key, default = ("ENV_SUPATH", DEFAULT_ROOT_PATH) if account.uid == 0 else ("ENV_PATH", DEFAULT_PATH)
    found = {"PATH": _login_path(login_defs, key) or default}
    for text in locales:
        if variables := _locale(text):
            return {**found, **variables}
    return found


@lru_cache(maxsize=REMEMBERED_TEXTS)
def _locale(text: str) -> Mapping[str, str]:
    lines = (_ASSIGNMENT.fullmatch(line.strip()) for line in text.splitlines())
    return {line["name"]: line["value"] for line in lines if line is not None}


@lru_cache(maxsize=REMEMBERED_TEXTS)
def _login_path(text: str, key: str) -> str:
    for line in text.splitlines():
        words = line.split(None, 1)
        if len(words) == 2 and words[0] == key:
            return words[1].strip().removeprefix("PATH=")
    return ""


def session_environment(
    account: Account, place: Place, host: Mapping[str, str], client: Mapping[str, str], extra: Mapping[str, str]
) -> dict[str, str]:
    """All variables of a session; what the client sent comes before what it must not change.

    :param host: of :func:`host_environment`.
    :param client: what the allow-list let through.
    :param extra: TERM, SSH_TTY and SSH_AUTH_SOCK where the session has them.
    """
    client_host, client_port = place.client
    server_host, server_port = place.server
    return {
        **host,
        **client,
        "HOME": account.home,
        "LOGNAME": account.name,
        "USER": account.name,
        "SHELL": account.shell,
        "MAIL": f"/var/mail/{account.name}",
        "SSH_CLIENT": f"{client_host} {client_port} {server_port}",
        "SSH_CONNECTION": f"{client_host} {client_port} {server_host} {server_port}",
        "SSH_SESSION_ID": place.session_id,
        "SSH_TELEPORT_USER": place.user,
        "SSH_TELEPORT_HOST_UUID": place.host_uuid,
        "SSH_TELEPORT_CLUSTER_NAME": place.cluster,
        **extra,
    }


def read_bounded(path: Path) -> str:
    """The start of a file of the host, empty where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
