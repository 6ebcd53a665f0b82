"""tctl break-glass: sealed keys for emergencies."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.cli import reach
from teleport_conch.cli.connecting import execute
from teleport_conch.cli.tctl import parse
from teleport_conch.errors import AlreadyExists, BadParameter
from tests.cli.auth_host import CLUSTER, AuthHostTestCase, the_reactor

PASSPHRASE = "correct horse battery"


class SealTests(AuthHostTestCase):
    async def setUp(self) -> None:  # type: ignore[override]  # as in AuthHostTestCase
        await super().setUp()
        self.out = Path(self.mktemp()).absolute()

    async def seal(self, *words: str, passphrase: str = PASSPHRASE) -> str:
        line = ["-c", str(self.host.config), "break-glass", "--name=ops", "--logins=root,admin", *words, str(self.out)]
        arguments = parse(line)
        arguments.passphrase = passphrase  # which is asked for before
        found = reach.find(arguments.config, (), None)
        answer = await execute(the_reactor, found, arguments)
        answer.write_files()
        return answer.render("text")

    def opened(self, passphrase: str) -> int:
        words = ["ssh-keygen", "-y", "-P", passphrase, "-f", str(self.out)]
        return subprocess.run(words, capture_output=True, check=False, timeout=60).returncode

    async def test_files(self) -> None:
        """A key that only the passphrase opens, a certificate for some logins and addresses, and whom to believe."""
        text = await self.seal("--from=10.0.0.0/8,192.0.2.7", "--ttl=2160h")
        self.assertIn("as root, admin, from 10.0.0.0/8, 192.0.2.7", text)
        self.assertIn("To shut it out before it ends: tctl lock --user=break-glass:ops", text)
        self.assertEqual((self.opened(PASSPHRASE), self.out.stat().st_mode & 0o077), (0, 0))
        self.assertNotEqual(self.opened("another one"), 0)
        certificate = SSHCertificate.from_line(Path(f"{self.out}-cert.pub").read_text())
        self.assertEqual((certificate.key_id, certificate.principals), ("break-glass:ops", ("root", "admin")))
        self.assertEqual(certificate.critical_option("source-address"), "10.0.0.0/8,192.0.2.7")
        self.assertIsNotNone(certificate.critical_option("emergency@teleport-conch"))
        self.assertIsNone(certificate.extension("permit-port-forwarding"))
        self.assertTrue(Path(f"{self.out}.known_hosts").read_text().startswith(f"@cert-authority *.{CLUSTER}"))
        while not (events := json.loads(await self.tctl("events", "ls", "--type=cert.create", form="json"))):
            """They are written in batches."""
        (event,) = events
        self.assertEqual((event["cert_type"], event["name"]), ("emergency", "break-glass:ops"))

    async def test_refused(self) -> None:
        """What would not help anybody, or help too many, is not made; and nothing is replaced."""
        for words, sentence in (
            (("--from=everywhere",), "'everywhere', which is no address or CIDR block"),
            (("--from=10.0.0.0/8", "--ttl=9000h"), "lives for 1m to 366 days, and not for 9000h."),
        ):
            with self.assertRaises(BadParameter) as caught:
                await self.seal(*words)
            self.assertIn(sentence, caught.exception.sentence)
        with self.assertRaises(BadParameter) as caught:
            await self.seal("--from=10.0.0.0/8", passphrase="short")
        self.assertEqual(caught.exception.sentence, "The passphrase of an emergency key has at least 12 characters.")
        await self.seal("--from=10.0.0.0/8")
        with self.assertRaises(AlreadyExists):
            await self.seal("--from=10.0.0.0/8")
