"""Which node a client means: a pure choice from a name, the nodes that are known, and what is known of each."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from difflib import get_close_matches

from attrs import frozen

from teleport_conch.audit.inert import inert
from teleport_conch.errors import AmbiguousName, BadParameter, NotFound
from teleport_conch.resources.server import PREFERENCE, Server

UNSPECIFIED_PORTS = frozenset((0, 22, 3022))
"""Ports that a client sends when the person named none: its own default, or Teleport's."""

MAX_CANDIDATES_SHOWN = 10
MAX_NAMES_COMPARED = 200
"""Names that are looked at for one that is alike: more would hold everybody up (0.1 ms for each long name)."""
MAX_TARGET_CHARS = 512
MAX_PORT_DIGITS = 5

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_REQUEST = re.compile(r"proxy:(?P<host>\[[^\[\]]+\]|[^:@\[\]]+)(?::(?P<port>[0-9]{1,5}))?(?:@(?P<rest>[^:]*))?")


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
    found = _REQUEST.fullmatch(name) if len(name) <= MAX_TARGET_CHARS and name.isprintable() else None
    if found is None or int(found["port"] or 0) >= 1 << 16:
        shown = inert(name[:MAX_TARGET_CHARS])
        raise BadParameter(f"invalid format for proxy request: \"{shown}\", expected 'proxy:host:port@cluster'")
    first, namespace_too, second = (found["rest"] or "").partition("@")
    return Wanted(found["host"].strip("[]"), int(found["port"] or 0), second if namespace_too else first)


def normalized(host: str, cluster: str) -> str:
    """The name as it is compared: lower case, without a trailing dot and without the cluster's suffix."""
    name = host.lower().rstrip(".")
    if ":" in name:
        with suppress(ValueError):
            return str(ipaddress.ip_address(name))
    return name.removesuffix(f".{cluster.lower()}")


def split_address(address: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port`` in its parts; the port is 0 where there is none."""
    host, colon, port = address.rpartition(":")
    is_port = port.isascii() and port.isdigit() and len(port) <= MAX_PORT_DIGITS
    if not colon or not is_port or (":" in host and not host.startswith("[")):
        return address.strip("[]"), 0
    return host.strip("[]"), int(port)


def choose(wanted: Wanted, nodes: Iterable[Server], cluster: str) -> Server:
    """The one node that is meant.

    A UUID names a node whatever else is true. A nodename, an advertised address or a label (``env=prod``) may fit
    several, and then the one that is most certainly there is taken: a rebuilt host wins over the record of its past.
    Among those a nodename wins over an address, since a host announces whatever addresses it likes.

    :raises NotFound: none fits; fact ``candidates``: those that may have been meant.
    :raises AmbiguousName: several fit equally well; fact ``candidates``.
    """
    if wanted.cluster and wanted.cluster.lower() != cluster.lower():
        raise NotFound(f'invalid format for proxy request: unknown cluster "{wanted.cluster}"')
    name = normalized(wanted.host, cluster)
    known = list(nodes)
    if _UUID.fullmatch(name):
        return _by_uuid(name, known)
    fitting = [node for node in known if name and _fits(name, wanted.port, node, cluster)]
    if not fitting:
        raise _not_found(wanted, name, known, cluster)
    return _most_present(wanted.host, name, fitting, cluster)


def means_a_node(wanted: Wanted, cluster: str) -> bool:
    """Whether what is asked for is a node or nothing: a UUID, a label, or whatever is in a cluster that was named."""
    name = normalized(wanted.host, cluster)
    return bool(wanted.cluster) or "=" in name or _UUID.fullmatch(name) is not None


def _by_uuid(name: str, nodes: Sequence[Server]) -> Server:
    for node in nodes:
        if node.name == name:
            return node
    raise NotFound(f"unable to locate node matching uuid-like target {name}")


def _fits(name: str, port: int, node: Server, cluster: str) -> bool:
    if "=" in name:
        return any(normalized(f"{key}={text}", cluster) == name for key, text in node.all_labels.items())
    if normalized(node.hostname, cluster) == name:
        return port in UNSPECIFIED_PORTS or port in _ports(node)
    return any(
        normalized(host, cluster) == name and (port in UNSPECIFIED_PORTS or port == own)
        for host, own in map(split_address, (node.addr, *node.public_addrs))
    )


def _ports(node: Server) -> set[int]:
    return {split_address(address)[1] for address in (node.addr, *node.public_addrs)}


def _most_present(asked: str, name: str, fitting: Sequence[Server], cluster: str) -> Server:
    best = min(map(PREFERENCE.index, (node.presence.state for node in fitting)))
    present = [node for node in fitting if node.presence.state is PREFERENCE[best]]
    named = [node for node in present if normalized(node.hostname, cluster) == name]
    candidates = named or present
    if len(candidates) > 1:
        shown = _shown(candidates)
        sentence = f'"{asked}" may be any of these, say which by its UUID: {_listed(shown)}'
        raise AmbiguousName(sentence, candidates=shown)
    return candidates[0]


def _not_found(wanted: Wanted, name: str, nodes: Sequence[Server], cluster: str) -> NotFound:
    port = "" if wanted.port in UNSPECIFIED_PORTS else f" with port {wanted.port}"
    sentence = f'no node is called "{wanted.host}"{port}, and no label or address is that'
    shown = _shown([node for node in nodes if name and _fits(name, 0, node, cluster)] or _alike(name, nodes, cluster))
    return NotFound(f"{sentence}. Similar: {_listed(shown)}" if shown else sentence, candidates=shown)


def _alike(name: str, nodes: Sequence[Server], cluster: str) -> list[Server]:
    """Nodes whose names are nearly that, for somebody who mistyped one."""
    names = ((normalized(node.hostname, cluster), node) for node in nodes)
    near = [(own, node) for own, node in names if abs(len(own) - len(name)) <= 2][:MAX_NAMES_COMPARED]
    found = get_close_matches(name, {own for own, _ in near}, n=MAX_CANDIDATES_SHOWN)
    return [node for own, node in near if own in found]


def _shown(nodes: Iterable[Server]) -> list[str]:
    return sorted(f"{node.hostname} {node.name} {node.addr} ({node.presence.state.value})" for node in nodes)


def _listed(shown: Sequence[str]) -> str:
    return "; ".join(shown[:MAX_CANDIDATES_SHOWN]) + ("; ..." if len(shown) > MAX_CANDIDATES_SHOWN else "")
