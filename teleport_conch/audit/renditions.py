"""Recordings in other forms, for eyes and for programs: as text, as lines of JSON, and as a cast of asciinema."""

from __future__ import annotations

import codecs
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Protocol

from teleport_conch.audit.playback import instant_of, size_of
from teleport_conch.audit.recording import Kind, Record
from teleport_conch.audit.sequences import Sequences

_PERHAPS_NOT = re.compile("[^\n\t -~]+")
"""All but what is known to be harmless, which most of it is."""


class Rendition(Protocol):
    """Takes records in order, and answers what they add."""

    def take(self, record: Record) -> bytes: ...

    def end(self) -> bytes:
        """What is left where no record follows."""


class Raw:
    """The bytes that were shown, as they are: a terminal obeys them."""

    def take(self, record: Record) -> bytes:
        return record.data if record.kind is Kind.OUTPUT else b""

    def end(self) -> bytes:
        return b""


class Text:
    r"""What was shown, for reading and searching; there is nothing in it that a terminal obeys.

    Whole control sequences (colours, movements of the cursor, titles) are left out. Of other characters that do not
    print, tabs and ends of lines stay, and the rest is written out: ``\x08``, ``\r``, ``\u202e``. So are bytes that are
    not UTF-8.
    """

    def __init__(self) -> None:
        self._sequences = Sequences()
        self._letters = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._return = ""
        self._is_at_start = True

    def take(self, record: Record) -> bytes:
        if record.kind is not Kind.OUTPUT:
            return b""
        found = (each.data for each in self._sequences.feed(record.data) if not each.is_sequence)
        return self._lines("".join(map(self._letters.decode, found)))

    def end(self) -> bytes:
        rest = self._letters.decode(self._sequences.begun, final=True)
        return self._lines(rest) + _inert(self._return).encode()

    def _lines(self, text: str) -> bytes:
        """One more piece of text; a return that moves nothing is not worth a word."""
        text = re.sub("\r+", "\r", self._return + text)
        self._return = "\r" if text.endswith("\r") else ""
        text = text.removesuffix("\r").replace("\r\n", "\n").replace("\n\r", "\n")
        text = text.removeprefix("\r") if self._is_at_start else text
        self._is_at_start = text.endswith("\n") if text else self._is_at_start
        return _inert(text).encode()


def _inert(text: str) -> str:
    return _PERHAPS_NOT.sub(lambda found: "".join(map(_printed, found[0])), text)


def _printed(char: str) -> str:
    return char if char.isprintable() else ascii(char)[1:-1]


class Lines:
    """A line of JSON for each record: ``at_us``, ``kind``, and ``data``.

    That is text for output, or ``{"base64": ...}`` where the bytes are not UTF-8; an object for every other kind.
    """

    def take(self, record: Record) -> bytes:
        data = _exact(record.data) if record.kind is Kind.OUTPUT else record.fields()
        return _json({"at_us": record.at_us, "kind": record.kind.name.lower(), "data": data})

    def end(self) -> bytes:
        return b""


def _exact(data: bytes) -> object:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(data).decode()}


class Cast:
    """A cast of asciinema, version 2: a header, then a line for each output and each new size."""

    def __init__(self) -> None:
        self._letters = codecs.getincrementaldecoder("utf-8")("replace")
        self._has_begun = False
        self._at_us = 0

    def take(self, record: Record) -> bytes:
        begun = self._begin(record.fields() if record.kind is Kind.START else {})
        self._at_us = record.at_us
        if record.kind is Kind.OUTPUT:
            return begun + self._event("o", self._letters.decode(record.data))
        size = size_of(record.fields()) if record.kind is Kind.RESIZE else None
        return begun + (self._event("r", f"{size[0]}x{size[1]}") if size else b"")

    def end(self) -> bytes:
        return self._begin({}) + self._event("o", self._letters.decode(b"", final=True))

    def _begin(self, start: Mapping[str, object]) -> bytes:
        """The header, once."""
        if self._has_begun:
            return b""
        self._has_begun = True
        cols, rows = size_of(start) or (80, 24)
        head: dict[str, object] = {"version": 2, "width": cols, "height": rows}
        started, term = instant_of(start.get("started")), start.get("term")
        if started is not None:
            head["timestamp"] = int(started)
        if isinstance(term, str):
            head["env"] = {"TERM": term}
        return _json(head)

    def _event(self, kind: str, data: str) -> bytes:
        return _json([self._at_us / 1_000_000, kind, data]) if data else b""


def _json(value: object) -> bytes:
    """A line of ASCII, in which everything is escaped that a terminal would obey."""
    return json.dumps(value).encode() + b"\n"
