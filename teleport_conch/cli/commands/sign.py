"""``tctl auth sign``: a key made here, and a certificate for it; auth gets to see the public half only."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping

from teleport_conch.certs import keys
from teleport_conch.certs.identity import UserIdentity, openssh_files
from teleport_conch.cli.answer import Answer
from teleport_conch.cli.connection import Authorities, Connection
from teleport_conch.cli.identity_out import check_free, written


async def sign(connection: Connection, arguments: Namespace) -> Answer:
    form = arguments.form or ("openssh" if arguments.host else "file")
    check_free(arguments.out, form, arguments.overwrite)
    make = _sign_host if arguments.host else _sign_user
    return written(arguments.out, await make(connection.cluster, arguments, form), arguments.overwrite)


async def _sign_user(cluster: Authorities, arguments: Namespace, form: str) -> Mapping[str, str]:
    key = keys.generate_tls_key()
    signed = await cluster.sign_user(
        arguments.user,
        arguments.logins or (),
        arguments.ttl or 0.0,
        keys.public_line(keys.public_blob(key.public_key())),
        public_tls_key=keys.public_pem(key.public_key()),
        roles=arguments.roles or (),
        addresses=arguments.addresses or (),
    )
    host = await cluster.authority("host")
    identity = UserIdentity(
        name=arguments.user,
        cluster_name=host.cluster_name,
        key=keys.private_pem(key),
        ssh_certificate=signed.ssh_certificate,
        tls_certificate=signed.tls_certificate,
        authorities=signed.authorities or (host,),
    )
    return identity.files(form)


async def _sign_host(cluster: Authorities, arguments: Namespace, form: str) -> Mapping[str, str]:
    key = keys.generate_ssh_key()
    line = keys.public_line(keys.public_blob(key.public_key()))
    certificate = await cluster.sign_host(arguments.host, line, arguments.ttl)
    return openssh_files(keys.ssh_private_pem(key), certificate)
