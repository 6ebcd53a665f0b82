"""A recording, looked at from its first slice to its last: whether they follow one another, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from teleport_conch.audit.playback import instant_of
from teleport_conch.audit.recording import Kind, Reading
from teleport_conch.cli.instants import moment, span
from teleport_conch.cli.recordings import size_text
from teleport_conch.errors import BadParameter

Facts = Mapping[str, object]


class Check:
    """Takes a recording piece by piece.

    :ivar start: what the first record says of the session; nothing where there is none.
    :ivar end: what the last record says, if the recording has an end.
    :ivar size: bytes so far.
    """

    def __init__(self) -> None:
        self._reading = Reading()
        self._last_us = 0
        self.start: Facts = {}
        self.end: Facts | None = None
        self.size = 0

    def feed(self, piece: bytes) -> None:
        """:raises BadParameter: the chain is broken, at the slice that the sentence names."""
        self.size += len(piece)
        for each in self._reading.feed(piece):
            for record in each.records:
                self._last_us = max(self._last_us, record.at_us)
                if record.kind is Kind.START:
                    self.start = record.fields()
                elif record.kind is Kind.END:
                    self.end = record.fields()

    def finish(self) -> None:
        """:raises BadParameter: the last slice is not whole."""
        if self._reading.rest:
            raise BadParameter(f"The recording is torn in the middle of slice {self.slices}.")

    @property
    def slices(self) -> int:
        return self._reading.chain.due

    @property
    def head(self) -> str:
        """SHA-256 of the last slice, as 64 hexadecimal digits; it stands for the whole recording."""
        return self._reading.chain.head.hex()

    @property
    def is_over(self) -> bool:
        """Whether the last slice says that it is the last one."""
        return self._reading.chain.over

    def to_json(self) -> dict[str, object]:
        return {
            "slices": self.slices,
            "size": self.size,
            "head": self.head,
            "over": self.is_over,
            "seconds": self._last_us / 1_000_000,
            "start": dict(self.start),
            "end": None if self.end is None else dict(self.end),
        }

    def of_session(self) -> Sequence[tuple[str, str]]:
        """Lines for people, of what the recording itself says of the session."""
        session = self.start.get("session")
        known = session if isinstance(session, Mapping) else {}
        at = instant_of(self.start.get("started"))
        started = "" if at is None else moment(at)
        return [
            ("Session", str(known.get("id", ""))),
            ("User", str(known.get("user", ""))),
            ("Account", f"{known.get('login', '')}@{known.get('server_hostname') or known.get('server_id', '')}"),
            ("From", str(known.get("remote_addr", ""))),
            ("Cluster", str(self.start.get("cluster", ""))),
            ("Started", started),
        ]

    def of_chain(self) -> Sequence[tuple[str, str]]:
        """The same of its slices and its end."""
        return [
            ("Shows", span(self._last_us / 1_000_000)),
            ("Slices", f"{self.slices} ({size_text(self.size)}), each of which follows the one before it"),
            ("Head", self.head),
            ("End", self._ending()),
        ]

    def _ending(self) -> str:
        if self.end is None or not self.is_over:
            return "missing"
        code = self.end.get("exit")
        said = "" if code is None else f", the session ended with {code}"
        if self.end.get("complete") is True:
            return f"there, and nothing is missing{said}"
        return f"there, and the recording is incomplete: {self.end.get('reason') or 'nobody knows why'}"
