"""The host key that a monitor keeps: who makes it, who can read it, and under which name it is certified."""

from __future__ import annotations

import os
import time
from itertools import product
from pathlib import Path
from uuid import uuid4

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.certs import keys, public_key
from teleport_conch.certs.signatures import Signature, verify
from teleport_conch.errors import AccessDenied, BadParameter, TeleportError, UnsafePath
from teleport_conch.ssh.monitor import host_key
from teleport_conch.ssh.monitor.host_key import MAX_HOST_KEYS, FollowedHostKeys, KeptHostKeys
from tests.certs import samples
from tests.ssh.monitor.servers import HOST_BLOB, HOST_KEY, host_certificate

PEM = keys.ssh_private_pem(HOST_KEY)


class KeptCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute() / "monitor"
        self.path = self.folder / "host_key"
        self.log: list[str] = []

    def kept(self) -> KeptHostKeys:
        """What a monitor that is started now has."""
        return KeptHostKeys(folder=self.folder, log=self.log.append)

    def refused(self, kind: type[TeleportError], kept: KeptHostKeys) -> str:
        refusal: TeleportError = self.assertRaises(kind, kept.public)
        return refusal.sentence


class FileTests(KeptCase):
    def test_made(self) -> None:
        """The first monitor makes it, in a file for nobody else; the public half is for everybody."""
        blob = self.kept().public()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(keys.public_blob(keys.load_private_pem(self.path.read_text()).public_key()), blob)
        self.assertEqual((self.folder / "host_key.pub").read_text(), f"{keys.public_line(blob)}\n")
        self.assertEqual((self.folder / "host_key.pub").stat().st_mode & 0o777, 0o644)
        self.assertEqual(self.log, [f"The host key in {self.path} was made."])

    def test_stays(self) -> None:
        """The next one has the same."""
        self.assertEqual(self.kept().public(), self.kept().public())
        self.assertEqual(len(self.log), 1)
        self.assertEqual(sorted(each.name for each in self.folder.iterdir()), ["host_key", "host_key.pub"])

    def test_taken_over(self) -> None:
        """A key that a host had before becomes the one it has, and is no new one any more."""
        self.assertTrue(host_key.is_new(self.folder))
        host_key.keep(self.folder, PEM)
        self.assertFalse(host_key.is_new(self.folder))
        host_key.keep(self.folder, keys.ssh_private_pem(keys.generate_ssh_key()))
        self.assertEqual(self.kept().public(), HOST_BLOB)

    def test_removed(self) -> None:
        """Who removes the key gets a new one, and none is taken over from elsewhere, where it could be anybody's."""
        host_key.keep(self.folder, PEM)
        self.path.unlink()
        self.assertFalse(host_key.is_new(self.folder))
        self.assertNotEqual(self.kept().public(), HOST_BLOB)

    def test_another_kind(self) -> None:
        refusal = self.assertRaises(
            BadParameter, host_key.keep, self.folder, keys.ssh_private_pem(samples.ecdsa_key(256))
        )
        self.assertEqual(refusal.sentence, "The host key is not of the type ssh-ed25519.")
        self.assertTrue(host_key.is_new(self.folder))

    def test_readable(self) -> None:
        """A key that others can read is nobody's."""
        self.kept().public()
        for mode in (0o640, 0o604):
            self.path.chmod(mode)
            self.assertEqual(
                self.refused(UnsafePath, self.kept()),
                f"{self.path} can be read by others than root. Run: chmod 0600 {self.path}",
            )

    def test_writable(self) -> None:
        """Nor is one believed that others could have put there."""
        self.kept().public()
        believed = "is not believed: others than root can write it. Make it root's, with mode 0644 or 0700."
        self.path.chmod(0o620)
        self.assertEqual(self.refused(UnsafePath, self.kept()), f"{self.path} {believed}")
        self.path.chmod(0o600)
        for folder in (self.folder, self.folder.parent):
            mode = folder.stat().st_mode
            folder.chmod(0o777)
            self.assertEqual(self.refused(UnsafePath, self.kept()), f"{folder} {believed}")
            folder.chmod(mode)

    def test_another_owner(self) -> None:
        if os.geteuid() != 0:
            self.skipTest("only root gives files away")
        self.kept().public()
        os.chown(self.path, 65534, 65534)
        self.assertIn("others than root can write it", self.refused(UnsafePath, self.kept()))

    def test_link(self) -> None:
        """A link is followed neither to be read nor to be written."""
        self.folder.mkdir(parents=True)
        elsewhere = self.folder.parent / "elsewhere"
        self.path.symlink_to(elsewhere)
        self.assertIn("cannot be read", self.refused(UnsafePath, self.kept()))
        self.assertFalse(elsewhere.exists())

    def test_no_key(self) -> None:
        self.kept().public()
        self.path.write_text("x")
        self.assertEqual(
            self.refused(UnsafePath, self.kept()),
            f"{self.path} holds no host key: This is not a private key in PEM form, or it has a passphrase.",
        )


