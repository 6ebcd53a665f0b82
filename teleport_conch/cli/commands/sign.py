"""``tctl auth sign``: a key made here, and a certificate for it; auth gets to see the public half only."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from teleport_conch.certs import keys
from teleport_conch.certs.identity import UserIdentity, openssh_files
from teleport_conch.cli.answer import Answer, in_the_way
from teleport_conch.cli.connection import Authorities, Connection
from teleport_conch.errors import BadParameter


async def sign(connection: Connection, arguments: Namespace) -> Answer:
    form = arguments.form or ("openssh" if arguments.host else "file")
    _check_free(arguments.out, form, arguments.overwrite)
    make = _sign_host if arguments.host else _sign_user
    parts = await make(connection.cluster, arguments, form)
    files = {_path(arguments.out, suffix): text for suffix, text in parts.items()}
    written = f"The credentials have been written to {', '.join(map(str, files))}\n"
    return Answer(lambda: written, files=files, overwrite=arguments.overwrite)


_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "file": ("",),
    "openssh": ("", "-cert.pub"),
    "tls": (".key", ".crt", ".cas"),
}


def _check_free(out: Path, form: str, overwrite: bool) -> None:
    """Look before a certificate is issued that would then have nowhere to go."""
    for path in (_path(out, suffix) for suffix in _SUFFIXES[form]):
        if path.is_dir():
            raise BadParameter(f"--out: {path} is a folder. Name a file in it.")
        if not path.parent.is_dir():
            raise BadParameter(f"--out: there is no folder {path.parent}.")
        if not overwrite and path.exists():
            raise in_the_way(path)


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


def _path(out: Path, suffix: str) -> Path:
    return out.with_name(out.name + suffix)
