"""What ``tsh status`` and ``tsh --help`` cost, typed all day, against the libraries that they are made of."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from bench.figures import Comparison, at_most
from bench.programs import Broken
from teleport_conch.certs import keys, tls
from teleport_conch.certs.authority import Authority
from teleport_conch.certs.identity import UserIdentity
from teleport_conch.cli.tsh.ssh_config import for_tsh
from teleport_conch.client.profiles import Home, Login, Profile

CLUSTER, PROXY = "bench.example", "proxy.bench.example"
TTL_S = 86_400.0
LIBRARIES = "import yaml, cryptography.x509"


def compare(folder: Path, rounds: int, words: tuple[str, ...]) -> Comparison:
    """Processor seconds of one program from start to exit, taken in turn; compiled modules are where they belong."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["TELEPORT_HOME"] = str(_logged_in(folder / "home"))
    ours = [str(Path(sys.executable).with_name("tsh")), *words]
    theirs = [sys.executable, "-c", LIBRARIES]
    for command in (ours, theirs):
        _cost(command, env)
    pairs = [(_cost(ours, env), _cost(theirs, env)) for _ in range(rounds)]
    mine, other = zip(*pairs, strict=True)
    return Comparison(f"tsh {' '.join(words)} (the other: imports)", "s", at_most(1.5), mine, other)


def _cost(command: list[str], env: dict[str, str]) -> float:
    before = _children_s()
    done = subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise Broken(f"{command} exited with {done.returncode}: {done.stderr.decode()}")
    return _children_s() - before


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _logged_in(folder: Path) -> Path:
    """A folder in which somebody is logged in."""
    key, now = keys.generate_tls_key(), time.time()
    user, host = Authority.generate("user", CLUSTER, now), Authority.generate("host", CLUSTER, now)
    blob, public = keys.public_blob(key.public_key()), key.public_key()
    ssh = user.sign_user_ssh(blob, name="alice", logins=["root"], roles=["access"], traits={}, ttl_s=TTL_S, now=now)
    own = user.sign_user_tls(public, name="alice", logins=["root"], roles=["access"], traits={}, ttl_s=TTL_S, now=now)
    profile = Profile(PROXY, f"{PROXY}:3080", f"{PROXY}:3023", "alice", CLUSTER)
    identity = UserIdentity(
        "alice", CLUSTER, keys.private_pem(key), ssh.to_line(), tls.certificate_pem(own), (host.public(),)
    )
    home = Home(folder)
    home.save(Login(profile, identity), for_tsh(home, profile))
    return folder
