"""Flags of commands that list what happened: from when to when, and how many."""

from __future__ import annotations

import time
from argparse import ArgumentTypeError
from functools import partial
from typing import Any, Protocol

from teleport_conch.cli.arguments import Parser
from teleport_conch.cli.instants import parse_moment

#: How many items auth answers at most.
MAX_LISTED = 10_000
#: How many recordings a list has, unless another number is asked for.
RECORDINGS = 500

_WHEN = "2026-11-22, 2026-11-22T18:31:02Z, or 2h for two hours ago"


class _Options(Protocol):
    """A parser, or a group of options of one."""

    def add_argument(self, *names: str, **settings: Any) -> object: ...


def between(parser: _Options) -> None:
    """``--from`` and ``--to``: ``start`` and ``end``, POSIX seconds."""
    parser.add_argument("--from", dest="start", type=moment, metavar="WHEN", help=_WHEN)
    parser.add_argument("--to", dest="end", type=moment, metavar="WHEN", help="the same")


def at_most(parser: _Options, usual: int, what: str) -> None:
    """``--limit``, of ``what``."""
    limit = partial(_limit, what)
    parser.add_argument("--limit", type=limit, default=usual, metavar=str(usual), help="so many, the newest")


def of_recordings(parser: Parser) -> None:
    """Which recordings are listed. ``--user`` is whose they are, also where it is something else to other commands."""
    group = parser.add_argument_group("which recordings", conflict_handler="resolve")
    between(group)
    group.add_argument("--user", dest="of", default="", metavar="NAME", help="whose sessions")
    group.add_argument("--node", default="", metavar="NODE", help="on which node: nodename or host UUID")
    at_most(group, RECORDINGS, "recordings")


def moment(text: str) -> float:
    """POSIX seconds, of what :func:`~teleport_conch.cli.instants.parse_moment` takes."""
    try:
        return parse_moment(text, time.time())
    except ValueError as reason:
        raise ArgumentTypeError(str(reason)) from None


def _limit(what: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_LISTED):
        raise ArgumentTypeError(f"a search answers 1 to {MAX_LISTED} {what}, and not '{text[:16]}'")
    return int(text)
