"""Which node a client means: a pure choice from a name, the nodes that are known, and what is known of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from attrs import frozen

from teleport_conch.errors import AmbiguousName, BadParameter, NotFound
from teleport_conch.resources.server import Server, State

UNSPECIFIED_PORTS = frozenset((0, 22, 3022))
"""Ports that a client sends when the person named none: its own default, or Teleport's."""

MAX_CANDIDATES_SHOWN = 10
MAX_TARGET_CHARS = 512

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_REQUEST = re.compile(r"proxy:(?P<host>\[[^\]]*\]|[^:@\[\]]*)(?::(?P<port>\d{1,5}))?(?:@(?P<rest>[^:]*))?")
_PREFERENCE = (State.ONLINE, State.LATE, State.UNKNOWN, State.OFFLINE)


@frozen
class Wanted:
    """What a client asks for; ``cluster`` is empty where it named none, ``port`` 0 likewise."""

    host: str
    port: int
    cluster: str = ""


def parse_subsystem(name: str) -> Wanted:
    """Reads ``proxy:host:port``, ``proxy:host:port@cluster`` and ``proxy:host:port@namespace@cluster``.

    :raises BadParameter: anything else.
    """
    found = _REQUEST.fullmatch(name) if len(name) <= MAX_TARGET_CHARS else None
    if found is None or not found["host"] or int(found["port"] or 0) >= 1 << 16:
        raise BadParameter(
            f"invalid format for proxy request: \"{name[:MAX_TARGET_CHARS]}\", expected 'proxy:host:port@cluster'"
        )
    cluster = (found["rest"] or "").rpartition("@")[2]
    return Wanted(found["host"].strip("[]"), int(found["port"] or 0), cluster)


def normalized(host: str, cluster: str) -> str:
    """The name as it is compared: lower case, without a trailing dot and without the cluster's suffix."""
    name = host.lower().rstrip(".")
    return name.removesuffix(f".{cluster.lower()}")


def split_address(address: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port`` in its parts; the port is 0 where there is none."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or (":" in host and not host.startswith("[")):
        return address.strip("[]"), 0
    return host.strip("[]"), int(port)


def choose(wanted: Wanted, nodes: Iterable[Server], cluster: str) -> Server:
    """The one node that is meant.

    A UUID names a node whatever else is true. A nodename, an advertised address or a label (``env=prod``) may fit
    several, and then the one that is most certainly there is taken: a rebuilt host wins over the record of its past.

    :raises NotFound: none fits.
    :raises AmbiguousName: several fit equally well; fact ``candidates``.
    """
    if wanted.cluster and wanted.cluster.lower() != cluster.lower():
        raise NotFound(f'invalid format for proxy request: unknown cluster "{wanted.cluster}"')
    name = normalized(wanted.host, cluster)
    known = list(nodes)
    if _UUID.fullmatch(name):
        return _by_uuid(name, known)
    fitting = [node for node in known if _fits(name, wanted.port, node, cluster)]
    if not fitting:
        raise NotFound(f'no node is called "{wanted.host}"{_port_note(wanted.port)}, and no label or address is that')
    return _most_present(wanted.host, fitting)


def _by_uuid(name: str, nodes: Sequence[Server]) -> Server:
    for node in nodes:
        if node.name == name:
            return node
    raise NotFound(f"unable to locate node matching uuid-like target {name}")


def _fits(name: str, port: int, node: Server, cluster: str) -> bool:
    label, equals, value = name.partition("=")
    if equals:
        return any(label == key.lower() and value == text.lower() for key, text in node.all_labels.items())
    if normalized(node.hostname, cluster) == name:
        return port in UNSPECIFIED_PORTS or port in _ports(node)
    return any(
        normalized(host, cluster) == name and (port in UNSPECIFIED_PORTS or port == own)
        for host, own in map(split_address, (node.addr, *node.public_addrs))
    )


def _ports(node: Server) -> set[int]:
    return {split_address(address)[1] for address in (node.addr, *node.public_addrs)}


def _most_present(asked: str, fitting: Sequence[Server]) -> Server:
    for state in _PREFERENCE:
        present = [node for node in fitting if node.presence.state is state]
        if len(present) == 1:
            return present[0]
        if present:
            raise _ambiguous(asked, present)
    raise NotFound(f'no node is called "{asked}"')


def _ambiguous(asked: str, nodes: Sequence[Server]) -> AmbiguousName:
    shown = [f"{node.hostname} {node.name} {node.addr} ({node.presence.state.value})" for node in nodes]
    listed = "; ".join(shown[:MAX_CANDIDATES_SHOWN]) + ("; ..." if len(shown) > MAX_CANDIDATES_SHOWN else "")
    return AmbiguousName(f'"{asked}" may be any of these, say which by its UUID: {listed}', candidates=shown)


def _port_note(port: int) -> str:
    return "" if port in UNSPECIFIED_PORTS else f" with port {port}"
