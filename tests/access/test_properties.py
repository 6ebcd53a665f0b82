"""What holds of every decision, whatever the roles."""

from __future__ import annotations

from random import Random

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.decision import (
    Action,
    AgentForward,
    Caller,
    Denial,
    Facts,
    Grant,
    Login,
    PortForward,
    Target,
    decide,
)
from teleport_conch.access.labels import EVERY_NODE, LabelSelector
from teleport_conch.access.locks import NO_LOCKS, Locks
from teleport_conch.access.options import Options, combine
from teleport_conch.access.question import AnyAction
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import OWN_RECORDS, Rule
from teleport_conch.access.trace import explain
from teleport_conch.resources.lock import Lock
from tests.access.asking import NOW

NAMED = 'equals(resource.metadata.name, "web1")'
_LOGINS = st.lists(st.sampled_from(["root", "alice", "{{internal.logins}}", "svc-{{external.app}}"]), max_size=2)
_SELECTORS = st.dictionaries(
    st.sampled_from(["env", "team"]),
    st.sampled_from([("prod",), ("pr*", "dev"), ("^(dev|test)$",), ("*",), ("{{external.app}}", "test")]),
    max_size=2,
).map(LabelSelector)
_RULES = st.lists(
    st.builds(
        Rule,
        st.sampled_from([("node",), ("token", "node"), ("*",)]),
        st.sampled_from([("read",), ("list", "readnosecrets"), ("*",)]),
        st.sampled_from(["", OWN_RECORDS, NAMED, f"!{NAMED}"]),
    ),
    max_size=2,
).map(tuple)
_SIDES = st.builds(Conditions, _LOGINS.map(tuple), st.one_of(_SELECTORS, st.just(EVERY_NODE)), _RULES)
_OPTIONS = st.builds(
    Options,
    forward_agent=st.booleans(),
    port_forwarding=st.booleans(),
    max_connections=st.integers(0, 2),
    max_sessions=st.integers(0, 2),
)
_EXPIRY = st.sampled_from([None, None, NOW - 1, NOW + 1])
_SOME_DENY = st.one_of(st.just(Conditions()), st.just(Conditions()), _SIDES)
ROLES = st.lists(
    st.builds(Role, st.text("abc", min_size=1, max_size=3), _OPTIONS, _SIDES, _SOME_DENY, st.just(""), _EXPIRY),
    max_size=4,
    unique_by=lambda role: role.name,
)
_ACTIONS = st.one_of(
    st.builds(Login, st.sampled_from(["root", "alice", "svc-web"])),
    st.builds(PortForward, st.sampled_from(["root", "alice"]), st.just("db"), st.just(5432)),
    st.builds(AgentForward, st.sampled_from(["root", "alice"])),
    st.builds(Action, st.sampled_from(["read", "readnosecrets", "list", "delete"]), st.sampled_from(["node", "token"])),
)
_TARGETS = st.builds(
    Target,
    st.dictionaries(st.sampled_from(["env", "team"]), st.sampled_from(["prod", "dev", "test"]), max_size=2),
    st.just("web1"),
    user=st.sampled_from(["", "alice", "bob"]),
    resource=st.sampled_from([None, {"metadata": {"name": "web1"}}, {"metadata": {"name": "web2"}}]),
)
_LOCKS = st.sampled_from([(), (), (Lock("l", "alice"),), (Lock("l", login="root"), Lock("m", role="a"))])
_FACTS = st.builds(Facts, st.integers(0, 2), st.integers(0, 2), st.just(""), st.builds(Locks, _LOCKS))
_TRAITS = {"logins": ("root",), "app": ("web", "dev")}


def caller(roles: list[Role]) -> Caller:
    return Caller("alice", "user", tuple(roles), ("root", "alice", "svc-web"), _TRAITS)


def answer(roles: list[Role], action: AnyAction, target: Target, facts: Facts) -> Grant | None:
    try:
        return decide(caller(roles), action, target, facts, NOW)
    except Denial:
        return None


