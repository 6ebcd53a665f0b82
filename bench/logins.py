"""A cold ``ssh -J`` that runs ``true``: through our proxy to our node, against two ``sshd`` of OpenSSH.

Client, key, certificate, configuration and known_hosts line are the same for both: the two ``sshd`` take the
certificates of the cluster and show host certificates that the cluster signed for them. The account is that of whoever
measures. Its ``.bashrc``, which bash reads as the first shell of a connection, may take longer than all of SSH; with
``SHLVL=2`` it is not the first.
"""

from __future__ import annotations

import getpass
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.cluster import Auth, auth, member, ready_of
from bench.figures import Comparison, at_most
from bench.programs import LOOPBACK, Broken, Command, free_port, running, timed, wait_for_port, wait_until
from teleport_conch.certs import keys
from teleport_conch.certs.public import PublicAuthority

JUMP, TARGET = "openssh-jump", "openssh-target"
PROXY, NODE = "bench-proxy", "bench-node"
SSHD_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


def compare(folder: Path, rounds: int) -> Comparison:
    """Seconds from the start of ``ssh`` to its end."""
    with auth(folder / "cluster") as running_auth:
        client = _client(folder, running_auth)
        with _openssh(folder, running_auth) as (jump, target), _cluster(running_auth) as (proxy, node):
            ports = {JUMP: jump, TARGET: target, PROXY: proxy, NODE: node}
            configuration = _configuration(folder, client, ports)
            ours: Command = ["ssh", "-F", configuration, "-J", PROXY, NODE, "true"]
            theirs: Command = ["ssh", "-F", configuration, "-J", JUMP, TARGET, "true"]
            _warm(ours, folder)
            _warm(theirs, folder)
            pairs = [(timed(ours), timed(theirs)) for _ in range(rounds)]
    ours_s, theirs_s = zip(*pairs, strict=True)
    return Comparison("cold ssh -J, true (the other: two sshd)", "s", at_most(0.45), ours_s, theirs_s)


def _warm(command: Command, folder: Path) -> None:
    """Until it works: a proxy learns of a new node a moment after auth does."""

    def works() -> bool:
        try:
            timed(command)
        except Broken as problem:
            (folder / "ssh.log").write_text(str(problem))
            return False
        return True

    wait_until(works, "A login", folder / "ssh.log")


@contextmanager
def _cluster(running_auth: Auth) -> Iterator[tuple[int, int]]:
    """The ports of a proxy and a node."""
    with (
        member(running_auth, "proxy", "proxy_service") as proxy,
        member(running_auth, "node", "ssh_service", {"accept_env": ["SHLVL"]}) as node,
    ):
        wait_until(lambda: ready_of(running_auth, NODE), "The node in the list", running_auth.folder / "auth.log")
        yield proxy, node


@contextmanager
def _openssh(folder: Path, running_auth: Auth) -> Iterator[tuple[int, int]]:
    """The ports of two ``sshd``."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd wants it, and the service of Debian makes it
    with _sshd(folder, running_auth, JUMP) as jump, _sshd(folder, running_auth, TARGET) as target:
        yield jump, target


@contextmanager
def _sshd(folder: Path, running_auth: Auth, name: str) -> Iterator[int]:
    program = shutil.which("sshd", path=os.pathsep.join((os.environ.get("PATH", ""), SSHD_PATH)))
    if program is None:
        raise Broken("sshd is missing: apt-get install openssh-server")
    port, key = free_port(), keys.generate_ssh_key()
    line = keys.public_line(keys.public_blob(key.public_key()))
    signed = running_auth.call("POST", "/v1/ca/host/certs", {"principals": [name], "public_ssh_key": line})
    files = {"": keys.ssh_private_pem(key), "-cert.pub": f"{signed['cert']}\n", ".pub": f"{line}\n"}
    _write(folder / name, files)
    user = PublicAuthority.from_json(running_auth.call("GET", "/v1/authorities/user"))
    _write(folder / name, {".user-ca": "\n".join(keys.public_line(blob) for blob in user.ssh_keys) + "\n"})
    options = {
        "ListenAddress": LOOPBACK,
        "Port": port,
        "PidFile": "none",
        "HostKey": folder / name,
        "HostCertificate": folder / f"{name}-cert.pub",
        "TrustedUserCAKeys": folder / f"{name}.user-ca",
        "AuthorizedKeysFile": "none",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "UsePAM": "no",
        "PermitRootLogin": "prohibit-password",
        "StrictModes": "no",
        "AcceptEnv": "SHLVL",
    }
    text = "".join(f"{key} {value}\n" for key, value in options.items())
    _write(folder / name, {".config": text})
    log = folder / f"{name}.log"
    with running([program, "-D", "-e", "-f", folder / f"{name}.config"], log):
        wait_for_port(port, log)
        yield port


def _client(folder: Path, running_auth: Auth) -> Path:
    """A person's key with a certificate, and the line for known_hosts."""
    key = keys.generate_ssh_key()
    line = keys.public_line(keys.public_blob(key.public_key()))
    body = {"user": "bench", "logins": [getpass.getuser()], "ttl": 3600, "public_ssh_key": line}
    signed = running_auth.call("POST", "/v1/ca/user/certs", body)
    _write(folder / "client", {"": keys.ssh_private_pem(key), "-cert.pub": f"{signed['cert']}\n", ".pub": f"{line}\n"})
    host = PublicAuthority.from_json(running_auth.call("GET", "/v1/authorities/host"))
    _write(folder / "client", {".known": "".join(f"{line}\n" for line in host.host_lines(["*"]))})
    return folder / "client"


def _configuration(folder: Path, client: Path, ports: dict[str, int]) -> Path:
    """One configuration for all four servers; our node alone is found by its name, as the proxy knows it."""
    hosts = "".join(f"Host {name}\n  Port {port}\n  HostKeyAlias {name}\n" for name, port in ports.items())
    dialled = f"Host {PROXY} {JUMP} {TARGET}\n  HostName {LOOPBACK}\n"
    common = (
        f"Host *\n  User {getpass.getuser()}\n  IdentityFile {client}\n  CertificateFile {client}-cert.pub\n"
        f"  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {client}.known\n"
        "  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  BatchMode yes\n  ControlPath none\n"
        "  SetEnv SHLVL=2\n"
    )
    return _write(folder / "ssh_config", {"": hosts + dialled + common})


def _write(path: Path, texts: dict[str, str]) -> Path:
    """Files whose names begin alike, for our eyes only."""
    for ending, text in texts.items():
        file = path.with_name(path.name + ending)
        file.write_text(text)
        file.chmod(0o600)
    return path
