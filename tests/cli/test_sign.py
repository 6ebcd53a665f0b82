"""``tctl auth sign``, with a real auth service."""

from __future__ import annotations

import json
import os
from pathlib import Path

from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.identity import read_identity_file
from teleport_conch.errors import AccessDenied, AlreadyExists, BadParameter
from tests.cli.auth_host import CLUSTER, AuthHostTestCase


class SignTests(AuthHostTestCase):
    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        await super().setUp()
        self.out = Path(self.mktemp()).absolute()

    async def test_identity_file(self) -> None:
        """One file for a person, with which tctl works from elsewhere as far as the person's roles go."""
        said = await self.tctl("auth", "sign", "--user=alice", "--logins=root,ubuntu", f"--out={self.out}")
        self.assertEqual(said, f"The credentials have been written to {self.out}\n")
        self.assertEqual(self.out.stat().st_mode & 0o777, 0o600)
        identity = read_identity_file(self.out.read_text())
        self.assertEqual((identity.name, identity.cluster_name), ("alice", CLUSTER))
        there = ("-i", str(self.out), f"--auth-server=127.0.0.1:{self.host.port}")
        self.assertIn(CLUSTER, (await self.host.elsewhere(*there, "status")).render("text"))
        with self.assertRaisesRegex(AccessDenied, "alice is not authorized to list token"):
            await self.host.elsewhere(*there, "tokens", "ls")

    async def test_remote_administrator(self) -> None:
        """With the role admin, everything works from elsewhere; nodes are told the address that was used."""
        await self.tctl("auth", "sign", "--user=carol", "--logins=root", "--roles=admin", f"--out={self.out}")
        there = ("-i", str(self.out), f"--auth-server=127.0.0.1:{self.host.port}")
        text = (await self.host.elsewhere(*there, "nodes", "add")).render("text")
        self.assertIn(f"--auth-server=127.0.0.1:{self.host.port}", text)

    async def test_openssh(self) -> None:
        """A key and its certificate, as ssh looks for them."""
        await self.tctl("auth", "sign", "--user=alice", "--logins=root", "--format=openssh", f"--out={self.out}")
        path = self.out.with_name(f"{self.out.name}-cert.pub")
        certificate = SSHCertificate.from_line(path.read_text())
        self.assertEqual((certificate.key_id.partition("@")[0], certificate.principals), ("alice", ("root",)))
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertIn("OPENSSH PRIVATE KEY", self.out.read_text())

    async def test_tls(self) -> None:
        """Three files for TLS programs."""
        await self.tctl("auth", "sign", "--user=alice", "--logins=root", "--format=tls", f"--out={self.out}")
        names = [self.out.with_name(self.out.name + suffix).is_file() for suffix in (".key", ".crt", ".cas")]
        self.assertEqual(names, [True, True, True])

    async def test_host(self) -> None:
        """A host that runs sshd gets what sshd reads."""
        await self.tctl("auth", "sign", "--host=api.example.com,10.0.0.5", f"--out={self.out}")
        line = self.out.with_name(f"{self.out.name}-cert.pub").read_text()
        self.assertEqual({"api.example.com", "10.0.0.5"} - set(SSHCertificate.from_line(line).principals), set())

    async def test_in_the_way(self) -> None:
        """A file that is there is not replaced, and no certificate is issued for nothing."""
        self.out.write_text("precious")
        with self.assertRaisesRegex(AlreadyExists, "exists already. Give --overwrite to replace it, or another --out."):
            await self.tctl("auth", "sign", "--user=alice", "--logins=root", f"--out={self.out}")
        self.assertEqual(self.out.read_text(), "precious")
        self.assertEqual(json.loads(await self.tctl("events", "ls", "--type=cert.create", form="json")), [])
        await self.tctl("auth", "sign", "--user=alice", "--logins=root", f"--out={self.out}", "--overwrite")
        self.assertIn("PRIVATE KEY", self.out.read_text())

    async def test_nowhere(self) -> None:
        """A place where no file can be is refused before anything is signed."""
        for out, sentence in (
            (self.out / "alice", f"--out: there is no folder {self.out}."),
            (self.host.folder, f"--out: {self.host.folder} is a folder. Name a file in it."),
            (Path("."), "--out: . is a folder. Name a file in it."),
        ):
            with self.assertRaises(BadParameter) as refused:
                await self.tctl("auth", "sign", "--user=alice", "--logins=root", f"--out={out}")
            self.assertEqual(refused.exception.sentence, sentence)

    async def test_no_file(self) -> None:
        """What is there and is no file, such as /dev/null, is replaced by nobody, not even by root with --overwrite."""
        os.mkfifo(self.out)
        with self.assertRaises(BadParameter) as refused:
            await self.tctl("auth", "sign", "--user=alice", "--logins=root", f"--out={self.out}", "--overwrite")
        self.assertEqual(refused.exception.sentence, f"--out: {self.out} is a device, a pipe or a socket. Name a file.")
        self.assertTrue(self.out.is_fifo())

    async def test_source_address(self) -> None:
        """What a role binds to an address needs one, and has it then."""
        role = self.host.folder / "pinned.yaml"
        role.write_text("{kind: role, version: v3, metadata: {name: pinned}, spec: {options: {pin_source_ip: yes}}}")
        await self.tctl("create", str(role))
        words = ("auth", "sign", "--user=alice", "--logins=root", "--roles=pinned", f"--out={self.out}")
        with self.assertRaisesRegex(BadParameter, "nobody says which that is: name it with --source-address."):
            await self.tctl(*words)
        await self.tctl(*words, "--format=openssh", "--source-address=192.0.2.7")
        line = self.out.with_name(f"{self.out.name}-cert.pub").read_text()
        self.assertEqual(SSHCertificate.from_line(line).critical_option("source-address"), "192.0.2.7")

    async def test_source_address_without_auth(self) -> None:
        """The same of the storage, while the auth service does not run."""
        await self.host.stop()
        addresses = "--source-address=192.0.2.0/24,2001:db8::1"
        await self.tctl("auth", "sign", "--user=alice", "--logins=root", addresses, f"--out={self.out}")
        identity = read_identity_file(self.out.read_text())
        certificate = SSHCertificate.from_line(identity.ssh_certificate)
        self.assertEqual(certificate.critical_option("source-address"), "192.0.2.0/24,2001:db8::1")
