"""A recording that is being made: what there is of it, and what may come next."""

from __future__ import annotations

from attrs import define, evolve, frozen

from teleport_conch.audit.recording import MAX_RECORDING_BYTES, Record
from teleport_conch.auth.recordings.slices import Piece
from teleport_conch.errors import BadParameter, RecordingClosed, RecordingOrder, TooLarge
from teleport_conch.resources.recording import Recording


@define(eq=False)
class Made:
    """A recording as far as it is on the disk.

    :ivar head: the digest of its last slice.
    :ivar at_us: the time of its last record, microseconds since the session began.
    :ivar heard_at: when its last slice came, on the clock that nobody sets.
    :ivar end: its last record, once that is there.
    """

    recording: Recording
    head: bytes
    at_us: int
    heard_at: float
    end: Record | None = None

    @property
    def closed(self) -> bool:
        """Whether nothing is added any more."""
        return self.end is not None or self.recording.complete

    def ended_at(self, now: float) -> float:
        """When its last record was made, POSIX seconds; not in the future, whatever its node says."""
        return min(self.recording.created_at + self.at_us / 1e6, max(now, self.recording.created_at))

    def add(self, piece: Piece, heard_at: float) -> None:
        """The slice is on the disk."""
        self.head, self.at_us, self.heard_at = piece.digest, piece.at_us, heard_at
        self.end = piece.end
        size, slices = self.recording.size + len(piece.encoded), piece.header.index + 1
        self.recording = evolve(self.recording, size=size, slices=slices, head=piece.digest.hex())

    def check(self, piece: Piece) -> None:
        """Whether the slice may be added.

        :raises RecordingClosed, RecordingOrder: it is not the one that is due.
        :raises TooLarge: the recording would be. :raises BadParameter: it runs back in time.
        """
        due = self.recording.slices
        if self.closed:
            raise RecordingClosed("The recording has come to its end already, and takes no more.")
        if (piece.header.index, piece.header.previous) != (due, self.head):
            raise RecordingOrder(
                f"Slice {piece.header.index} of the recording does not follow: slice {due} is due, which names the one"
                " before it by its digest.",
                next=due,
                head=self.head.hex(),
                at_us=self.at_us,
            )
        if self.recording.size + len(piece.encoded) > MAX_RECORDING_BYTES:
            raise TooLarge(f"A recording has at most {MAX_RECORDING_BYTES} bytes.", limit=MAX_RECORDING_BYTES)
        if piece.first_us < self.at_us:
            raise BadParameter(f"Slice {due} of the recording runs back in time.")


@frozen
class Next:
    """What is due after a slice that was taken: the index, and the digest that it has to name."""

    index: int
    head: bytes


def nobodys(session_id: str) -> Recording:
    """A recording of which there is nothing yet."""
    return Recording(session_id, "", "", "", "", 0.0)


def about(recording: Recording) -> dict[str, object]:
    """What events say of one."""
    return {
        "sid": recording.id,
        "user": recording.user,
        "login": recording.login,
        "node_id": recording.server_id,
        "node_name": recording.server_hostname,
    }
