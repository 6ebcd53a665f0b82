"""Why somebody may log in, or was refused, and what a change would mean: the answers of the API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import evolve
from twisted.internet.task import Clock

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import LabelSelector
from teleport_conch.access.roles import Role
from teleport_conch.audit.event import build
from teleport_conch.audit.log import EventLog
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.events import Events
from teleport_conch.auth.hosts.inventory import Inventory
from teleport_conch.auth.limits import MAX_REMEMBERED_REFUSALS, REFUSALS_KEPT_S
from teleport_conch.auth.routes import why_routes
from teleport_conch.certs import keys
from teleport_conch.errors import NotFound
from teleport_conch.resources.access_request import AccessRequest, RequestState
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.user import User
from tests.auth.fixture import NOW, SSH_KEY, WEB1, WEB2, Answered, ClusterTestCase, here
from tests.certs import samples

DEV = Role("dev", allow=Conditions(("{{internal.logins}}",), LabelSelector({"env": ("dev",)})))
OPS = Role("ops", allow=Conditions(("root",), LabelSelector({"env": ("prod",)})))
ALICE = User("alice", ("dev",), {"logins": ("alice",)})


class WhyTestCase(ClusterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.join()
        self.beat()  # web1, env=prod
        for role in (DEV, OPS):
            self.now(self.cluster.roles.shelf.create(role))
        self.now(self.cluster.users.shelf.create(ALICE))

    def why(self, **question: object) -> Answered:
        return self.call(self.admin(), "POST", "/v1/why", {"login": "root", "node": "web1", **question})

    def lines(self, **question: object) -> list[str]:
        lines = self.why(**question).body["lines"]
        assert isinstance(lines, list), lines
        return lines

    def certificate_of(self, **changed: object) -> str:
        usual: dict[str, object] = {"name": "alice", "logins": ["root"], "roles": ["dev"], "traits": {}, "ttl_s": 3600}
        blob = keys.blob_of_line(SSH_KEY)
        signed = self.cluster.authorities.user.sign_user_ssh(blob, now=self.clock.seconds(), **{**usual, **changed})  # type: ignore[arg-type]
        return signed.to_line()


class WhyUserTests(WhyTestCase):
    def test_denied(self) -> None:
        """Every role, what failed in it, and the smallest change."""
        answer = self.why(user="alice")
        self.assertEqual(answer.body["node"], {"name": WEB1, "hostname": "web1"})
        self.assertEqual(
            answer.body["lines"],
            [
                f"user alice@{self.cluster.name}: login as root@web1: denied",
                "role dev: label: the label env is prod, and dev is due",
                "role dev: login: allow.logins has alice, and not root",
                "to allow it: add prod to env in allow.node_labels of dev",
                "to allow it: add root to allow.logins of dev",
            ],
        )

    def test_allowed(self) -> None:
        """By the node's UUID as well."""
        self.now(self.cluster.users.shelf.replace(evolve(ALICE, roles=("dev", "ops"))))
        lines = self.lines(user="alice", node=WEB1)
        self.assertEqual(lines[0], f"user alice@{self.cluster.name}: login as root@web1: allowed")

    def test_outside(self) -> None:
        """Locks, an expired user, and a role that does not exist."""
        self.now(self.cluster.locks.shelf.create(Lock("l1", user="alice", message="drill")))
        self.now(self.cluster.users.shelf.replace(evolve(ALICE, roles=("ops", "gone"), expires_at=NOW)))
        lines = self.lines(user="alice")
        self.assertEqual(
            lines[1:4],
            [
                "identity: the user has expired",
                "identity: the user has the role gone, which does not exist",
                "lock: the lock l1 is in force on user alice: drill",
            ],
        )
        self.assertIn("to allow it: remove the lock l1", lines)

    def test_refusals(self) -> None:
        """Nobody, nowhere, several, and questions that are none."""
        for question, sentence in (
            ({"user": "bob"}, "There is no user 'bob'; 'tctl users ls' lists them."),
            ({"user": "alice", "node": "web9"}, "There is no node 'web9'; 'tctl nodes ls' lists them."),
            ({}, "Ask about a user or about a certificate, and not about both."),
            ({"user": "alice", "certificate": "x"}, "Ask about a user or about a certificate, and not about both."),
        ):
            self.assertEqual(self.why(**question).sentence, sentence)

    def test_several(self) -> None:
        """Of nodes of one name, the UUID says which."""
        [web1] = self.cluster.inventory.all("node")
        self.patch(Inventory, "all", lambda inventory, kind: (web1, evolve(web1, name=WEB2)))
        sentence = f"Several nodes are called 'web1': say which by its UUID, {WEB1}, {WEB2}."
        self.assertEqual(self.why(user="alice").sentence, sentence)
        self.assertEqual(self.why(user="alice", node=WEB2).status, 200)


