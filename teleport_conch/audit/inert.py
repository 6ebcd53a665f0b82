"""Text from others as it may be printed."""

from __future__ import annotations


def inert(text: str) -> str:
    r"""``text`` on one line, with everything escaped that a terminal would obey or that would hide what is there.

    That is all that Unicode does not call printable: control characters, ESC and so every ANSI and OSC sequence, line
    and paragraph separators, bidirectional overrides, invisible characters, lone surrogates. They become ``\n``,
    ``\x1b``, ``\u202e``; letters of any script stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
