"""``tctl break-glass``: a key for the day on which auth, proxy and everybody's certificates are gone."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from teleport_conch.certs import keys
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.cli.answer import Answer, in_the_way
from teleport_conch.cli.commands.export import patterns
from teleport_conch.cli.connection import Connection
from teleport_conch.cli.instants import moment
from teleport_conch.cli.table import inert
from teleport_conch.errors import BadParameter

MIN_PASSPHRASE_CHARS = 12


async def seal(connection: Connection, arguments: Namespace) -> Answer:
    """The key is made here and leaves this command sealed; auth sees its public half only."""
    out: Path = arguments.file
    paths = [out.with_name(out.name + end) for end in ("", "-cert.pub", ".known_hosts")]
    for path in paths:
        if path.exists():
            raise in_the_way(path)
    if len(arguments.passphrase) < MIN_PASSPHRASE_CHARS:
        raise BadParameter(f"The passphrase of an emergency key has at least {MIN_PASSPHRASE_CHARS} characters.")
    key, cluster = keys.generate_tls_key(), connection.cluster
    line = keys.public_line(keys.public_blob(key.public_key()))
    certificate = SSHCertificate.from_line(
        await cluster.sign_emergency(arguments.name, arguments.logins, arguments.addresses, arguments.ttl, line)
    )
    host, servers = await cluster.authority("host"), (*await cluster.proxies(), *await cluster.nodes())
    known_hosts = "".join(f"{each}\n" for each in host.host_lines(patterns(host.cluster_name, servers)))
    texts = (keys.sealed_pem(key, arguments.passphrase), certificate.to_line() + "\n", known_hosts)
    return Answer(lambda: _said(certificate, arguments, paths), files=dict(zip(paths, texts, strict=True)))


def _said(certificate: SSHCertificate, arguments: Namespace, paths: list[Path]) -> str:
    out, _, known_hosts = paths
    return (
        f"The emergency key {inert(certificate.key_id)} is good until {moment(float(certificate.valid_before))}, as"
        f" {inert(', '.join(certificate.principals))}, from {inert(', '.join(arguments.addresses))}.\n"
        f"Keep {', '.join(str(path.name) for path in paths)} together, off the cluster, and the passphrase elsewhere.\n"
        "Nodes take it only while they cannot reach the auth server, over a direct connection:\n\n"
        f"    ssh -p 3022 -i {out.name} -o UserKnownHostsFile={known_hosts.name}"
        f" {inert(certificate.principals[0])}@NODE\n\n"
        f"To shut it out before it ends: tctl lock --user={inert(certificate.key_id)}\n"
    )
