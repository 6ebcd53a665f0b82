"""What the kernel has recorded of sessions, on its way from the starter through the monitor to a server.

Whoever does not take it loses it, and hears how much: nothing is kept for a slow reader, and nothing else waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from teleport_conch import wire
from teleport_conch.ssh.monitor import orders
from teleport_conch.ssh.monitor.loop import Conversation
from teleport_conch.ssh.tracing import layout
from teleport_conch.wire import Reader, WireError

MAX_UNTAKEN = 64
"""Frames that the other side has not taken when records are counted instead of sent."""

MAX_RECORDS = 4096
"""Records in one frame."""

_UNSEEN = len(layout.KINDS) + 1
NOTHING = (0,) * _UNSEEN
"""Nothing is unseen: records of each kind, and threads."""


class Traced(NamedTuple):
    """Some records of one kind, and how many there are no records of.

    :ivar unseen: records of each kind, in the order of ``KINDS``, and threads that are not followed.
    """

    kind: int
    records: Sequence[bytes] = ()
    unseen: tuple[int, ...] = NOTHING

    def packed(self) -> bytes:
        """``byte kind, uint32 unseen[4], uint32 count, string record[count]``."""
        counts = b"".join(wire.uint32(min(each, 0xFFFFFFFF)) for each in (*self.unseen, len(self.records)))
        return wire.byte(self.kind) + counts + b"".join(map(wire.string, self.records))

    @property
    def lost(self) -> tuple[int, ...]:
        """What is unseen when this is not sent."""
        own = [len(self.records) if kind == self.kind else 0 for kind in layout.KINDS]
        return added(self.unseen, (*own, 0))


def read_traced(body: bytes) -> Traced:
    """:raises WireError: the body is not what :meth:`Traced.packed` makes."""
    reader = Reader(body)
    kind = reader.byte()
    unseen = tuple(reader.uint32() for _ in NOTHING)
    count = reader.uint32()
    if kind not in layout.KINDS or count > MAX_RECORDS:
        raise WireError(f"{count} records of the kind {kind}")
    records = [reader.string() for _ in range(count)]
    reader.end()
    return Traced(kind, records, unseen)


def added(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True))


class Telling:
    """Tells one other process about sessions, as far as it listens."""

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk
        self._untold: dict[int, tuple[int, ...]] = {}

    @property
    def heard(self) -> bool:
        """Whether the other side takes what it is told."""
        return self._talk.waiting < MAX_UNTAKEN

    def tell(self, number: int, traced: Traced) -> None:
        """Sends it under the number of a session, or counts it as lost."""
        if not self.heard:
            self.lose(number, traced)
            return
        untold = self._untold.pop(number, NOTHING)
        self._talk.send(orders.TRACED, number, traced._replace(unseen=added(traced.unseen, untold)).packed())

    def lose(self, number: int, traced: Traced) -> None:
        """Counts it as lost, which is told with what comes next."""
        self._untold[number] = added(self._untold.get(number, NOTHING), traced.lost)

    def pass_on(self, number: int, body: bytes) -> None:
        """The same with what comes packed, and is opened only where it has to be."""
        if self.heard and number not in self._untold:
            self._talk.send(orders.TRACED, number, body)
        else:
            self.tell(number, read_traced(body))

    def end(self, number: int) -> None:
        """The session is over: what could not be told of it is said in any case, in one frame."""
        untold = self._untold.pop(number, None)
        if untold is not None:
            self._talk.send(orders.TRACED, number, Traced(layout.COMMAND, (), untold).packed())
