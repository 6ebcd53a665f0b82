"""Recorded sessions: what is known of each beside what it shows."""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from teleport_conch.errors import BadParameter
from teleport_conch.resources.fields import Fields, envelope

KIND = "session"
"""Of recordings in rules and resources, as in Teleport; active sessions are of the kind ``ssh_session``."""
MAX_PARTICIPANTS = 64


class RecordingState(Enum):
    """What has become of a recording.

    ``INCOMPLETE``: something of the session is missing, or nothing came for a long time. Where its last slice did not
    come, it may still.
    """

    RECORDING = "recording"
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"


@frozen
class Recording:
    """The recording of one session.

    :param id: of the session.
    :param created_at: when the session began, POSIX seconds.
    :param ended_at: when it ended, None where that is not known (yet).
    :param size: bytes of the recording as it is kept.
    :param head: SHA-256 of its last slice, as 64 hexadecimal digits; it stands for the whole recording.
    :param reason: why it is incomplete.
    :param cols: of the terminal at the beginning, as ``rows`` and ``term``, the name of its type.
    """

    id: str
    user: str
    login: str
    server_id: str
    server_hostname: str
    created_at: float
    ended_at: float | None = None
    participants: tuple[str, ...] = ()
    size: int = 0
    slices: int = 0
    head: str = ""
    state: RecordingState = RecordingState.RECORDING
    reason: str = ""
    cols: int = 0
    rows: int = 0
    term: str = ""

    @property
    def complete(self) -> bool:
        """Whether its last slice is there, and says that nothing is missing."""
        return self.state is RecordingState.COMPLETE

    def to_json(self) -> dict[str, object]:
        return {
            "kind": KIND,
            "version": "v2",
            "metadata": {"name": self.id, "namespace": "default"},
            "spec": {
                "user": self.user,
                "login": self.login,
                "server_id": self.server_id,
                "server_hostname": self.server_hostname,
                "participants": list(self.participants),
                "created": self.created_at,
                "ended": self.ended_at,
                "size": self.size,
                "slices": self.slices,
                "head": self.head,
                "complete": self.complete,
                "state": self.state.value,
                "reason": self.reason,
                "terminal": {"cols": self.cols, "rows": self.rows, "term": self.term},
            },
        }

    @classmethod
    def from_json(cls, value: object) -> Recording:
        _, metadata, spec = envelope(value, KIND)
        terminal = spec.child("terminal")
        return cls(
            id=metadata.text("name", max_chars=64),
            user=spec.text("user", max_chars=255),
            login=spec.text("login", max_chars=64),
            server_id=spec.text("server_id", max_chars=64),
            server_hostname=spec.text("server_hostname", max_chars=255),
            created_at=spec.number("created"),
            ended_at=spec.instant("ended"),
            participants=spec.texts("participants", MAX_PARTICIPANTS, max_chars=255),
            size=int(spec.number("size", default=0)),
            slices=int(spec.number("slices", default=0)),
            head=spec.text("head", default="", max_chars=64),
            state=_state(spec),
            reason=spec.text("reason", default=""),
            cols=int(terminal.number("cols", default=0)),
            rows=int(terminal.number("rows", default=0)),
            term=terminal.text("term", default="", max_chars=64),
        )


def _state(spec: Fields) -> RecordingState:
    state = spec.text("state", max_chars=16)
    try:
        return RecordingState(state)
    except ValueError:
        known = ", ".join(each.value for each in RecordingState)
        raise BadParameter(f"{spec.where}.state is {state!a}; the states are {known}.") from None
