"""``-i FILE``: a login that stands in one file, in place of what ``~/.tsh`` holds. Nothing of it is kept."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve

from teleport_conch.certs.identity import UserIdentity
from teleport_conch.cli.identity_file import read_identity
from teleport_conch.cli.instants import moment
from teleport_conch.cli.tsh.places import parse_proxy
from teleport_conch.cli.tsh.ssh_config import Files
from teleport_conch.client import private_files
from teleport_conch.client.profiles import Login, Profile, beside
from teleport_conch.errors import BadParameter, CertificateExpired


def login_in(arguments: Namespace, now: float | None = None) -> Login:
    """The login of the file. Where the proxy is reached by SSH is empty if the command line does not say it.

    :param now: POSIX seconds.
    :raises BadParameter: no proxy was named, or it is not the user or the cluster that was.
    :raises CertificateExpired: it has ended.
    """
    if not arguments.proxy:
        raise BadParameter("An identity file does not name a proxy: give --proxy=proxy.example.com as well.")
    proxy = parse_proxy(arguments.proxy)
    identity = read_identity(arguments.identity, os.geteuid())
    _check(arguments, identity, time.time() if now is None else now)
    return Login(
        Profile(
            proxy_host=proxy.host,
            web_proxy_addr=proxy.web,
            ssh_proxy_addr=proxy.ssh("", "") if proxy.ssh_port else "",
            user=identity.name,
            cluster=identity.cluster_name,
        ),
        identity,
    )


def _check(arguments: Namespace, identity: UserIdentity, now: float) -> None:
    path = arguments.identity
    for asked, found in ((arguments.user, identity.name), (arguments.cluster, identity.cluster_name)):
        if asked and asked != found:
            raise BadParameter(f"The identity file {path} is for {found}, and not for {asked[:64]!a}.")
    if identity.not_after <= now:
        raise CertificateExpired(
            f"The certificates in {path} ended at {moment(identity.not_after)}. Whoever administers the cluster makes"
            f" new ones with: tctl auth sign --format=file --user={identity.name}"
        )


def with_ssh_address(arguments: Namespace, login: Login) -> Login:
    """The same, once it is known where the proxy is reached by SSH: it is asked for that, and verified by the file.

    :raises SystemExit: it does not answer, or is not a proxy of the cluster.
    """
    if login.profile.ssh_proxy_addr:
        return login
    public, listening = _asked(login)
    address = parse_proxy(arguments.proxy).ssh(public, listening)
    return evolve(login, profile=evolve(login.profile, ssh_proxy_addr=address))


def _asked(login: Login) -> Sequence[str]:
    """What the proxy answers; a refusal has been said already."""
    pems = "".join(pem for authority in login.identity.authorities for pem in authority.tls_certificates)
    words = [sys.executable, "-m", "teleport_conch.cli.tsh.asking", login.profile.web_proxy_addr]
    done = subprocess.run(words, input=pems, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout.splitlines()


def lay_beside(path: Path, login: Login) -> Files:
    """The files of an ssh_config: the identity file, which OpenSSH reads the key and the authority of, and beside it
    the certificate, which it looks for in a file of its own.

    :raises StorageError: the folder cannot be written to.
    """
    key = path.absolute()
    certificate, text = beside(key, "-cert.pub"), f"{login.identity.ssh_certificate.strip()}\n"
    if private_files.read(certificate) != text:
        private_files.write(certificate, text)
    return Files(key, certificate, key)
