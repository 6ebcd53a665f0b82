"""Routes about recorded sessions: nodes hand them in, and who may lists, plays and removes them."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from teleport_conch.access.decision import Target
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.limits import (
    LISTS_IN_PROGRESS,
    LISTS_PER_CALLER,
    MAX_RECORDINGS_IN_ANSWER,
    MAX_RECORDINGS_SEARCHED,
    PLAYERS_REMEMBERED,
    PLAYING_REMEMBERED_S,
    RECORDINGS_IN_ANSWER,
)
from teleport_conch.auth.recordings.recordings import Recordings
from teleport_conch.auth.recordings.slices import is_session_id
from teleport_conch.auth.routes.calls import Answer, Call, Encoded, FindTarget, Needs, Octets
from teleport_conch.auth.routes.gate import Gate
from teleport_conch.auth.routes.host_routes import check_namespace
from teleport_conch.auth.state.storing import encode
from teleport_conch.errors import AccessDenied, BadParameter, LimitExceeded, NotFound, StorageFull
from teleport_conch.https.throttle import InProgress, InProgressOfEach
from teleport_conch.resources.recording import KIND, Recording

SLICES = "/v1/namespaces/<namespace>/sessions/<session_id>/slices"
RECORDINGS = "/v1/namespaces/<namespace>/recordings"
RECORDING = f"{RECORDINGS}/<session_id>"


def add(gate: Gate, clocks: Clocks, recordings: Recordings, emit: Emit) -> None:
    """Register the routes."""
    _add_making(gate, recordings)
    _add_listing(gate, recordings)
    _add_playing(gate, clocks, recordings, emit)
    _add_removing(gate, recordings, emit)


def _add_making(gate: Gate, recordings: Recordings) -> None:
    @gate.route("POST", SLICES, Needs("create", KIND, owner="*"))
    async def take(call: Call, namespace: str, session_id: str) -> Answer:
        check_namespace(namespace)
        host_uuid = call.known.caller.host_uuid
        if call.registration is None:
            raise AccessDenied("A session is recorded by the host on which it runs.")
        due = await recordings.making.take(session_id, call.data(), host_uuid, call.address)
        return {"next": due.index, "head": due.head.hex()}


def _add_listing(gate: Gate, recordings: Recordings) -> None:
    lists = InProgress(LISTS_IN_PROGRESS, "lists of recordings")
    own = InProgressOfEach(LISTS_PER_CALLER, "lists of recordings of this caller")

    @gate.route("GET", RECORDINGS, Needs("list", KIND, owner="*", lists_each=True))
    async def every(call: Call, namespace: str) -> Answer:
        check_namespace(namespace)
        wanted = Wanted.of(call)
        with own.one(str(call.known.caller)), lists.one():
            return Encoded(b'{"items":[%b]}' % b",".join(await wanted.found(call, recordings)))

    @gate.route("GET", RECORDING, Needs("list", KIND, target=_finder(recordings)))
    async def one(call: Call, namespace: str, session_id: str) -> Answer:
        check_namespace(namespace)
        return (await recordings.get(session_id)).to_json()


@define
class Wanted:
    """What is asked for in a list."""

    start: float
    end: float
    user: str
    node: str
    limit: int

    @classmethod
    def of(cls, call: Call) -> Wanted:
        """:raises BadParameter: no number, nothing between from and to, or more than a list can hold."""
        limit = int(call.number("limit", RECORDINGS_IN_ANSWER))
        if not 1 <= limit <= MAX_RECORDINGS_IN_ANSWER:
            raise BadParameter(f"A list has 1 to {MAX_RECORDINGS_IN_ANSWER} recordings, and not {limit}.")
        return cls(*call.between(), call.query("user"), call.query("node"), limit)

    async def found(self, call: Call, recordings: Recordings) -> list[bytes]:
        """The newest of those that the caller may list, as JSON.

        :raises LimitExceeded: it would take too long to look for them.
        """
        found, searched = list[bytes](), 0
        async for page in recordings.newest(self.end):
            for recording in page:
                if recording.created_at < self.start or len(found) == self.limit:
                    return found
                if self._fits(recording) and call.may("list", KIND, _about(recording)):
                    found.append(encode(recording.to_json()))
            searched += len(page)
            if searched >= MAX_RECORDINGS_SEARCHED:
                raise LimitExceeded(
                    f"More than {MAX_RECORDINGS_SEARCHED} recordings would have to be looked at: say from and to."
                )
        return found

    def _fits(self, recording: Recording) -> bool:
        people = (recording.user, *recording.participants)
        named = (recording.server_id, recording.server_hostname)
        return self.user in ("", *people) and self.node in ("", *named)


def _add_playing(gate: Gate, clocks: Clocks, recordings: Recordings, emit: Emit) -> None:
    played = Played(clocks, emit)

    @gate.route("GET", f"{RECORDING}/stream", Needs("read", KIND, target=_finder(recordings)))
    async def stream(call: Call, namespace: str, session_id: str) -> Answer:
        check_namespace(namespace)
        offset, recording = call.number("offset", 0), await recordings.get(session_id)
        if offset < 0 or offset != int(offset):
            raise BadParameter("The parameter offset is the byte from which on to read, a whole number.")
        played.tell(call, recording)
        return Octets(await recordings.read(recording, int(offset)))


@define(eq=False)
class Played:
    """Who reads which recording: an event for each, and not for each piece that is read of it."""

    _clocks: Clocks
    _emit: Emit
    _at: dict[tuple[str, str], float] = field(init=False, factory=dict)

    def tell(self, call: Call, recording: Recording) -> None:
        """:raises StorageFull: the event cannot be kept, without which nobody gets anything."""
        now, key = self._clocks.monotonic(), (str(call.known.caller), recording.id)
        if now - self._at.get(key, -PLAYING_REMEMBERED_S) < PLAYING_REMEMBERED_S:
            return
        if not self._emit("session.recording.access", _event(call, recording)):
            raise StorageFull(
                "No recording is played, as the event that says so cannot be kept. The disk of the auth server is full,"
                " or its spool of events: make room there. Its log says more."
            )
        self._at.pop(key, None)
        self._at[key] = now
        if len(self._at) > PLAYERS_REMEMBERED:
            del self._at[next(iter(self._at))]


def _add_removing(gate: Gate, recordings: Recordings, emit: Emit) -> None:
    @gate.route("DELETE", RECORDING, Needs("delete", KIND, target=_finder(recordings)))
    async def remove(call: Call, namespace: str, session_id: str) -> Answer:
        check_namespace(namespace)
        removed = await recordings.remove(session_id)
        what = {"sha256": removed.head, "bytes": removed.size}
        emit("session.recording.delete", {**_event(call, removed), **what})
        return None


def _finder(recordings: Recordings) -> FindTarget:
    """Whose recording a path is about. Who may not have it hears the same where there is none."""

    async def found(parts: Mapping[str, str]) -> Target | None:
        session_id = parts["session_id"]
        try:
            return _about(await recordings.get(session_id)) if is_session_id(session_id) else None
        except NotFound:
            return Target(name=session_id)

    return found


def _about(recording: Recording) -> Target:
    return Target(
        name=recording.id,
        owner=recording.server_id,
        user=recording.user,
        participants=recording.participants,
        resource=recording.to_json(),
    )


def _event(call: Call, recording: Recording) -> dict[str, object]:
    return {
        "sid": recording.id,
        "user": call.by,
        "name": recording.user,
        "node_id": recording.server_id,
        "node_name": recording.server_hostname,
        "addr.remote": call.address,
    }
