"""Codes of authenticators against the vectors of RFC 6238, and recovery codes."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.auth.people import second_factor
from teleport_conch.auth.people.second_factor import period_of, recovery_digest, spent
from tests.auth.fixture import entropy

SECRET = base64.b32encode(b"12345678901234567890").decode()


class CodeTests(SynchronousTestCase):
    def test_vectors(self) -> None:
        """RFC 6238, appendix B, the last six of eight digits."""
        for now, code in ((59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (20000000000, "353130")):
            self.assertEqual(period_of(SECRET, code, now), now // 30)

    def test_skew(self) -> None:
        """The code of the period before and of the one after are good, and no others."""
        found = [period_of(SECRET, "081804", 1111111109 + off) is not None for off in (-60, -30, 0, 30, 60)]
        self.assertEqual(found, [False, True, True, True, False])

    def test_typed_with_spaces(self) -> None:
        self.assertEqual(period_of(SECRET, " 081 804", 1111111109), 1111111109 // 30)

    def test_used(self) -> None:
        """A code counts once, and so does none from before the last one."""
        period = 1111111109 // 30
        self.assertIsNone(period_of(SECRET, "081804", 1111111109, last_used=period))
        self.assertIsNone(period_of(SECRET, "081804", 1111111109, last_used=period + 1))
        self.assertEqual(period_of(SECRET, "081804", 1111111109, last_used=period - 1), period)

    @given(st.text(max_size=20).filter(lambda text: text.replace(" ", "") not in ("287082", "755224", "359152")))
    def test_anything(self, typed: str) -> None:
        self.assertIsNone(period_of(SECRET, typed, 59))

    def test_secret(self) -> None:
        """160 bits, in the letters that can be typed, and as a QR code has them."""
        secret = second_factor.new_secret(entropy())
        self.assertRegex(secret, "^[A-Z2-7]{32}$")
        self.assertEqual(
            second_factor.uri(SECRET, "alice", "example.com"),
            "otpauth://totp/Teleport:alice%40example.com"
            "?digits=6&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&algorithm=SHA1&issuer=Teleport&period=30",
        )


class RecoveryTests(SynchronousTestCase):
    def test_new(self) -> None:
        """Ten of them, no two alike, in groups of four."""
        codes = second_factor.new_recovery_codes(entropy())
        self.assertEqual((len(codes), len(set(codes))), (10, 10))
        for code in codes:
            self.assertRegex(code, "^([a-z2-7]{4}-){3}[a-z2-7]{4}$")

    def test_once(self) -> None:
        """A code that was used is gone, the others stay; what is none of them changes nothing."""
        codes = second_factor.new_recovery_codes(entropy())
        digests = tuple(map(recovery_digest, codes))
        left = spent(digests, codes[3])
        assert left is not None
        self.assertEqual(left, digests[:3] + digests[4:])
        self.assertIsNone(spent(left, codes[3]))
        self.assertIsNone(spent(digests, ""))
        self.assertIsNone(spent((), codes[3]))

    def test_typed(self) -> None:
        """With or without hyphens, in capitals or not."""
        self.assertEqual(recovery_digest("ABCD efgh-IJKL mnop"), recovery_digest("abcd-efgh-ijkl-mnop"))
