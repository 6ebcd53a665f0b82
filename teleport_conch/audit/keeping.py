"""Where the slices of one session are kept: in the node's spool, or, past it, by auth at once."""

from __future__ import annotations

from collections.abc import Coroutine

from attrs import define, field
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from teleport_conch.audit.recording import read_header
from teleport_conch.audit.upload import Upload, is_for_good
from teleport_conch.audit.uploader import Uploader
from teleport_conch.errors import ConnectionProblem, NotRecorded, StorageError, TeleportError

DELIVER_S = 10.0
"""How long auth has to take a slice for which there is no other place."""
DELIVER_RETRY_S = 1.0


@define(eq=False)
class Keeping:
    """Keeps the slices of one session, in order.

    :param at_auth: auth has to take each slice before it counts as kept; else that is only for what the spool has no
        room for.
    :param emergency: the session is one of an emergency, for which the spool has room that others leave.
    """

    _clock: IReactorTime
    _uploader: Uploader
    _upload: Upload
    _at_auth: bool = False
    _emergency: bool = False
    _problem: str = field(init=False, default="")

    async def begin(self, encoded: bytes) -> None:
        """Keep the first slice. It is tried once, as nothing is lost yet.

        :raises NotRecorded: the session must not start; :meth:`end` is still due.
        """
        try:
            if self._at_auth:
                await self._in_time(self._sent(encoded))
            else:
                await self._spooled(encoded)
        except TeleportError as problem:
            raise NotRecorded(f"The session would not be recorded, and is not started. {problem.sentence}") from None

    async def keep(self, encoded: bytes) -> None:
        """Keep one more.

        :raises NotRecorded: there is no place for it; :meth:`keep_rest` may still find one.
        """
        problems = []
        if not self._at_auth:
            try:
                await self._spooled(encoded)
                return
            except StorageError as problem:
                problems.append(problem.sentence)
        try:
            await self._in_time(self._sent_at_last(encoded))
        except TeleportError as problem:
            problems.append(problem.sentence)
            raise NotRecorded(" ".join(("The session cannot be recorded any more.", *problems))) from None

    async def keep_rest(self, encoded: bytes) -> None:
        """Keep what is left of a session that is over as :meth:`keep` has failed, wherever there is room for it.

        :raises StorageError: there is none.
        """
        await self._uploader.keep(self._upload, read_header(encoded).index, encoded, emergency=True)

    def end(self, broken_off: str = "") -> None:
        """No more slices come. ``broken_off`` says as a sentence why, where the last one does not end the recording."""
        self._uploader.end(self._upload, broken_off)

    async def _spooled(self, encoded: bytes) -> None:
        await self._uploader.keep(self._upload, read_header(encoded).index, encoded, self._emergency)

    async def _sent(self, encoded: bytes) -> None:
        if self._upload.refused or not self._uploader.running:
            raise NotRecorded(self._upload.refused or "The node is being stopped.")
        try:
            await self._upload.deliver(encoded)
        except TeleportError as problem:
            if is_for_good(problem):
                self._uploader.refuse(self._upload, problem.sentence)
            raise

    async def _sent_at_last(self, encoded: bytes) -> None:
        while True:
            try:
                return await self._sent(encoded)
            except TeleportError as problem:
                if self._upload.refused or not self._uploader.running:
                    raise
                self._problem = problem.sentence
            await deferLater(self._clock, DELIVER_RETRY_S)

    async def _in_time(self, sending: Coroutine[Deferred[object], object, None]) -> None:
        self._problem = "The auth server did not answer."
        try:
            await Deferred.fromCoroutine(sending).addTimeout(DELIVER_S, self._clock)
        except defer.TimeoutError:
            raise ConnectionProblem(
                f"The auth server did not take the recording within {DELIVER_S:g} seconds: {self._problem}"
            ) from None
