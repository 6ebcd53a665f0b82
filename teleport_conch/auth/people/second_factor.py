"""The second factor: codes of an authenticator (RFC 6238), and recovery codes for who has lost it.

Codes have 6 digits, of HMAC-SHA-1 over periods of 30 seconds: what every authenticator knows. The period before and the
one after are accepted too. A code is good once: the period of the last one is kept, and none up to it counts again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

DIGITS = 6
PERIOD_S = 30
SKEW_PERIODS = 1
SECRET_BYTES = 20
RECOVERY_CODES = 10
RECOVERY_BYTES = 10
ISSUER = "Teleport"
OFF = "off"
"""No second factor is asked for."""


def new_secret(random: Callable[[int], bytes]) -> str:
    """A secret in base32, without padding: 160 bits (RFC 4226, section 4)."""
    return base64.b32encode(random(SECRET_BYTES)).decode("ascii")


def uri(secret: str, user: str, cluster: str) -> str:
    """The secret as authenticators read it from a QR code."""
    return _totp(secret).get_provisioning_uri(f"{user}@{cluster}", ISSUER)


def period_of(secret: str, code: str, now: float, last_used: int = -1) -> int | None:
    """The period that a code is of, None where it is of none, or of one that does not count any more.

    :param last_used: the period of the last code that was accepted.
    :param now: POSIX seconds.
    """
    totp, current, found = _totp(secret), int(now) // PERIOD_S, None
    typed = code.replace(" ", "").encode("utf-8", "replace")
    for period in range(current - SKEW_PERIODS, current + SKEW_PERIODS + 1):  # each of them, whichever it is
        right = hmac.compare_digest(totp.generate(max(period, 0) * PERIOD_S), typed)
        if right and period > last_used:
            found = period
    return found


def _totp(secret: str) -> TOTP:
    return TOTP(base64.b32decode(secret), DIGITS, SHA1(), PERIOD_S)  # noqa: S303 - what authenticators know


def new_recovery_codes(random: Callable[[int], bytes]) -> tuple[str, ...]:
    """Codes of 80 bits each, in groups that can be written down."""
    texts = (base64.b32encode(random(RECOVERY_BYTES)).decode("ascii").lower() for _ in range(RECOVERY_CODES))
    return tuple("-".join(text[at : at + 4] for at in range(0, len(text), 4)) for text in texts)


def recovery_digest(code: str) -> str:
    """What is kept of a recovery code, however it was typed. With 80 random bits there is nothing to be guessed."""
    plain = "".join(char for char in code.casefold() if char.isalnum())
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()


def spent(digests: Sequence[str], code: str) -> tuple[str, ...] | None:
    """The digests that are left when a recovery code was used, None where it is none of them."""
    used, left = recovery_digest(code), list[str]()
    for digest in digests:
        if not hmac.compare_digest(digest, used):
            left.append(digest)
    return tuple(left) if len(left) < len(digests) else None
