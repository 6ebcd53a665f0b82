"""What has to be right in a slice before it is kept, and what its start and its end say of the recording."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from attrs import evolve, field, frozen

from teleport_conch.audit.inert import inert
from teleport_conch.audit.recording import MAX_SLICE_BYTES, Header, Kind, Record, Slice, digest, read_header
from teleport_conch.auth.hosts.labels import check_printable
from teleport_conch.errors import BadParameter, TooLarge
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.recording import Recording, RecordingState

MAX_REASON_CHARS = 300
MAX_TERMINAL = 65_535
"""Columns and rows that are believed."""
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_session_id(text: str) -> bool:
    """Whether a session may be called so: by a UUID in lower case, and nothing else gets near the name of a file."""
    return _ID.fullmatch(text) is not None


def check_session_id(text: str) -> None:
    """:raises BadParameter: no session is called so."""
    if not is_session_id(text):
        raise BadParameter(f"{text[:64]!a} is not a valid session ID (it must be a UUID).")


@frozen
class Piece:
    """A slice as it came, and what has to be known of it.

    Its records are not kept: a slice of some kilobytes may have as many of them as take megabytes, and many slices wait
    at one time.

    :ivar first_us: when its first record was made, in microseconds of the session. :ivar at_us: when its last one was.
    :ivar start: of the recording, if it is in it. :ivar end: likewise.
    """

    encoded: bytes = field(repr=False)
    digest: bytes
    header: Header
    first_us: int
    at_us: int
    start: Record | None
    end: Record | None


def piece_of(encoded: bytes) -> Piece:
    """A slice that can be played.

    :raises TooLarge: it is larger than slices are.
    :raises BadParameter: it is none, or its records are not those of a recording.
    """
    if len(encoded) > MAX_SLICE_BYTES:
        raise TooLarge(f"A slice of a recording has at most {MAX_SLICE_BYTES} bytes.", limit=MAX_SLICE_BYTES)
    found = Slice.decode(encoded)
    _check_records(found)
    first, last = found.records[0], found.records[-1]
    start, end = first if found.index == 0 else None, last if found.last else None
    return Piece(encoded, digest(encoded), read_header(encoded), first.at_us, last.at_us, start, end)


def _check_records(found: Slice) -> None:
    """A start at the very beginning, an end at the very end, and times that do not run backwards."""
    if not found.records:
        raise BadParameter(f"Slice {found.index} of the recording holds nothing.")
    before, end = 0, len(found.records) - 1
    for number, record in enumerate(found.records):
        if (record.kind is Kind.START) != (found.index == 0 and number == 0):
            raise BadParameter("A recording has a start, at its beginning and nowhere else.")
        if (record.kind is Kind.END) != (found.last and number == end):
            raise BadParameter("A recording has an end in its last slice, behind everything else, and nowhere else.")
        if record.at_us < before:
            raise BadParameter(f"Slice {found.index} of the recording runs back in time.")
        _READ[record.kind](record)
        before = record.at_us


def recording_of(start: Record | None) -> Recording:
    """What the start of a recording says of it.

    :raises BadParameter: there is none, or a field of it is missing or wrong.
    """
    if start is None:
        raise BadParameter("A recording has a start, at its beginning and nowhere else.")
    fields = Fields(start.fields(), "start")
    session = fields.child("session")
    user = session.text("user", max_chars=255)
    found = Recording(
        id=session.text("id", max_chars=64),
        user=user,
        login=session.text("login", max_chars=64),
        server_id=session.text("server_id", max_chars=64),
        server_hostname=session.text("server_hostname", max_chars=255),
        created_at=max(0.0, fields.number("started")),
        participants=(user,),
        cols=_size(fields, "cols"),
        rows=_size(fields, "rows"),
        term=fields.text("term", default="", max_chars=64),
    )
    check_printable("A recording", found.user, found.login, found.server_hostname, found.term)
    return found


def _size(fields: Fields, key: str) -> int:
    """Of a terminal, which clients choose; no larger than one can be."""
    return int(max(0, min(fields.number(key, 0), MAX_TERMINAL)))


@frozen
class End:
    """What the end of a recording says: whether something is missing, and why."""

    complete: bool
    reason: str


def end_of(end: Record) -> End:
    """:raises BadParameter: it cannot be read."""
    fields = Fields(end.fields(), "end")
    complete, reason = fields.boolean("complete", default=False), fields.text("reason", default="")
    return End(complete, "" if complete else inert(reason)[:MAX_REASON_CHARS] or "The node does not say why.")


def ended(recording: Recording, end: End, ended_at: float) -> Recording:
    """The recording with what its end says."""
    state = RecordingState.COMPLETE if end.complete else RecordingState.INCOMPLETE
    return evolve(recording, ended_at=ended_at, state=state, reason=end.reason)


_READ: Mapping[Kind, Callable[[Record], object]] = {
    Kind.START: recording_of,
    Kind.OUTPUT: lambda output: None,
    Kind.RESIZE: Record.fields,
    Kind.END: end_of,
}
"""What finds out whether a record can be read."""
