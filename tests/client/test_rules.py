"""Calls about roles, locks, settings and leases: what is sent, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.builtin import USER_ROLES
from teleport_conch.access.roles import Role
from teleport_conch.client.exchange import Call
from teleport_conch.client.rules import Rules
from teleport_conch.errors import AlreadyExists, BadParameter
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.preference import AuthPreference
from tests.client.test_people import Stub

DEV = Role("a/b")
_T = TypeVar("_T")


class RulesTests(SynchronousTestCase):
    def answered(self, answer: object) -> Rules:
        self.stub = Stub(answer)
        return Rules(self.stub)  # type: ignore[arg-type]  # all that it needs of a transport

    def now(self, coroutine: Coroutine[object, object, _T]) -> _T:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))  # type: ignore[arg-type]

    def asked(self) -> Call:
        [call] = self.stub.calls
        return call

    def test_all(self) -> None:
        """The list of a kind, as values and as documents."""
        items = {"items": [role.to_json() for role in USER_ROLES.values()]}
        self.assertEqual(self.now(self.answered(items).roles.all()), tuple(USER_ROLES.values()))
        self.assertEqual(list(self.now(self.answered(items).roles.documents())), items["items"])
        self.assertEqual(self.asked().url, "https://teleport.cluster.local/v1/roles")

    def test_one(self) -> None:
        """One by its name, whatever it holds; what is answered has to be of the kind."""
        self.assertEqual(self.now(self.answered(DEV.to_json()).roles.get("a/b")), DEV)
        self.assertEqual(self.asked().path, "/v1/roles/a%2Fb")
        wrong = Deferred.fromCoroutine(self.answered(Lock("x", user="bob").to_json()).roles.get("x"))
        self.failureResultOf(wrong, BadParameter)

    def test_written(self) -> None:
        """What is written may not be sent twice: the second time it would be refused as made on another revision."""
        document = {**DEV.to_json(), "metadata": {"name": "dev", "id": "7"}}
        self.assertEqual(self.now(self.answered(document).roles.create(document)), document)
        self.assertEqual(self.asked(), Call("POST", "/v1/roles", body=document, repeatable=False))
        self.now(self.answered(document).roles.replace("dev", document))
        self.assertEqual(self.asked(), Call("PUT", "/v1/roles/dev", body=document, repeatable=False))
        self.now(self.answered(document).roles.replace("dev", document, force=True))
        self.assertEqual(self.asked().query, (("force", "1"),))

    def test_removed(self) -> None:
        """With a revision, only that one; forced where it is said."""
        for more, query in (({}, ()), ({"revision": "7", "force": True}, (("id", "7"), ("force", "1")))):
            self.now(self.answered({"message": "ok"}).locks.remove("x", **more))  # type: ignore[arg-type]
            self.assertEqual(self.asked(), Call("DELETE", "/v1/locks/x", query))

    def test_single(self) -> None:
        """What there is one of is read and replaced."""
        rules = self.answered(ClusterConfig(keep_alive_count_max=9).to_json())
        self.assertEqual(self.now(rules.configuration.get()).keep_alive_count_max, 9)
        self.assertEqual(self.asked(), Call("GET", "/v1/configuration"))
        document = AuthPreference("local", "off").to_json()
        self.assertEqual(self.now(self.answered(document).preference.replace("", document)), document)
        expected = Call("PUT", "/v1/authentication/preference", body=document, repeatable=False)
        self.assertEqual(self.asked(), expected)
        making = Deferred.fromCoroutine(self.answered(document).preference.create(document))
        sentence = self.failureResultOf(making, AlreadyExists).value.sentence
        self.assertEqual(sentence, "There is always one cluster_auth_preference.")

    def test_leases(self) -> None:
        """Taken once, and renewed and given back by what auth called it."""
        rules = self.answered({"lease": "connection.YQ.ab", "expires": 120.0})
        self.assertEqual(self.now(rules.take_lease("connection", "alice", 2, 120.0)), "connection.YQ.ab")
        body = {"kind": "connection", "user": "alice", "max": 2, "ttl": 120.0}
        self.assertEqual(self.asked(), Call("POST", "/v1/leases", body=body, repeatable=False))
        self.now(self.answered({}).renew_lease("a.b/c", 60.0))
        self.assertEqual(self.asked(), Call("PUT", "/v1/leases/a.b%2Fc", body={"ttl": 60.0}))
        self.now(self.answered({}).give_back_lease("a.b.c"))
        self.assertEqual(self.asked(), Call("DELETE", "/v1/leases/a.b.c"))
