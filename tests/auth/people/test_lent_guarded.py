"""What is lent to somebody is not within reach of whoever can be that person, or change what the person is."""

from __future__ import annotations

from attrs import evolve
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.web.client import readBody

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import READ_WRITE, Rule
from teleport_conch.auth.rules.callers import Peer
from teleport_conch.resources.user import User
from tests.auth.fixture import SSH_KEY, TLS_KEY
from tests.auth.people.test_access_requests import DBA, DEV, RequestTestCase

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


class OutlastingTests(RequestTestCase):
    """Who may make tokens and certificates of hosts for two hours makes none for longer."""

    def setUp(self) -> None:
        super().setUp()
        maker = Conditions(rules=(Rule(("token", "host_cert", "emergency_cert"), ("create", "update")),))
        self.now(self.cluster.roles.shelf.replace(evolve(DBA, allow=maker)))
        request = self.approved("dba")
        self.lent = self.person("alice", "dev", "dba", requests=(request,))
        self.clock.advance(3600)

    def test_tokens(self) -> None:
        sentence = (
            "user alice has create on token by an access request, which is over in 1h: ask for nothing that lasts"
        )
        self.assert_refused(self.call(self.lent, "POST", "/v1/tokens", {"roles": ["Node"], "ttl": 3601}), 403, sentence)
        end = {"expires": self.clock.seconds() + 3601}
        self.assert_refused(self.call(self.lent, "POST", "/v1/tokens", {"roles": ["Node"], **end}), 403, sentence)
        made = self.call(self.lent, "POST", "/v1/tokens", {"roles": ["Node"], "ttl": 3600})
        self.assertEqual(made.status, 200, made.body)
        changed = self.call(self.lent, "PUT", f"/v1/tokens/{made.body['token']}", {"roles": ["Node"], **end})
        self.assert_refused(changed, 403, "user alice has update on token by an access request")
        [*_, event] = self.emitted.named("api.denied")
        self.assertEqual((event.fields["kind"], event.fields["user"]), ("token", "alice"))

    def test_hosts(self) -> None:
        """Nor one that lasts for the usual 30 days."""
        body = {"principals": ["db1"], "public_ssh_key": SSH_KEY}
        sentence = "user alice has create on host_cert by an access request, which is over in 1h"
        self.assert_refused(self.call(self.lent, "POST", "/v1/ca/host/certs", body), 403, sentence)
        self.assertEqual(self.call(self.lent, "POST", "/v1/ca/host/certs", {**body, "ttl": 3600}).status, 200)

    def test_emergencies(self) -> None:
        """Nor one for emergencies, of which each login is held."""
        own = evolve(DEV, allow=evolve(DEV.allow, logins=("root",), node_labels=EVERY_NODE))
        self.now(self.cluster.roles.shelf.replace(own))
        lent = self.person("alice", "dev", "dba", requests=self.lent.identity.requests)
        body = {"name": "1", "addresses": ["192.0.2.1"], "public_ssh_key": SSH_KEY, "logins": ["root"]}
        sentence = "user alice has create on emergency_cert by an access request"
        self.assert_refused(self.call(lent, "POST", "/v1/ca/emergency/certs", body), 403, sentence)

    def test_held(self) -> None:
        """Who may do it at all times is not bound by what is lent beside it."""
        own = evolve(DEV, allow=evolve(DEV.allow, rules=(Rule(("token",), ("create",)),)))
        self.now(self.cluster.roles.shelf.replace(own))
        lent = self.person("alice", "dev", "dba", requests=self.lent.identity.requests)
        self.assertEqual(self.call(lent, "POST", "/v1/tokens", {"roles": ["Node"], "ttl": 7200}).status, 200)


class WatchTests(RequestTestCase):
    def test_watch(self) -> None:
        """Who may list users by a request hears of none once that is removed, though the right to watch stays."""
        own = evolve(DEV, allow=evolve(DEV.allow, rules=(Rule(("watch",), ("read",)), Rule(("lock",), ("list",)))))
        self.now(self.cluster.roles.shelf.replace(own))
        self.now(self.cluster.roles.shelf.replace(evolve(DBA, allow=Conditions(rules=(Rule(("user",), ("list",)),)))))
        request = self.approved("dba")
        self.patch(self.gate, "_peer_of", lambda _: self.person("alice", "dev", "dba", requests=(request,)))
        users, locks = (self.watching(kind) for kind in ("user", "lock"))
        self.assert_going_on(users, locks)
        self.now(self.cluster.requests.remove(request, "carol"))
        self.clock.advance(0)
        self.assert_going_on(locks)
        users[0].flush()
        self.successResultOf(users[1])

    def watching(self, kind: str) -> tuple[RequestTraversalAgent, Deferred[bytes]]:
        """Alice's watch with what was lent, and all that it will have said."""
        agent = RequestTraversalAgent(self.gate.resource())
        asked = agent.request(b"GET", f"https://teleport.cluster.local/v1/watch?kinds={kind}".encode())
        agent.flush()
        return agent, readBody(self.successResultOf(asked))

    def assert_going_on(self, *watches: tuple[RequestTraversalAgent, Deferred[bytes]]) -> None:
        for agent, heard in watches:
            agent.flush()
            self.assertNoResult(heard)
