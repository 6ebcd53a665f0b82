"""Where the control sequences of a terminal begin and end in a stream of bytes (ECMA-48, and the strings of xterm)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

MAX_SEQUENCE_BYTES = 4096
"""What takes longer to end is text: a string that is never closed would hide all that comes behind it."""

_WHOLE = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI, its parameters, and what it is about
    rb"|\x1b[]PX^_][^\x07\x18\x1a\x1b]*(?:[\x07\x18\x1a]|\x1b\\|(?=\x1b[^\\]))"  # OSC, DCS, SOS, PM, APC: strings
    rb"|\x1b(?:[ -/]+[0-~]|[0-OQ-WYZ\\`-~])"  # the short ones, as those that save the cursor or name a character set
)
_BEGUN = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|[]PX^_][^\x07\x18\x1a\x1b]*\x1b?|[ -/]*)\Z")


@frozen
class Piece:
    """Bytes that are one whole sequence, or that are none."""

    data: bytes
    is_sequence: bool


class Sequences:
    """Tells sequences from text, however the bytes are cut.

    :ivar begun: the beginning of a sequence, whose end has not come yet.
    """

    def __init__(self) -> None:
        self.begun = b""

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The pieces that ``data`` completes, in order."""
        data = self.begun + data
        begun = _BEGUN.search(data)
        end = begun.start() if begun is not None and len(data) - begun.start() <= MAX_SEQUENCE_BYTES else len(data)
        self.begun = data[end:]
        at = 0
        for found in _WHOLE.finditer(data, 0, end):
            if at < found.start():
                yield Piece(data[at : found.start()], is_sequence=False)
            yield Piece(found[0], is_sequence=True)
            at = found.end()
        if at < end:
            yield Piece(data[at:end], is_sequence=False)
