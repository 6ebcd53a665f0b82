"""What a store may be asked for: the form of a key, and how large a value, a batch or a range may be."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from teleport_conch.errors import BadParameter, LimitExceeded, TooLarge

MAX_KEY_CHARACTERS = 512
MAX_VALUE_BYTES = 1_000_000
MAX_RANGE_ITEMS = 10_000
MAX_BATCH_ITEMS = 8192
MAX_BATCH_BYTES = 16 << 20

_NO_SEGMENTS = frozenset(("", ".", ".."))


def check_key(key: str) -> None:
    """:raises BadParameter: *key* is not a path as :class:`~teleport_conch.storage.backend.IBackend` describes it."""
    check_prefix(key)
    if not _NO_SEGMENTS.isdisjoint(key.split("/")):
        raise BadParameter(f"{key!r} is no key: it has a segment that is empty, '.' or '..'.")


def check_prefix(text: str) -> None:
    """:raises BadParameter: no key could begin with, or be compared with, this text."""
    if len(text) > MAX_KEY_CHARACTERS:
        raise BadParameter(f"A key of {len(text)} characters is too long; {MAX_KEY_CHARACTERS} are allowed.")
    if not text.isprintable():
        raise BadParameter(f"{text!r} is no part of a key: it has characters that cannot be printed.")


def check_item(key: str, value: bytes, expires_at: float | None) -> None:
    """:raises BadParameter: the key or the time is none. :raises TooLarge: the value has too many bytes."""
    check_key(key)
    if len(value) > MAX_VALUE_BYTES:
        raise TooLarge(f"The value of {key!r} has {len(value)} bytes; {MAX_VALUE_BYTES} are allowed.", key=key)
    if expires_at is not None and not isfinite(expires_at):
        raise BadParameter(f"{key!r} cannot expire at {expires_at}; give POSIX seconds, or nothing for never.", key=key)


def check_batch(items: Sequence[tuple[str, bytes, float | None]]) -> None:
    """:raises LimitExceeded: too many items. :raises TooLarge: too many bytes, in one of them or in all."""
    if len(items) > MAX_BATCH_ITEMS:
        raise LimitExceeded(f"A batch of {len(items)} items is too long; {MAX_BATCH_ITEMS} are allowed.")
    for key, value, expires_at in items:
        check_item(key, value, expires_at)
    if (size := sum(len(value) for _, value, _ in items)) > MAX_BATCH_BYTES:
        raise TooLarge(f"A batch of {size} bytes is too large; {MAX_BATCH_BYTES} are allowed.")


def check_range(prefix: str, start_after: str, limit: int) -> None:
    """:raises BadParameter: a text that no key has, or a limit outside 1 to 10,000."""
    check_prefix(prefix)
    check_prefix(start_after)
    if not 1 <= limit <= MAX_RANGE_ITEMS:
        raise BadParameter(f"A range of {limit} items cannot be read at once; between 1 and {MAX_RANGE_ITEMS} can.")


def check_prefixes(prefixes: Sequence[str]) -> None:
    """:raises BadParameter: a text that no key has, or one text in place of a list of them."""
    if isinstance(prefixes, str):
        raise BadParameter(f"The prefixes of a watch are a list; {prefixes!r} is one text.")
    for prefix in prefixes:
        check_prefix(prefix)
