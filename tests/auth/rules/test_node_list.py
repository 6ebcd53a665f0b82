"""The list of nodes: for people the nodes on which a login of theirs is allowed, found by label without the others."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.decision import Caller, Facts, Grant, Login, Target, decide
from teleport_conch.access.labels import LabelSelector
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import Rule
from teleport_conch.auth.hosts.presence import HostKey
from teleport_conch.auth.rules import node_list
from teleport_conch.auth.rules.callers import Peer
from teleport_conch.certs.tls import TLSIdentity
from teleport_conch.errors import StorageFull
from teleport_conch.resources.lock import Lock
from tests.auth.fixture import CLUSTER, GATEWAY, NOW, ClusterTestCase, Storage, heartbeat

NODES = "/v1/namespaces/default/nodes"
LIST = Rule(("node",), ("list", "read"))


def dev(**labels: str) -> Role:
    """One that logs in as root on nodes with these labels."""
    selector = LabelSelector({key: (value,) for key, value in labels.items()})
    return Role("dev", allow=Conditions(logins=("root",), node_labels=selector, rules=(LIST,)))


class NodeListTests(ClusterTestCase):
    def setUp(self) -> None:
        super().setUp()
        for number, env in enumerate(("test", "test", "prod")):
            self.add(number, env=env, at=str(number))

    def add(self, number: int, **labels: str) -> None:
        uuid, name = uuid_of(number), f"web{number}"
        self.join(uuid, name)
        self.announce(number, **labels)

    def announce(self, number: int, **labels: str) -> None:
        uuid = uuid_of(number)
        beat = heartbeat(uuid, f"web{number}", labels=labels)
        self.now(self.cluster.inventory.beat(self.registration(uuid), beat, "10.0.0.5"))

    def store(self, *roles: Role) -> None:
        for role in roles:
            self.now(self.cluster.roles.shelf.create(role))

    def person(self, *roles: str, logins: tuple[str, ...] = ("root",)) -> Peer:
        return self.peer_of(
            TLSIdentity("user", "alice", CLUSTER, roles, 2, NOW + 3600, not_before=NOW, principals=logins)
        )

    def names(self, peer: Peer, query: str = "") -> list[object]:
        answer = self.call(peer, "GET", NODES + query)
        self.assertEqual(answer.status, 200, answer.body)
        return [item["spec"]["hostname"] for item in answer.items]  # type: ignore[index]  # an object

    def test_filtered(self) -> None:
        """A person sees what a role of theirs lets them log in to, with a login that their certificate has."""
        self.store(dev(env="test"))
        self.assertEqual(self.names(self.person("dev")), ["web0", "web1"])
        self.assertEqual(self.names(self.person("dev", logins=("daemon",))), [])
        self.assertEqual(self.names(self.person("admin")), ["web0", "web1", "web2"])

    def test_no_rule_is_needed(self) -> None:
        """A login is enough to see its nodes, by list and one by one; a denial wins, and no login sees nothing."""
        role = evolve(dev(env="test"), allow=evolve(dev(env="test").allow, rules=()))
        denying = Role("denying", deny=Conditions(rules=(Rule(("node",), ("list",)),)))
        nothing = Role("nothing", allow=Conditions(rules=(Rule(("event",), ("list",)),)))
        self.store(role, denying, nothing)
        self.assertEqual(self.names(self.person("dev")), ["web0", "web1"])
        self.assertEqual(self.call(self.person("dev"), "GET", f"{NODES}/{uuid_of(0)}").status, 200)
        hidden = self.call(self.person("dev"), "GET", f"{NODES}/{uuid_of(2)}")
        self.assertEqual((hidden.status, hidden.sentence), (404, f"There is no node '{uuid_of(2)}'."))
        for roles in (("dev", "denying"), ("nothing",)):
            answer = self.call(self.person(*roles), "GET", NODES)
            self.assertEqual(answer.status, 403)
            self.assertIn("user alice is not authorized to list node: access denied", answer.sentence)
        self.assertEqual(self.call(self.person("dev"), "DELETE", f"{NODES}/{uuid_of(0)}").status, 403)

    def test_denied_on_a_condition(self) -> None:
        """The list is by logins, and not by rules about each node: a denial of some of them denies it as a whole."""
        denied = Rule(("node",), ("list",), where='equals(resource.metadata.labels["env"], "test")')
        self.store(dev(env="test"), Role("denying", deny=Conditions(rules=(denied,))))
        answer = self.call(self.person("dev", "denying"), "GET", NODES)
        self.assertEqual((answer.status, answer.code), (403, "ACCESS_DENIED"))
        self.assertEqual(len(self.emitted.named("api.denied")), 1)

    def test_hosts(self) -> None:
        """Hosts and tctl on the auth host see all."""
        for peer in (self.admin(), self.host(self.join(GATEWAY, "gate", "Proxy"))):
            self.assertEqual(len(self.names(peer)), 3)

    def test_overseers(self) -> None:
        """So does who has a role that lists nodes and is for no login, whatever other roles they have."""
        self.store(dev(env="none"))
        self.assertEqual(len(self.names(self.person("auditor"))), 3)
        self.assertEqual(len(self.names(self.person("auditor", "dev"))), 3)
        self.assertEqual(self.names(self.person("dev")), [])

    def test_one(self) -> None:
        """What is not on the list is not there to be read, either."""
        self.store(dev(env="test"))
        peer = self.person("dev")
        self.assertEqual(self.call(peer, "GET", f"{NODES}/{uuid_of(0)}").status, 200)
        hidden, unknown = (self.call(peer, "GET", f"{NODES}/{uuid_of(number)}") for number in (2, 9))
        self.assertEqual((hidden.status, hidden.code), (404, "NOT_FOUND"))
        self.assertEqual(hidden.sentence.replace(uuid_of(2), ""), unknown.sentence.replace(uuid_of(9), ""))

    def test_labels(self) -> None:
        """Nodes with all of the labels that are asked for, of those that one may see."""
        self.store(dev(env="test"))
        peer = self.person("dev")
        for query, names in (
            ("?labels=env=test", ["web0", "web1"]),
            ("?labels=env=prod", []),
            ("?labels=env=test&labels=at=1", ["web1"]),
            ("?labels=at=2&labels=env=test", []),
            ("?labels=nothing=x", []),
        ):
            self.assertEqual(self.names(peer, query), names, query)

    def test_search(self) -> None:
        """Texts in names, addresses and labels, whatever their case; all of them, with labels too."""
        peer = self.person("admin")
        for query, names in (
            ("?search=WEB1", ["web1"]),
            ("?search=env=PROD", ["web2"]),
            ("?search=10.0.0.5", ["web0", "web1", "web2"]),
            ("?search=web&search=at=0", ["web0"]),
            ("?labels=env=test&search=web2", []),
            ("?search=", ["web0", "web1", "web2"]),
            (f"?search={uuid_of(2)}", ["web2"]),
        ):
            self.assertEqual(self.names(peer, query), names, query)

    def test_nonsense(self) -> None:
        """A label without a value, and more texts than anybody searches for."""
        for query in ("?labels=env", "?labels==x", "?" + "&".join(["search=a"] * 17)):
            self.assertEqual(self.call(self.admin(), "GET", NODES + query).status, 400, query)

    def test_changes_of_nodes(self) -> None:
        """A label that changes, a node that comes or goes: what was decided before is forgotten."""
        self.store(dev(env="test"))
        peer = self.person("dev")
        self.names(peer)
        self.announce(0, env="prod")
        self.announce(2, env="test")
        self.assertEqual(self.names(peer), ["web1", "web2"])
        self.assertEqual(self.names(peer, "?labels=env=test"), ["web1", "web2"])
        self.now(self.cluster.inventory.remove(HostKey("node", uuid_of(1)), "me"))
        self.add(3, env="test")
        self.assertEqual(self.names(peer), ["web2", "web3"])
        self.assertEqual(self.names(peer, "?search=web1"), [])

    def test_changes_of_rules(self) -> None:
        """So it is when roles, users or locks change."""
        self.store(dev(env="test"))
        self.assertEqual(len(self.names(self.person("dev"))), 2)
        self.now(self.cluster.roles.shelf.replace(dev(env="prod")))
        self.assertEqual(self.names(self.person("dev")), ["web2"])
        self.now(self.cluster.locks.shelf.create(Lock("x", user="alice", node="web2")))
        self.assertEqual(self.names(self.person("dev")), [])
        self.now(self.cluster.locks.shelf.remove("x"))
        self.assertEqual(self.names(self.person("dev")), ["web2"])

    def test_expiry(self) -> None:
        """And when a role or a lock ends by itself."""
        self.store(evolve(dev(env="test"), expires_at=NOW + 60))
        self.store(evolve(dev(env="prod"), name="prod"))
        self.now(self.cluster.locks.shelf.create(Lock("x", user="alice", node="web0", expires_at=NOW + 30)))
        peer = self.person("dev", "prod")
        self.assertEqual(self.names(peer), ["web1", "web2"])
        self.clock.advance(30)
        self.assertEqual(self.names(peer), ["web0", "web1", "web2"])
        self.clock.advance(30)
        self.assertEqual(self.names(peer), ["web2"])

    def test_remembered(self) -> None:
        """A node is decided on once, and only if it is asked for; another certificate is another question."""
        decided: list[Target] = []

        def counted(caller: Caller, action: Login, target: Target, facts: Facts, now: float) -> Grant:
            decided.append(target)
            return decide(caller, action, target, facts, now)

        self.patch(node_list, "decide", counted)
        self.store(dev(env="test"))
        peer = self.person("dev")
        self.names(peer, "?labels=env=prod")
        self.assertEqual(len(decided), 1)
        self.names(peer)
        self.names(peer)
        self.assertEqual(len(decided), 3)
        self.names(self.person("dev", logins=("root", "daemon")))
        self.assertGreater(len(decided), 5)

    def test_many_people(self) -> None:
        """Who asked longest ago is forgotten first."""
        self.patch(node_list, "REMEMBERED_PEOPLE", 1)
        for name in ("alice", "bob"):
            identity = TLSIdentity("user", name, CLUSTER, ("admin",), 2, NOW + 3600, not_before=NOW)
            self.names(self.peer_of(identity))
        self.assertEqual(list(self.cluster.nodes._people), ["bob"])

    def test_turns(self) -> None:
        """Many decisions are made with turns for others in between."""
        self.patch(node_list, "DECISIONS_AT_ONCE", 2)
        caller = self.person("admin").caller
        asked = Deferred.fromCoroutine(self.cluster.nodes.of(caller, {}, ()))
        self.assertNoResult(asked)
        self.clock.advance(0)
        self.assertEqual(len(self.successResultOf(asked)), 3)

    def test_not_stored(self) -> None:
        """A record that could not be written is not listed."""

        async def full(*item: object) -> None:
            raise StorageFull("The disk is full.")

        uuid = uuid_of(0)
        beat = heartbeat(uuid, "web0", labels={"env": "new"})
        registration = self.registration(uuid)
        self.cluster.inventory._backend = Storage(self.backend, full)  # type: ignore[assignment]
        self.refused(self.cluster.inventory.beat(registration, beat, "10.0.0.5"), StorageFull)
        self.assertEqual(self.names(self.admin(), "?labels=env=new"), [])
        self.assertEqual(self.names(self.admin(), "?labels=env=test"), ["web0", "web1"])


def uuid_of(number: int) -> str:
    return f"11111111-1111-4111-8111-{number:012d}"
