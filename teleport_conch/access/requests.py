"""The key ``request`` of one side of a role: which roles may be asked for, or may not, and what is said beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import Factory, field, frozen

from teleport_conch.access.labels import MAX_EXPRESSIONS, is_expression, parse_pattern
from teleport_conch.access.options import check_keys
from teleport_conch.access.role_patterns import Mapped, Matches, parse_mapping, parse_role_pattern
from teleport_conch.access.rules import OWN_RECORDS, Rule
from teleport_conch.access.templates import Template, Traits, is_template, parse_template
from teleport_conch.errors import BadParameter
from teleport_conch.resources.access_request import Annotations, read_annotations
from teleport_conch.resources.fields import Fields

MAX_PATTERNS = 64
"""Of roles, on one side of a role and in one entry of ``claims_to_roles``."""
MAX_CLAIMS = 64
MAX_MAPPED = 64
"""Names with ``$1`` in them, of all claims of one side together: each takes its time for each value of a trait."""
MAX_PATTERN_CHARS = 1024
MAX_CLAIM_CHARS = 64

_OWN = (
    Rule(("access_request",), ("create", "list", "read"), where=OWN_RECORDS),
    Rule(("user_cert",), ("create",), where=OWN_RECORDS),
)
"""What comes with the right to ask: to see what became of it, and to have it in a certificate."""


def _is_mapped(role: str) -> bool:
    return "$" in role and not is_expression(role) and not is_template(role)


def _value(claim: Claim) -> Matches:
    return parse_pattern(claim.value, f"{claim.where}.value")


def _patterns_of_claim(claim: Claim) -> tuple[Matches, ...]:
    return tuple(parse_role_pattern(role, f"{claim.where}.roles") for role in claim.roles if not _is_mapped(role))


def _mapped(claim: Claim) -> tuple[Mapped, ...]:
    return tuple(parse_mapping(claim.value, role, f"{claim.where}.roles") for role in claim.roles if _is_mapped(role))


@frozen
class Claim:
    """Roles for whoever has a trait with a value.

    :ivar claim: the name of the trait.
    :ivar value: a literal, a glob or ``^...$``.
    :ivar roles: patterns, or names with ``$1`` in them for what the first star or group of ``value`` took.
    :raises BadParameter: a pattern that cannot be used.
    """

    claim: str
    value: str
    roles: tuple[str, ...]
    where: str = field(default="claims_to_roles", eq=False, repr=False)
    _value: Matches = field(init=False, eq=False, repr=False, default=Factory(_value, takes_self=True))
    _patterns: tuple[Matches, ...] = field(
        init=False, eq=False, repr=False, default=Factory(_patterns_of_claim, takes_self=True)
    )
    _mapped: tuple[Mapped, ...] = field(init=False, eq=False, repr=False, default=Factory(_mapped, takes_self=True))

    def names(self, role: str, traits: Traits) -> bool:
        return any(self._names(role, value) for value in traits.get(self.claim, ()) if self._value(value))

    def _names(self, role: str, value: str) -> bool:
        return any(pattern(role) for pattern in self._patterns) or any(made(value) == role for made in self._mapped)

    def to_json(self) -> dict[str, object]:
        return {"claim": self.claim, "value": self.value, "roles": list(self.roles)}

    @classmethod
    def from_json(cls, fields: Fields) -> Claim:
        check_keys(fields, ("claim", "value", "roles"))
        return cls(
            fields.text("claim", max_chars=MAX_CLAIM_CHARS),
            fields.text("value", max_chars=MAX_PATTERN_CHARS),
            fields.texts("roles", MAX_PATTERNS, MAX_PATTERN_CHARS),
            fields.where,
        )


def _annotated(side: Requests) -> tuple[tuple[str, str | Template], ...]:
    pairs = ((name, value) for name, values in side.annotations.items() for value in values)
    return tuple(
        (name, parse_template(value, f"{side.where}.annotations.{name}") if is_template(value) else value)
        for name, value in pairs
    )


def _patterns(side: Requests) -> tuple[Matches, ...]:
    return tuple(parse_role_pattern(text, f"{side.where}.roles[{at}]") for at, text in enumerate(side.roles))


@frozen
class Requests:
    """One side's.

    :ivar annotations: texts by name, which may be templates.
    :raises BadParameter: a pattern that cannot be used.
    """

    roles: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    annotations: Annotations = field(factory=dict)
    where: str = field(default="request", eq=False, repr=False)
    _patterns: tuple[Matches, ...] = field(
        init=False, eq=False, repr=False, default=Factory(_patterns, takes_self=True)
    )
    _annotated: tuple[tuple[str, str | Template], ...] = field(
        init=False, eq=False, repr=False, default=Factory(_annotated, takes_self=True)
    )

    def __bool__(self) -> bool:
        return bool(self.roles or self.claims)

    def names(self, role: str, traits: Traits) -> bool:
        """Whether ``role`` is one of those that this is about, for somebody with these traits."""
        return any(pattern(role) for pattern in self._patterns) or any(
            claim.names(role, traits) for claim in self.claims
        )

    def annotated(self, traits: Traits) -> Iterator[tuple[str, str]]:
        """The annotations, templates filled in."""
        for name, value in self._annotated:
            if isinstance(value, Template):
                yield from ((name, f"{value.prefix}{each}{value.suffix}") for each in value.values(traits))
            else:
                yield name, value

    def rules_about(self, verb: str, kind: str) -> tuple[Rule, ...]:
        """What whoever may ask may do with requests of their own."""
        return tuple(rule for rule in _OWN if self and kind in rule.resources and verb in rule.verbs)

    def to_json(self) -> dict[str, object]:
        """Only what there is, so that a role without any is what it always was."""
        found = {
            "roles": list(self.roles),
            "claims_to_roles": [claim.to_json() for claim in self.claims],
            "annotations": {name: list(values) for name, values in sorted(self.annotations.items())},
        }
        return {key: value for key, value in found.items() if value}

    @classmethod
    def from_json(cls, fields: Fields) -> Requests:
        """:raises BadParameter: an unknown key, or a value that is wrong."""
        check_keys(fields, ("roles", "claims_to_roles", "annotations"))
        roles = fields.texts("roles", MAX_PATTERNS, MAX_PATTERN_CHARS)
        claims = fields.children("claims_to_roles", MAX_CLAIMS)
        _check_count(fields.where, (*roles, *(text for claim in claims for text in _texts(claim))))
        return cls(roles, tuple(map(Claim.from_json, claims)), read_annotations(fields, "annotations"), fields.where)


def _texts(claim: Fields) -> tuple[str, ...]:
    """What has to be compiled of a claim."""
    value = claim.text("value", max_chars=MAX_PATTERN_CHARS)
    return value, *claim.texts("roles", MAX_PATTERNS, MAX_PATTERN_CHARS)


def _check_count(where: str, texts: Iterable[str]) -> None:
    """Before any is compiled, as every host of the cluster does."""
    every = tuple(texts)
    if sum(is_expression(text) or is_template(text) for text in every) > MAX_EXPRESSIONS:
        raise BadParameter(f"{where} has more than {MAX_EXPRESSIONS} regular expressions.")
    if sum(map(_is_mapped, every)) > MAX_MAPPED:
        raise BadParameter(f"{where} has more than {MAX_MAPPED} names with a $ in them.")


NO_REQUESTS = Requests()


def request_of(fields: Fields) -> Requests:
    """The key of a side, which may be missing."""
    return NO_REQUESTS if fields.raw().get("request") in (None, []) else Requests.from_json(fields.child("request"))
