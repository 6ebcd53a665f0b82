"""The one decision: may this caller do this, to this, now?

The rules, after Teleport's. A role that denies wins over all that allow. For an API call one role has to have a rule
for the verb and the kind. For a login one role has to allow the login and match the node's labels, both in the same
role, and the login has to be a principal of the certificate as well. Forwarding needs that and an option, which any of
the caller's roles may have. A lock in force refuses, whatever the roles say. Everything else is refused. Neither roles
nor locks count in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import field, frozen

from teleport_conch.access.options import Options, combine
from teleport_conch.access.question import (
    OPTIONS,
    Action,
    AgentForward,
    AnyAction,
    Caller,
    Facts,
    Login,
    OnNode,
    PortForward,
    Target,
    X11Forward,
    denied_verbs,
)
from teleport_conch.access.roles import Role
from teleport_conch.access.shut_out import because
from teleport_conch.access.trace import Trace, explain
from teleport_conch.errors import AccessDenied, Fact

__all__ = [
    "Action",
    "AgentForward",
    "Caller",
    "Denial",
    "Facts",
    "Grant",
    "Login",
    "PortForward",
    "Target",
    "X11Forward",
    "decide",
]


class Denial(AccessDenied):
    """The refusal of :func:`decide`.

    The sentence is what the person may hear and names no role; :attr:`trace` is for those who look after the cluster.
    The fact ``reference`` joins the two.
    """

    def __init__(self, sentence: str, **facts: Fact) -> None:
        super().__init__(sentence, **facts)
        self._explain: Callable[[], Trace] = Trace

    @classmethod
    def of(cls, caller: Caller, action: AnyAction, target: Target, facts: Facts, now: float) -> Denial:
        locks = facts.shut_out(caller, action, target, now)
        refusal = because(locks) if locks else action.refusal
        sentence = f"{caller} is not authorized to {action.sentence(target)}: {refusal}"
        if not facts.reference:
            denial = cls(sentence)
        else:
            denial = cls(f"{sentence} (reference {facts.reference})", reference=facts.reference)
        denial._explain = lambda: explain(caller, action, target, facts, now)
        return denial

    @property
    def trace(self) -> Trace:
        """Why, role by role. It is worked out when it is asked for, since a list filtered by decisions never asks."""
        return self._explain()


@frozen
class Grant:
    """The answer yes.

    :param role: a role that allowed it; of several, the first by name.
    """

    role: str
    _roles: tuple[Role, ...] = field(repr=False)

    @property
    def options(self) -> Options:
        """What holds for the session: the options of all of the caller's roles together."""
        return combine(role.options for role in self._roles)


def decide(identity: Caller, action: AnyAction, target: Target, facts: Facts, now: float) -> Grant:
    """Whether ``identity`` may do ``action`` to ``target``.

    :param now: POSIX seconds; roles that have expired neither allow nor deny.
    :raises Denial: it may not.
    """
    live = tuple([role for role in identity.roles if role.expires_at is None or now < role.expires_at])
    if facts.locks and facts.shut_out(identity, action, target, now):
        raise Denial.of(identity, action, target, facts, now)
    if isinstance(action, Action):
        allowing = _role_for_call(identity, live, action, target)
    else:
        allowing = _role_for_node(identity, live, action, target, facts, now)
    if allowing is None:
        raise Denial.of(identity, action, target, facts, now)
    return Grant(allowing.name, live)


def _role_for_call(caller: Caller, live: Sequence[Role], action: Action, target: Target) -> Role | None:
    kind, own = action.kind, caller.owns(target)
    for role in live:
        if role.deny.rules and any(role.deny.covers(verb, kind, own) for verb in denied_verbs(action.verb)):
            return None
    for role in live:
        if role.allow.covers(action.verb, kind, own):
            return role
    return None


def _role_for_node(
    caller: Caller, live: Sequence[Role], action: OnNode, target: Target, facts: Facts, now: float
) -> Role | None:
    if caller.kind != "user" or action.login not in caller.logins or _too_many(live, action, facts):
        return None
    option = OPTIONS.get(type(action))
    if option is not None and not any(getattr(role.options, option) for role in live):
        return None
    return _role_for_login(caller, live, action.login, target, now)


def _role_for_login(caller: Caller, live: Sequence[Role], login: str, target: Target, now: float) -> Role | None:
    named, labels = caller.roles_of(login), target.labels
    if any(role.holds_at(now) for role in named.denying):
        return None
    for role in live:
        if role.deny.node_labels.pairs and role.deny.node_labels.matches(labels):
            return None
    for role in named.allowing:
        if role.allow.node_labels.matches(labels) and role.holds_at(now):
            return role
    return None


def _too_many(live: Sequence[Role], action: OnNode, facts: Facts) -> bool:
    if not isinstance(action, Login) or not (facts.connections or facts.sessions):
        return False
    limits = combine(role.options for role in live)
    return 0 < limits.max_connections <= facts.connections or 0 < limits.max_sessions <= facts.sessions
