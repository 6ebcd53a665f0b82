"""One side of a role, what it allows or denies: logins, labels of nodes, rules about resources, roles to ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import Factory, field, frozen

from teleport_conch.access import kubernetes
from teleport_conch.access.kubernetes import NO_KUBERNETES, Kubernetes, kubernetes_of
from teleport_conch.access.labels import ANY, EVERY_NODE, NO_NODE, LabelSelector
from teleport_conch.access.options import check_keys
from teleport_conch.access.requests import NO_REQUESTS, Requests, request_of
from teleport_conch.access.rules import OWN_RECORDS, READ_ONLY, VERBS, Rule
from teleport_conch.access.templates import Template, Traits, is_template, parse_login
from teleport_conch.errors import BadParameter
from teleport_conch.resources.fields import Fields

MAX_LOGINS = 256
MAX_LOGIN_CHARS = 1024
MAX_RULES = 256
MAX_REPLACEMENTS = 16
"""In logins, labels and annotations together: each takes its time for each value of a trait."""

_OF_LOGINS = Rule(("node",), READ_ONLY, where=OWN_RECORDS)
_PAIRS_OF_LOGINS = frozenset(_OF_LOGINS.pairs())
"""What comes with a login: to see the nodes on which one has some. A watch, which is of all nodes, takes a rule."""

_ByVerb = Mapping[tuple[str, str], tuple[Rule, ...]]

_NOT_HERE: dict[str, tuple[object, ...]] = {
    "namespaces": ([], ["default"], ["*"]),
}
"""Keys of Teleport's roles that may be there with a value that asks for nothing."""


def _by_verb(side: Conditions) -> _ByVerb:
    found: dict[tuple[str, str], list[Rule]] = {}
    for rule in side.rules:
        for kind, verb in dict.fromkeys(rule.pairs()):
            found.setdefault((kind, verb), []).append(rule)
    return {key: tuple(rules) for key, rules in found.items()}


def _plain_logins(side: Conditions) -> frozenset[str]:
    return frozenset(login for login in map(parse_login, side.logins) if isinstance(login, str))


def _login_templates(side: Conditions) -> tuple[Template, ...]:
    return tuple(login for login in map(parse_login, side.logins) if isinstance(login, Template))


def _selector(value: LabelSelector | Mapping[str, tuple[str, ...]]) -> LabelSelector:
    return value if isinstance(value, LabelSelector) else LabelSelector(value)


@frozen
class Conditions:
    """Logins (names or templates), the nodes they are for, rules, and roles to ask for. Compiled once, when it is made.

    :raises BadParameter: what :func:`parse_login`, :class:`LabelSelector` and :class:`Rule` refuse.
    """

    logins: tuple[str, ...] = ()
    node_labels: LabelSelector = field(default=NO_NODE, converter=_selector)
    rules: tuple[Rule, ...] = ()
    request: Requests = NO_REQUESTS
    kubernetes: Kubernetes = NO_KUBERNETES
    _names: frozenset[str] = field(init=False, eq=False, repr=False, default=Factory(_plain_logins, takes_self=True))
    _templates: tuple[Template, ...] = field(
        init=False, eq=False, repr=False, default=Factory(_login_templates, takes_self=True)
    )
    _by_verb: _ByVerb = field(init=False, eq=False, repr=False, default=Factory(_by_verb, takes_self=True))

    def names_login(self, login: str, traits: Traits) -> bool:
        return login in self._names or any(login in template.logins(traits) for template in self._templates)

    def logins_of(self, traits: Traits) -> tuple[str, ...]:
        """Every login that :meth:`names_login` says yes to, sorted."""
        filled = (login for template in self._templates for login in template.logins(traits))
        return tuple(sorted({*self._names, *filled}))

    def rules_about(self, verb: str, kind: str) -> tuple[Rule, ...]:
        """The rules that speak of ``verb`` on ``kind``, whatever their conditions."""
        if verb not in VERBS:
            return ()
        rules = self._by_verb
        return (*rules.get((kind, verb), ()), *rules.get((ANY, verb), ()))

    def implied(self, verb: str, kind: str) -> tuple[Rule, ...]:
        """What comes with what this side allows otherwise, without any rule."""
        seeing = (_OF_LOGINS,) if self.logins and (kind, verb) in _PAIRS_OF_LOGINS else ()
        return (*seeing, *self.request.rules_about(verb, kind))

    @property
    def by_traits(self) -> bool:
        """Whether some login, or the label of a node, depends on the traits of who asks."""
        return bool(self._templates) or any(each.templates for each in self.node_labels.wanted)

    def to_json(self) -> dict[str, object]:
        return {
            "logins": list(self.logins),
            "node_labels": self.node_labels.to_json(),
            "rules": [rule.to_json() for rule in self.rules],
            **({"request": request} if (request := self.request.to_json()) else {}),
            **self.kubernetes.to_json(),
        }

    @classmethod
    def from_json(cls, fields: Fields, labels_by_default: bool) -> Conditions:
        """:param labels_by_default: logins without any ``node_labels`` are good on every node (an ``allow`` side)."""
        check_keys(fields, ("logins", "node_labels", "rules", "request", *kubernetes.KEYS), _NOT_HERE)
        logins = fields.texts("logins", max_items=MAX_LOGINS, max_chars=MAX_LOGIN_CHARS)
        for at, login in enumerate(logins):
            parse_login(login, f"{fields.where}.logins[{at}]")
        selector = EVERY_NODE if labels_by_default and logins else NO_NODE
        if fields.raw().get("node_labels") is not None:
            labels = fields.child("node_labels")
            selector = LabelSelector.from_json(labels.raw(), labels.where)
        values = (value for _, each in selector.pairs for value in each)
        rules, request = tuple(map(Rule.from_json, fields.children("rules", max_items=MAX_RULES))), request_of(fields)
        annotations = (value for each in request.annotations.values() for value in each)
        named = kubernetes_of(fields)
        names = (name for _, name in named.pairs())
        _check_replacements(fields.where, (*logins, *values, *annotations, *names))
        return cls(logins, selector, rules, request, named)


def _check_replacements(where: str, texts: Iterable[str]) -> None:
    if sum(text.count("regexp.replace") for text in texts if is_template(text)) > MAX_REPLACEMENTS:
        raise BadParameter(f"{where} has more than {MAX_REPLACEMENTS} times regexp.replace.")
