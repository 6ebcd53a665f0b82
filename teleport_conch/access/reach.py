"""Who reaches what: all nodes at once, for one person.

This asks what :func:`teleport_conch.access.decision.decide` asks, with sets of nodes in place of one node; a test holds
the two to the same answers. A set is a number with a bit for each node, so that "all of these but those" is one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import Factory, field, frozen

from teleport_conch.access.labels import LabelSelector
from teleport_conch.access.roles import Role
from teleport_conch.access.templates import Traits

NodeSet = int
"""Bit ``n`` stands for the node that has the number ``n`` in its fleet."""


@frozen
class Node:
    """A node as roles see it."""

    name: str
    labels: Mapping[str, str]


def _by_label(fleet: Fleet) -> Mapping[str, Mapping[str, NodeSet]]:
    found: dict[str, dict[str, NodeSet]] = {}
    for number, node in enumerate(fleet.nodes):
        for key, value in node.labels.items():
            values = found.setdefault(key, {})
            values[value] = values.get(value, 0) | 1 << number
    return found


@frozen
class Fleet:
    """The nodes of a cluster, by label and value."""

    nodes: Sequence[Node]
    _by_label: Mapping[str, Mapping[str, NodeSet]] = field(
        init=False, eq=False, repr=False, default=Factory(_by_label, takes_self=True)
    )

    def matching(self, selector: LabelSelector) -> NodeSet:
        """The nodes that a selector wants, whose templates are filled in."""
        if not selector.pairs:
            return 0
        found = (1 << len(self.nodes)) - 1
        for wanted in selector.wanted:
            values = self._by_label.get(wanted.key, {})
            of_key = 0
            for value, nodes in values.items():
                if wanted.accepts(value):
                    of_key |= nodes
            found &= of_key
        return found

    def names(self, nodes: NodeSet) -> Iterator[tuple[int, str]]:
        """The numbers and the names of the nodes of a set."""
        while nodes:
            number = (nodes & -nodes).bit_length() - 1
            yield number, self.nodes[number].name
            nodes &= nodes - 1


@frozen
class Reach:
    """What one person reaches: for each login the nodes, and which role gives which of them.

    :param by_role: for each login, in the order of the roles' names.
    """

    logins: Mapping[str, NodeSet]
    by_role: Mapping[str, tuple[tuple[str, NodeSet], ...]]

    def role(self, login: str, number: int) -> str:
        """The first role by name that gives a login on the node with this number."""
        return next((name for name, nodes in self.by_role.get(login, ()) if nodes >> number & 1), "")


def reach(roles: Iterable[Role], traits: Traits, fleet: Fleet, now: float) -> Reach:
    """What somebody with these roles and traits reaches, with every login that the roles give."""
    live = sorted((role for role in roles if role.holds_at(now)), key=lambda role: role.name)
    barred = 0
    for role in live:
        barred |= fleet.matching(role.deny.node_labels.filled(traits))
    logins: dict[str, NodeSet] = {}
    by_role: dict[str, tuple[tuple[str, NodeSet], ...]] = {}
    for role in live:
        nodes = fleet.matching(role.allow.node_labels.filled(traits)) & ~barred
        for login in role.allow.logins_of(traits) if nodes else ():
            if not any(each.deny.names_login(login, traits) for each in live):
                logins[login] = logins.get(login, 0) | nodes
                by_role[login] = (*by_role.get(login, ()), (role.name, nodes))
    return Reach(logins, by_role)
