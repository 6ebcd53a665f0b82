"""Who may ask for which roles: what the roles that somebody has at all times allow, minus what any of them denies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import field, frozen

from teleport_conch.access.builtin import ROBOT
from teleport_conch.access.roles import Role
from teleport_conch.access.shown import shown
from teleport_conch.access.templates import Traits
from teleport_conch.errors import AccessDenied, BadParameter
from teleport_conch.resources.access_request import (
    MAX_ANNOTATION_CHARS,
    MAX_ANNOTATION_VALUES,
    MAX_ANNOTATIONS,
    MAX_ROLES,
    Annotations,
)

EVERYTHING = "*"
"""In place of names: all roles that somebody may ask for."""


@frozen
class Asker:
    """Somebody who asks.

    :ivar roles: those that the person has at all times; what is lent lends nothing further.
    """

    name: str
    roles: tuple[Role, ...]
    traits: Traits = field(factory=dict)

    def may_ask(self, role: Role, now: float) -> bool:
        """Whether for ``role``: some role in time allows it, none denies it, and the person does not have it."""
        live = [each for each in self.roles if each.holds_at(now)]
        return (
            role.name not in {ROBOT, *(each.name for each in self.roles)}
            and role.holds_at(now)
            and any(each.allow.request.names(role.name, self.traits) for each in live)
            and not any(each.deny.request.names(role.name, self.traits) for each in live)
        )

    def all_of(self, known: Mapping[str, Role], now: float) -> tuple[str, ...]:
        """All roles that the person may ask for, sorted."""
        return tuple(sorted(name for name, role in known.items() if self.may_ask(role, now)))

    def wanted(self, names: Sequence[str], known: Mapping[str, Role], now: float) -> tuple[str, ...]:
        """The roles that ``names`` stand for, sorted and each once.

        :raises AccessDenied: one of them may not be asked for, or none at all.
        :raises BadParameter: they are too many, or none were named.
        """
        if not names:
            raise BadParameter("Say which roles are asked for, or * for all that may be.")
        found = set(self.all_of(known, now)) if EVERYTHING in names else set[str]()
        for name in sorted({*names} - {EVERYTHING} - found):
            self._check(name, known, now)
            found.add(name)
        if not found:
            raise AccessDenied(f"The user {shown(self.name)} may ask for no role.")
        if len(found) > MAX_ROLES:
            raise BadParameter(f"These are {len(found)} roles, and one request is for {MAX_ROLES} at most; name some.")
        return tuple(sorted(found))

    def _check(self, name: str, known: Mapping[str, Role], now: float) -> None:
        if name in {role.name for role in self.roles}:
            raise BadParameter(f"The user {shown(self.name)} has the role {shown(name)} already.")
        if name not in known or not self.may_ask(known[name], now):
            raise AccessDenied(f"The user {shown(self.name)} may not ask for the role {shown(name)}.")

    def annotations(self, now: float) -> Annotations:
        """What the roles say to whoever decides, in an order that does not depend on theirs."""
        live = [role for role in self.roles if role.holds_at(now)]
        denied = {each for role in live for each in role.deny.request.annotated(self.traits)}
        said = {each for role in live for each in role.allow.request.annotated(self.traits)} - denied
        return _bounded(said)


def _bounded(said: Iterable[tuple[str, str]]) -> Annotations:
    found: dict[str, tuple[str, ...]] = {}
    for name, value in sorted(said):
        values = found.get(name, ())
        if (values or len(found) < MAX_ANNOTATIONS) and len(values) < MAX_ANNOTATION_VALUES:
            found[name] = (*values, value[:MAX_ANNOTATION_CHARS])
    return found
