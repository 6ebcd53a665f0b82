"""What a role, or a person, holds: the logins on nodes, the rules and the options, and what of them is denied.

Two holdings are compared by :mod:`teleport_conch.access.escalation`. Where it cannot be told whether one thing contains
another, it does not: a template may stand for anything, and a regular expression contains itself only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from attrs import frozen

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import ANY, EVERY_NODE, LabelSelector, Wanted, is_expression, matches_glob
from teleport_conch.access.options import Options, combine
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import OWN, Rule
from teleport_conch.access.templates import Traits, is_template

_LoginsOf = Callable[[Conditions], tuple[str, ...]]
_NodesOf = Callable[[Conditions], LabelSelector]

SUPERUSER = "root"
"""Who logs in to a node as this account can become any other there."""


@frozen
class OnNodes:
    """A login on the nodes of a selector, as a role or a person has it."""

    login: str
    nodes: LabelSelector

    def __str__(self) -> str:
        return f"the login {self.login} on {described(self.nodes)}"


@frozen
class Call:
    """A verb on a kind of resource, on a condition."""

    verb: str
    kind: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.verb} on {self.kind}" + (f" where {self.where}" if self.where else "")

    @property
    def depends_on_person(self) -> bool:
        """Whether the condition is about who asks, so that it may hold for one who has the rule and not for another.

        What somebody has over their own records, another has over those of their own.
        """
        return "user." in self.where and self.where not in OWN


@frozen
class Holding:
    """
    :param kubernetes: keys and names that are about Kubernetes, as they stand in roles.
    :param options: of all roles together.
    """

    logins: tuple[OnNodes, ...] = ()
    calls: frozenset[Call] = frozenset()
    denied_logins: frozenset[str] = frozenset()
    denied_nodes: tuple[LabelSelector, ...] = ()
    denied_calls: frozenset[Call] = frozenset()
    kubernetes: frozenset[tuple[str, str]] = frozenset()
    denied_kubernetes: frozenset[tuple[str, str]] = frozenset()
    options: Options | None = None

    @classmethod
    def of_role(cls, role: Role) -> Holding:
        """What a role gives to people who are not known: its templates stay as they are."""
        return cls._of((role,), lambda side: side.logins, lambda side: side.node_labels)

    @classmethod
    def of_person(cls, roles: Iterable[Role], traits: Traits) -> Holding:
        """What somebody with these roles and traits has."""
        return cls._of(tuple(roles), lambda side: side.logins_of(traits), lambda side: side.node_labels.filled(traits))

    @classmethod
    def _of(cls, roles: tuple[Role, ...], logins: _LoginsOf, nodes: _NodesOf) -> Holding:
        return cls(
            tuple(OnNodes(login, nodes(role.allow)) for role in roles for login in logins(role.allow)),
            frozenset(_calls(rule for role in roles for rule in role.allow.rules)),
            frozenset(login for role in roles for login in logins(role.deny)),
            tuple(nodes(role.deny) for role in roles if role.deny.node_labels.pairs),
            frozenset(_calls(rule for role in roles for rule in role.deny.rules)),
            frozenset(pair for role in roles for pair in role.allow.kubernetes.pairs()),
            frozenset(pair for role in roles for pair in role.deny.kubernetes.pairs()),
            combine(role.options for role in roles) if roles else None,
        )

    def has_login(self, wanted: OnNodes) -> bool:
        """Whether all that ``wanted`` gives is here, denials aside."""
        may_be_any = is_template(wanted.login)
        logins = {SUPERUSER} if may_be_any else {SUPERUSER, wanted.login}
        return not wanted.nodes.pairs or any(
            each.login in logins and covers(each.nodes, wanted.nodes) for each in self.logins
        )

    def has_call(self, wanted: Call) -> bool:
        """Whether a rule allows ``wanted`` on no condition, or on the same, if that is not about who asks."""
        conditions = {""} if wanted.depends_on_person else {"", wanted.where}
        kinds = {ANY, wanted.kind}
        return any(Call(wanted.verb, kind, where) in self.calls for kind in kinds for where in conditions)

    def is_denied_call(self, wanted: Call) -> bool:
        """Whether a rule denies some of ``wanted``."""
        kinds = {ANY, wanted.kind}
        return any(
            each.verb == wanted.verb and (each.kind in kinds or wanted.kind == ANY) for each in self.denied_calls
        )


def _calls(rules: Iterable[Rule]) -> Iterator[Call]:
    for rule in rules:
        yield from (Call(verb, kind, rule.where) for kind, verb in rule.pairs())


def covers(wide: LabelSelector, narrow: LabelSelector) -> bool:
    """Whether every node that ``narrow`` wants is certainly wanted by ``wide``."""
    if not narrow.pairs or wide == EVERY_NODE:
        return True
    wanted = {each.key: each for each in narrow.wanted}
    return bool(wide.pairs) and all(
        each.key in wanted and _covers_values(each, wanted[each.key]) for each in wide.wanted
    )


def _covers_values(wide: Wanted, narrow: Wanted) -> bool:
    if ANY in wide.plain:
        return True
    return not narrow.templates and all(_covers_value(wide, value) for value in narrow.listed)


def _covers_value(wide: Wanted, value: str) -> bool:
    if value in wide.plain:
        return True
    if is_expression(value):
        return False
    if ANY in value:
        return any(matches_glob(glob, value) for glob in wide.plain if not is_expression(glob))
    return wide.accepts(value)


def described(nodes: LabelSelector) -> str:
    """A selector for a sentence."""
    if nodes == EVERY_NODE:
        return "every node"
    pairs = (f"{key}: {', '.join(nodes.values(key)) or 'nothing'}" for key, _ in nodes.pairs)
    return f"nodes with {' and '.join(pairs)}" if nodes.pairs else "no node"
