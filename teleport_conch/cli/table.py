"""Tables for people, and text of others made harmless before it reaches a terminal."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

from teleport_conch.cli.colour import BOLD, painted

#: Characters that the narrowest column takes, the space after it included.
MIN_WIDTH = 5
#: Characters that are left of a cell however narrow the terminal is, unless another number is said.
MIN_CUT_WIDTH = 16


def inert(text: str) -> str:
    r"""``text`` with everything escaped that a terminal would obey, or that would hide what is there.

    That is all that is not printable by Unicode: control characters (so each ANSI sequence), line separators,
    bidirectional overrides, lone surrogates. They become ``\n``, ``\x1b`` and the like; letters stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], stream: TextIO | None = None) -> str:
    """Lines of a table: the heads of the columns, dashes as wide as each column, and the rows.

    The heads are bold where the stream that it is for, standard output unless another is named, is a terminal.
    """
    cells = [[inert(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    heads, *lines = _aligned([columns, ["-" * width for width in widths], *cells])
    return _text([painted(heads, BOLD, stream), *lines])


def terminal_width(stream: TextIO) -> int | None:
    """How many columns the terminal has; None where the output goes elsewhere."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def fitted(
    columns: Sequence[str], rows: Iterable[Sequence[str]], cut: int, width: int | None, least: int = MIN_CUT_WIDTH
) -> Sequence[Sequence[str]]:
    """The rows with the cells of one column cut where a line would be longer than the terminal is wide.

    :param cut: which column, counted from 0: one that says more than is needed to tell the rows apart.
    :param width: of the terminal; None where there is none, and nothing is cut.
    :param least: characters that are left of a cell however narrow that is.
    """
    cells = [[inert(cell) for cell in row] for row in rows]
    if width is None:
        return cells
    others = [column for at, column in enumerate(zip(columns, *cells, strict=True)) if at != cut]
    used = sum(max(MIN_WIDTH, *(len(cell) + 1 for cell in column)) for column in others)
    left = max(least, width - used - (cut < len(columns) - 1))
    return [[_cut(cell, left) if at == cut else cell for at, cell in enumerate(row)] for row in cells]


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 1]}…"


def headless(rows: Iterable[Sequence[str]]) -> str:
    """Lines of a table without heads; a row's first cell says what it is about."""
    return _text(_aligned([[inert(cell) for cell in row] for row in rows]))


def _aligned(rows: Sequence[Sequence[str]]) -> Sequence[str]:
    widths = [max(MIN_WIDTH, *(len(cell) + 1 for cell in column)) for column in zip(*rows, strict=True)]
    return ["".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def pairs(labels: Mapping[str, str]) -> str:
    """Labels in one cell: ``env=prod,role=db``, sorted by their keys."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
