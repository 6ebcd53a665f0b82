"""Ports for the demo: those of the last start, else the standard ones, else any that are free."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from teleport_conch.config.loading import load
from teleport_conch.config.scalars import AUTH_PORT, NODE_PORT, PROXY_PORT, WEB_PORT
from teleport_conch.errors import StartError, TeleportError

LOOPBACK = ("127.0.0.1", "::1")


@frozen
class Ports:
    """Of the three services, and of a second node."""

    auth: int
    proxy: int
    web: int
    node: int
    second_node: int


#: Another port for a second node than those of the others, and of Teleport's other services.
STANDARD = Ports(AUTH_PORT, PROXY_PORT, WEB_PORT, NODE_PORT, 3122)


def loopback() -> str:
    """The address to listen on: ``127.0.0.1``, or ``::1`` where that is all there is.

    :raises StartError: there is no loopback interface.
    """
    for host in LOOPBACK:
        if bound(host, 0) is not None:
            return host
    raise StartError("This machine has neither 127.0.0.1 nor ::1 to listen on. Bring its loopback interface up.")


def choose(host: str, last: Ports | None) -> Ports:
    """Ports that are free now.

    :param last: those of the last start.
    """
    before = last or STANDARD
    taken: list[int] = []
    for candidates in (
        (before.auth, STANDARD.auth),
        (before.proxy, STANDARD.proxy),
        (before.web, STANDARD.web),
        (before.node, STANDARD.node),
        (before.second_node, STANDARD.second_node),
    ):
        taken.append(_first_free(host, [port for port in candidates if port not in taken]))
    return Ports(*taken)


def _first_free(host: str, candidates: Sequence[int]) -> int:
    for port in (*candidates, 0):
        found = bound(host, port)
        if found is not None:
            return found
    raise StartError(f"There is no free port on {host}.")


def bound(host: str, port: int) -> int | None:
    """The port if a service could listen there, or one that is free for port 0; None if it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Twisted does
        probe.bind((host, port))
        probe.listen(1)
        return int(probe.getsockname()[1])
    return None


def of_last_start(configuration: Path, second: Path) -> Ports | None:
    """The ports in the configurations that the last start wrote; None where there are none that can be read."""
    try:
        first, other = load(configuration, {}), load(second, {})
    except TeleportError:
        return None
    return Ports(
        first.auth.listen_addr.port,
        first.proxy.listen_addr.port,
        first.proxy.web_listen_addr.port,
        first.node.listen_addr.port,
        other.node.listen_addr.port,
    )
