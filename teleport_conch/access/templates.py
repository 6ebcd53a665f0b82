"""Texts with a hole in them: ``{{internal.logins}}``, ``svc-{{external.unix}}``, filled from a person's traits.

What stands in the braces is a variable, or ``email.local(...)`` or ``regexp.replace(..., "expression", "text")`` of
one. A variable of several values gives several texts; one that the person does not have gives none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from attrs import frozen

from teleport_conch.access.replacing import compile_replacement
from teleport_conch.access.scanning import Scanner
from teleport_conch.errors import BadParameter

MAX_FILLED = 256
"""Values that one template gives; a person with more of them has the first ones."""
MAX_REMEMBERED_VALUES = 1024

_BRACES = re.compile(r"([^{}]*)\{\{(.*?)\}\}([^{}]*)", re.DOTALL)
_UNIX_LOGIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}\$?")
INTERNAL = ("logins", "kubernetes_groups", "kubernetes_users")
"""The traits that ``internal`` has; ``external`` has any."""

Traits = Mapping[str, tuple[str, ...]]
_Change = Callable[[str], str | None]


@frozen
class Template:
    """``prefix``, then each value of the trait, changed where a function says so, then ``suffix``.

    :param changes: what the functions do to a value, from the inside out; None from one leaves the value out.
    """

    prefix: str
    trait: str
    suffix: str
    changes: tuple[_Change, ...] = ()

    def values(self, traits: Traits) -> tuple[str, ...]:
        """The values of the trait, changed, without prefix and suffix; empty ones are left out."""
        changed = map(self._changed, traits.get(self.trait, ())[:MAX_FILLED])
        return tuple(value for value in changed if value)

    def logins(self, traits: Traits) -> tuple[str, ...]:
        """One login for each value; values that make no Unix login are left out."""
        filled = (f"{self.prefix}{value}{self.suffix}" for value in self.values(traits))
        return tuple(login for login in filled if _UNIX_LOGIN.fullmatch(login))

    def _changed(self, value: str) -> str | None:
        changed: str | None = value
        for change in self.changes:
            changed = change(changed) if changed else None
        return changed


def is_template(text: str) -> bool:
    return "{{" in text or "}}" in text


def parse_login(text: str, where: str = "logins") -> str | Template:
    """A login as it stands in a role: a name, or a :class:`Template`.

    :param where: the key of the role, for refusals.
    :raises BadParameter: ``*``, a name with space or control characters, or braces that are no template.
    """
    if "{" not in text and "}" not in text:
        if not text or "*" in text or "," in text or not text.isprintable() or " " in text:
            raise BadParameter(f"{where}: {text!a} cannot be a login of a role; '*' does not stand for all logins.")
        return text
    return parse_template(text, where)


def parse_template(text: str, where: str) -> Template:
    """A text with one template in it.

    :raises BadParameter: the text has none, or several, or one that is wrong.
    """
    prefix, scanner, suffix = in_braces(text, where, "{{internal.logins}} or {{external.name}}")
    trait, changes = _value(scanner)
    scanner.end()
    return Template(prefix, trait, suffix, changes)


def in_braces(text: str, where: str, like: str) -> tuple[str, Scanner, str]:
    """What stands before the braces, a scanner of what stands in them, and what stands behind.

    :param like: an example, for the refusal.
    :raises BadParameter: the text has no such braces, or several.
    """
    found = _BRACES.fullmatch(text)
    if found is None:
        raise BadParameter(f"{where}: {text!a} is not a template like {like}.")
    return found[1], Scanner(text[: found.end(2)], where, start=found.start(2)), found[3]


def _value(scanner: Scanner) -> tuple[str, tuple[_Change, ...]]:
    """What the template reads, and what it does to it."""
    at = scanner.token.at
    name = scanner.name("internal, external, email.local or regexp.replace")
    if name in ("internal", "external"):
        return _variable(scanner, name), ()
    scanner.expect(".")
    called = f"{name}.{scanner.name('the name of a function')}"
    if called not in ("email.local", "regexp.replace"):
        raise scanner.refusal(f"{called[:64]} is not known; the functions are email.local and regexp.replace", at)
    scanner.expect("(")
    scanner.deeper()
    trait, changes = _value(scanner)
    change = _local_part if called == "email.local" else _replacement(scanner)
    scanner.expect(")")
    scanner.shallower()
    return trait, (*changes, change)


def _variable(scanner: Scanner, head: str) -> str:
    at = scanner.token.at
    if scanner.skip("["):
        trait = scanner.string()
        scanner.expect("]")
    else:
        scanner.expect(".")
        trait = scanner.name("the name of a trait")
    if not 0 < len(trait) <= 64:
        raise scanner.refusal("the name of a trait has 1 to 64 characters", at)
    if head == "internal" and trait not in INTERNAL:
        raise scanner.refusal(f"internal.{trait} is not known; internal.logins is, and any external.<trait>", at)
    return trait


def _replacement(scanner: Scanner) -> _Change:
    scanner.expect(",")
    at, expression = scanner.token.at, scanner.string()
    scanner.expect(",")
    try:
        return lru_cache(MAX_REMEMBERED_VALUES)(compile_replacement(expression, scanner.string()))
    except BadParameter as wrong:
        raise scanner.refusal(wrong.sentence.removesuffix("."), at) from None


def _local_part(address: str) -> str | None:
    """What stands before the ``@`` of an address; None for what is none."""
    local, at, domain = address.rpartition("@")
    return local if local and at and domain and not any(char.isspace() for char in address) else None
