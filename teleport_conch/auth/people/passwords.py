"""Passwords: which may be chosen, how they are kept, and that hashing one never holds up anything else.

A password is taken in Unicode's form NFKC, so that it does not matter on which keyboard it was typed. It is kept as
``scrypt$LOG2_N$R$P$SALT$HASH`` (RFC 7914; salt and hash in base64), with the costs that it was made with, so that these
can be raised: at the next login the password is hashed anew.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata
from collections.abc import Awaitable, Callable
from itertools import pairwise

from attrs import define, field, frozen

from teleport_conch.auth.limits import (
    HASHES_WAITING,
    MAX_PASSWORD_CHARS,
    MIN_PASSWORD_CHARS,
    SCRYPT_LOG2_N,
    SCRYPT_P,
    SCRYPT_R,
)
from teleport_conch.errors import PasswordRefused, StorageCorrupt
from teleport_conch.https.throttle import InProgress

SALT_BYTES = 16
HASH_BYTES = 32
MAX_TYPED_BYTES = 4096
"""Of what is looked at at all; beyond it, it is no password whatever its characters."""
MIN_DIFFERENT_CHARS = 5
MIN_CHARS_BESIDE_NAME = 8
_SPARE_BYTES = 1 << 20

_WORDS = frozenset(
    (
        *("password", "passwort", "passwd", "pass", "secret", "letmein", "welcome", "admin", "administrator", "root"),
        *("login", "teleport", "changeme", "default", "user", "qwerty", "qwertyuiop", "qwertz", "qwertzuiop"),
        *("azerty", "azertyuiop", "asdfghjkl", "asdfgh", "zxcvbnm", "yxcvbnm", "1q2w3e4r", "1qaz2wsx", "iloveyou"),
        *("monkey", "dragon", "master", "football", "baseball", "sunshine", "princess", "superman", "batman"),
        *("trustno1", "starwars", "whatever", "hello", "abc", "test"),
    )
)
"""What the passwords consist of that are tried first, wherever and by whomever."""
_DIGITS = "0123456789"

InPool = Callable[[Callable[[], bytes]], Awaitable[bytes]]
"""Has something done in a thread that may take its time over it."""


def at_once(call: Callable[[], bytes]) -> Awaitable[bytes]:
    """An :data:`InPool` without threads: for programs that have nothing else to do meanwhile."""

    async def done() -> bytes:
        return call()

    return done()


def prepared(typed: str) -> bytes | None:
    """The password that was typed, as it is hashed; None where that cannot be anybody's."""
    if not typed or len(typed) > MAX_TYPED_BYTES:
        return None
    text = unicodedata.normalize("NFKC", typed)
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:  # half of a character
        return None
    if len(text) > MAX_PASSWORD_CHARS or any(unicodedata.category(char) == "Cc" for char in text):
        return None
    return data


def check_new(typed: str, user: str) -> bytes:
    """A password that somebody chose, as it is hashed.

    :param user: the name of the user.
    :raises PasswordRefused: it is too short, too long, cannot be typed everywhere, or is easily guessed.
    """
    if len(typed) > MAX_TYPED_BYTES or len(unicodedata.normalize("NFKC", typed)) > MAX_PASSWORD_CHARS:
        raise PasswordRefused(f"A password has at most {MAX_PASSWORD_CHARS} characters.")
    text = unicodedata.normalize("NFKC", typed)
    if len(text) < MIN_PASSWORD_CHARS:
        raise PasswordRefused(f"A password has at least {MIN_PASSWORD_CHARS} characters; several words are a good one.")
    data = prepared(typed)
    if data is None:
        raise PasswordRefused("A password is made of characters that can be typed; this one has a control character.")
    if _is_obvious(text.casefold(), user.casefold()):
        raise PasswordRefused("This password is among the first that anybody would try; choose several unusual words.")
    return data


def _is_obvious(text: str, user: str) -> bool:
    """Whether a password is the user's name, common words or keys in a row, and next to nothing else."""
    if len(set(text)) < MIN_DIFFERENT_CHARS or _in_a_row(text):
        return True
    if len(user) >= 3 and user in text and len(text.replace(user, "")) < MIN_CHARS_BESIDE_NAME:
        return True
    rest = text
    for word in sorted(_WORDS, key=len, reverse=True):
        rest = rest.replace(word, "")
    return not rest.strip("!.-_?#*@$ " + _DIGITS)


def _in_a_row(text: str) -> bool:
    steps = {(ord(after) - ord(before)) for before, after in pairwise(text)}
    return steps <= {1, -9} or steps <= {-1, 9}


@frozen
class PasswordHash:
    """What is kept of a password. ``n`` is 2 to the power of ``log2_n``."""

    log2_n: int
    r: int
    p: int
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    @property
    def is_current(self) -> bool:
        """Whether it was made with the costs of today."""
        return (self.log2_n, self.r, self.p) == (SCRYPT_LOG2_N, SCRYPT_R, SCRYPT_P)

    def of(self, password: bytes) -> bytes:
        """The hash of a password with this salt and these costs; it takes a quarter of a second, and 32 MiB."""
        n = 1 << self.log2_n
        memory = 128 * self.r * (n + self.p) + _SPARE_BYTES
        return hashlib.scrypt(password, salt=self.salt, n=n, r=self.r, p=self.p, maxmem=memory, dklen=HASH_BYTES)

    def to_text(self) -> str:
        salt, digest = (base64.b64encode(data).decode("ascii") for data in (self.salt, self.digest))
        return f"scrypt${self.log2_n}${self.r}${self.p}${salt}${digest}"

    @classmethod
    def from_text(cls, text: str) -> PasswordHash:
        """:raises StorageCorrupt: it is not what :meth:`to_text` answers."""
        try:
            kind, log2_n, r, p, salt, digest = text.split("$")
            found = cls(int(log2_n), int(r), int(p), base64.b64decode(salt), base64.b64decode(digest))
        except ValueError:
            kind, found = "", None
        if kind != "scrypt" or found is None or not 0 < found.log2_n < 24 or len(found.digest) != HASH_BYTES:
            raise StorageCorrupt("A stored password is not in a form that this program knows.")
        return found


@define(eq=False)
class Hashing:
    """Hashes passwords in threads of its own, of which there are few, with a bounded number that wait.

    :ivar _random: so many random bytes.
    """

    _in_pool: InPool
    _random: Callable[[int], bytes]
    _places: InProgress = field(init=False, factory=lambda: InProgress(HASHES_WAITING, "logins"))

    def nobodys(self) -> PasswordHash:
        """A hash that no password has, and that takes as much work to find that out."""
        salt, digest = self._random(SALT_BYTES), self._random(HASH_BYTES)
        return PasswordHash(SCRYPT_LOG2_N, SCRYPT_R, SCRYPT_P, salt, digest)

    async def make(self, password: bytes) -> PasswordHash:
        """:raises LimitExceeded: too many wait already; so :meth:`verify`."""
        empty = self.nobodys()
        digest = await self._hashed(empty, password)
        return PasswordHash(empty.log2_n, empty.r, empty.p, empty.salt, digest)

    async def verify(self, typed: str, kept: PasswordHash | None) -> bool:
        """Whether the password is the one that is kept. The work is the same whatever it is, and if none is kept."""
        password = prepared(typed)
        against = kept if kept is not None and password is not None else self.nobodys()
        found = await self._hashed(against, password or b"")
        same = hmac.compare_digest(found, against.digest)
        return same and against is kept

    async def _hashed(self, kept: PasswordHash, password: bytes) -> bytes:
        with self._places.one():
            return await self._in_pool(lambda: kept.of(password))
