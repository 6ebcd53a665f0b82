"""Who sets another's password can be that person, so that only who may do as much makes a link."""

from __future__ import annotations

from attrs import evolve

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import READ_WRITE, Rule
from teleport_conch.auth.callers import Peer
from teleport_conch.certs.tls import TLSIdentity
from teleport_conch.resources.user import User
from tests.auth.fixture import CLUSTER, NOW
from tests.auth.people import ALICE, PeopleTestCase

KEEPER = Role("keeper", allow=Conditions(rules=(Rule(("user", "role"), READ_WRITE),)))
DEPLOY = Role("deploy", allow=Conditions(logins=("deploy",), node_labels=EVERY_NODE))


class LinkTests(PeopleTestCase):
    def setUp(self) -> None:
        super().setUp()
        for role in (KEEPER, DEPLOY):
            self.now(self.cluster.roles.shelf.create(role))
        self.add(User("keith", ("keeper",)))

    def keeper(self) -> Peer:
        """Somebody who may change users and roles, and has no login."""
        return self.peer_of(TLSIdentity("user", "keith", CLUSTER, ("keeper",), 2, NOW + 3600, not_before=NOW))

    def test_links(self) -> None:
        self.add(evolve(ALICE, roles=("deploy",)))
        answer = self.call(self.keeper(), "POST", "/v1/users/alice/invites", {"kind": "reset"})
        self.assertEqual((answer.status, answer.code), (403, "NOT_HELD"))
        self.assertIn("Nobody gives what they do not hold", answer.sentence)
        self.add(User("eve", ("keeper",)))
        self.assertEqual(self.call(self.keeper(), "POST", "/v1/users/eve/invites", {"kind": "reset"}).status, 200)

    def test_refused_removal(self) -> None:
        """A user who is not removed is not locked either."""
        answer = self.call(self.admin(), "DELETE", "/v1/users/keith")
        self.assertEqual((answer.status, answer.code), (409, "LAST_ADMINISTRATOR"))
        self.assertEqual(self.cluster.locks.shelf.all(), [])
        self.assertEqual(self.call(self.admin(), "DELETE", "/v1/users/keith?force=1").status, 200)
        self.assertEqual([lock.value.user for lock in self.cluster.locks.shelf.all()], ["keith"])
