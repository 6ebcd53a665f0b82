"""Reader and writer for the data types of SSH (RFC 4251, section 5): bounded, total, and without a copy too many.

A :class:`Reader` either yields what the format promises or raises :class:`WireError`; it never answers short data. The
writers are functions named after the types, whose results are joined with ``b"".join``.
"""

from __future__ import annotations

from collections.abc import Iterable

MAX_STRING_BYTES = 1 << 20


class WireError(ValueError):
    """Bytes that are not what their format says: truncated, too long, or followed by more than is due."""


class Reader:
    """Takes values off the front of ``data``.

    :param max_string: the longest string accepted, in bytes.
    """

    def __init__(self, data: bytes | memoryview, max_string: int = MAX_STRING_BYTES) -> None:
        self._data = memoryview(data)
        self._at = 0
        self._max_string = max_string

    def take(self, count: int) -> bytes:
        """Exactly ``count`` bytes."""
        end = self._at + count
        if end > len(self._data):
            raise WireError(f"{count} bytes are due and {len(self._data) - self._at} are left")
        taken = bytes(self._data[self._at : end])
        self._at = end
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    def boolean(self) -> bool:
        """Any byte but zero is true, as the RFC demands of readers."""
        return self.byte() != 0

    def uint32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def uint64(self) -> int:
        return int.from_bytes(self.take(8), "big")

    def string(self) -> bytes:
        length = self.uint32()
        if length > self._max_string:
            raise WireError(f"a string of {length} bytes, where {self._max_string} is the limit")
        return self.take(length)

    def text(self) -> str:
        """A string that is UTF-8 (strictly: no surrogates, no overlong forms)."""
        try:
            return self.string().decode("utf-8")
        except UnicodeDecodeError as reason:
            raise WireError("a text that is not UTF-8") from reason

    def mpint(self) -> int:
        """A signed number in its shortest form; a longer form is refused."""
        digits = self.string()
        value = int.from_bytes(digits, "big", signed=True)
        if mpint(value)[4:] != digits:
            raise WireError("a number with superfluous leading bytes")
        return value

    def name_list(self) -> tuple[str, ...]:
        try:
            names = self.string().decode("ascii")
        except UnicodeDecodeError as reason:
            raise WireError("a name-list that is not ASCII") from reason
        found = tuple(names.split(",")) if names else ()
        if "" in found:
            raise WireError("an empty name in a name-list")
        return found

    def rest(self) -> bytes:
        """All that is left, perhaps nothing."""
        return self.take(len(self._data) - self._at)

    @property
    def finished(self) -> bool:
        return self._at == len(self._data)

    def end(self) -> None:
        """Refuses what follows the last field that is due."""
        if not self.finished:
            raise WireError(f"{len(self._data) - self._at} bytes too many")


def byte(value: int) -> bytes:
    return value.to_bytes(1, "big")


def boolean(value: bool) -> bytes:
    return b"\1" if value else b"\0"


def uint32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def uint64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def string(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def text(value: str) -> bytes:
    return string(value.encode("utf-8"))


def mpint(value: int) -> bytes:
    if value == 0:
        return uint32(0)
    length = (value if value > 0 else value + 1).bit_length() // 8 + 1
    return string(value.to_bytes(length, "big", signed=True))


def name_list(names: Iterable[str]) -> bytes:
    return string(",".join(names).encode("ascii"))
