"""Calls about robots: what is sent, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.client.bots import Bots, NewBot
from teleport_conch.resources.bot import Bot
from tests.client.test_people import FRESH, Stub

CI = Bot("ci", ("access",), ("deploy",), created_by="bob")
_T = TypeVar("_T")


class BotsTests(SynchronousTestCase):
    def answered(self, answer: object) -> Bots:
        self.stub = Stub(answer)
        return Bots(self.stub)  # type: ignore[arg-type]  # all that it needs of a transport

    def now(self, coroutine: Coroutine[object, object, _T]) -> _T:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))  # type: ignore[arg-type]

    def asked(self) -> tuple[str, str, object, bool]:
        [call] = self.stub.calls
        return call.method, call.path, call.body, call.repeatable

    def test_list(self) -> None:
        self.assertEqual(self.now(self.answered({"items": [CI.to_json()]}).all()), (CI,))
        self.assertEqual(self.asked(), ("GET", "/v1/bots", None, True))

    def test_create(self) -> None:
        bots = self.answered({"token": "ab" * 16, "resource": CI.to_json(), "expires": 9.0})
        made = self.now(bots.create("ci", ["access"], ["deploy"], 60.0))
        self.assertEqual((made, "abab" in repr(made)), (NewBot("ab" * 16, CI, 9.0), False))
        body = {"name": "ci", "roles": ["access"], "logins": ["deploy"], "ttl": 60.0}
        self.assertEqual(self.asked(), ("POST", "/v1/bots", body, False))

    def test_remove(self) -> None:
        self.now(self.answered({"message": "ok"}).remove("a/b"))
        self.assertEqual(self.asked(), ("DELETE", "/v1/bots/a%25b", None, True))

    def test_join_and_renew(self) -> None:
        """Sent once: whoever asks again says so by the keys."""
        keys = {"public_ssh_key": "ssh", "public_tls_key": "tls"}
        renewed = self.now(self.answered({**FRESH, "generation": 1}).join("secret", "ssh", "tls"))
        self.assertEqual((renewed.generation, renewed.login.user), (1, "alice"))
        self.assertEqual(self.asked(), ("POST", "/v1/bots/join", {"token": "secret", **keys}, False))
        self.now(self.answered({**FRESH, "generation": 2}).renew("ssh", "tls"))
        self.assertEqual(self.asked(), ("POST", "/v1/bots/renew", keys, False))
