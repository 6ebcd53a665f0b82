"""Calls about access requests: what is sent, what is made of the answers, and how a decision is waited for."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import TypeVar

from attrs import define, evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.client.exchange import Call
from teleport_conch.client.requests import POLL_S, Requests
from teleport_conch.errors import BadParameter, ConnectionProblem, NotFound
from teleport_conch.resources.access_request import AccessRequest, RequestState
from teleport_conch.resources.plugin_data import PluginData
from tests.client.test_people import Stub

PENDING = AccessRequest("r-1", "alice", ("dba",), 1000.0, 4600.0, request_reason="17")
APPROVED = evolve(PENDING, state=RequestState.APPROVED)
_T = TypeVar("_T")


@define
class Answers:
    """A transport that answers one thing after the other."""

    answers: Iterator[object]

    async def call(self, call: Call) -> object:
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


class RequestsTests(SynchronousTestCase):
    def answered(self, answer: object) -> Requests:
        self.stub = Stub(answer)
        return Requests(self.stub)  # type: ignore[arg-type]  # all that it needs of a transport

    def now(self, coroutine: Coroutine[object, object, _T]) -> _T:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))  # type: ignore[arg-type]

    def asked(self) -> tuple[str, str, object, bool]:
        [call] = self.stub.calls
        return call.method, call.path, call.body, call.repeatable

    def test_list(self) -> None:
        self.assertEqual(self.now(self.answered({"items": [PENDING.to_json()]}).all()), (PENDING,))
        self.assertEqual(self.asked(), ("GET", "/v1/access_requests", None, True))

    def test_get_and_remove(self) -> None:
        self.assertEqual(self.now(self.answered(PENDING.to_json()).get("a/b")), PENDING)
        self.assertEqual(self.asked(), ("GET", "/v1/access_requests/a%25b", None, True))
        self.now(self.answered({"message": "ok"}).remove("r-1"))
        self.assertEqual(self.asked(), ("DELETE", "/v1/access_requests/r-1", None, True))

    def test_plugin_data(self) -> None:
        """What plugins keep is asked for again where the answer was lost, and not put there again."""
        kept = PluginData("r-1", {"chat": {"message": "17"}}, 4600.0)
        self.assertEqual(self.now(self.answered(kept.to_json()).plugin_data("r-1")), kept)
        self.assertEqual(self.asked(), ("GET", "/v1/plugin_data/access_request/r-1", None, True))
        requests = self.answered(kept.to_json())
        put = requests.update_plugin_data("r-1", "chat", {"message": "17"}, {"message": ""})
        self.assertEqual(self.now(put), kept)
        body = {"plugin": "chat", "set": {"message": "17"}, "expect": {"message": ""}}
        self.assertEqual(self.asked(), ("PUT", "/v1/plugin_data/access_request/r-1", body, False))

    def test_create(self) -> None:
        """Asked once: the second time it would be another request."""
        self.assertEqual(self.now(self.answered(PENDING.to_json()).create(["dba"], "17")), PENDING)
        body = {"roles": ["dba"], "reason": "17", "user": "", "dry_run": False}
        self.assertEqual(self.asked(), ("POST", "/v1/access_requests", body, False))

    def test_resolve(self) -> None:
        requests = self.answered(APPROVED.to_json())
        how = {"reason": "go", "annotations": {"ticket": ("1",)}, "roles": ("dba",), "delegator": "bob"}
        self.assertEqual(self.now(requests.resolve("r-1", RequestState.APPROVED, **how)), APPROVED)  # type: ignore[arg-type]
        body = {**how, "state": "APPROVED", "annotations": {"ticket": ["1"]}, "roles": ["dba"]}
        self.assertEqual(self.asked(), ("PUT", "/v1/access_requests/r-1/state", body, False))


class WaitTests(SynchronousTestCase):
    def waiting(self, *answers: object) -> Deferred[AccessRequest]:
        self.clock = Clock()
        told = (each.to_json() if isinstance(each, AccessRequest) else each for each in answers)
        requests = Requests(Answers(told))  # type: ignore[arg-type]  # all that it needs of a transport
        return Deferred.fromCoroutine(requests.decided(self.clock, PENDING))

    def test_decided(self) -> None:
        """It is asked again and again, also where auth cannot be reached for a while."""
        waiting = self.waiting(PENDING, ConnectionProblem("away"), APPROVED)
        self.clock.pump([POLL_S] * 2)
        self.assertNoResult(waiting)
        self.clock.advance(POLL_S)
        self.assertEqual(self.successResultOf(waiting), APPROVED)

    def test_removed(self) -> None:
        waiting = self.waiting(NotFound("There is no access request 'r-1'."))
        self.clock.advance(POLL_S)
        self.failureResultOf(waiting, NotFound)

    def test_bounded(self) -> None:
        """Nobody waits for longer than the request does, whatever this computer's clock says and auth answers."""
        waiting = self.waiting(*[ConnectionProblem("away")] * 1800)
        self.clock.pump([POLL_S] * 1799)
        self.assertNoResult(waiting)
        self.clock.advance(POLL_S)
        failure = self.failureResultOf(waiting, NotFound)
        self.assertEqual(str(failure.value), "request r-1 is over, and nobody decided")

    def test_cancelled(self) -> None:
        """Who stops waiting leaves nothing behind."""
        waiting = self.waiting()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ResourceTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        request = evolve(
            APPROVED,
            resolve_reason="go",
            resolve_annotations={"a": ("b", "c")},
            system_annotations={"page": ("x",)},
        )
        self.assertEqual(AccessRequest.from_json(request.to_json()), request)
        spec = request.to_json()["spec"]
        assert isinstance(spec, dict)
        self.assertEqual((spec["state"], spec["roles"]), (2, ["dba"]))

    def test_refused(self) -> None:
        def changed(**spec: object) -> dict[str, object]:
            value = PENDING.to_json()
            old = value["spec"]
            assert isinstance(old, dict)
            return {**value, "spec": {**old, **spec}}

        for value, sentence in (
            (changed(state=9), "access_request.spec.state is from 0 to 3, and not 9."),
            (changed(roles=["x"] * 33), "access_request.spec.roles has more than 32 items."),
            (changed(request_reason="x" * 1025), "access_request.spec.request_reason is longer than 1024 characters."),
            (changed(system_annotations={"a": ["x" * 257]}), "system_annotations.a is longer than 256 characters."),
            ({**PENDING.to_json(), "kind": "role"}, "a resource of kind access_request is due"),
        ):
            error = self.assertRaises(BadParameter, AccessRequest.from_json, value)
            self.assertIn(sentence, error.sentence)
