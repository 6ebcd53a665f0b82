"""What a worker is started with: descriptors, and which of how many it is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, MutableMapping

from attrs import asdict, frozen

from teleport_conch.rank import ALONE, Rank

VARIABLE = "TELEPORT_CONCH_WORKER"


@frozen
class Given:
    """What a supervisor hands to one worker.

    :ivar listening: the listening sockets, by the names of their listeners.
    :ivar control: the socket to the supervisor.
    :ivar monitor: the socket to a monitor; None where it has none.
    :ivar number: which worker it is, from 0; ``of``: how many there are.
    """

    listening: Mapping[str, int]
    control: int
    monitor: int | None = None
    number: int = 0
    of: int = 1

    def descriptors(self) -> tuple[int, ...]:
        """All of them."""
        return (*self.listening.values(), self.control, *(() if self.monitor is None else (self.monitor,)))

    def to_environment(self) -> Mapping[str, str]:
        """The variable that says so to a worker."""
        return {VARIABLE: json.dumps(asdict(self))}


def rank_of(given: Given | None) -> Rank:
    """Which of the processes of a service this is; the only one where nothing was given."""
    return ALONE if given is None else Rank(given.number, given.of)


def given_to_us(environment: MutableMapping[str, str]) -> Given | None:
    """What this process was given, if it is a worker; what it starts itself is none."""
    text = environment.pop(VARIABLE, "")
    if not text:
        return None
    found = Given(**json.loads(text))
    for fd in found.descriptors():
        os.set_inheritable(fd, False)
    return found
