"""What stands for roles that may be asked for: a name, a glob, ``^...$``, or ``{{regexp.match("...")}}``.

``regexp.match`` and ``regexp.not_match`` look for their expression anywhere in the name, and ``^`` and ``$`` bind it to
the ends. Text before and behind the braces is literal. All of it takes linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from teleport_conch.access.labels import is_expression, parse_pattern
from teleport_conch.access.pattern import compile_expression
from teleport_conch.access.replacing import compile_replacement
from teleport_conch.access.scanning import Scanner
from teleport_conch.access.templates import MAX_REMEMBERED_VALUES, in_braces, is_template
from teleport_conch.errors import BadParameter

Matches = Callable[[str], bool]
Mapped = Callable[[str], str | None]

_ANYTHING = "*"
_FUNCTIONS = ("regexp.match", "regexp.not_match")
_UNSPLIT = re.compile(r"\\.|\[[^\]]*\]")
_GROUP = re.compile(r"\([^()]*\)")


def parse_role_pattern(text: str, where: str) -> Matches:
    """
    :param where: the key of the role that it stands in, for refusals.
    :raises BadParameter: an expression or a template that cannot be used, or nothing.
    """
    if not text:
        raise BadParameter(f"{where} is empty; write the name of a role, or a pattern.")
    return _template(text, where) if is_template(text) else parse_pattern(text, where)


def _template(text: str, where: str) -> Matches:
    prefix, scanner, suffix = in_braces(text, where, '{{regexp.match("^ops-")}}')
    at = scanner.token.at
    called = f"{scanner.name('regexp.match or regexp.not_match')}{_member(scanner)}"
    if called not in _FUNCTIONS:
        raise scanner.refusal(f"{called[:64]} is not known; the functions are {' and '.join(_FUNCTIONS)}", at)
    scanner.expect("(")
    at, expression = scanner.token.at, scanner.string()
    scanner.expect(")")
    scanner.end()
    try:
        found = compile_expression(_anywhere(expression))
    except BadParameter as wrong:
        raise scanner.refusal(wrong.sentence.removesuffix("."), at) from None
    return _around(found, prefix, suffix, wanted=called == _FUNCTIONS[0])


def _member(scanner: Scanner) -> str:
    scanner.expect(".")
    return f".{scanner.name('the name of a function')}"


def _anywhere(expression: str) -> str:
    """An expression for the whole of a text that has a match of ``expression`` somewhere.

    :raises BadParameter: it is bound to an end in one of its alternatives only.
    """
    begins, ends = expression.startswith("^"), expression.endswith("$") and not expression.endswith("\\$")
    inner = expression[1 if begins else 0 : -1 if ends else None]
    if (begins or ends) and "|" in _outside_of_groups(inner):
        raise BadParameter("^ and $ bind all alternatives: put these into parentheses.")
    return f"{'' if begins else '.*'}(?:{inner}){'' if ends else '.*'}"


def _outside_of_groups(expression: str) -> str:
    rest, before = _UNSPLIT.sub("", expression), ""
    while rest != before:
        rest, before = _GROUP.sub("", rest), rest
    return rest


def _around(found: Matches, prefix: str, suffix: str, wanted: bool) -> Matches:
    def matches(name: str) -> bool:
        middle = name[len(prefix) : len(name) - len(suffix)]
        return f"{prefix}{middle}{suffix}" == name and found(middle) is wanted

    return matches


def parse_mapping(value: str, role: str, where: str) -> Mapped:
    """What makes the name of a role out of a value of a trait: ``$1`` in ``role`` is what the first star or group took.

    :param value: a literal, a glob or ``^...$``.
    :raises BadParameter: an expression that cannot be used, or a ``$`` that stands for no group.
    """
    expression = value if is_expression(value) else f"^{'(.*)'.join(map(_literally, value.split(_ANYTHING)))}$"
    try:
        return lru_cache(MAX_REMEMBERED_VALUES)(compile_replacement(f"^(?:{expression[1:-1]})$", role))
    except BadParameter as wrong:
        raise BadParameter(f"{where}: {wrong.sentence}") from None


def _literally(text: str) -> str:
    return "".join(char if char.isalnum() else f"\\{char}" for char in text)