class CertificateTests(KeptCase):
    def setUp(self) -> None:
        super().setUp()
        self.keys = self.kept()
        self.blob = self.keys.public()

    def test_both(self) -> None:
        """It signs as the plain key for those who know that, and for those who were shown a certificate."""
        certificate = host_certificate(time.time(), self.blob)
        self.keys.hold("", certificate)
        for blob in (self.blob, certificate.to_blob()):
            self.assertIn(blob, self.keys)
            verify(public_key.parse(self.blob), Signature.parse(self.keys.sign(blob, b"data")), b"data")

    def test_many(self) -> None:
        """Of the certificates the last ones are known, and the key always."""
        made = [host_certificate(time.time() + number, self.blob) for number in range(MAX_HOST_KEYS + 1)]
        for certificate in made:
            self.keys.hold("", certificate)
        self.assertEqual([each.to_blob() in self.keys for each in made], [False, False, True, True, True])
        self.assertIn(self.blob, self.keys)

    def test_key_of_a_server(self) -> None:
        """Whoever asks does not choose the key."""
        refusal = self.assertRaises(AccessDenied, self.keys.hold, PEM, host_certificate(time.time()))
        self.assertEqual(refusal.sentence, "The host key of this host is the monitor's own, and no other is taken.")
        self.assertNotIn(HOST_BLOB, self.keys)

    def test_certificate_for_another_key(self) -> None:
        for certificate in (host_certificate(time.time()), samples.user_certificate(public_key=self.blob)):
            refusal = self.assertRaises(BadParameter, self.keys.hold, "", certificate)
            self.assertEqual(refusal.sentence, "The host certificate is for another key.")
        self.assertFalse((self.folder / "host_name").exists())

    def test_another_name(self) -> None:
        """The first certificate says who this host is, and as what; no later one says that it is another."""
        self.keys.hold("", host_certificate(time.time(), self.blob))
        path = self.folder / "host_name"
        self.assertEqual(path.read_text(), f"{samples.HOST_UUID}.{samples.CLUSTER} (Node)\n")
        other = host_certificate(time.time(), self.blob, str(uuid4()))
        proxy = host_certificate(time.time(), self.blob, role="Proxy")
        asked_for = ((f"{other.key_id} (Node)", other), (f"{proxy.key_id} (Proxy)", proxy))
        for asked, (name, certificate) in product((self.keys, self.kept()), asked_for):
            refusal = self.assertRaises(AccessDenied, asked.hold, "", certificate)
            self.assertEqual(
                refusal.sentence,
                f"The host certificate is for {name}, and this host was {path.read_text().strip()} before."
                f" If that is right, stop the service, remove {path}, and start it.",
            )
            self.assertNotIn(certificate.to_blob(), asked)
        path.unlink()
        self.kept().hold("", other)
        self.assertEqual(path.read_text(), f"{other.key_id} (Node)\n")


class FollowedTests(SynchronousTestCase):
    def test_brought(self) -> None:
        """A server of the monitor's own account brings its key, as many as there are renewals."""
        followed = FollowedHostKeys()
        self.assertEqual(followed.public(), b"")
        followed.hold(PEM, host_certificate(time.time()))
        self.assertIn(HOST_BLOB, followed)
        refusal = self.assertRaises(BadParameter, followed.hold, PEM, host_certificate(time.time(), samples.SSH_BLOB))
        self.assertEqual(refusal.sentence, "The host certificate is for another key.")
