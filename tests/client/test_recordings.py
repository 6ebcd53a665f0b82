"""Calls about recorded sessions: what is sent, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.client.exchange import Call
from teleport_conch.client.recordings import Recordings
from teleport_conch.errors import BadParameter
from teleport_conch.resources.recording import Recording, RecordingState

SID = "0c2b8d3c-9c2b-4a4f-8f2e-8d38b1d85f00"
ONE = Recording(SID, "alice", "root", "web1-uuid", "web1", 1000.0, 1060.5, ("alice",), 12, 1, "ab" * 32)
_T = TypeVar("_T")


@define
class Stub:
    """A transport that answers one thing, and remembers what it was asked."""

    answer: object
    calls: list[Call] = field(factory=list)

    async def call(self, call: Call) -> object:
        self.calls.append(call)
        return self.answer

    async def call_for_bytes(self, call: Call) -> object:
        return await self.call(call)


class RecordingsTests(SynchronousTestCase):
    def answered(self, answer: object) -> Recordings:
        self.stub = Stub(answer)
        return Recordings(self.stub)  # type: ignore[arg-type]  # all that it needs of a transport

    def now(self, coroutine: Coroutine[object, object, _T]) -> _T:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))  # type: ignore[arg-type]

    def asked(self) -> tuple[str, str, object]:
        [call] = self.stub.calls
        self.assertTrue(call.repeatable)
        return call.method, call.url.partition("/v1/namespaces/default/")[2], call.body

    def test_send(self) -> None:
        """The bytes as they are."""
        answer = {"next": 3, "head": "ab" * 32}
        self.assertEqual(self.now(self.answered(answer).send_slice(SID, b"\x00slice")), (3, "ab" * 32))
        self.assertEqual(self.asked(), ("POST", f"sessions/{SID}/slices", b"\x00slice"))

    def test_list(self) -> None:
        self.assertEqual(self.now(self.answered({"items": [ONE.to_json()]}).all()), (ONE,))
        self.assertEqual(self.asked(), ("GET", "recordings", None))

    def test_list_some(self) -> None:
        recordings = self.answered({"items": []})
        self.assertEqual(self.now(recordings.all(from_=10, to=20.5, user="a&b", node="web1", limit=100)), ())
        self.assertEqual(self.asked(), ("GET", "recordings?from=10&to=20.5&limit=100&user=a%26b&node=web1", None))

    def test_one(self) -> None:
        """What somebody typed stays one part of the path."""
        self.assertEqual(self.now(self.answered(ONE.to_json()).get("../x")), ONE)
        self.assertEqual(self.asked(), ("GET", "recordings/..%25x", None))

    def test_stream_and_remove(self) -> None:
        self.assertEqual(self.now(self.answered(b"\x00rest").stream(SID, 7)), b"\x00rest")
        self.assertEqual(self.asked(), ("GET", f"recordings/{SID}/stream?offset=7", None))
        self.now(self.answered({"message": "ok"}).remove(SID))
        self.assertEqual(self.asked(), ("DELETE", f"recordings/{SID}", None))


class ResourceTests(SynchronousTestCase):
    def test_complete(self) -> None:
        states = {state: Recording(SID, "a", "b", "c", "d", 1.0, state=state).complete for state in RecordingState}
        self.assertEqual([state for state, complete in states.items() if complete], [RecordingState.COMPLETE])

    def test_unknown_state(self) -> None:
        json = ONE.to_json()
        json["spec"] = {**json["spec"], "state": "lost"}  # type: ignore[dict-item]  # it is an object
        refusal: BadParameter = self.assertRaises(BadParameter, Recording.from_json, json)
        self.assertEqual(
            refusal.sentence, "session.spec.state is 'lost'; the states are recording, complete, incomplete."
        )
