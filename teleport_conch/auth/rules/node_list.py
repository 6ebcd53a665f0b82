"""The list of nodes as one person may see it: the nodes on which some login of theirs is allowed.

What was decided for a person is remembered until roles, users, locks or nodes change, or the next of them expires. It
is decided for the nodes that were asked for only, and for many of them with turns for others in between.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from attrs import define, field, frozen
from twisted.internet.task import deferLater

from teleport_conch.access.decision import Caller, Facts, Login, Target, decide
from teleport_conch.access.locks import Locks
from teleport_conch.access.roles import Role
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.hosts.inventory import Inventory
from teleport_conch.auth.hosts.presence import HostKey
from teleport_conch.auth.rules.locks import LockList
from teleport_conch.errors import AccessDenied
from teleport_conch.resources.server import Server

REMEMBERED_PEOPLE = 256
"""Whose decisions are remembered; those who asked longest ago are forgotten first."""
DECISIONS_AT_ONCE = 200
"""Nodes that are decided on before whatever else there is to do gets its turn."""


@frozen
class _Decided:
    """What was decided for one person.

    :ivar generation: of everything that it depends on.
    :ivar until: POSIX seconds.
    """

    generation: tuple[int, ...]
    until: float
    nodes: dict[HostKey, bool] = field(factory=dict)


@define(eq=False)
class NodeList:
    """Answers who may see which nodes.

    :ivar _generation: counts the changes of roles, users and locks.
    """

    _clocks: Clocks
    _inventory: Inventory
    _locks: LockList
    _generation: Callable[[], tuple[int, ...]]
    _people: dict[str, tuple[Caller, _Decided]] = field(init=False, factory=dict)

    async def of(self, caller: Caller, labels: Mapping[str, str], search: Collection[str]) -> list[HostKey]:
        """The nodes that the caller may see and that are asked for, by nodename. Hosts see all of them."""
        found = self._inventory.index.find(labels, search)
        if caller.kind == "user" and not oversees(caller, self._clocks.wall()):
            found = await self._visible(caller, tuple(found))
        return sorted(found, key=self._order)

    def may_see(self, caller: Caller, key: HostKey) -> bool:
        """Whether one node is on the caller's list."""
        now = self._clocks.wall()
        return caller.kind != "user" or oversees(caller, now) or self._allowed(caller, key, now)

    def _order(self, key: HostKey) -> tuple[str, str]:
        record = self._inventory.record(key)
        return ("" if record is None else record.hostname, key.uuid)

    async def _visible(self, caller: Caller, keys: Collection[HostKey]) -> set[HostKey]:
        nodes, new = self._decided(caller).nodes, 0
        for key in keys:
            if key not in nodes:
                nodes[key] = self._allowed(caller, key, self._clocks.wall())
                new += 1
                if new % DECISIONS_AT_ONCE == 0:
                    await deferLater(self._clocks.timers, 0)
        return {key for key in keys if nodes[key]}

    def _decided(self, caller: Caller) -> _Decided:
        """What is remembered for the caller, as far as it still holds."""
        now, generation = self._clocks.wall(), (self._inventory.index.generation, *self._generation())
        known, decided = self._people.pop(caller.name, (None, None))
        if decided is None or known != caller or decided.generation != generation or decided.until <= now:
            decided = _Decided(generation, min(_ends(caller, self._locks.every, now), default=float("inf")))
        self._people[caller.name] = (caller, decided)
        if len(self._people) > REMEMBERED_PEOPLE:
            del self._people[next(iter(self._people))]
        return decided

    def _allowed(self, caller: Caller, key: HostKey, now: float) -> bool:
        record = self._inventory.record(key)
        if record is None:
            return False
        target, facts = _target(record), Facts(locks=self._locks.every)
        return any(_is_allowed(caller, login, target, facts, now) for login in caller.logins)


def oversees(caller: Caller, now: float) -> bool:
    """Whether somebody has a role that lists nodes and is for no login: it is about all nodes, as an auditor's."""
    return any(_is_for_lists(role) for role in caller.roles if role.holds_at(now))


def _is_for_lists(role: Role) -> bool:
    return not role.allow.logins and any(not rule.where for rule in role.allow.rules_about("list", "node"))


def _is_allowed(caller: Caller, login: str, target: Target, facts: Facts, now: float) -> bool:
    try:
        decide(caller, Login(login), target, facts, now)
    except AccessDenied:
        return False
    return True


def _target(record: Server) -> Target:
    return Target(labels=record.all_labels, name=record.hostname, owner=record.name)


def _ends(caller: Caller, locks: Locks, now: float) -> Iterator[float]:
    every = (*(role.expires_at for role in caller.roles), *(lock.expires_at for lock in locks.every))
    return (end for end in every if end is not None and end > now)
