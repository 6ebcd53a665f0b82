"""The actions of rules: ``log("info", "%v reads %v", user.metadata.name, resource.metadata.name)``.

An action says what is to be written into the log of the service that decided, when its rule decided.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

from attrs import frozen

from teleport_conch.access.expressions import Operand, parse_operand
from teleport_conch.access.scanning import Scanner
from teleport_conch.access.scene import Nothing, Scene
from teleport_conch.access.shown import shown

Level = Literal["debug", "info", "warn", "error"]
LEVELS: tuple[Level, ...] = ("debug", "info", "warn", "error")
MAX_REMARK_CHARS = 1024
MAX_REMEMBERED_ACTIONS = 256

_VERB = re.compile(r"%([vsqd%])")
_PERCENT = re.compile(r"%(?![vsqd%])")


@frozen
class Remark:
    """What an action says: one line, inert and bounded."""

    level: Level
    text: str


RemarkOf = Callable[[Scene], Remark]


@lru_cache(MAX_REMEMBERED_ACTIONS)
def parse_action(text: str, where: str = "actions") -> RemarkOf:
    """
    :param where: the key that the action stands in, for refusals.
    :raises BadParameter: the key, the column, and what is wrong there.
    """
    scanner = Scanner(text, where)
    at = scanner.token.at
    name = scanner.name("log(...)")
    if name != "log":
        raise scanner.refusal(f"{name[:64]} is not known; the one action is log(level, format, ...)", at)
    scanner.expect("(")
    level = _level(scanner)
    scanner.expect(",")
    at, format_ = scanner.token.at, scanner.string()
    operands = _operands(scanner)
    scanner.expect(")")
    scanner.end()
    _check(scanner, format_, len(operands), at)
    return lambda scene: Remark(level, _filled(format_, [operand(scene) for operand in operands]))


def _level(scanner: Scanner) -> Level:
    at, name = scanner.token.at, scanner.string().lower()
    for level in LEVELS:
        if name.removesuffix("ing") == level:
            return level
    raise scanner.refusal(f"{name[:32]!a} is no level; the levels are {', '.join(LEVELS)}", at)


def _operands(scanner: Scanner) -> tuple[Operand, ...]:
    operands = []
    while scanner.skip(","):
        operands.append(parse_operand(scanner))
    return tuple(operands)


def _check(scanner: Scanner, format_: str, operands: int, at: int) -> None:
    verbs = sum(found[1] != "%" for found in _VERB.finditer(format_))
    if _PERCENT.search(_VERB.sub("", format_)):
        raise scanner.refusal("of the verbs of a format %v, %s, %q, %d and %% are known", at)
    if verbs != operands:
        raise scanner.refusal(f"the format has room for {verbs} values, and {operands} follow", at)


def _filled(format_: str, values: Sequence[object]) -> str:
    following = iter(values)

    def part(found: re.Match[str]) -> str:
        return "%" if found[1] == "%" else _written(next(following), quoted=found[1] == "q")

    return shown(_VERB.sub(part, format_), MAX_REMARK_CHARS)


def _written(value: object, quoted: bool) -> str:
    if isinstance(value, Nothing):
        return f"<{value.value}>"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if quoted else value
    return json.dumps(_plain(value), ensure_ascii=False, default=str)


def _plain(value: object) -> object:
    """What JSON can write."""
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value
