"""Recordings as nodes make them."""

from __future__ import annotations

from attrs import define, field

from teleport_conch.audit.recording import NO_DIGEST, Kind, Record, Slice, digest
from tests.auth.fixture import NOW, WEB1

SID = "0c2b8d3c-9c2b-4a4f-8f2e-8d38b1d85f00"
OTHER_SID = "1c2b8d3c-9c2b-4a4f-8f2e-8d38b1d85f01"


def start(sid: str = SID, user: str = "alice", server_id: str = WEB1, started: float = NOW, **more: object) -> Record:
    session = {"id": sid, "user": user, "login": "root", "server_id": server_id, "server_hostname": "web1"}
    session |= {"remote_addr": "192.0.2.7:4000", "interactive": True}  # type: ignore[dict-item]  # of its own shape
    fields: dict[str, object] = {"version": 1, "session": session, "cluster": "example.com", "started": started}
    return Record.of(Kind.START, 0, {**fields, "cols": 80, "rows": 25, "term": "xterm", **more})


def output(data: bytes = b"$ ", at_us: int = 1000) -> Record:
    return Record(Kind.OUTPUT, at_us, data)


def end(at_us: int = 60_000_000, complete: bool = True, reason: str = "") -> Record:
    return Record.of(Kind.END, at_us, {"exit": "0", "complete": complete, "reason": reason})


def encoded(*records: Record, index: int = 0, previous: bytes = NO_DIGEST, last: bool = False) -> bytes:
    return Slice(index, previous, records, last).encode()


@define
class Sample:
    """The slices of one recording, each of which follows the one before."""

    slices: list[bytes] = field(factory=list)

    def add(self, *records: Record, last: bool = False) -> bytes:
        previous = digest(self.slices[-1]) if self.slices else NO_DIGEST
        self.slices.append(encoded(*records, index=len(self.slices), previous=previous, last=last))
        return self.slices[-1]

    @property
    def whole(self) -> bytes:
        return b"".join(self.slices)


def sample(sid: str = SID, **more: object) -> Sample:
    """A recording of three slices."""
    made = Sample()
    made.add(start(sid, **more), output())  # type: ignore[arg-type]  # whatever a start takes
    made.add(output(b"ls\r\n", 2_000_000))
    made.add(output(b"exit\r\n", 50_000_000), end(), last=True)
    return made
