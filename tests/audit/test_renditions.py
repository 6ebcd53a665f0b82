"""Recordings as text, as JSON and as casts."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.recording import Kind, Record
from teleport_conch.audit.renditions import Cast, Lines, Raw, Rendition, Text
from tests.audit.reels import END, START, output, resize

CUTS = st.lists(
    st.binary(max_size=40) | st.sampled_from((b"\x1b[3", b"1m", b"\x1b]0;x", b"\x07", b"\r", b"\n", b"\xc3"))
)


def rendered(rendition: Rendition, *records: Record) -> bytes:
    return b"".join(map(rendition.take, records)) + rendition.end()


def outputs(*parts: bytes) -> list[Record]:
    return [output(at, part) for at, part in enumerate(parts)]


class RawTests(SynchronousTestCase):
    def test_output_alone(self) -> None:
        self.assertEqual(rendered(Raw(), START, *outputs(b"\x1b[31ma", b"\xff"), END), b"\x1b[31ma\xff")


class TextTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Lines as one reads them; what does not print is written out."""
        for parts, text in (
            ((b"$ ls\r\n", b"a\tb\r\n"), "$ ls\na\tb\n"),
            ((b"\x1b[01;34mdir\x1b[0m",), "dir"),
            ((b"\x1b]0;root@web1\x07# ",), "# "),
            ((b"\x1b[?20", b"04hx"), "x"),
            ((b"10%\r", b"20%\r\r", b"\n"), "10%\\r20%\n"),
            ((b"lss\b\x1b[K",), "lss\\x08"),
            ((b"\x07",), "\\x07"),
            ((b"\xc3", b"\xa9\xff"), "é\\xff"),
            (("\u202e\u009b31m".encode(),), "\\u202e\\x9b31m"),
            ((b"\x1b]0;never closed",), "\\x1b]0;never closed"),
            ((b"end\r",), "end\\r"),
            ((b"\ra\r\n\r", b"b\n", b"\rc\r\n", b"\r\r"), "a\nb\nc\n\\r"),
        ):
            self.assertEqual(rendered(Text(), START, *outputs(*parts), END).decode(), text)

    @given(CUTS)
    def test_T84_inert(self, parts: list[bytes]) -> None:
        """Nothing that a terminal obeys is left, whatever was recorded."""
        text = rendered(Text(), *outputs(*parts)).decode()
        self.assertEqual([char for char in text if not (char.isprintable() or char in "\n\t")], [])

    @given(st.text(st.characters(exclude_categories=("C", "Z")), max_size=50))
    def test_letters_stay(self, text: str) -> None:
        """Plain text is what it was, letter by letter."""
        self.assertEqual(rendered(Text(), *outputs(*(bytes([each]) for each in text.encode()))).decode(), text)


class LinesTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        """Each record has a line."""
        lines = rendered(Lines(), START, output(5, b"\x1b[1ma\xc3\xa9\x7f"), output(6, b"\xff"), resize(7, 9, 8), END)
        self.assertTrue(lines.decode("ascii").replace("\n", "").isprintable())
        start, text, raw, size, end = map(json.loads, lines.splitlines())
        self.assertEqual((start["kind"], start["data"]["session"]["user"]), ("start", "alice"))
        self.assertEqual(text, {"at_us": 5, "kind": "output", "data": "\x1b[1maé\x7f"})
        self.assertEqual(raw, {"at_us": 6, "kind": "output", "data": {"base64": "/w=="}})
        self.assertEqual(size, {"at_us": 7, "kind": "resize", "data": {"cols": 9, "rows": 8}})
        self.assertEqual((end["kind"], end["data"]["complete"]), ("end", True))

    @given(CUTS)
    def test_T84_inert(self, parts: list[bytes]) -> None:
        """The lines are harmless on a terminal: ASCII that prints."""
        for line in rendered(Lines(), *outputs(*parts)).decode("ascii").split("\n"):
            self.assertTrue(line.isprintable())


class CastTests(SynchronousTestCase):
    def test_cast(self) -> None:
        """The header of a cast, and its events, as asciinema's description of version 2 has them."""
        records = (START, output(1_500_000, b"a\xc3"), output(2_000_000, b"\xa9"), resize(3_000_000, 90, 20), END)
        header, *events = map(json.loads, rendered(Cast(), *records).splitlines())
        self.assertEqual(
            header,
            {"version": 2, "width": 100, "height": 30, "timestamp": 1_600_000_000, "env": {"TERM": "xterm"}},
        )
        self.assertEqual(events, [[1.5, "o", "a"], [2.0, "o", "é"], [3.0, "r", "90x20"]])

    def test_start_without_sense(self) -> None:
        """A header there is in any case."""
        no_sizes = {"cols": "x", "rows": 0, "term": 7, "started": "now"}
        for start in ({}, no_sizes, {"started": float("inf")}, {"started": 10**400}):
            (header,) = rendered(Cast(), Record.of(Kind.START, 0, start)).splitlines()
            self.assertEqual(json.loads(header), {"version": 2, "width": 80, "height": 24})
        self.assertEqual(rendered(Cast()).count(b"\n"), 1)

    @given(CUTS)
    def test_bytes(self, parts: list[bytes]) -> None:
        """What is no text is replaced, wherever it was cut."""
        events = [json.loads(line) for line in rendered(Cast(), *outputs(*parts)).splitlines()[1:]]
        self.assertEqual("".join(event[2] for event in events), b"".join(parts).decode(errors="replace"))
