"""What is lent to somebody is not within reach of whoever can be that person, or change what the person is."""

from __future__ import annotations

from attrs import evolve

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import READ_WRITE, Rule
from teleport_conch.auth.rules.callers import Peer
from teleport_conch.resources.user import User
from tests.auth.fixture import SSH_KEY, TLS_KEY
from tests.auth.people.test_access_requests import DBA, RequestTestCase

DESK = Role(
    "desk",
    allow=Conditions(
        ("alice", "{{internal.logins}}"),
        EVERY_NODE,
        (Rule(("user",), READ_WRITE), Rule(("user_cert", "access_request"), ("create", "list", "read", "update"))),
    ),
)
"""Of somebody who looks after people, and is no administrator of databases."""
NOT_HELD = "Nobody gives what they do not hold, and user desk does not hold: the login postgres on every node"


class LentTests(RequestTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now(self.cluster.roles.shelf.create(DESK))
        self.add(User("desk", ("desk",)))

    @property
    def desk(self) -> Peer:
        return self.person("desk", "desk")

    def test_link(self) -> None:
        """Who sets a password can be the person, who may have in a certificate what is lent."""
        link = ("POST", "/v1/users/alice/invites", {"kind": "reset"})
        self.assertEqual(self.call(self.desk, *link).status, 200)
        self.approved("dba")
        self.assert_refused(self.call(self.desk, *link), 403, NOT_HELD)
        self.clock.advance(7200)
        self.assertEqual(self.call(self.desk, *link).status, 200)

    def test_signing(self) -> None:
        """A certificate of a person is one with which to get another that has what is lent."""
        body = {"user": "alice", "public_ssh_key": SSH_KEY, "public_tls_key": TLS_KEY}
        self.assertEqual(self.call(self.desk, "POST", "/v1/ca/user/certs", body).status, 200)
        self.approved("dba")
        self.assert_refused(self.call(self.desk, "POST", "/v1/ca/user/certs", body), 403, NOT_HELD)

    def test_traits(self) -> None:
        """A trait that is changed fills in what is lent as well."""
        lent = evolve(DBA, allow=Conditions(("{{external.database}}",), EVERY_NODE))
        self.now(self.cluster.roles.shelf.replace(lent))
        self.assertEqual(self.decide(self.asked("dba"), peer=self.desk).status, 200)
        changed = User("alice", ("dev",), {"logins": ("alice",), "database": ("postgres",)})
        self.assert_refused(self.call(self.desk, "PUT", "/v1/users/alice", changed.to_json()), 403, NOT_HELD)

    def test_former_traits(self) -> None:
        """What is lent is filled in with the traits that the person has, which who approved looked at."""
        self.now(self.cluster.roles.shelf.replace(evolve(DBA, allow=Conditions(("{{internal.logins}}",), EVERY_NODE))))
        old = self.person("alice", "dev")
        old = evolve(old, identity=evolve(old.identity, traits={"logins": ("alice", "postgres")}))
        name = self.approved("dba")
        self.assert_refused(
            self.renew(old, name), 403, "Your certificate has other traits than you have now, so nothing is lent by it"
        )
        self.assertEqual(self.renew(self.alice, name).status, 200)
