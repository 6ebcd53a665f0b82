"""Text of the other side, made fit for a terminal: what it says is shown, what it does to the terminal is not."""

from __future__ import annotations

import unicodedata

_KEPT = frozenset("\n\t")


def plain_text(data: bytes, max_chars: int) -> str:
    """``data`` as text without control and format characters, cut off at ``max_chars``.

    Escape sequences lose the character that makes them work, as does writing from right to left. Line ends become
    single newlines, and what is not UTF-8 is replaced.
    """
    text = data[: 4 * max_chars].decode("utf-8", "replace").replace("\r\n", "\n")
    return "".join(each for each in text if each in _KEPT or unicodedata.category(each)[0] != "C")[:max_chars]
