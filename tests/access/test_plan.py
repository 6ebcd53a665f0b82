"""What a change would mean is what decisions say before and after it."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.decision import Caller, Facts, Login, Target
from teleport_conch.access.labels import LabelSelector
from teleport_conch.access.plan import Access, Person, State, Step, plan, touched
from teleport_conch.access.reach import Fleet, Node, reach
from teleport_conch.access.roles import Role
from teleport_conch.access.trace import explain
from tests.access.asking import NOW
from tests.access.test_properties import ROLES

DEV = Role("dev", allow=Conditions(("{{internal.logins}}", "web"), LabelSelector({"env": ("dev*",)})))
OPS = Role("ops", allow=Conditions(("root",), LabelSelector({"*": ("*",)})))
NO_DB = Role("no-db", deny=Conditions(("mysql",), LabelSelector({"team": ("db",)})))
NODES = (
    Node("d1", {"env": "dev", "team": "web"}),
    Node("d2", {"env": "dev2", "team": "db"}),
    Node("p1", {"env": "prod", "team": "web"}),
)
FLEET = Fleet(NODES)
PEOPLE = {
    "alice": Person("alice", ("dev",), {"logins": ("alice",)}),
    "bob": Person("bob", ("ops", "no-db")),
    "carol": Person("carol", ("dev", "gone"), {"logins": ("carol",)}),
}
BEFORE = State({"dev": DEV, "ops": OPS, "no-db": NO_DB}, PEOPLE)
_NODES = st.lists(
    st.dictionaries(st.sampled_from(["env", "team"]), st.sampled_from(["prod", "dev", "test"]), max_size=2), max_size=4
)
_TRAITS = {"logins": ("root",), "app": ("web", "dev")}


def steps(after: State, before: State = BEFORE) -> list[Step]:
    return list(plan(before, after, FLEET, NOW))


class PlanTests(SynchronousTestCase):
    def test_role_changed(self) -> None:
        """Those who have it gain and lose, and nobody else is looked at."""
        narrowed = evolve(DEV, allow=Conditions(("web", "db"), LabelSelector({"env": ("dev2", "prod")})))
        found = steps(State({**BEFORE.roles, "dev": narrowed}, PEOPLE))
        self.assertEqual([(step.user, step.done, step.of) for step in found], [("alice", 1, 2), ("carol", 2, 2)])
        self.assertEqual(
            found[0].gained,
            (
                Access("alice", "db", "d2", "dev"),
                Access("alice", "db", "p1", "dev"),
                Access("alice", "web", "p1", "dev"),
            ),
        )
        self.assertEqual(
            found[0].lost,
            (
                Access("alice", "alice", "d1", "dev"),
                Access("alice", "alice", "d2", "dev"),
                Access("alice", "web", "d1", "dev"),
            ),
        )
        self.assertEqual((found[1].gained, found[1].lost), ((), ()), "carol has a role that does not exist")

    def test_denials(self) -> None:
        """A denial that goes, and one that comes."""
        found = steps(State({**BEFORE.roles, "no-db": Role("no-db")}, PEOPLE))
        self.assertEqual(found, [Step(1, 1, "bob", (Access("bob", "root", "d2", "ops"),), ())])
        no_root = Role("no-db", deny=Conditions(("root",)))
        [step] = steps(State({**BEFORE.roles, "no-db": no_root}, PEOPLE))
        self.assertEqual([access.node for access in step.lost], ["d1", "p1"])

    def test_people(self) -> None:
        """New, removed and changed users; a role that goes; nothing where nothing changes."""
        for people, names in (
            ({**PEOPLE, "dave": Person("dave", ("ops",))}, ("dave",)),
            ({"alice": PEOPLE["alice"], "carol": PEOPLE["carol"]}, ("bob",)),
            ({**PEOPLE, "alice": evolve(PEOPLE["alice"], traits={})}, ("alice",)),
            ({**PEOPLE, "alice": evolve(PEOPLE["alice"], roles=("dev", "ops"))}, ("alice",)),
            (PEOPLE, ()),
        ):
            self.assertEqual(touched(BEFORE, State(BEFORE.roles, people)), names)
        without = {"ops": OPS, "no-db": NO_DB}
        self.assertEqual(touched(BEFORE, State(without, PEOPLE)), ("alice", "carol"))
        self.assertEqual(len(steps(State(without, PEOPLE))[0].lost), 4)
        self.assertEqual(touched(BEFORE, State({**BEFORE.roles, "dev": evolve(DEV)}, PEOPLE)), ())

    def test_lent(self) -> None:
        """Who has a role by an access request gains and loses with it, and has what else there is once it is gone."""
        dave = Person("dave", ("dev",), {"logins": ("dave",)}, lent=("ops",))
        before = State(BEFORE.roles, {"dave": dave})
        [step] = steps(State({"dev": DEV}, {"dave": dave}), before)
        self.assertEqual((step.gained, {each.login for each in step.lost}), ((), {"root"}))
        self.assertEqual({each.role for each in step.lost}, {"ops"})
        self.assertEqual(before.held("dave"), (DEV, OPS))

    def test_goes_on(self) -> None:
        """A plan that ended with somebody goes on behind them, also if they are not there any more."""
        after = State(
            {**BEFORE.roles, "dev": evolve(DEV, description="x"), "ops": evolve(OPS, description="x")}, PEOPLE
        )
        for behind, users in (("", ["alice", "bob", "carol"]), ("alice", ["bob", "carol"]), ("b", ["bob", "carol"])):
            found = list(plan(BEFORE, after, FLEET, NOW, behind))
            self.assertEqual([step.user for step in found], users)
            self.assertEqual((found[-1].done, found[-1].of), (3, 3))
        self.assertEqual(list(plan(BEFORE, after, FLEET, NOW, "carol")), [])

    @given(ROLES, _NODES)
    def test_as_decisions_say(self, roles: list[Role], labels: list[dict[str, str]]) -> None:
        """What somebody reaches is what each decision about one node allows, and the role is one that allows it."""
        fleet = Fleet([Node(str(number), each) for number, each in enumerate(labels)])
        found = reach(roles, _TRAITS, fleet, NOW)
        logins = {login for role in roles for login in role.allow.logins_of(_TRAITS)}
        caller = Caller("alice", "user", tuple(roles), tuple(sorted(logins)), _TRAITS)
        for login in logins:
            allowing = [
                explain(caller, Login(login), Target(each.labels, each.name), Facts(), NOW).allowing
                for each in fleet.nodes
            ]
            reached = {number for number, _ in fleet.names(found.logins.get(login, 0))}
            self.assertEqual(reached, {number for number, role in enumerate(allowing) if role is not None})
            for number in reached:
                self.assertEqual(found.role(login, number), allowing[number])
