"""The membership of a process that follows another one of its host: it uses the identity that this keeps on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from teleport_conch.client.enrolment import Membership
from teleport_conch.client.standing import Standing
from teleport_conch.periodic import Periodic

#: Seconds between two looks at the identity on disk. A renewed one is used long before the old one ends.
LOOK_S = 5.0


class Follower(Standing):
    """Neither joins nor renews nor beats; that is for the process that leads, and whose files it reads."""

    def __init__(
        self, reactor: IReactorTime, data_dir: Path, wanted: Membership, random: Callable[[int], bytes]
    ) -> None:
        super().__init__(reactor, data_dir, wanted, random)
        self._reactor = reactor
        looking = Periodic(reactor, LOOK_S, self._look, lambda interval_s: interval_s, "look at the identity")
        looking.setServiceParent(self)

    def _look(self) -> None:
        stored = self._store.load(self._role)
        if stored is not None and stored != self.identity and self._reactor.seconds() < stored.not_after:
            self._adopt(stored)
        elif stored is not None:
            self.bound_labels = self._store.labels(self._role)

    def beat_every(self, interval_s: float) -> None:
        """For the one that leads."""

    def beat_now(self) -> Deferred[None]:
        """For the one that leads."""
        return succeed(None)

    def stopService(self) -> Deferred[None]:
        """Looks no more, and closes the connections."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await super().stopService()
        await self.client.close()
