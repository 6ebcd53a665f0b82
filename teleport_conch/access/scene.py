"""What a condition of a role looks at: who asks, and the resource that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import frozen


class Nothing(Enum):
    """What a path leads to where there is no value.

    ``ABSENT`` is data that is not there: a trait, or a label, in brackets. ``UNKNOWN`` is a field that should be there:
    the resource is not known yet (a list is asked for), or the name of the field is wrong. A condition about something
    unknown neither holds nor fails: a rule that allows does not allow then, and a rule that denies does.
    """

    ABSENT = "absent"
    UNKNOWN = "unknown"


@frozen
class Scene:
    """
    :param user: who asks, as the resource ``user`` shows a person: ``id``, ``metadata.name``, ``spec.roles``,
        ``spec.traits``. A host has its UUID as both names.
    :param resource: the JSON of the resource, None where none is known.
    :param owner: the host or the person that the resource belongs to, by what asks; empty for none.
    :param participants: the people in a session.
    """

    user: Mapping[str, object]
    resource: Mapping[str, object] | None = None
    owner: str = ""
    participants: tuple[str, ...] = ()

    def find(self, head: str, path: tuple[Step, ...]) -> object:
        """What stands at ``head.path``, or one of :class:`Nothing`."""
        if head == "user":
            found = _walk(self.user, path)
            return Nothing.ABSENT if found is Nothing.UNKNOWN else found
        if path == _OWNER:
            return self.owner or Nothing.ABSENT
        if path == _PARTICIPANTS and self.participants:
            return self.participants
        return Nothing.UNKNOWN if self.resource is None else _walk(self.resource, path)


@frozen
class Step:
    """One step of a path: ``.name``, or ``["name"]`` for what is data and may be missing."""

    name: str
    data: bool = False


_OWNER = (Step("owner"),)
_PARTICIPANTS = (Step("participants"),)


def _walk(value: object, path: tuple[Step, ...]) -> object:
    for step in path:
        if not isinstance(value, Mapping):
            return Nothing.UNKNOWN
        if step.name not in value:
            return Nothing.ABSENT if step.data else Nothing.UNKNOWN
        value = value[step.name]
    return Nothing.ABSENT if value is None else value
