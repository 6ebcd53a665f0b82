"""Why a decision was what it was, and what would change it."""

from __future__ import annotations

from attrs import evolve

from teleport_conch import errors
from teleport_conch.access.builtin import resolve
from teleport_conch.access.conditions import Conditions
from teleport_conch.access.decision import Action, Caller, Denial, Facts, Login
from teleport_conch.access.findings import Trace
from teleport_conch.access.labels import LabelSelector
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import Rule
from tests.access.asking import DEV, NO_ROOT, Decisions, person


class TraceTests(Decisions):
    def test_each_role(self) -> None:
        """Every role says what failed in it, and the nearest one makes the smallest change."""
        test = Role("test", allow=Conditions(("ubuntu",), LabelSelector({"env": ("test",), "team": ("db",)})))
        trace = self.assert_denied(person(DEV, test), Login("root")).trace
        self.assertEqual(
            [(finding.role, [failure.part for failure in finding.failures]) for finding in trace.roles],
            [("dev", ["label"]), ("test", ["label", "label", "login"])],
        )
        self.assertEqual(trace.smallest_change, ("add prod to env in allow.node_labels of dev",))
        self.assertEqual(
            trace.lines(),
            (
                "user alice@example.com: login as root@web1: denied",
                "role dev: label: the label env is prod, and dev, test is due",
                "role test: label: the label env is prod, and test is due",
                "role test: label: the node has no label team, and db is due",
                "role test: login: allow.logins has ubuntu, and not root",
                "to allow it: add prod to env in allow.node_labels of dev",
            ),
        )

    def test_deny(self) -> None:
        """Each denial has to go, and something has to allow."""
        no_prod = Role("no-prod", deny=Conditions(node_labels=LabelSelector({"env": ("prod",)})))
        trace = self.assert_denied(person(DEV, NO_ROOT, no_prod), Login("root")).trace
        self.assertEqual(
            trace.smallest_change,
            (
                "narrow deny.node_labels of no-prod, so that it leaves the node out",
                "take root out of deny.logins of no-root",
                "add prod to env in allow.node_labels of dev",
            ),
        )

    def test_without_roles(self) -> None:
        """Who has no role needs one."""
        trace = self.assert_denied(Caller("bob", "user", (), ("root",)), Login("root")).trace
        self.assertEqual(trace.smallest_change, ("give user bob a role that allows it",))

    def test_expired(self) -> None:
        """An expired role is looked at, and what it would have said."""
        trace = self.assert_denied(person(evolve(DEV, expires_at=1.0)), Login("root")).trace
        self.assertEqual([failure.part for failure in trace.roles[0].failures], ["expired", "label"])

    def test_calls(self) -> None:
        """Rules that are missing, that deny, and that are for one's own only."""
        denying = Role("denying", deny=Conditions(rules=(Rule(("ssh_session",), ("readnosecrets",)),)))
        trace = self.assert_denied(person(*resolve(["access"]), denying), Action("read", "ssh_session")).trace
        self.assertEqual(
            [(finding.role, [failure.part for failure in finding.failures]) for finding in trace.roles],
            [("access", ["owner"]), ("denying", ["deny", "rule"])],
        )
        self.assertEqual(trace.smallest_change[0], "take readnosecrets on ssh_session out of deny.rules of denying")

    def test_json(self) -> None:
        """The trace as an event or ``tctl why --format=json`` carries it."""
        shape = self.assert_denied(person(DEV), Login("root")).trace.to_json()
        self.assertEqual(
            shape,
            {
                "caller": "user alice@example.com",
                "action": "login as root@web1",
                "allowed": False,
                "outside": [],
                "roles": [
                    {
                        "role": "dev",
                        "failures": [
                            {
                                "part": "label",
                                "reason": "the label env is prod, and dev, test is due",
                                "change": "add prod to env in allow.node_labels of dev",
                            }
                        ],
                    }
                ],
                "smallest_change": ["add prod to env in allow.node_labels of dev"],
            },
        )

    def test_over_the_wire(self) -> None:
        """A denial that comes back from the API is an access denied with its sentence, and has no trace."""
        denial = self.assert_denied(person(DEV), Login("root"), facts=Facts(reference="7f3a"))
        back = errors.from_json(denial.to_json())
        self.assertIsInstance(back, errors.AccessDenied)
        self.assertEqual((back.sentence, back.facts), (denial.sentence, denial.facts))
        self.assertEqual(Denial("no").trace, Trace())
