"""Texts that others chose, as they may stand in a sentence."""

from __future__ import annotations

MAX_SHOWN_CHARS = 255


def shown(text: str, max_chars: int = MAX_SHOWN_CHARS) -> str:
    """``text``, bounded, and without characters that a terminal obeys."""
    text = text[:max_chars]
    return text if text.isprintable() else ascii(text)[1:-1]
