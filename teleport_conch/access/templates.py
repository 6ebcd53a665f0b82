"""Logins with a hole in them: ``{{internal.logins}}``, ``svc-{{external.unix}}``, filled from a person's traits."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import frozen

from teleport_conch.errors import BadParameter, NotBuilt

_TEMPLATE = re.compile(
    r'([^{}]*)\{\{\s*(internal|external)(?:\.([A-Za-z0-9_-]{1,64})|\["([^"{}]{1,64})"\])\s*\}\}([^{}]*)'
)
_UNIX_LOGIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}\$?")

Traits = Mapping[str, tuple[str, ...]]


@frozen
class Template:
    """``prefix``, then each value of the trait, then ``suffix``."""

    prefix: str
    trait: str
    suffix: str

    def matches(self, login: str, traits: Traits) -> bool:
        """Whether ``login`` is one of :meth:`values`; asked this way round, nothing has to be filled in."""
        start, end = len(self.prefix), len(login) - len(self.suffix)
        return (
            start < end
            and login[start:end] in traits.get(self.trait, ())
            and login.startswith(self.prefix)
            and login.endswith(self.suffix)
            and _UNIX_LOGIN.fullmatch(login) is not None
        )

    def values(self, traits: Traits) -> tuple[str, ...]:
        """One login for each value of the trait; values that make no Unix login are left out."""
        filled = (f"{self.prefix}{value}{self.suffix}" for value in traits.get(self.trait, ()) if value)
        return tuple(login for login in filled if _UNIX_LOGIN.fullmatch(login))


def parse_login(text: str) -> str | Template:
    """A login as it stands in a role: a name, or a :class:`Template`.

    :raises BadParameter: ``*``, a name with space or control characters, or braces that are no template.
    :raises NotBuilt: functions, and internal variables other than ``logins``.
    """
    if "{" not in text and "}" not in text:
        if not text or "*" in text or "," in text or not text.isprintable() or " " in text:
            raise BadParameter(f"{text!a} cannot be a login of a role; '*' does not stand for all logins.")
        return text
    found = _TEMPLATE.fullmatch(text)
    if found is None:
        if "(" in text:
            raise NotBuilt(f"{text!a}: functions in templates are not built yet.")
        raise BadParameter(f"{text!a} is not a template like {{{{internal.logins}}}} or {{{{external.name}}}}.")
    trait = found[3] or found[4]
    if found[2] == "internal" and trait != "logins":
        raise NotBuilt(f"{text!a}: of the internal variables only internal.logins is built.")
    return Template(found[1], trait, found[5])
