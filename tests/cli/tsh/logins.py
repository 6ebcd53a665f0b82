"""Logins on a disk, for the tests of this folder."""

from __future__ import annotations

import time
from pathlib import Path

from teleport_conch.certs import keys, tls
from teleport_conch.certs.identity import UserIdentity
from teleport_conch.cli.tsh.ssh_config import for_tsh
from teleport_conch.client.profiles import Home, Login, Profile
from tests.client.certificates import CLUSTER, HOST_CA, USER_CA

PROXY = "proxy.example.org"


def profile(user: str = "alice", host: str = PROXY) -> Profile:
    """Somebody at a proxy."""
    return Profile(host, f"{host}:3080", f"{host}:3023", user, CLUSTER)


def login(
    user: str = "alice", host: str = PROXY, ttl_s: float = 3600.0, requests: tuple[str, ...] = (), silent: bool = False
) -> Login:
    """A login that was made now.

    :param silent: for old programs: its certificate names no roles.
    """
    key, now = keys.generate_tls_key(), time.time()
    public = key.public_key()
    ssh = USER_CA.sign_user_ssh(
        keys.public_blob(public),
        name=user,
        logins=["root"],
        roles=["access"],
        traits={"team": ("web", "db")},
        ttl_s=ttl_s,
        now=now,
        requests=requests,
        for_old_ssh=silent,
    )
    own = USER_CA.sign_user_tls(public, name=user, logins=["root"], roles=["access"], traits={}, ttl_s=ttl_s, now=now)
    identity = UserIdentity(
        user, CLUSTER, keys.private_pem(key), ssh.to_line(), tls.certificate_pem(own), (HOST_CA.public(),)
    )
    return Login(profile(user, host), identity)


def saved(folder: Path, *logins: Login) -> Home:
    """A folder with these logins, the last of which is the current one."""
    home = Home(folder)
    for each in logins:
        home.save(each, for_tsh(home, each.profile))
    return home
