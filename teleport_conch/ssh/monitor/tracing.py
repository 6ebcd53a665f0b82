"""The starter's part in recording what sessions do: it tells the kernel of them, and passes on what that has seen."""

from __future__ import annotations

from functools import partial

from teleport_conch.ssh.monitor.host import Refusal
from teleport_conch.ssh.monitor.loop import Loop
from teleport_conch.ssh.monitor.traced import NOTHING, Telling, Traced
from teleport_conch.ssh.tracing import layout
from teleport_conch.ssh.tracing.joining import Followed
from teleport_conch.ssh.tracing.ring import Ring
from teleport_conch.ssh.tracing.tracer import Tracer

TURN_S = 0.02
TURN_BYTES = 32 << 10
"""A ring is read so often, and so much of it at a time: what comes faster stays in it, until it is full."""

MAX_EARLY_TURNS = 16
"""What is kept of a session until its server knows that it was started, in turns; the rest is counted."""

LOOK_S = 10.0
"""How often the kernel is asked what it has counted instead of recorded."""

_NUMBER = slice(layout.NUMBER, layout.NUMBER + 4)


class Tracing:
    """Follows sessions by their numbers, and tells what they do."""

    def __init__(self, loop: Loop, tracer: Tracer, telling: Telling) -> None:
        self._loop = loop
        self._tracer = tracer
        self._telling = telling
        self._counted: dict[int, tuple[int, ...]] = {}
        """What has been told as unseen of each session that is followed."""
        self._early: dict[int, list[Traced]] = {}
        self._looking = False
        self._open = True
        for kind, ring in tracer.rings.items():
            self._watch(kind, ring)

    @property
    def threads(self) -> int:
        """See :class:`~teleport_conch.ssh.tracing.joining.Followed`."""
        return self._tracer.threads

    def begin(self, number: int, kinds: int) -> Followed:
        """A session is to be started: what its process joins.

        :raises Refusal: there are too many.
        """
        try:
            self._tracer.follow(number, kinds)
        except OSError:
            sentence = f"This host records what {layout.MAX_TRACED} sessions do, and no more."
            raise Refusal(sentence, "LIMIT_EXCEEDED") from None
        self._counted[number] = NOTHING
        self._early[number] = []
        self._look_later()
        return Followed(self._tracer.threads, number)

    def started(self, number: int) -> None:
        """The server knows of the session, and hears from now on what it does, and has done since it was born."""
        for traced in self._early.pop(number, ()):
            self._telling.tell(number, traced)

    def end(self, number: int) -> None:
        """It is over, or was never started: what is there of it is told before anything else is."""
        if number not in self._counted:
            return
        self.started(number)
        for kind, ring in self._tracer.rings.items():
            for _ in range(ring.size // TURN_BYTES + 1):
                self._read(kind, ring)
        self._tell_unseen(number)
        self._telling.end(number)
        self._tracer.forget(number)
        del self._counted[number]

    def close(self) -> None:
        """Nobody listens any more: the kernel records nothing, and the host has its speed back."""
        self._open = False
        self._counted.clear()
        self._early.clear()
        for ring in self._tracer.rings.values():
            self._loop.unwatch(ring.fileno())
        self._tracer.close()

    def _watch(self, kind: int, ring: Ring) -> None:
        if not self._open:
            return
        self._loop.watch(ring.fileno(), lambda events: self._ready(kind, ring))

    def _ready(self, kind: int, ring: Ring) -> None:
        """Reads a turn; who does not listen leaves it in the ring."""
        self._loop.unwatch(ring.fileno())
        if self._telling.heard:
            self._read(kind, ring)
        self._loop.after(TURN_S, partial(self._watch, kind, ring))

    def _read(self, kind: int, ring: Ring) -> None:
        """Tells what a turn gives."""
        sessions: dict[int, list[bytes]] = {}
        for record in ring.records(TURN_BYTES):
            sessions.setdefault(int.from_bytes(record[_NUMBER], "little"), []).append(record)
        for number, records in sessions.items():
            if number in self._counted:
                self._tell(number, Traced(kind, records))

    def _tell(self, number: int, traced: Traced) -> None:
        early = self._early.get(number)
        if early is None:
            self._telling.tell(number, traced)
        elif len(early) < MAX_EARLY_TURNS:
            early.append(traced)
        else:
            self._telling.lose(number, traced)

    # What was not seen.

    def _look_later(self) -> None:
        if not self._looking:
            self._looking = True
            self._loop.after(LOOK_S, self._look)

    def _look(self) -> None:
        self._looking = False
        for number in self._counted:
            self._tell_unseen(number)
        if self._counted:
            self._look_later()

    def _tell_unseen(self, number: int) -> None:
        unseen = self._tracer.unseen(number)
        counted, before = (*unseen.records.values(), unseen.threads), self._counted[number]
        self._counted[number] = counted
        if counted != before:
            more = tuple(now - then for now, then in zip(counted, before, strict=True))
            self._tell(number, Traced(layout.COMMAND, (), more))
