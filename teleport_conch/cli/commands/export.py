"""``tctl auth export``: whom OpenSSH, sshd and TLS programs have to trust."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence

from attrs import evolve

from teleport_conch.certs import keys
from teleport_conch.certs.public import PublicAuthority
from teleport_conch.certs.tls import load_certificate_pem
from teleport_conch.cli.answer import Answer
from teleport_conch.cli.connection import Authorities, Connection
from teleport_conch.config.addresses import parse_address
from teleport_conch.config.scalars import NODE_PORT, PROXY_PORT
from teleport_conch.errors import NotFound
from teleport_conch.resources.server import Server

SSH_PORT = 22


async def export(connection: Connection, arguments: Namespace) -> Answer:
    lines: list[str] = []
    for kind in [arguments.type] if arguments.type else ["user", "host"]:
        lines += await _lines(connection.cluster, kind, arguments.fingerprint)
    if not lines:
        raise NotFound("No authority has a key with this fingerprint; 'tctl status' prints those that there are.")
    return Answer(lambda: "".join(f"{line.strip()}\n" for line in lines))


async def _lines(cluster: Authorities, kind: str, fingerprint: str | None) -> Sequence[str]:
    authority = await cluster.authority("host" if kind == "tls" else kind)
    if fingerprint is not None:
        authority = _only(authority, fingerprint)
    if kind == "tls":
        return authority.tls_certificates
    if kind == "user":
        return authority.user_lines()
    if not authority.ssh_keys:
        return ()
    servers = (*await cluster.proxies(), *await cluster.nodes())
    return authority.host_lines(patterns(authority.cluster_name, servers))


def _only(authority: PublicAuthority, fingerprint: str) -> PublicAuthority:
    """The keys with one fingerprint; that of a TLS certificate is its pin."""
    return evolve(
        authority,
        ssh_keys=tuple(blob for blob in authority.ssh_keys if keys.fingerprint(blob) == fingerprint),
        tls_certificates=tuple(
            pem for pem in authority.tls_certificates if keys.ca_pin(load_certificate_pem(pem)) == fingerprint
        ),
    )


def patterns(cluster_name: str, servers: Iterable[Server]) -> Sequence[str]:
    """The hosts for which the host authority of a cluster vouches, as ``known_hosts`` names them, each once."""
    found = dict.fromkeys([f"*.{cluster_name}"])
    for server in servers:
        found.update(dict.fromkeys(_names(server)))
    return tuple(found)


def _names(server: Server) -> Iterator[str]:
    """How a host is called: nodename, UUID, and its addresses with and without the port.

    OpenSSH looks ``[host]:port`` up where the port is not 22, and ``host`` after that.
    """
    yield from (server.hostname, server.name)
    port = PROXY_PORT if server.kind == "proxy" else NODE_PORT
    for text in filter(None, (server.addr, *server.public_addrs)):
        try:
            address = parse_address(text, port)
        except ValueError:
            continue  # a host may announce what OpenSSH has no pattern for
        yield address.host
        if address.port != SSH_PORT:
            yield f"[{address.host}]:{address.port}"
