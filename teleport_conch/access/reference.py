"""Short names of refusals: what a person reads aloud, and the log is searched for."""

from __future__ import annotations

import re
from collections.abc import Callable

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Digits and letters without i, l, o and u, which are taken for others or make words."""
CHARS = 8
RANDOM_BYTES = 5

_WRITTEN = str.maketrans("ilo", "110")
_REFERENCE = re.compile(f"[{ALPHABET}]{{{CHARS}}}")


def new_reference(random: Callable[[int], bytes]) -> str:
    """:param random: so many random bytes."""
    number = int.from_bytes(random(RANDOM_BYTES), "big")
    return "".join(ALPHABET[number >> 5 * at & 31] for at in range(CHARS))


def parse_reference(text: str) -> str | None:
    """The reference that somebody typed, who may have taken one character for another; None for what is none."""
    meant = text.strip().lower().translate(_WRITTEN)
    return meant if _REFERENCE.fullmatch(meant) else None
