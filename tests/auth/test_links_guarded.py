"""Who sets another's password can be that person, so that only who may do as much makes a link."""

from __future__ import annotations

from attrs import evolve

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.options import Options
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import READ_WRITE, Rule
from teleport_conch.auth.rules.callers import Peer
from teleport_conch.certs.tls import TLSIdentity
from teleport_conch.resources.user import User
from tests.auth.fixture import CLUSTER, NOW, SSH_KEY, Answered
from tests.auth.people.case import ALICE, PeopleTestCase

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


class SigningTests(PeopleTestCase):
    """Who may sign certificates signs none that are good for more than they may do themselves."""

    def setUp(self) -> None:
        super().setUp()
        for role in (KEEPER, DEPLOY):
            self.now(self.cluster.roles.shelf.create(role))
        self.add(User("keith", ("keeper",)))
        rules = (Rule(("user_cert", "emergency_cert"), ("create",)),)
        signer = Conditions(("deploy",), EVERY_NODE, rules)
        self.now(self.cluster.roles.shelf.create(Role("signer", allow=signer)))
        self.add(User("sam", ("signer",)))

    def sign(self, kind: str = "user", **body: object) -> Answered:
        identity = TLSIdentity("user", "sam", CLUSTER, ("signer",), 2, NOW + 3600, not_before=NOW)
        path = f"/v1/ca/{kind}/certs"
        return self.call(self.peer_of(identity), "POST", path, {"public_ssh_key": SSH_KEY, **body})

    def test_user(self) -> None:
        self.add(User("root", ("admin",)))
        for body in (
            {"user": "sam", "logins": ["root"], "roles": ["admin"]},
            {"user": "sam", "logins": ["root"]},
            {"user": "nobody", "logins": ["root"], "roles": ["signer", "access"]},
            {"user": "root"},
            {"user": "keith"},
        ):
            answer = self.sign(**body)
            self.assertEqual((answer.status, answer.code), (403, "NOT_HELD"), body)
            self.assertIn("Nobody gives what they do not hold, and user sam does not hold", answer.sentence)
        [*_, event] = self.emitted.named("api.denied")
        self.assertEqual((event.fields["kind"], event.fields["user"]), ("user_cert", "sam"))
        self.assertEqual(self.emitted.named("cert.create"), [])
        self.assertEqual(self.sign(user="else", logins=["deploy"], roles=["deploy"]).status, 200)
        self.assertEqual(self.sign(user="else", roles=["no-such-role"], logins=["deploy"]).status, 400)

    def test_unrecorded(self) -> None:
        """Whose own sessions are recorded signs none whose are not, also where logins are named."""
        quiet = Options(port_forwarding=False, enhanced_recording=())
        self.now(self.cluster.roles.shelf.create(Role("quiet", quiet, Conditions(("deploy",), EVERY_NODE))))
        self.add(User("tom", ("quiet",)))
        for body in ({"user": "tom"}, {"user": "tom", "logins": ["deploy"]}, {"user": "else", "logins": ["deploy"]}):
            answer = self.sign(roles=["quiet"], **body)
            self.assertEqual((answer.status, answer.code), (403, "NOT_HELD"), body)
            self.assertIn("does not hold: options.enhanced_recording without command", answer.sentence)

    def test_pinned(self) -> None:
        """What a role binds to an address is not signed without one, for oneself or for others."""
        signer = self.cluster.roles["signer"]
        self.now(self.cluster.roles.shelf.replace(evolve(signer, options=evolve(signer.options, pin_source_ip=True))))
        for body in (
            {"user": "else", "logins": ["deploy"], "roles": ["signer"]},
            {"user": "sam", "logins": ["deploy"]},
            {"user": "sam"},
        ):
            answer = self.sign(**body)
            self.assertEqual(answer.status, 400, body)
            self.assertIn("binds certificates to the address of the client", answer.sentence)

    def test_emergency(self) -> None:
        usual = {"name": "1", "addresses": ["192.0.2.1"]}
        answer = self.sign("emergency", logins=["root"], **usual)
        self.assertEqual((answer.status, answer.code), (403, "NOT_HELD"))
        self.assertEqual(self.sign("emergency", logins=["deploy"], **usual).status, 200)
