"""What a change would mean: who would gain, and who would lose, which login on which node.

Only the people are looked at whom the change touches: those whose roles or traits are others afterwards, and those who
have one of the roles that are. Locks are passed over, since they end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping

from attrs import field, frozen

from teleport_conch.access.reach import Fleet, Reach, reach
from teleport_conch.access.roles import Role
from teleport_conch.access.templates import Traits


@frozen
class Person:
    """A user, with roles by name; roles that do not exist are refused when somebody logs in, and give nothing.

    :ivar lent: what access requests lend at the moment; of these the ones count that there are.
    """

    name: str
    roles: tuple[str, ...]
    traits: Traits = field(factory=dict)
    lent: tuple[str, ...] = ()


@frozen
class State:
    """Who there is, and which roles there are, by name."""

    roles: Mapping[str, Role]
    people: Mapping[str, Person]

    def held(self, name: str) -> tuple[Role, ...]:
        """The roles of somebody; of nobody, and of whoever has a role that does not exist, none."""
        person = self.people.get(name)
        if person is None or not self.roles.keys() >= {*person.roles}:
            return ()
        lent = (role for role in person.lent if role in self.roles)
        return tuple(self.roles[role] for role in dict.fromkeys((*person.roles, *lent)))

    def reach(self, name: str, fleet: Fleet, now: float) -> Reach:
        person = self.people.get(name)
        return reach(self.held(name), {} if person is None else person.traits, fleet, now)


@frozen
class Access:
    """A login on a node, and the role that gives it."""

    user: str
    login: str
    node: str
    role: str

    def to_json(self) -> dict[str, object]:
        return {"user": self.user, "login": self.login, "node": self.node, "role": self.role}


@frozen
class Step:
    """One person, looked at.

    :ivar done: how many have been, with this one, ``of`` so many.
    """

    done: int
    of: int
    user: str
    gained: tuple[Access, ...]
    lost: tuple[Access, ...]


def touched(before: State, after: State) -> tuple[str, ...]:
    """The people who may gain or lose something, sorted."""
    names = sorted({*before.people, *after.people})
    changed = {role for role in {*before.roles, *after.roles} if before.roles.get(role) != after.roles.get(role)}
    return tuple(name for name in names if _is_touched(before.people.get(name), after.people.get(name), changed))


def _is_touched(before: Person | None, after: Person | None, changed: set[str]) -> bool:
    return before != after or (after is not None and not changed.isdisjoint((*after.roles, *after.lent)))


def plan(before: State, after: State, fleet: Fleet, now: float, behind: str = "") -> Iterator[Step]:
    """The steps, one for each person whom the change touches; whoever takes them may do something else in between.

    :param behind: the person with whom another plan of the same change ended; this one goes on with the next.
    """
    names = touched(before, after)
    start = bisect_right(names, behind) if behind else 0
    for done, name in enumerate(names[start:], start=start + 1):
        former, later = before.reach(name, fleet, now), after.reach(name, fleet, now)
        gained = tuple(_more(name, former, later, fleet))
        lost = tuple(_more(name, later, former, fleet))
        yield Step(done, len(names), name, gained, lost)


def _more(user: str, less: Reach, more: Reach, fleet: Fleet) -> Iterator[Access]:
    """What ``more`` has beside what ``less`` has."""
    for login in sorted(more.logins):
        for number, node in fleet.names(more.logins[login] & ~less.logins.get(login, 0)):
            yield Access(user, login, node, more.role(login, number))
