"""The form in which ``teleport start --labels`` takes labels: ``env=prod,uptime=[1m:"uptime -p"]``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

_LABEL = re.compile(
    r"""
    \s* (?P<name> [^=,\s]+ ) \s* = \s*
    (?: \[ \s* (?P<period> [^:\]]+ ) : (?P<command> (?: "[^"]*" | '[^']*' | [^\]"'] )* ) \]
      | (?P<quoted> "[^"]*" )
      | (?P<value> [^,"\[]* )
    )
    \s* (?: , | $ )
    """,
    re.VERBOSE,
)

_FORM = 'write them like env=prod,uptime=[1m:"uptime -p"]'


def parse_labels(text: str) -> tuple[Mapping[str, str], tuple[Mapping[str, object], ...]]:
    """What the keys ``labels`` and ``commands`` of ``ssh_service`` would hold.

    Names, values and periods are checked where those keys are read.

    :raises ValueError: with a sentence.
    """
    labels: dict[str, str] = {}
    commands: list[Mapping[str, object]] = []
    position = 0
    while position < len(text):
        found = _LABEL.match(text, position)
        if found is None:
            raise ValueError(f"the labels cannot be read from '{text[position : position + 64]}' on: {_FORM}")
        position = found.end()
        name = found["name"]
        if name in labels or any(name == command["name"] for command in commands):
            raise ValueError(f"the label '{name[:64]}' is given twice")
        if found["command"] is None:
            labels[name] = (found["quoted"] or found["value"] or "").strip().strip('"')
        else:
            commands.append({"name": name, "period": found["period"].strip(), "command": _words(found["command"])})
    return labels, tuple(commands)


def _words(command: str) -> list[str]:
    """Program and arguments. The quotes around a whole command, Teleport's form, are taken off first."""
    text = command.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"' and '"' not in text[1:-1]:
        text = text[1:-1]
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"the command '{text[:64]}' cannot be read: {error}") from None
    if not words:
        raise ValueError(f"a label has no command: {_FORM}")
    return words
