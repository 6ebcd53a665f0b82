"""How far a command is that takes long: a line on a terminal, which goes again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_CLEARED = "\r\x1b[K"


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows ``12 of 100`` of something, to a person only, from the first time on that not all is done.

    :param what: is counted, as ``users looked at``.
    """
    shown = False

    def told(done: int, of: int) -> None:
        nonlocal shown
        if sys.stderr.isatty() and (shown or done < of):
            shown = True
            print(f"{_CLEARED}{done} of {of} {what}", end="", flush=True, file=sys.stderr)

    try:
        yield told
    finally:
        if shown:
            print(_CLEARED, end="", flush=True, file=sys.stderr)
