"""A failed expectation that brings along what the programs around it said."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import FailTest

#: Each answers a text that may explain a failure: the ends of logs, say.
witnesses: list[Callable[[], str]] = []


class Failed(FailTest):
    """A failure of a test, with what the witnesses saw at that moment."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self._seen = [witness() for witness in witnesses]

    def __str__(self) -> str:
        return "\n".join((super().__str__(), *self._seen))
