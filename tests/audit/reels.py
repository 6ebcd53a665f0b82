"""Recordings for tests."""

from __future__ import annotations

from collections.abc import Sequence

from teleport_conch.audit.recording import NO_DIGEST, Kind, Record, Slice, digest

START = Record.of(
    Kind.START,
    0,
    {
        "version": 1,
        "session": {"id": "0b5c9f1e-5c0a-4f0e-9a63-6d1a54f6a001", "user": "alice", "login": "root"},
        "cluster": "main.example",
        "started": 1_600_000_000,
        "cols": 100,
        "rows": 30,
        "term": "xterm",
    },
)
END = Record.of(Kind.END, 9_000_000, {"exit": "0", "complete": True, "reason": ""})


def output(at_us: int, data: bytes) -> Record:
    return Record(Kind.OUTPUT, at_us, data)


def resize(at_us: int, cols: object, rows: object) -> Record:
    return Record.of(Kind.RESIZE, at_us, {"cols": cols, "rows": rows})


def reel(*records: Record, in_slice: int = 2, last: bool = True) -> list[bytes]:
    """The slices of a recording, with so many records in each."""
    parts = [records[at : at + in_slice] for at in range(0, len(records), in_slice)]
    return slices(parts, last)


def slices(parts: Sequence[Sequence[Record]], last: bool = True) -> list[bytes]:
    made: list[bytes] = []
    for index, part in enumerate(parts):
        previous = digest(made[-1]) if made else NO_DIGEST
        made.append(Slice(index, previous, tuple(part), last and index == len(parts) - 1).encode())
    return made
