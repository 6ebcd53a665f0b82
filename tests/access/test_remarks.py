"""Actions of rules say what is to be logged."""

from __future__ import annotations

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.decision import Action, Target
from teleport_conch.access.remarks import MAX_REMARK_CHARS, Remark, parse_action
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import Rule
from teleport_conch.access.scene import Scene
from teleport_conch.access.trace import MAX_REMARKS
from teleport_conch.errors import BadParameter
from tests.access.asking import Decisions, person

SCENE = Scene({"id": "alice", "spec": {"traits": {"teams": ("db", "web")}}}, {"kind": "node", "spec": {"port": 22}})


class ActionTests(Decisions):
    def test_filled(self) -> None:
        """Values stand in the places of the verbs, lists and numbers as JSON, and what is not there says so."""
        for text, expected in (
            ('log("info", "plain")', Remark("info", "plain")),
            ('log("WARNING", "%v on %s", user.id, resource.kind)', Remark("warn", "alice on node")),
            ('log("debug", "%q %d %%", "a\\"b", resource.spec.port)', Remark("debug", '"a\\"b" 22 %')),
            ('log("error", "%v", user.spec.traits["teams"])', Remark("error", '["db", "web"]')),
            (
                'log("info", "%v %v %v", user.spec.traits["x"], resource.spec.y, true)',
                Remark("info", "<absent> <unknown> true"),
            ),
            ('log("info", "%v", resource.spec)', Remark("info", '{"port": 22}')),
        ):
            self.assertEqual(parse_action(text)(SCENE), expected)

    def test_inert(self) -> None:
        """A value that a terminal would obey is escaped, and a long one cut."""
        scene = Scene({"id": "\x1b[2J\n" + "x" * 2000})
        remark = parse_action('log("info", "%v", user.id)')(scene)
        self.assertTrue(remark.text.startswith("\\x1b[2J\\nxx"))
        self.assertLess(len(remark.text), MAX_REMARK_CHARS + 20)

    def test_refusals(self) -> None:
        """The key, the column, and what is wrong there."""
        for text, sentence in (
            ("mail()", "column 1: mail is not known; the one action is log(level, format, ...)."),
            ('log("loud", "x")', "column 5: 'loud' is no level; the levels are debug, info, warn, error."),
            ('log("info")', "column 11: , is expected there."),
            ('log("info", "%v")', "column 13: the format has room for 1 values, and 0 follow."),
            ('log("info", "x", user.id)', "column 13: the format has room for 0 values, and 1 follow."),
            ('log("info", "%x", user.id)', "column 13: of the verbs of a format %v, %s, %q, %d and %% are known."),
            ('log("info", "x") x', "column 18: 'x' is not expected there."),
        ):
            error = self.assertRaises(BadParameter, parse_action, text, "actions[0]")
            self.assertEqual(error.sentence, f"actions[0], {sentence}")


class DecidingTests(Decisions):
    def test_who_decides_says(self) -> None:
        """The rules that allowed speak, those whose condition does not hold do not, and denials speak alone."""
        speak = 'log("info", "%v", user.id)'
        allowing = Role("a", allow=Conditions(rules=(Rule(("node",), ("list",), actions=(speak,)),)))
        other = Rule(("node",), ("list",), 'equals(user.id, "bob")', ('log("info", "bob")',))
        silent = Role("b", allow=Conditions(rules=(other, Rule(("node",), ("read",), actions=(speak,)))))
        grant = self.assert_allowed(person(allowing, silent, name="alice"), Action("list", "node"))
        self.assertEqual(grant.remarks, (Remark("info", "alice"),))
        denying = Role("c", deny=Conditions(rules=(Rule(("node",), ("list",), actions=('log("warn", "no")',)),)))
        denial = self.assert_denied(person(allowing, denying), Action("list", "node"))
        self.assertEqual(denial.trace.remarks, (Remark("warn", "no"),))

    def test_bounded(self) -> None:
        """Many rules do not fill the log."""
        rule = Rule(("node",), ("list",), actions=('log("info", "x")',) * 16)
        grant = self.assert_allowed(person(Role("a", allow=Conditions(rules=(rule, rule)))), Action("list", "node"))
        self.assertEqual(len(grant.remarks), MAX_REMARKS)

    def test_conditions(self) -> None:
        """A condition about the resource: it allows where it holds, denies where it may, and the trace says which."""
        allowed = Rule(("node",), ("read",), 'equals(resource.metadata.labels["env"], "dev")')
        denied = Rule(("node",), ("read",), 'equals(resource.metadata.name, "n1")')
        reading, call = Role("reading", allow=Conditions(rules=(allowed,))), Action("read", "node")
        n1 = Target(resource={"metadata": {"name": "n1", "labels": {"env": "dev"}}})
        self.assert_allowed(person(reading), call, n1)
        denial = self.assert_denied(person(reading), call, Target())
        self.assertEqual(
            (denial.trace.roles[0].failures[0].reason, denial.trace.smallest_change),
            (
                f"allow.rules covers read on node only where {allowed.where}, and that does not hold",
                ("widen the condition of read on node in allow.rules of reading",),
            ),
        )
        denying = Role("denying", deny=Conditions(rules=(denied,)))
        n2 = Target(resource={"metadata": {"name": "n2", "labels": {"env": "dev"}}})
        self.assert_allowed(person(reading, denying), call, n2)
        for target in (n1, Target()):
            denial = self.assert_denied(person(reading, denying), call, target)
            self.assertEqual(
                denial.trace.roles[0].failures[0].reason,
                'deny.rules covers read on node where equals(resource.metadata.name, "n1")',
            )

    def test_participants(self) -> None:
        """Who takes part in a session may read it, by a rule that says so."""
        rule = Rule(("ssh_session",), ("read",), "contains(resource.participants, user.metadata.name)")
        caller = person(Role("party", allow=Conditions(rules=(rule,))), name="alice")
        self.assert_allowed(caller, Action("read", "ssh_session"), Target(participants=("bob", "alice")))
        self.assert_denied(caller, Action("read", "ssh_session"), Target(participants=("bob",)))
        self.assert_denied(caller, Action("read", "ssh_session"), Target(user="alice"))