class WhyCertificateTests(WhyTestCase):
    def test_logins_and_roles(self) -> None:
        """What counts is what the certificate has, and what the user still has of it."""
        lines = self.lines(certificate=self.certificate_of(logins=["alice"], roles=["dev", "ops"]))
        self.assertIn("principal: the certificate has the logins alice, and not root", lines)
        self.assertEqual(
            [line for line in lines if "ops" in line],
            ["certificate: it names ops, which the person does not have any more"],
        )

    def test_window(self) -> None:
        """One that has ended says so, as it would at the node."""
        line = self.certificate_of(roles=["ops"], name="carol", ttl_s=60.0)
        self.assertTrue(self.lines(certificate=line)[0].endswith("allowed"))
        self.clock.advance(120)
        found = self.lines(certificate=line)
        self.assertTrue(found[0].endswith("denied"))
        self.assertTrue(found[1].startswith("ttl: "), found)
        self.assertIn("to allow it: log in again", found)

    def test_role_unknown(self) -> None:
        line = self.certificate_of(name="carol", roles=["gone"])
        self.assertIn(
            "identity: role 'gone' does not exist in this cluster; ask for a", self.lines(certificate=line)[1]
        )

    def test_emergency(self) -> None:
        """One for emergencies has the role of these, and no user whom one could give another."""
        options = (("emergency@teleport-conch", ""), ("source-address", "10.0.0.0/8"))
        line = self.certificate_of(name="break-glass:ops", roles=[], critical_options=options)
        found = self.lines(certificate=line)
        self.assertTrue(found[1].startswith("certificate: This is an emergency certificate: a node takes it only"))
        self.assertEqual(
            found[2:],
            ["role break-glass: allows it", "to allow it: use it when nodes cannot reach auth, or log in"],
        )

    def test_malformed(self) -> None:
        """What is no certificate, and one of another cluster's authority."""
        self.assertIn("That is no certificate: ", self.why(certificate="ssh-ed25519 AAAA").sentence)
        line = samples.USER_CA.sign_user_ssh(
            samples.SSH_BLOB, name="carol", logins=["root"], roles=["ops"], traits={}, ttl_s=60, now=NOW
        ).to_line()
        self.assertTrue(self.lines(certificate=line)[1].startswith("certificate: "))


class RequestTests(WhyTestCase):
    """Roles that an access request lends."""

    def setUp(self) -> None:
        super().setUp()
        request = AccessRequest("r-1", "alice", ("ops",), NOW, NOW + 60, RequestState.APPROVED)
        self.now(self.cluster.requests.shelf.create(request))

    def test_named(self) -> None:
        """The request is named, for a user and for a certificate; the certificate has to name it, too."""
        said = "role ops (access request r-1): allows it"
        self.assertIn(said, self.lines(user="alice"))
        self.assertIn(said, self.lines(certificate=self.certificate_of(roles=["dev", "ops"], requests=["r-1"])))
        self.assertFalse(self.lines(certificate=self.certificate_of(roles=["dev", "ops"]))[0].endswith("allowed"))

    def test_over(self) -> None:
        """Once it is over, or removed, that is said of the certificate."""
        line = self.certificate_of(roles=["dev", "ops"], requests=["r-1"])
        self.clock.advance(60)
        self.assertIn('request: access-request "r-1" is expired; its roles do not count', self.lines(certificate=line))
        self.now(self.backend.expire(self.clock.seconds()))
        found = self.lines(certificate=line)
        self.assertTrue(found[0].endswith("denied"))
        self.assertIn('request: access-request "r-1" is not there: it was removed, or is over', found[1])
        self.assertFalse(self.lines(user="alice")[0].endswith("allowed"))

    def test_plan(self) -> None:
        """A plan counts what is lent at the moment, for roles that change and for users who do."""
        body = {"resources": [], "removed": ["role/ops"]}
        found = self.call(self.admin(), "POST", "/v1/plan", body).body
        self.assertEqual(found["lost"], [{"user": "alice", "login": "root", "node": "web1", "role": "ops"}])
        changed = {"resources": [evolve(ALICE, roles=("ops",)).to_json()], "removed": []}
        found = self.call(self.admin(), "POST", "/v1/plan", changed).body
        self.assertEqual((found["gained"], found["lost"]), ([], []))

    def test_plan_of_many(self) -> None:
        """What is lent is found once for a state, and not for each user of the plan."""
        users = [User(f"user{number}", ("dev",)).to_json() for number in range(8)]
        asked: list[float] = []
        found = why_routes._lent

        def counted(cluster: Cluster, now: float) -> Mapping[str, tuple[str, ...]]:
            asked.append(now)
            return found(cluster, now)

        self.patch(why_routes, "_lent", counted)
        self.assertEqual(self.call(self.admin(), "POST", "/v1/plan", {"resources": users}).status, 200)
        self.assertEqual(len(asked), 2)


