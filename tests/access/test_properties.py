"""What holds of every decision, whatever the roles."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.conditions import OWN_RECORDS, Conditions, Rule
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
from teleport_conch.access.options import Options
from teleport_conch.access.question import AnyAction
from teleport_conch.access.roles import Role
from teleport_conch.access.trace import explain
from tests.access.asking import NOW

_LOGINS = st.lists(st.sampled_from(["root", "alice", "{{internal.logins}}", "svc-{{external.app}}"]), max_size=2)
_SELECTORS = st.dictionaries(
    st.sampled_from(["env", "team"]),
    st.sampled_from([("prod",), ("pr*", "dev"), ("^(dev|test)$",), ("*",)]),
    max_size=2,
).map(LabelSelector)
_RULES = st.lists(
    st.builds(
        Rule,
        st.sampled_from([("node",), ("token", "node"), ("*",)]),
        st.sampled_from([("read",), ("list", "readnosecrets"), ("*",)]),
        st.sampled_from(["", OWN_RECORDS]),
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
_ROLES = st.lists(
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
)
_FACTS = st.builds(Facts, st.integers(0, 2), st.integers(0, 2))
_TRAITS = {"logins": ("root",), "app": ("web",)}


def answer(roles: list[Role], action: AnyAction, target: Target, facts: Facts) -> Grant | None:
    caller = Caller("alice", "user", tuple(roles), ("root", "alice", "svc-web"), _TRAITS)
    try:
        return decide(caller, action, target, facts, NOW)
    except Denial:
        return None


class PropertyTests(SynchronousTestCase):
    @given(_ROLES, _ACTIONS, _TARGETS, _FACTS, st.randoms(use_true_random=False))
    def test_order_never_matters(
        self, roles: list[Role], action: AnyAction, target: Target, facts: Facts, random: Random
    ) -> None:
        """Permuting the roles changes nothing."""
        permuted = list(roles)
        random.shuffle(permuted)
        self.assertEqual(answer(roles, action, target, facts), answer(permuted, action, target, facts))

    @given(_ROLES, _ACTIONS, _TARGETS, _FACTS, _SIDES, _EXPIRY)
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

    @given(_ROLES, _ACTIONS, _TARGETS, _FACTS)
    def test_the_trace_agrees(self, roles: list[Role], action: AnyAction, target: Target, facts: Facts) -> None:
        """The trace allows what the decision allows, and has a change to propose where it does not."""
        granted = answer(roles, action, target, facts) is not None
        caller = Caller("alice", "user", tuple(roles), ("root", "alice", "svc-web"), _TRAITS)
        trace = explain(caller, action, target, facts, NOW)
        self.assertEqual(trace.allowed, granted, trace)
        self.assertEqual(bool(trace.smallest_change), not granted)
