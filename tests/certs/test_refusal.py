"""What administrators read of a certificate that was refused."""

from __future__ import annotations

from collections.abc import Collection

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.certs import keys
from teleport_conch.certs.certificate import FOREVER, CertificateType, SSHCertificate
from teleport_conch.certs.refusal import Asked, refusal_lines
from teleport_conch.certs.trust import check_ssh_certificate
from teleport_conch.errors import CertificateExpired, CertificateMalformed, CertificateRefused
from tests.certs import samples

NOW = int(samples.NOW)
TRUSTED = [samples.USER_CA.ssh_keys[0].public_blob]
OURS = keys.fingerprint(TRUSTED[0])
KIND = "kind: of a person: good"
AUTHORITY = f"authority: signed by {OURS}, trusted here: {OURS}: good"
SIGNATURE = "signature: over all that it says: good"


class RefusalTests(SynchronousTestCase):
    def lines(
        self, certificate: SSHCertificate, login: str = "root", trusted: Collection[bytes] = TRUSTED, address: str = ""
    ) -> list[str]:
        """The trace of the refusal, behind its first line."""
        refusal = self.assertRaises(
            CertificateRefused,
            check_ssh_certificate,
            certificate,
            type=CertificateType.USER,
            authorities=trusted,
            now=samples.NOW,
            principal=login or None,
            source_address=address or None,
        )
        first, *lines = refusal_lines(certificate, refusal, Asked(login, address, trusted, samples.NOW))
        self.assertEqual(first, f"certificate of {certificate.key_id}, serial {certificate.serial}: refused")
        return lines

    def test_expired(self) -> None:
        """What was good before it, and the times by which it was decided."""
        found = self.lines(samples.user_certificate(valid_after=NOW - 3600, valid_before=NOW - 7))
        self.assertEqual(found[:3], [KIND, AUTHORITY, SIGNATURE])
        times = "time: from 2026-09-21 13:13:20 UTC to 2026-09-21 14:13:13 UTC, here it is 2026-09-21 14:13:20 UTC"
        self.assertEqual(found[3], f"{times}: refused, CERT_EXPIRED")
        self.assertEqual(found[4:], ["to allow it: log in again; if the end was meant to be later, compare the clocks"])

    def test_early(self) -> None:
        """One that is not good yet, and by how much."""
        found = self.lines(samples.user_certificate(valid_after=NOW + 90))
        self.assertTrue(found[3].endswith(": refused, CERT_NOT_YET_VALID"))
        self.assertEqual(found[4:], ["to allow it: compare the clocks, which may differ by 1m30s, or wait"])

    def test_foreign(self) -> None:
        """Whose authority it is, and which are trusted here; nothing after that was looked at."""
        foreign = samples.OTHER_USER_CA.ssh_keys[0]
        theirs = keys.fingerprint(foreign.public_blob)
        self.assertEqual(
            self.lines(foreign.sign(samples.user_certificate())),
            [
                KIND,
                f"authority: signed by {theirs}, trusted here: {OURS}: refused, CERT_CA_UNKNOWN",
                "to allow it: log in to this cluster, or see whether this host has the right authorities",
            ],
        )
        [_, line, _] = self.lines(samples.user_certificate(), trusted=())
        self.assertIn("trusted here: none: refused", line)

    def test_others(self) -> None:
        """Each check that refuses has its line, behind those that were good."""
        limited = samples.user_certificate(critical_options=(("source-address", wire.text("10.0.0.0/8")),))
        unknown = samples.user_certificate(critical_options=(("only-on-sundays", b""),))
        usual = samples.user_certificate()
        for certificate, login, address, line, count in (
            (samples.host_certificate(), "root", "", "kind: of a host: refused, CERT_TYPE", 2),
            (usual, "bob", "", "principal: root, alice, asked for bob: refused, CERT_PRINCIPAL", 6),
            (unknown, "", "", "critical options: only-on-sundays: refused, CERT_CRITICAL_OPTION", 7),
            (limited, "", "192.0.2.7", "address: 192.0.2.7: refused, CERT_SOURCE_ADDRESS", 9),
            (limited, "", "", "address: not known: refused, CERT_SOURCE_ADDRESS", 9),
        ):
            found = self.lines(certificate, login, address=address)
            self.assertEqual((found[-2], len(found)), (line, count))
        endless = self.lines(samples.user_certificate(valid_before=FOREVER))
        self.assertTrue(endless[3].endswith(", without end: refused, CERT_MALFORMED"))

    def test_something_else(self) -> None:
        """What no check stands for is told as it is."""
        odd = CertificateRefused("It is odd.")
        lines = refusal_lines(samples.user_certificate(), odd, Asked("", "", TRUSTED, samples.NOW))
        self.assertEqual(lines[1:], ("certificate: It is odd.",))
        malformed = CertificateMalformed("It is torn.")
        lines = refusal_lines(samples.user_certificate(), malformed, Asked("", "", TRUSTED, samples.NOW))
        self.assertIn("critical options: none: refused, CERT_MALFORMED", lines)

    def test_inert(self) -> None:
        """What somebody wrote into a certificate has no power over a terminal."""
        odd = samples.user_certificate(key_id="\x1b[2J", principals=("\x1b[2J",), valid_before=NOW - 1)
        refusal = CertificateExpired("It has expired.")
        for line in refusal_lines(odd, refusal, Asked("\x1b[2J", "\x1b[2J", TRUSTED, samples.NOW)):
            self.assertTrue(line.isprintable(), line)
