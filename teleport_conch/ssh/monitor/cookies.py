"""The cookies of a server's offers of algorithms (RFC 4253, section 7.1), by which its monitor knows them again.

The monitor gives each server a key once. A cookie is a number that counts up, encrypted with it: to everybody else
16 random bytes. The monitor signs an exchange only if the cookie in it is one of these and was in no other exchange, so
that what was said to another host, or before a restart, is not signed for once more; and nobody has to ask for cookies.
"""

from __future__ import annotations

import os
from itertools import count

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from teleport_conch.errors import AccessDenied

COOKIE_KEY_BYTES = 16
MAX_OVERTAKEN = 10_000
"""By how many later exchanges one may be overtaken before it is signed, in cookies."""

_ZEROS = bytes(8)
_WINDOW = (1 << MAX_OVERTAKEN) - 1


class Cookies:
    """Makes a server's cookies, each another one."""

    def __init__(self, key: bytes) -> None:
        self._encrypt = _cipher(key).encryptor().update
        self._numbers = count(1)

    def __call__(self) -> bytes:
        return self._encrypt(_ZEROS + next(self._numbers).to_bytes(8, "big"))


class UsedCookies:
    """Knows the cookies of one server, and which of them were used.

    :ivar key: for :class:`Cookies`.
    """

    def __init__(self) -> None:
        self.key = os.urandom(COOKIE_KEY_BYTES)
        self._decrypt = _cipher(self.key).decryptor().update
        self._highest = 0
        self._used = 1
        """Bit n is whether the number that is n below the highest was used."""

    def use(self, cookie: bytes) -> None:
        """Takes note of a cookie of 16 bytes.

        :raises AccessDenied: it is none of ours, was used, or too many others were used since it was made.
        """
        opened = self._decrypt(cookie)
        if opened[:8] != _ZEROS:
            raise AccessDenied("The exchange has a cookie that the monitor did not give out.")
        behind = self._highest - int.from_bytes(opened[8:], "big")
        if behind >= MAX_OVERTAKEN:
            raise AccessDenied(f"The exchange was overtaken by {MAX_OVERTAKEN} others.")
        if behind >= 0 and self._used >> behind & 1:
            raise AccessDenied("The exchange has a cookie that was used before.")
        if behind < 0:
            # A server may have made any number of cookies for clients that went away.
            self._used = (self._used << -behind) & _WINDOW if -behind < MAX_OVERTAKEN else 0
            self._highest -= behind
            behind = 0
        self._used |= 1 << behind


def _cipher(key: bytes) -> Cipher[ECB]:
    # One block is a permutation of 16 bytes, which is all that is wanted; there are no two blocks to compare.
    return Cipher(AES(key), ECB())  # noqa: S305