class DenialTests(WhyTestCase):
    def refusal(self, number: int) -> dict[str, object]:
        fields = {"user": "alice", "login": "root", "reference": f"{number:08d}", "trace": ["why"], "error": "no"}
        return build("auth", False, fields, NOW, f"00000000-0000-4000-8000-{number:012d}")

    def test_call_of_the_api(self) -> None:
        """A person who was refused quotes the reference, and the auditor finds the event."""
        self.now(self.cluster.users.shelf.replace(evolve(ALICE, roles=("access",))))
        refused = self.call(self.user("access"), "GET", "/v1/tokens")
        [emitted] = self.emitted.named("api.denied")
        reference = str(emitted.fields["reference"])
        self.assertTrue(refused.sentence.endswith(f"access denied (reference {reference})"), refused.sentence)
        self.assertEqual(refused.body["error"]["reference"], reference)  # type: ignore[index]
        self.now(self.events.keep([{"uid": "1", "event": "api.denied", **emitted.fields}]))
        self.now(self.cluster.users.shelf.remove("alice"))
        found = self.call(self.user("auditor"), "GET", f"/v1/denials/{reference.upper()}")
        self.assertEqual(found.body["trace"], list(emitted.fields["trace"]))  # type: ignore[call-overload]

    def test_unknown(self) -> None:
        """What is no reference, and one that nobody was told."""
        answer = self.call(self.admin(), "GET", "/v1/denials/what")
        self.assertIn("'what' is no reference; one has 8 letters and digits", answer.sentence)

    def test_log(self) -> None:
        """Older ones are in the log; those beyond the time that it is searched are not found."""
        log = EventLog(Path(self.mktemp()), self.clock)
        events = Events(log, here)
        self.now(events.keep([self.refusal(number) for number in range(MAX_REMEMBERED_REFUSALS + 2)]))
        self.assertEqual(self.now(events.refusal("00000000", NOW))["reference"], "00000000")
        again = Events(EventLog(log._directory, Clock()), here)
        self.assertEqual(self.now(again.refusal("00000007", NOW))["trace"], ["why"])
        for reference, now in (("zzzzzzzz", NOW), ("00000007", NOW + REFUSALS_KEPT_S + 2 * 86_400)):
            reason = self.refused(again.refusal(reference, now), NotFound)
            self.assertIn(f"No refusal with the reference '{reference}' is in the log.", reason.sentence)


class PlanTests(WhyTestCase):
    def test_in_parts(self) -> None:
        """A call works for so long; the next one goes on with the rest."""
        self.now(self.cluster.users.shelf.create(User("bob", ("dev",), {"logins": ("bob",)})))
        self.patch(why_routes, "PLAN_CALL_S", 0.0)
        changed = evolve(DEV, allow=Conditions(("{{internal.logins}}",), LabelSelector({"env": ("prod",)})))
        body: dict[str, object] = {"resources": [changed.to_json()]}
        first = self.call(self.admin(), "POST", "/v1/plan", body)
        self.assertEqual(first.body["counts"], {"users": 1, "of": 2, "gained": 1, "lost": 0})
        self.assertEqual(first.body["next"], "alice")
        second = self.call(self.admin(), "POST", "/v1/plan", {**body, "next": "alice"})
        self.assertEqual((second.body["gained"][0]["user"], second.body["next"]), ("bob", ""))  # type: ignore[index]

    def plan(self, *resources: Role | User, removed: tuple[str, ...] = ()) -> Answered:
        body = {"resources": [each.to_json() for each in resources], "removed": list(removed)}
        return self.call(self.admin(), "POST", "/v1/plan", body)

    def test_role(self) -> None:
        """Who gains and loses what; nothing is changed by asking."""
        changed = evolve(DEV, allow=Conditions(("{{internal.logins}}",), LabelSelector({"env": ("prod",)})))
        self.assertEqual(
            self.plan(changed).body,
            {
                "gained": [{"user": "alice", "login": "alice", "node": "web1", "role": "dev"}],
                "lost": [],
                "counts": {"users": 1, "of": 1, "gained": 1, "lost": 0},
                "next": "",
            },
        )
        self.assertEqual(self.cluster.roles["dev"], DEV)

    def test_user(self) -> None:
        """New roles, new users, and those who go."""
        counts = self.plan(evolve(ALICE, roles=("ops",)), User("bob", ("ops",))).body["counts"]
        self.assertEqual(counts, {"users": 2, "of": 2, "gained": 2, "lost": 0})
        self.now(self.cluster.users.shelf.replace(evolve(ALICE, roles=("ops",))))
        for removed in ("user/alice", "role/ops"):
            self.assertEqual(
                self.plan(removed=(removed,)).body["counts"], {"users": 1, "of": 1, "gained": 0, "lost": 1}
            )

    def test_refusals(self) -> None:
        """Other kinds, mistakes in a role, and built-in ones."""
        for resource, sentence in (
            (Lock("l", user="a").to_json(), "request.resources[0].kind is 'lock'; a plan is about roles and users."),
            ({**DEV.to_json(), "spec": {"alow": {}}}, "role.spec.'alow' is not known."),
            (Role("admin").to_json(), "The role admin is built in, and can be neither changed nor removed."),
        ):
            answer = self.call(self.admin(), "POST", "/v1/plan", {"resources": [resource]})
            self.assertIn(sentence, answer.sentence)
        sentence = "request.removed holds 'node/web1'; what can be removed is role/NAME and user/NAME."
        self.assertEqual(self.plan(removed=("node/web1",)).sentence, sentence)
