"""Tokens over the API."""

from __future__ import annotations

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import READ_WRITE, Rule
from teleport_conch.resources.token import JoinToken
from tests.auth.fixture import NOW, Answered, ClusterTestCase


class TokenRouteTests(ClusterTestCase):
    def test_create_list_remove(self) -> None:
        """The secret is answered once; lists and events know the token by its id."""
        bound = {"node_name": "db1", "principals": ["db.example.org"], "labels": {"env": "prod"}}
        answer = self.call(self.admin(), "POST", "/v1/tokens", {"roles": ["node"], "ttl": 600, **bound})
        secret, token = str(answer.body["token"]), JoinToken.from_json(answer.body["resource"])
        self.assertEqual(
            (token.node_name, token.principals, token.labels), ("db1", ("db.example.org",), {"env": "prod"})
        )
        self.assertEqual((token.expires_at, token.created_by), (NOW + 600, "tctl on the auth host"))
        listed = self.call(self.admin(), "GET", "/v1/tokens")
        self.assertEqual([JoinToken.from_json(item) for item in listed.items], [token])
        self.assertEqual(self.call(self.admin(), "DELETE", f"/v1/tokens/{token.id}").status, 200)
        self.assertEqual(self.call(self.admin(), "GET", "/v1/tokens").items, [])
        self.assertNotIn(secret, str((listed.body, self.emitted.events)))
        self.assertEqual([event.name for event in self.emitted.events], ["token.create", "token.delete"])
        self.assertEqual({event.fields["token"] for event in self.emitted.events}, {token.id})

    def test_defaults(self) -> None:
        """Half an hour."""
        answer = self.call(self.admin(), "POST", "/v1/tokens", {"roles": ["node", "proxy"]})
        self.assertEqual(JoinToken.from_json(answer.body["resource"]).expires_at, NOW + 1800)

    def test_replace(self) -> None:
        """Roles and end change, the secret stays; a revision that is not the newest is refused, and so is nonsense."""
        secret, admin = self.token(), self.admin()
        (listed,) = self.call(admin, "GET", "/v1/tokens").items
        before = JoinToken.from_json(listed)
        body = {"roles": ["proxy"], "expires": NOW + 7200, "id": before.revision}
        after = JoinToken.from_json(self.call(admin, "PUT", f"/v1/tokens/{before.id}", body).body)
        self.assertEqual((after.roles, after.expires_at, after.digest), (("Proxy",), NOW + 7200, before.digest))
        self.assertEqual(self.emitted.events[-1].name, "token.update")
        self.assertEqual(self.now(self.cluster.tokens.redeem(secret, "Proxy", "web1")).id, before.id)
        for path, change, status, code in (
            (before.id, body, 412, "COMPARE_FAILED"),
            (before.id, {"roles": []}, 400, "BAD_PARAMETER"),
            (before.id, {"roles": ["king"]}, 400, "BAD_PARAMETER"),
            (before.id, {"roles": ["node"], "expires": NOW + 1}, 400, "BAD_PARAMETER"),
            ("0123456789ab", {"roles": ["node"]}, 404, "NOT_FOUND"),
        ):
            answer = self.call(admin, "PUT", f"/v1/tokens/{path}", change)
            self.assertEqual((answer.status, answer.code), (status, code), change)
        kept = JoinToken.from_json(self.call(admin, "PUT", f"/v1/tokens/{before.id}", {"roles": ["node"]}).body)
        self.assertEqual(kept.expires_at, NOW + 7200)

    def test_create_until(self) -> None:
        """An instant in place of a time to live."""
        answer = self.call(self.admin(), "POST", "/v1/tokens", {"roles": ["node"], "expires": NOW + 900})
        self.assertEqual(JoinToken.from_json(answer.body["resource"]).expires_at, NOW + 900)

    def test_remove_by_secret(self) -> None:
        """A secret in the path is found, and repeated nowhere."""
        secret = self.token()
        self.assertEqual(self.call(self.admin(), "DELETE", f"/v1/tokens/{secret}").status, 200)
        again = self.call(self.admin(), "DELETE", f"/v1/tokens/{secret}")
        self.assertEqual(again.status, 404)
        self.assertNotIn(secret, str((again.body, self.emitted.events)))


class PeoplesTokenTests(ClusterTestCase):
    """Tokens that people make, by the rules of their roles."""

    def setUp(self) -> None:
        super().setUp()
        joiner = Role("joiner", allow=Conditions(rules=(Rule(("token",), READ_WRITE),)))
        everything = Conditions(("root",), EVERY_NODE, (Rule(("*",), ("*",)),))
        shut = Role("shut", deny=Conditions(rules=(Rule(("role",), ("update",)),)))
        for role in (joiner, Role("everything", allow=everything), shut):
            self.now(self.cluster.roles.shelf.create(role))

    def assert_refused(self, answer: Answered, sentence: str) -> None:
        self.assertEqual((answer.status, answer.code), (403, "NOT_HELD"))
        self.assertIn(sentence, answer.sentence)

    def test_nodes(self) -> None:
        """The rule is enough for tokens that let nodes in."""
        made = self.call(self.user("joiner"), "POST", "/v1/tokens", {"roles": ["node"]})
        self.assertEqual(made.status, 200, made.body)

    def test_proxies(self) -> None:
        """It is not for proxies and auth servers, however they are written; who tries is an event."""
        for roles, named in ((["proxy"], "Proxy"), (["node", " AUTH "], "Auth"), (["Node", "Proxy"], "Proxy")):
            answer = self.call(self.user("joiner"), "POST", "/v1/tokens", {"roles": roles})
            self.assert_refused(
                answer,
                f"Only who holds all that the role admin gives lets hosts in with the role {named}, and user alice does"
                " not hold: the login root on every node; ",
            )
            self.assertEqual(self.emitted.events[-1].fields["kind"], "token")
        self.assertEqual(self.call(self.admin(), "GET", "/v1/tokens").items, [])

    def test_replaced(self) -> None:
        """Nor is a node's token made a proxy's, nor a proxy's one prolonged or unbound."""
        for before in (["node"], ["proxy"]):
            made = self.call(self.admin(), "POST", "/v1/tokens", {"roles": before, "node_name": "gate"})
            token = JoinToken.from_json(made.body["resource"])
            answer = self.call(self.user("joiner"), "PUT", f"/v1/tokens/{token.id}", {"roles": ["proxy"]})
            self.assert_refused(answer, "with the role Proxy")
        narrower = self.call(self.user("joiner"), "PUT", f"/v1/tokens/{token.id}", {"roles": ["node"]})
        self.assertEqual(narrower.status, 200)

    def test_administrators(self) -> None:
        """Who holds everything that admin gives makes any; not so who is denied some of it."""
        for roles in (("admin",), ("everything",), ("joiner", "admin")):
            made = self.call(self.user(*roles), "POST", "/v1/tokens", {"roles": ["proxy"]})
            self.assertEqual(made.status, 200, made.body)
        answer = self.call(self.user("admin", "shut"), "POST", "/v1/tokens", {"roles": ["proxy"]})
        self.assert_refused(answer, "does not hold: update on role.")
