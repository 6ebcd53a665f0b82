"""Reads the small languages of roles, token by token: conditions, actions, and what stands in the braces of a template.

A refusal names the key that the text stands in, and the column, counted from 1.
"""

from __future__ import annotations

import re
from typing import Literal

from attrs import define, field, frozen

from teleport_conch.errors import BadParameter

MAX_TEXT_CHARS = 1024
MAX_NESTED = 32

_TOKEN = re.compile(
    r'(?P<name>[A-Za-z_][A-Za-z0-9_-]*)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>-?[0-9]{1,15})|(?P<sign>&&|\|\||[!().,\[\]])',
    re.ASCII,
)
_ESCAPES = {"n": "\n", "t": "\t"}

Kind = Literal["name", "text", "number", "sign", "end"]


@frozen
class Token:
    """``at`` is the index of its first character."""

    kind: Kind
    text: str
    at: int


@define
class Scanner:
    """One text, read from left to right with one token in sight.

    :param where: the key that the text stands in, for refusals.
    :param start: the index of the first character that counts.
    :raises BadParameter: the text is too long, or holds what is no token.
    """

    _text: str
    _where: str
    _end: int = field(default=0, alias="start")
    token: Token = field(init=False)
    _depth: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        if len(self._text) > MAX_TEXT_CHARS:
            raise BadParameter(f"{self._where} is longer than {MAX_TEXT_CHARS} characters.")
        self.next()

    def refusal(self, why: str, at: int | None = None) -> BadParameter:
        """:param at: the index of the character that is wrong, that of the token in sight by default."""
        column = (self.token.at if at is None else at) + 1
        return BadParameter(f"{self._where}, column {column}: {why}.")

    def next(self) -> None:
        """Passes the token in sight; the following one comes into sight."""
        at = self._end
        while self._text[at : at + 1].isspace():
            at += 1
        found = _TOKEN.match(self._text, at)
        if found is None and at < len(self._text):
            quoted = self._text[at] == '"'
            raise self.refusal("a quote is not closed" if quoted else f"{self._text[at]!a} is not expected there", at)
        self.token = Token("end", "", at) if found is None else Token(_kind(found), found[0], at)
        self._end = at if found is None else found.end()

    def sees(self, sign: str) -> bool:
        return self.token.kind == "sign" and self.token.text == sign

    def skip(self, sign: str) -> bool:
        """Whether ``sign`` was in sight; it is passed then."""
        seen = self.sees(sign)
        if seen:
            self.next()
        return seen

    def expect(self, sign: str) -> None:
        if not self.skip(sign):
            raise self.refusal(f"{sign} is expected there")

    def end(self) -> None:
        if self.token.kind != "end":
            raise self.refusal(f"{self.token.text[:32]!a} is not expected there")

    def name(self, called: str) -> str:
        if self.token.kind != "name":
            raise self.refusal(f"{called} is expected there")
        return self._passed().text

    def string(self) -> str:
        r"""A text in double quotes, in which ``\"``, ``\\``, ``\n`` and ``\t`` are known; any other ``\`` stays."""
        if self.token.kind != "text":
            raise self.refusal("a text in double quotes is expected there")
        return re.sub(r"\\(.)", _unescaped, self._passed().text[1:-1], flags=re.DOTALL)

    def number(self) -> int:
        """The number in sight."""
        return int(self._passed().text)

    def deeper(self) -> None:
        """Counts an opening parenthesis; :meth:`shallower` its closing."""
        self._depth += 1
        if self._depth > MAX_NESTED:
            raise self.refusal(f"parentheses are nested more than {MAX_NESTED} deep")

    def shallower(self) -> None:
        self._depth -= 1

    def _passed(self) -> Token:
        token = self.token
        self.next()
        return token


def _kind(found: re.Match[str]) -> Kind:
    kinds: tuple[Kind, ...] = ("name", "text", "number", "sign")
    return next(kind for kind in kinds if found[kind] is not None)


def _unescaped(found: re.Match[str]) -> str:
    char = found[1]
    return char if char in '"\\' else _ESCAPES.get(char, f"\\{char}")
