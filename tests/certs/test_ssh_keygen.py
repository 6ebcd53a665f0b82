"""What OpenSSH's own tools make of our certificates, and we of theirs."""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import errors
from teleport_conch.certs import keys
from teleport_conch.certs.certificate import CertificateType, SSHCertificate, verify_signature
from teleport_conch.certs.trust import check_ssh_certificate
from tests.certs import samples
from tests.interop.requirements import require

TYPES = (("ed25519", None), ("ecdsa", 256), ("ecdsa", 384), ("ecdsa", 521), ("rsa", 2048))
WINDOW = "20260101000000:20270101000000"


class KeygenTestCase(SynchronousTestCase):
    """Runs ``ssh-keygen`` in a folder of its own, in English and in UTC."""

    def setUp(self) -> None:
        require("ssh-keygen", "openssh-client")
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def keygen(self, *arguments: str | Path) -> str:
        command = ["ssh-keygen", *map(str, arguments)]
        env = {**os.environ, "TZ": "UTC", "LC_ALL": "C"}
        done = subprocess.run(command, env=env, capture_output=True, check=False, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def made_by_keygen(self, authority: Path, *arguments: str) -> SSHCertificate:
        """The certificate that an authority's key file makes over our sample key."""
        public = self.folder / "key.pub"
        public.write_text(keys.public_line(samples.SSH_BLOB), encoding="ascii")
        self.keygen("-q", "-s", authority, *arguments, public)
        return SSHCertificate.from_line((self.folder / "key-cert.pub").read_text(encoding="ascii"))


@cache
def authority_file(kind: str, bits: int | None) -> Path:
    """A private key file that ``ssh-keygen`` made, for all tests of this module."""
    path = Path(tempfile.mkdtemp(dir=".", prefix="keygen-")) / f"ca_{kind}_{bits}"
    size = () if bits is None else ("-b", str(bits))
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-f", str(path)], check=True, timeout=60)
    return path.absolute()


def blob_of(authority: Path) -> bytes:
    return keys.blob_of_line(authority.with_name(authority.name + ".pub").read_text(encoding="utf-8"))


class OursReadByKeygenTests(KeygenTestCase):
    def listed(self, certificate: SSHCertificate) -> list[str]:
        path = self.folder / "ours-cert.pub"
        path.write_text(certificate.to_line("a comment") + "\n", encoding="ascii")
        return [line.strip() for line in self.keygen("-L", "-f", path).splitlines()][1:]

    def test_user(self) -> None:
        certificate = samples.USER_CA.sign_user_ssh(
            samples.SSH_BLOB,
            name="alice",
            logins=["root", "alice"],
            roles=["access"],
            traits={"team": ["ops"]},
            ttl_s=3600,
            now=samples.NOW,
            critical_options=[("force-command", "uptime"), ("source-address", "10.0.0.0/8,::1")],
        )
        listed = self.listed(certificate)
        authority = keys.fingerprint(samples.USER_CA.ssh_keys[0].public_blob)
        self.assertEqual(
            listed[:14],
            [
                "Type: ssh-ed25519-cert-v01@openssh.com user certificate",
                f"Public key: ED25519-CERT {keys.fingerprint(samples.SSH_BLOB)}",
                f"Signing CA: ED25519 {authority} (using ssh-ed25519)",
                'Key ID: "alice"',
                f"Serial: {certificate.serial}",
                "Valid: from 2026-09-21T14:08:20 to 2026-09-21T15:13:20",
                "Principals:",
                "root",
                "alice",
                "Critical Options:",
                "force-command uptime",
                "source-address 10.0.0.0/8,::1",
                "Extensions:",
                "permit-agent-forwarding",
            ],
        )
        self.assertEqual(listed[14:16], ["permit-port-forwarding", "permit-pty"])
        self.assertTrue(listed[16].startswith("teleport-roles UNKNOWN OPTION: "))
        self.assertTrue(listed[17].startswith("teleport-traits UNKNOWN OPTION: "))

    def test_host(self) -> None:
        listed = self.listed(samples.host_certificate())
        self.assertEqual(listed[0], "Type: ssh-ed25519-cert-v01@openssh.com host certificate")
        self.assertEqual(listed[3], f'Key ID: "{samples.HOST_UUID}.demo.example"')
        self.assertEqual(
            listed[6:12],
            [
                "Principals:",
                *(f"{samples.HOST_UUID}.demo.example", samples.HOST_UUID, "web1.demo.example", "web1", "10.0.0.5"),
            ],
        )
        self.assertEqual(listed[12], "Critical Options: (none)")

    def test_every_type_of_key(self) -> None:
        for name, key in (("RSA", samples.rsa_key()), ("ECDSA", samples.ecdsa_key(384))):
            blob = keys.public_blob(key.public_key())
            certificate = samples.USER_CA.sign_user_ssh(
                blob, name="alice", logins=["root"], roles=[], traits={}, ttl_s=60, now=samples.NOW
            )
            self.assertEqual(self.listed(certificate)[1], f"Public key: {name}-CERT {keys.fingerprint(blob)}")

    def test_fingerprint_and_private_key(self) -> None:
        """Our key files are OpenSSH's, and so are our fingerprints."""
        for name, key in (("ED25519", samples.SSH_KEY), ("ECDSA", samples.TLS_KEY)):
            path = self.folder / name
            path.write_text(keys.ssh_private_pem(key), encoding="ascii")
            path.chmod(0o600)
            blob = keys.public_blob(key.public_key())
            self.assertEqual(self.keygen("-y", "-f", path).split()[:2], keys.public_line(blob).split())
            self.assertIn(keys.fingerprint(blob), self.keygen("-l", "-f", path))

    def test_exported_lines(self) -> None:
        """OpenSSH finds the authority in our known_hosts line, under its pattern and despite the comment."""
        path = self.folder / "known_hosts"
        lines = samples.HOST_CA.public().host_lines(["*.demo.example", "[proxy.demo]:3023"])
        path.write_text("\n".join(lines) + "\n", encoding="ascii")
        for name in ("web1.demo.example", "[proxy.demo]:3023"):
            found = self.keygen("-F", name, "-f", path).splitlines()
            self.assertEqual(found[0], f"# Host {name} found: line 1 CA")
        allowed = self.folder / "ca.pub"
        allowed.write_text(samples.USER_CA.public().user_lines()[0].removeprefix("cert-authority "), encoding="ascii")
        self.assertIn("clustername=demo.example&type=user (ED25519)", self.keygen("-l", "-f", allowed))


class TheirsReadByUsTests(KeygenTestCase):
    def test_user(self) -> None:
        """Every type of authority, with the options that people use."""
        for kind, bits in TYPES:
            path = authority_file(kind, bits)
            certificate = self.made_by_keygen(
                path,
                *("-I", "alice@example.com", "-n", "root,alice", "-z", "42", "-V", WINDOW),
                *("-O", "force-command=ls -l", "-O", "source-address=10.0.0.0/8,192.0.2.7", "-O", "no-pty"),
                *("-O", "critical:verify-required", "-O", "extension:note@example.com=hello"),
            )
            self.assertEqual((certificate.serial, certificate.key_id), (42, "alice@example.com"))
            self.assertEqual(certificate.principals, ("root", "alice"))
            self.assertEqual(certificate.critical_option("force-command"), "ls -l")
            self.assertEqual(certificate.extension("note@example.com"), "hello")
            self.assertEqual(certificate.extension("permit-user-rc"), "")
            self.assertIsNone(certificate.extension("permit-pty"))
            check_ssh_certificate(
                certificate,
                type=CertificateType.USER,
                authorities=(blob_of(path),),
                now=samples.NOW,
                principal="root",
                source_address="10.1.2.3",
            )

    def test_host(self) -> None:
        for kind, bits in TYPES:
            path = authority_file(kind, bits)
            certificate = self.made_by_keygen(path, "-h", "-I", "web1", "-n", "web1.example.com", "-V", WINDOW)
            self.assertEqual((certificate.type, certificate.extensions), (CertificateType.HOST, ()))
            check_ssh_certificate(
                certificate,
                type=CertificateType.HOST,
                authorities=(blob_of(path),),
                now=samples.NOW,
                principal="web1.example.com",
                source_address=None,
            )

    def test_sha1(self) -> None:
        """An RSA authority may sign with SHA-256 and SHA-512, and not with SHA-1."""
        path = authority_file("rsa", 2048)
        for algorithm in ("rsa-sha2-256", "rsa-sha2-512"):
            verify_signature(self.made_by_keygen(path, "-t", algorithm, "-I", "x", "-n", "root"))
        weak = self.made_by_keygen(path, "-t", "ssh-rsa", "-I", "x", "-n", "root")
        error = self.assertRaises(errors.CertificateAlgorithm, verify_signature, weak)
        self.assertIn("'ssh-rsa' is not accepted from a key of the type ssh-rsa", str(error))

    def test_plain(self) -> None:
        """Without options there are no principals and no end: we read it, and believe it for nobody."""
        path = authority_file("ed25519", None)
        certificate = self.made_by_keygen(path, "-I", "x", "-O", "clear")
        self.assertEqual((certificate.principals, certificate.critical_options, certificate.extensions), ((), (), ()))
        verify_signature(certificate)
        with self.assertRaises(errors.CertificateMalformed):
            check_ssh_certificate(
                certificate,
                type=CertificateType.USER,
                authorities=(blob_of(path),),
                now=samples.NOW,
                principal=None,
                source_address=None,
            )