def plainly(roles: list[Role], action: AnyAction, target: Target, facts: Facts) -> bool:
    """The rules as the manual says them, one after the other, with nothing kept and nothing made quick."""
    asking = caller(roles)
    live = [role for role in roles if role.holds_at(NOW)]
    if facts.shut_out(asking, action, target, NOW):
        return False
    if isinstance(action, Action):
        scene, kind = target.scene(asking), action.kind
        verbs = [action.verb, "readnosecrets"] if action.verb == "read" else [action.verb]
        denying = [rule for role in live for verb in verbs for rule in role.deny.rules_about(verb, kind)]
        allowing = [rule for role in live for rule in role.allow.rules_about(action.verb, kind)]
        sees = kind == "node" and action.verb != "delete" and target.user == "alice"
        implied = sees and any(role.allow.logins for role in live)
        return not any(rule.holds(scene) is not False for rule in denying) and (
            implied or any(rule.holds(scene) is True for rule in allowing)
        )
    options = combine(role.options for role in live)
    if isinstance(action, PortForward) and not options.port_forwarding:
        return False
    if isinstance(action, AgentForward) and not options.forward_agent:
        return False
    if isinstance(action, Login) and 0 < options.max_connections <= facts.connections:
        return False
    if isinstance(action, Login) and 0 < options.max_sessions <= facts.sessions:
        return False
    for role in live:
        if role.deny.node_labels.filled(_TRAITS).matches(target.labels):
            return False
        if action.login in role.deny.logins_of(_TRAITS):
            return False
    return action.login in asking.logins and any(
        action.login in role.allow.logins_of(_TRAITS) and role.allow.node_labels.filled(_TRAITS).matches(target.labels)
        for role in live
    )


class PropertyTests(SynchronousTestCase):
    @given(ROLES, _ACTIONS, _TARGETS, _FACTS, st.randoms(use_true_random=False))
    def test_order_never_matters(
        self, roles: list[Role], action: AnyAction, target: Target, facts: Facts, random: Random
    ) -> None:
        """Permuting the roles changes nothing."""
        permuted = list(roles)
        random.shuffle(permuted)
        self.assertEqual(answer(roles, action, target, facts), answer(permuted, action, target, facts))

    @given(ROLES, _ACTIONS, _TARGETS, _FACTS, _SIDES, _EXPIRY)
    def test_a_deny_never_grants(
        self,
        roles: list[Role],
        action: AnyAction,
        target: Target,
        facts: Facts,
        deny: Conditions,
        expires_at: float | None,
    ) -> None:
        """One more role that only denies takes away at most."""
        more = [*roles, Role("denying", Options(port_forwarding=False), deny=deny, expires_at=expires_at)]
        if answer(more, action, target, facts) is not None:
            self.assertIsNotNone(answer(roles, action, target, facts))

    @given(ROLES, _ACTIONS, _TARGETS, _FACTS)
    def test_a_lock_never_grants(self, roles: list[Role], action: AnyAction, target: Target, facts: Facts) -> None:
        """Locks take away at most."""
        if answer(roles, action, target, facts) is not None:
            self.assertIsNotNone(answer(roles, action, target, evolve(facts, locks=NO_LOCKS)))

    @given(ROLES, _ACTIONS, _TARGETS, _FACTS)
    def test_as_the_manual_says(self, roles: list[Role], action: AnyAction, target: Target, facts: Facts) -> None:
        """The decision is what the rules say that people read, and so is the one that was remembered."""
        expected = plainly(roles, action, target, facts)
        self.assertEqual(answer(roles, action, target, facts) is not None, expected)
        asking, other = caller(roles), Target({"env": "prod"}, "web2")
        for each in (target, other, target):
            self.assertEqual(explain(asking, action, each, facts, NOW).allowed, plainly(roles, action, each, facts))

    @given(ROLES, _ACTIONS, _TARGETS, _FACTS)
    def test_the_trace_agrees(self, roles: list[Role], action: AnyAction, target: Target, facts: Facts) -> None:
        """The trace allows what the decision allows, and has a change to propose where it does not."""
        granted = answer(roles, action, target, facts) is not None
        trace = explain(caller(roles), action, target, facts, NOW)
        self.assertEqual(trace.allowed, granted, trace)
        self.assertEqual(bool(trace.smallest_change), not granted)
        self.assertEqual([finding.role for finding in trace.roles], sorted(role.name for role in roles))
