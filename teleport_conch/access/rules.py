"""Rules of a role: verbs on kinds of resources, on a condition, with what is to be logged."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import Factory, field, frozen

from teleport_conch.access.expressions import Condition, Verdict, parse_condition
from teleport_conch.access.labels import ANY
from teleport_conch.access.options import check_keys
from teleport_conch.access.remarks import Remark, RemarkOf, parse_action
from teleport_conch.access.scene import Scene
from teleport_conch.errors import BadParameter
from teleport_conch.resources.fields import Fields

VERBS = ("list", "create", "read", "readnosecrets", "update", "delete")
READ_WRITE = ("list", "create", "read", "update", "delete")
READ_ONLY = ("list", "read")
WITHOUT_SECRETS = ("list", "readnosecrets")

OWN_RECORDS = "equals(resource.owner, user.id)"
"""The ``where`` of built-in roles: the resource belongs to the host, or to the person, who asks."""
OWN_SESSIONS = "contains(resource.participants, user.metadata.name)"
"""The same for what several people may have been in."""
OWN = frozenset({OWN_RECORDS, OWN_SESSIONS})
"""Conditions that give everybody the same: what is theirs."""

MAX_ACTIONS = 16


def _condition(rule: Rule) -> Condition | None:
    return parse_condition(rule.where) if rule.where else None


def _remarks(rule: Rule) -> tuple[RemarkOf, ...]:
    return tuple(parse_action(action, f"actions[{at}]") for at, action in enumerate(rule.actions))


@frozen
class Rule:
    """Verbs on kinds of resources; ``*`` stands for all of them.

    :param where: a condition (:mod:`teleport_conch.access.expressions`); empty for none.
    :param actions: what is logged when the rule decides (:mod:`teleport_conch.access.remarks`).
    :raises BadParameter: a verb that does not exist, no verbs, no resources, or a text that cannot be read.
    """

    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    where: str = ""
    actions: tuple[str, ...] = ()
    _holds: Condition | None = field(init=False, eq=False, repr=False, default=Factory(_condition, takes_self=True))
    _remarks: tuple[RemarkOf, ...] = field(init=False, eq=False, repr=False, default=Factory(_remarks, takes_self=True))

    def __attrs_post_init__(self) -> None:
        unknown = sorted(set(self.verbs) - {*VERBS, ANY})
        if unknown or not self.verbs or not self.resources:
            wrong = f"unknown verb {unknown[0][:64]!a}" if unknown else "a rule names its resources and verbs"
            raise BadParameter(f"{wrong}; the verbs are {', '.join(VERBS)} and '*'.")

    def holds(self, scene: Scene) -> Verdict:
        """Whether the condition holds; None where it is about what is not known."""
        return True if self._holds is None else self._holds(scene)

    def remarks(self, scene: Scene) -> Iterator[Remark]:
        """What the actions say."""
        yield from (remark(scene) for remark in self._remarks)

    def to_json(self) -> dict[str, object]:
        shape: dict[str, object] = {"resources": list(self.resources), "verbs": list(self.verbs)}
        where = {"where": self.where} if self.where else {}
        actions = {"actions": list(self.actions)} if self.actions else {}
        return {**shape, **where, **actions}

    @classmethod
    def from_json(cls, fields: Fields) -> Rule:
        check_keys(fields, ("resources", "verbs", "where", "actions"))
        where, actions = fields.text("where", default=""), fields.texts("actions", max_items=MAX_ACTIONS)
        if where:
            parse_condition(where, f"{fields.where}.where")
        for at, action in enumerate(actions):
            parse_action(action, f"{fields.where}.actions[{at}]")
        try:
            return cls(fields.texts("resources"), fields.texts("verbs"), where, actions)
        except BadParameter as wrong:
            raise BadParameter(f"{fields.where}: {wrong.sentence}") from None

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Each kind with each verb, those included that another implies."""
        verbs = set(VERBS if ANY in self.verbs else self.verbs)
        if "read" in verbs:
            verbs.add("readnosecrets")
        for kind in self.resources:
            yield from ((kind, verb) for verb in verbs)
