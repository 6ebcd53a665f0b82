"""Colours for people: on a terminal only, and not where they asked for none."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TextIO

BOLD, RED, GREEN, YELLOW = "1", "31", "32", "33"


def painted(text: str, style: str, stream: TextIO | None = None, environment: Mapping[str, str] | None = None) -> str:
    """``text`` as a terminal shows it in a style; the same text where there are no colours.

    :param style: the number of a rendition (ECMA-48, SGR).
    :param environment: the variables of this process unless others are given.
    :param stream: where it will be written; standard output unless something else is said.
    """
    shown, variables = stream or sys.stdout, os.environ if environment is None else environment
    return f"\x1b[{style}m{text}\x1b[0m" if text and _has_colours(shown, variables) else text


def _has_colours(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """NO_COLOR says no by holding anything (no-color.org), and a terminal that does not say what it is knows none."""
    return not environment.get("NO_COLOR") and environment.get("TERM", "dumb") != "dumb" and stream.isatty()
