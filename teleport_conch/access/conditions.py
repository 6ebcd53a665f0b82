"""One side of a role, what it allows or what it denies: logins, labels of nodes, and rules about resources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import Factory, field, frozen

from teleport_conch.access.labels import ANY, EVERY_NODE, NO_NODE, LabelSelector
from teleport_conch.access.options import check_keys
from teleport_conch.access.templates import Template, Traits, parse_login
from teleport_conch.errors import BadParameter, NotBuilt
from teleport_conch.resources.fields import Fields

VERBS = ("list", "create", "read", "readnosecrets", "update", "delete")
READ_WRITE = ("list", "create", "read", "update", "delete")
READ_ONLY = ("list", "read")
WITHOUT_SECRETS = ("list", "readnosecrets")

OWN_RECORDS = "equals(resource.owner, user.id)"
"""The one ``where`` that is built: the resource belongs to the host, or to the person, who asks."""

MAX_LOGINS = 256
MAX_RULES = 256

_Verbs = Mapping[str, frozenset[str]]
_NONE: frozenset[str] = frozenset()


@frozen
class Rule:
    """Verbs on kinds of resources; ``*`` stands for all of them. ``where`` is empty or :data:`OWN_RECORDS`.

    :raises BadParameter: a verb that does not exist, no verbs, or no resources.
    :raises NotBuilt: any other ``where``.
    """

    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    where: str = ""

    def __attrs_post_init__(self) -> None:
        unknown = sorted(set(self.verbs) - {*VERBS, ANY})
        if unknown or not self.verbs or not self.resources:
            wrong = f"unknown verb {unknown[0][:64]!a}" if unknown else "a rule names its resources and verbs"
            raise BadParameter(f"{wrong}; the verbs are {', '.join(VERBS)} and '*'.")
        if self.where not in ("", OWN_RECORDS):
            raise NotBuilt("conditions (where) of rules are not built yet; leave the rule out.")

    def to_json(self) -> dict[str, object]:
        shape: dict[str, object] = {"resources": list(self.resources), "verbs": list(self.verbs)}
        return {**shape, "where": self.where} if self.where else shape

    @classmethod
    def from_json(cls, fields: Fields) -> Rule:
        check_keys(fields, ("resources", "verbs", "where"), {"actions": ([],)})
        return cls(fields.texts("resources"), fields.texts("verbs"), fields.text("where", default=""))

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Each kind with each verb, those included that another implies."""
        verbs = set(VERBS if ANY in self.verbs else self.verbs)
        if "read" in verbs:
            verbs.add("readnosecrets")
        for kind in self.resources:
            yield from ((kind, verb) for verb in verbs)


def _verbs_by_kind(rules: tuple[Rule, ...], where: str) -> _Verbs:
    found: dict[str, set[str]] = {}
    for rule in rules:
        for kind, verb in rule.pairs() if rule.where == where else ():
            found.setdefault(kind, set()).add(verb)
    return {kind: frozenset(verbs) for kind, verbs in found.items()}


def _plain_logins(side: Conditions) -> frozenset[str]:
    return frozenset(login for login in map(parse_login, side.logins) if isinstance(login, str))


def _login_templates(side: Conditions) -> tuple[Template, ...]:
    return tuple(login for login in map(parse_login, side.logins) if isinstance(login, Template))


def _rules_for_any(side: Conditions) -> _Verbs:
    return _verbs_by_kind(side.rules, "")


def _rules_for_own(side: Conditions) -> _Verbs:
    return _verbs_by_kind(side.rules, OWN_RECORDS)


def _selector(value: LabelSelector | Mapping[str, tuple[str, ...]]) -> LabelSelector:
    return value if isinstance(value, LabelSelector) else LabelSelector(value)


@frozen
class Conditions:
    """Logins (names or templates), the nodes they are for, and rules. Compiled once, when it is made.

    :raises BadParameter: what :func:`parse_login`, :class:`LabelSelector` and :class:`Rule` refuse.
    """

    logins: tuple[str, ...] = ()
    node_labels: LabelSelector = field(default=NO_NODE, converter=_selector)
    rules: tuple[Rule, ...] = ()
    _names: frozenset[str] = field(init=False, eq=False, repr=False, default=Factory(_plain_logins, takes_self=True))
    _templates: tuple[Template, ...] = field(
        init=False, eq=False, repr=False, default=Factory(_login_templates, takes_self=True)
    )
    _any_record: _Verbs = field(init=False, eq=False, repr=False, default=Factory(_rules_for_any, takes_self=True))
    _own_records: _Verbs = field(init=False, eq=False, repr=False, default=Factory(_rules_for_own, takes_self=True))

    def names_login(self, login: str, traits: Traits) -> bool:
        return login in self._names or any(template.matches(login, traits) for template in self._templates)

    def logins_of(self, traits: Traits) -> tuple[str, ...]:
        """Every login that :meth:`names_login` says yes to, sorted."""
        filled = (login for template in self._templates for login in template.values(traits))
        return tuple(sorted({*self._names, *filled}))

    def covers(self, verb: str, kind: str, own: bool) -> bool:
        """Whether a rule speaks of ``verb`` on ``kind``; ``own`` when the resource belongs to who asks."""
        return _speaks(self._any_record, verb, kind) or (own and _speaks(self._own_records, verb, kind))

    def to_json(self) -> dict[str, object]:
        return {
            "logins": list(self.logins),
            "node_labels": self.node_labels.to_json(),
            "rules": [rule.to_json() for rule in self.rules],
        }

    @classmethod
    def from_json(cls, fields: Fields, labels_by_default: bool) -> Conditions:
        """
        :param labels_by_default: logins without any ``node_labels`` are good on every node (an ``allow`` side).
        :raises NotBuilt: Kubernetes groups, access requests, and conditions of rules.
        """
        nothing: tuple[object, ...] = ([], {})
        check_keys(
            fields,
            ("logins", "node_labels", "rules"),
            {"kubernetes_groups": nothing, "kubernetes_users": nothing, "request": nothing},
        )
        logins = fields.texts("logins", max_items=MAX_LOGINS, max_chars=256)
        selector = EVERY_NODE if labels_by_default and logins else NO_NODE
        if fields.raw().get("node_labels") is not None:
            labels = fields.child("node_labels")
            selector = LabelSelector.from_json(labels.raw(), labels.where)
        return cls(logins, selector, tuple(map(Rule.from_json, fields.children("rules", max_items=MAX_RULES))))


def _speaks(verbs: _Verbs, verb: str, kind: str) -> bool:
    return verb in verbs.get(kind, _NONE) or verb in verbs.get(ANY, _NONE)
