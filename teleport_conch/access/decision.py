"""The one decision: may this caller do this, to this, now?

The rules, after Teleport's. A role that denies wins over all that allow. For an API call one role has to have a rule
for the verb and the kind. For a login one role has to allow the login and match the node's labels, both in the same
role, and the login has to be a principal of the certificate as well. Forwarding needs that and an option, which any of
the caller's roles may have. A lock in force refuses, whatever the roles say. Everything else is refused. Neither roles
nor locks count in any order.
"""

from __future__ import annotations

from attrs import field, frozen

from teleport_conch.access.findings import Trace
from teleport_conch.access.locks import because
from teleport_conch.access.options import Options, combine
from teleport_conch.access.question import (
    Action,
    AgentForward,
    AnyAction,
    Caller,
    Facts,
    Login,
    PortForward,
    Target,
    X11Forward,
)
from teleport_conch.access.remarks import Remark
from teleport_conch.access.roles import Role
from teleport_conch.access.trace import explain, live_roles
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
        self.trace = Trace()

    @classmethod
    def of(cls, trace: Trace, refusal: str, reference: str) -> Denial:
        """
        :param refusal: what is refused, for the person.
        :param reference: a short name under which the trace will be kept; empty for none.
        """
        sentence = f"{trace.caller} is not authorized to {trace.action}: {refusal}"
        denial = cls(f"{sentence} (reference {reference})", reference=reference) if reference else cls(sentence)
        denial.trace = trace
        return denial


@frozen
class Grant:
    """The answer yes.

    :param role: a role that allowed it; of several, the first by name.
    :param remarks: what the rules that allowed it want to have logged.
    """

    role: str
    _roles: tuple[Role, ...] = field(repr=False)
    remarks: tuple[Remark, ...] = ()

    @property
    def options(self) -> Options:
        """What holds for the session: the options of all of the caller's roles together."""
        return combine(role.options for role in self._roles)


def decide(identity: Caller, action: AnyAction, target: Target, facts: Facts, now: float) -> Grant:
    """Whether ``identity`` may do ``action`` to ``target``.

    :param now: POSIX seconds; roles that have expired neither allow nor deny.
    :raises Denial: it may not.
    """
    trace = explain(identity, action, target, facts, now)
    allowing = trace.allowing
    if allowing is None:
        locks = facts.shut_out(identity, action, target, now) if facts.locks else ()
        raise Denial.of(trace, because(locks) if locks else action.refusal, facts.reference)
    return Grant(allowing, live_roles(identity, now), trace.remarks)
