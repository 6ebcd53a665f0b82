"""Passwords: which are refused, how they are kept, and that hashing waits for nobody."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.auth import limits
from teleport_conch.auth.people import passwords
from teleport_conch.auth.people.passwords import Hashing, PasswordHash, check_new, prepared
from teleport_conch.errors import LimitExceeded, PasswordRefused, StorageCorrupt
from tests.auth.fixture import entropy

GUESSED = "This password is among the first that anybody would try; choose several unusual words."


class PolicyTests(SynchronousTestCase):
    def refused(self, password: str, user: str = "alice") -> str:
        reason: PasswordRefused = self.assertRaises(PasswordRefused, check_new, password, user)
        return reason.sentence

    def test_length(self) -> None:
        """12 to 128 characters, as Unicode counts them."""
        short = "A password has at least 12 characters; several words are a good one."
        self.assertEqual([self.refused(each) for each in ("", "tangerine-9")], [short, short])
        self.assertEqual(self.refused("tangerine " * 13), "A password has at most 128 characters.")
        self.assertEqual(self.refused("x" * 1_000_000), "A password has at most 128 characters.")
        self.assertEqual(check_new("tangerine-93", "alice"), b"tangerine-93")
        self.assertEqual(check_new("tangerine " * 12 + "12345678", "alice")[-3:], b"678")

    def test_characters(self) -> None:
        """Any script and any sign, but nothing that no keyboard has."""
        self.assertEqual(check_new("пароль из слов ☂", "alice"), "пароль из слов ☂".encode())
        for password in ("tangerine\0tangerine", "tangerine\x1b[2Jmango", "tangerine\ud800tangerine"):
            self.assertEqual(
                self.refused(password),
                "A password is made of characters that can be typed; this one has a control character.",
            )

    def test_guessed(self) -> None:
        """Common words with digits and signs around, keys in a row, few different letters, the user's own name."""
        for password in (
            *("password1234", "Password!2026", "adminadmin123", "qwertyuiop123", "123456789012", "210987654321"),
            *("abcdefghijklm", "aaaaaaaaaaaa", "abababababab", "Teleport-2026!", "letmein welcome 1", "ALICE-alice-1"),
        ):
            self.assertEqual(self.refused(password), GUESSED, password)
        check_new("alice has a tangerine", "alice")
        check_new("correct horse battery staple", "al")

    def test_same_however_typed(self) -> None:
        """An umlaut is one character or two, and a ligature two letters; it is the same password."""
        self.assertEqual(prepared("über-ﬁnster-Café"), prepared("u\u0308ber-finster-Cafe\u0301"))

    def test_34_no_password(self) -> None:
        for typed in ("", "a\0b", "\ud800", "x" * 129, "x" * 1_000_000):
            self.assertIsNone(prepared(typed))


class HashTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.calls: list[Callable[[], bytes]] = []
        self.patch(passwords, "SCRYPT_LOG2_N", 1)
        self.hashing = Hashing(self.in_pool, entropy())

    async def in_pool(self, call: Callable[[], bytes]) -> bytes:
        self.calls.append(call)
        return call()

    def made(self, password: bytes) -> PasswordHash:
        return self.successResultOf(Deferred.fromCoroutine(self.hashing.make(password)))

    def verify(self, typed: str, kept: PasswordHash | None) -> bool:
        return self.successResultOf(Deferred.fromCoroutine(self.hashing.verify(typed, kept)))

    def test_verify(self) -> None:
        kept = self.made(b"tangerine")
        self.assertEqual([self.verify(typed, kept) for typed in ("tangerine", "mandarin", "")], [True, False, False])

    def test_salted(self) -> None:
        """Two users with one password do not share a hash, and neither is the password."""
        first, second = self.made(b"tangerine"), self.made(b"tangerine")
        self.assertNotEqual((first.salt, first.digest), (second.salt, second.digest))
        self.assertNotIn("digest", repr(first))

    def test_34_35_same_work(self) -> None:
        """No user, no password, a wrong one, a long one, one with a NUL: each costs one hash, and is wrong."""
        kept = self.made(b"tangerine")
        self.calls.clear()
        for typed, against in (("x", None), ("", None), ("x", kept), ("", kept), ("a\0b", kept), ("x" * 1000, kept)):
            self.assertFalse(self.verify(typed, against))
        self.assertEqual(len(self.calls), 6)

    def test_nobodys(self) -> None:
        """It costs what a password costs that is set today, and is never anybody's."""
        nobodys = self.hashing.nobodys()
        self.assertTrue(nobodys.is_current)
        self.assertFalse(self.verify("tangerine", nobodys))

    def test_text(self) -> None:
        """What is stored has its costs in it, and can be read whatever they are today."""
        kept = self.made(b"tangerine")
        self.assertEqual(PasswordHash.from_text(kept.to_text()), kept)
        self.assertRegex(kept.to_text(), r"^scrypt\$1\$8\$3\$[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+$")
        self.patch(passwords, "SCRYPT_LOG2_N", 2)
        self.assertFalse(PasswordHash.from_text(kept.to_text()).is_current)
        self.assertTrue(self.verify("tangerine", kept))

    def test_other_texts(self) -> None:
        good = self.made(b"tangerine").to_text()
        for text in (
            "",
            "bcrypt" + good[6:],
            good.replace("$8$", "$x$"),
            good[:-8],
            good.replace("scrypt$1$", "scrypt$99$"),
        ):
            reason = self.assertRaises(StorageCorrupt, PasswordHash.from_text, text)
            self.assertEqual(reason.sentence, "A stored password is not in a form that this program knows.")

    def test_costs(self) -> None:
        """As much as is asked for by those who measure guessing: 32 MiB, three times over."""
        self.assertEqual((limits.SCRYPT_LOG2_N, limits.SCRYPT_R, limits.SCRYPT_P), (15, 8, 3))

    def test_too_many(self) -> None:
        """So many wait and no more, whatever the passwords are."""
        never: list[Deferred[bytes]] = []

        async def stuck(call: Callable[[], bytes]) -> bytes:
            never.append(Deferred())
            return await never[-1]

        hashing = Hashing(stuck, entropy())
        waiting = [Deferred.fromCoroutine(hashing.verify("x", None)) for _ in range(limits.HASHES_WAITING)]
        failed = self.failureResultOf(Deferred.fromCoroutine(hashing.verify("x", None)), LimitExceeded)
        self.assertEqual(failed.value.sentence, "128 logins are in progress; try again in a few seconds.")
        never[0].callback(b"")
        self.assertFalse(self.successResultOf(waiting[0]))
        self.assertNoResult(Deferred.fromCoroutine(hashing.verify("x", None)))
