"""OpenSSH's ``sshd`` and ``ssh-agent`` with files of their own, for as long as a test takes."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from attrs import define, field
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.certs import keys
from tests.interop.failing import Failed
from tests.interop.programs import check, eventually, run
from tests.interop.requirements import require

USER = pwd.getpwuid(os.geteuid()).pw_name
SFTP_SERVER = "/usr/lib/openssh/sftp-server"
KEY_TYPES = ("ed25519", "ecdsa", "rsa")


def private_folder(case: SynchronousTestCase) -> Path:
    """A folder with a short name, as sockets need it, that goes when the test does."""
    folder = Path(tempfile.mkdtemp(prefix="conch-"))
    case.addCleanup(shutil.rmtree, folder, True)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_key(path: Path, kind: str = "ed25519", *more: str) -> str:
    """A new key pair; its public line."""
    program = require("ssh-keygen", "openssh-client")
    check(run(program, "-q", "-t", kind, "-N", "", "-C", "", "-f", str(path), *more))
    return path.with_name(f"{path.name}.pub").read_text().strip()


def write_key(path: Path, key: keys.PrivateKey) -> str:
    """The same with a key that there is already."""
    line = keys.public_line(keys.public_blob(key.public_key()))
    path.touch(mode=0o600)
    path.write_text(keys.ssh_private_pem(key))
    path.with_name(f"{path.name}.pub").write_text(f"{line}\n")
    return line


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def certify(authority: Path, public: Path, *options: str) -> Path:
    """A certificate over a public key, signed with ``ssh-keygen``; its path."""
    program = require("ssh-keygen", "openssh-client")
    check(run(program, "-q", "-s", str(authority), "-I", "interop", *options, str(public)))
    return public.with_name(f"{public.stem}-cert.pub")


def start(case: SynchronousTestCase, command: list[str], log: Path) -> int:
    """Starts a program, which is stopped when the test is over; its process."""
    with log.open("ab") as out:
        program = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True)

    def stop() -> None:
        program.terminate()
        program.wait(10)

    case.addCleanup(stop)
    return program.pid


def wait_for_port(port: int, log: Path) -> None:
    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        eventually(answers, f"a server on port {port}", 10)
    except Failed as late:
        raise Failed(f"{late}\n{log.read_text()}") from None


@define
class OpenSSHServer:
    """One ``sshd``, with a host key of each type, certificates over them for ``web1``, and a user ``USER``.

    :ivar folder: holds ``host_TYPE``, ``host_TYPE-cert.pub``, ``host_ca``, ``user_ca`` and ``authorized``.
    """

    folder: Path
    port: int = field(factory=free_port)

    @classmethod
    def prepare(cls, folder: Path) -> OpenSSHServer:
        """Makes the keys; that of RSA, which takes its time, is the same for every server."""
        server = cls(folder)
        for name in ("host_ca", "user_ca"):
            make_key(folder / name)
        for kind in KEY_TYPES:
            if kind == "rsa":
                write_key(folder / "host_rsa", rsa_key())
            else:
                make_key(folder / f"host_{kind}", kind)
            server.certify_host(kind)
        (folder / "authorized").touch()
        return server

    def certify_host(self, kind: str, *options: str) -> None:
        """A certificate for a host key; for ``web1`` and an hour, unless ``options`` say something else."""
        options = options or ("-n", "web1", "-V", "-1m:+1h")
        certify(self.folder / "host_ca", self.folder / f"host_{kind}.pub", "-h", *options)

    def authorize(self, line: str) -> None:
        with (self.folder / "authorized").open("a") as file:
            file.write(f"{line}\n")

    def public(self, name: str) -> str:
        return (self.folder / f"{name}.pub").read_text().strip()

    def start(self, case: SynchronousTestCase, certified: bool = True, **further: object) -> None:
        """Starts it; ``further`` options win over those here."""
        program = require("sshd", "openssh-server")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        options: dict[str, object] = {
            "ListenAddress": "127.0.0.1",
            "Port": self.port,
            "PidFile": "none",
            "TrustedUserCAKeys": self.folder / "user_ca.pub",
            "AuthorizedKeysFile": self.folder / "authorized",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "UsePAM": "no",
            "PermitRootLogin": "prohibit-password",
            "StrictModes": "no",
            "AcceptEnv": "LC_TEST",
            "Subsystem": f"sftp {SFTP_SERVER}",
            **further,
        }
        lines = [f"{name} {value}" for name, value in options.items()]
        for kind in KEY_TYPES:
            lines.append(f"HostKey {self.folder}/host_{kind}")
            lines += [f"HostCertificate {self.folder}/host_{kind}-cert.pub"] if certified else []
        configuration = self.folder / f"config.{self.port}"
        configuration.write_text("\n".join([*lines, ""]))
        start(case, [program, "-D", "-e", "-f", str(configuration)], self.log)
        wait_for_port(self.port, self.log)

    @property
    def log(self) -> Path:
        return self.folder / f"log.{self.port}"

    def said(self, text: str) -> int:
        """How often its log holds a text."""
        return self.log.read_text().count(text)


def start_agent(case: SynchronousTestCase, folder: Path, *keys: Path) -> Path:
    """An agent with these keys, and the certificates beside them; its socket."""
    path = folder / "agent.sock"
    start(case, [require("ssh-agent", "openssh-client"), "-D", "-a", str(path)], folder / "agent.log")
    eventually(path.exists, "the socket of an agent", 10)
    add = require("ssh-add", "openssh-client")
    for key in keys:
        check(run(add, "-q", str(key), env={"SSH_AUTH_SOCK": str(path), "PATH": os.defpath}))
    return path
