"""The examples of the manual, run as they stand there."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.certs import keys
from tests.certs import samples
from tests.interop.requirements import require

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
MAX_LINES = 60


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


class LengthTests(SynchronousTestCase):
    def test_short(self) -> None:
        """An example is read at one glance."""
        for path in sorted(EXAMPLES.glob("*.py")):
            self.assertLessEqual(len(path.read_text(encoding="utf-8").splitlines()), MAX_LINES, path.name)


class ShoutingTests(SynchronousTestCase):
    """The server that is the manual's first."""

    def setUp(self) -> None:
        self.ssh = require("ssh", "openssh-client")
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(mode=0o700)
        now = time.time()
        host = samples.HOST_CA.sign_host_ssh(
            samples.SSH_BLOB,
            host_uuid=samples.HOST_UUID,
            node_name="shouting",
            cluster_name=samples.CLUSTER,
            principals=[],
            role="Node",
            ttl_s=600,
            now=now,
        )
        user = samples.USER_CA.sign_user_ssh(
            samples.SSH_BLOB, name="alice", logins=["alice"], roles=[], traits={}, ttl_s=600, now=now
        )
        (user_ca,), (host_ca,) = samples.USER_CA.public().ssh_keys, samples.HOST_CA.public().ssh_keys
        self.write("key", keys.ssh_private_pem(samples.SSH_KEY))
        self.write("key-cert.pub", user.to_line() + "\n")
        self.write("host-cert.pub", host.to_line() + "\n")
        self.write("user_ca.pub", keys.public_line(user_ca) + "\n")
        self.write("known_hosts", f"@cert-authority shouting {keys.public_line(host_ca)}\n")
        self.port = free_port()

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)

    @contextmanager
    def example(self) -> Iterator[None]:
        files = [str(self.folder / name) for name in ("key", "host-cert.pub", "user_ca.pub")]
        endpoint = f"tcp:{self.port}:interface=127.0.0.1"
        with subprocess.Popen([sys.executable, str(EXAMPLES / "shouting.py"), endpoint, *files]) as program:
            try:
                while program.poll() is None:
                    with socket.socket() as probe:
                        if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                            break
                yield
            finally:
                program.terminate()

    def client(self, login: str, said: bytes) -> subprocess.CompletedProcess[bytes]:
        options = {
            "Port": self.port,
            "HostKeyAlias": "shouting",
            "UserKnownHostsFile": self.folder / "known_hosts",
            "StrictHostKeyChecking": "yes",
            "IdentityFile": self.folder / "key",
            "IdentityAgent": "none",
            "BatchMode": "yes",
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        command = [self.ssh, "-F", "none", *words, f"{login}@127.0.0.1", "anything"]
        return subprocess.run(command, input=said, capture_output=True, timeout=60, check=False)

    def test_shouts(self) -> None:
        """OpenSSH's client gets its own words back, all of them, and the end of it; a stranger gets a reason."""
        with self.example():
            done = self.client("alice", b"hello " * 100_000)
            self.assertEqual((done.returncode, done.stdout), (0, b"HELLO " * 100_000), done.stderr)
            refused = self.client("mallory", b"")
            self.assertEqual((refused.returncode, refused.stdout), (255, b""))
            self.assertIn(b"mallory", refused.stderr)
