"""Which node, and which account on it, a person means."""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping

from attrs import field, frozen

from teleport_conch.errors import BadParameter

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})|\[?[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*\]?")
_LOGIN = re.compile(r"[A-Za-z0-9_.@\\$][A-Za-z0-9_.@\\$+-]{0,254}")


_KEY = re.compile(r"[A-Za-z0-9_/.*][A-Za-z0-9_/.*-]*")


@frozen
class Destination:
    """``[login@]host``, or ``[login@]label=value[,...]``.

    :ivar login: empty where none was said.
    :ivar labels: of the nodes that are meant; none where ``host`` is one.
    """

    login: str
    host: str = ""
    labels: Mapping[str, str] = field(factory=dict)
    port: int = 0

    def account(self, default: str) -> str:
        """The account to log in to: what was said, or ``default``, or what one is called here."""
        return self.login or check_login(default or getpass.getuser())

    def in_cluster(self, cluster: str) -> str:
        """The host as the cluster's line in ``known_hosts`` vouches for it."""
        return self.host if self.host.endswith(f".{cluster}") else f"{self.host}.{cluster}"


def parse(text: str, with_port: bool = False) -> Destination:
    """Reads a destination.

    :param with_port: whether ``:port`` may stand behind the host.
    :raises BadParameter: it is none, or could be taken for an option by another program.
    """
    login, _, rest = text.rpartition("@")
    if "@" in text:
        check_login(login)
    if "=" in rest:
        return Destination(login, labels=parse_labels(rest))
    host, port = _split(rest) if with_port else (rest, 0)
    if not _HOST.fullmatch(host):
        if ":" in rest and not with_port:
            raise BadParameter(f"{rest[:128]!a}: give the port with --port.")
        raise BadParameter(f"{host[:128]!a} is not the name of a node, and not label=value.")
    return Destination(login, host.strip("[]"), port=port)


def check_login(text: str) -> str:
    """:raises BadParameter: no account is called that."""
    if not _LOGIN.fullmatch(text):
        raise BadParameter(f"{text[:64]!a} is not the name of an account.")
    return text


def _split(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        return text, 0
    if not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise BadParameter(f"{port[:16]!a} is not a port.")
    return host, int(port)


def parse_labels(text: str) -> Mapping[str, str]:
    """Reads ``env=prod,role=db``.

    :raises BadParameter: a part of it has no ``=``.
    """
    pairs = [part.partition("=") for part in text.split(",") if part]
    for key, equals, _ in pairs:
        if not equals or not _KEY.fullmatch(key.strip()):
            raise BadParameter(f"{key[:64]!a} is not a label: write label=value, with commas between several.")
    return {key.strip(): value.strip() for key, _, value in pairs}
