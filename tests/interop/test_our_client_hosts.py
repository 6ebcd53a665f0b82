"""Whom our SSH client believes to be the host that is meant, and through which it goes on to another."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from attrs import evolve
from twisted.internet.utils import getProcessOutputAndValue

from teleport_conch.certs import keys
from teleport_conch.errors import ConnectionProblem
from teleport_conch.ssh.client.host_offer import HostKeyRefused
from teleport_conch.ssh.client.known_hosts import (
    HostKeyChanged,
    HostKeyRevoked,
    HostKeyUnknown,
)
from teleport_conch.ssh.transport.rekeying import RekeyLimits
from tests.interop.openssh_server import (
    USER,
    OpenSSHServer,
    free_port,
    make_key,
    start_agent,
)
from tests.interop.our_client import MEGABYTES, ClientCase


class HostTests(ClientCase):
    """Threats 57, 106 and 110, against a real server."""

    async def test_wrong_key(self) -> None:
        """Another key is known: refused, whatever the server's certificate says."""
        self.server.start(self)
        self.known = f"[web1]:3022 {make_key(self.folder / 'other')}\n"
        self.assertIn("The host key of [web1]:3022 has changed: ", await self.refused(HostKeyChanged))
        self.assertEqual(self.server.said("Accepted"), 0)

    async def test_unknown(self) -> None:
        """Nothing is known; the fingerprint is that of the server's key."""
        self.server.start(self)
        self.known = ""
        fingerprint = keys.fingerprint(keys.blob_of_line(self.server.public("host_ed25519")))
        self.assertIn(f"which shows ssh-ed25519 {fingerprint}. ", await self.refused(HostKeyUnknown))

    async def test_certificates(self) -> None:
        """Expired, for another name, of another authority: refused, although the plain key is known."""
        self.known += f"[web1]:3022 {self.server.public('host_ed25519')}\n"
        for options, why in (
            (("-n", "web1", "-V", "-2h:-1h"), "seconds ago; get a new one, or compare the clocks."),
            (("-n", "web2", "-V", "-1m:+1h"), "The certificate is not for 'web1'."),
            (("-V", "-1m:+1h"), "The certificate has no principals, so that it is good for nobody."),
            (("-n", "web1", "-V", "-1m:forever"), "The certificate never ends; one that expires is due."),
        ):
            self.server.port = free_port()
            self.server.certify_host("ed25519", *options)
            self.server.start(self)
            sentence = await self.refused(HostKeyRefused)
            self.assertIn("The host certificate of [web1]:3022 is refused: ", sentence)
            self.assertIn(why, sentence)

    async def test_revoked(self) -> None:
        """The key in a certificate that is good is revoked."""
        self.server.start(self)
        self.known += f"@revoked * {self.server.public('host_ed25519')}\n"
        self.assertIn("shows a key that is revoked", await self.refused(HostKeyRevoked))

    async def test_hashed_by_openssh(self) -> None:
        """A file whose names OpenSSH has hashed."""
        self.server.start(self)
        path = self.folder / "known"
        path.write_text(f"[web1]:3022 {self.server.public('host_ed25519')}\n")
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(path)], check=True, capture_output=True)
        self.known = path.read_text()
        self.assertTrue(self.known.startswith("|1|"))
        await self.connected()

    async def test_no_server(self) -> None:
        """A port on which nobody listens, and a server that speaks something else."""
        self.assertEqual(await self.refused(ConnectionProblem), "[web1]:3022 cannot be reached: Connection refused.")


class JumpTests(ClientCase):
    async def test_jump(self) -> None:
        """Through one server to another, with a key of its own for each; eight megabytes and new keys on both."""
        self.server.start(self)
        behind = OpenSSHServer.prepare(self.inner_folder())
        behind.authorize(self.server.public("key"))
        behind.start(self)
        self.known += f"@cert-authority inner {behind.public('host_ca')}\n"
        behind.certify_host("ed25519", "-n", "inner", "-V", "-1m:+1h")
        behind.port = free_port()
        behind.start(self)
        limits = RekeyLimits(data_bytes=1 << 20)
        first = await self.connected(evolve(self.options(), rekey_limits=limits))
        inner = evolve(self.options(name="inner"), rekey_limits=limits)
        second = await self.connected(inner, first.to("127.0.0.1", behind.port))
        data = hashlib.shake_256(b"data").digest(MEGABYTES)
        self.assertTrue((await second.run("cat", data)).out == data)
        second.close()
        self.assertIs(await second.ended(), None)
        self.assertEqual((await first.run("echo still here")).out, b"still here\n")

    def inner_folder(self) -> Path:
        folder = self.folder / "inner"
        folder.mkdir()
        return folder

    async def test_the_first_hops_key(self) -> None:
        """The first hop's key is not that of the second (threat 106)."""
        self.server.start(self)
        self.known = f"[web1]:3022 {self.server.public('host_ed25519')}\n"
        first = await self.connected()
        try:
            await self.connected(self.options(name="inner"), first.to("127.0.0.1", self.server.port))
        except HostKeyUnknown as refusal:
            self.assertIn("No host key is known for [inner]:3022, ", str(refusal))
        else:
            raise self.failureException("it was not refused")

    async def test_not_reachable(self) -> None:
        """A port behind the first server on which nobody listens."""
        self.server.start(self)
        first = await self.connected()
        port = free_port()
        try:
            await self.connected(self.options(name="inner"), first.to("127.0.0.1", port))
        except ConnectionProblem as problem:
            self.assertEqual(
                problem.sentence,
                f"127.0.0.1:{port} cannot be reached through the host in between: Connection refused",
            )
        else:
            raise self.failureException("it was not refused")

    async def test_the_first_one_goes(self) -> None:
        """When the first connection ends, so does what went through it."""
        self.server.start(self)
        first = await self.connected()
        second = await self.connected(endpoint=first.to("127.0.0.1", self.server.port))
        first.close()
        problem = await second.ended()
        self.assertEqual(str(problem), "[web1]:3022 ended the connection without saying why.")


class ExampleTests(ClientCase):
    """The example of the manual."""

    async def run_example(self, *words: str) -> tuple[bytes, bytes, int]:
        agent = start_agent(self, self.folder, self.folder / "key")
        (self.folder / ".ssh").mkdir()
        (self.folder / ".ssh" / "known_hosts").write_text(self.known)
        script = Path(__file__).parents[2] / "examples" / "ssh_run.py"
        variables = {"HOME": str(self.folder), "SSH_AUTH_SOCK": str(agent), "PATH": os.defpath}
        target = f"{USER}@127.0.0.1:{self.server.port}"
        ended = getProcessOutputAndValue(sys.executable, [str(script), target, *words], env=variables)
        out, err, code = await ended
        return out, err, code

    async def test_run(self) -> None:
        """What a command says, and its status."""
        self.server.start(self)
        self.known = f"[127.0.0.1]:{self.server.port} {self.server.public('host_ed25519')}\n"
        self.assertEqual(await self.run_example("echo", "out;", "echo err >&2;", "exit 7"), (b"out\n", b"err\n", 7))

    async def test_refused(self) -> None:
        """A sentence, and no traceback."""
        self.server.start(self)
        self.known = ""
        out, err, code = await self.run_example("id")
        self.assertEqual((out, code), (b"", 1))
        self.assertTrue(err.startswith(b"No host key is known for [127.0.0.1]:"), err)
        self.assertEqual(err.count(b"\n"), 1, err)
