"""The recordings of this node's sessions: who is recorded how, and what earlier processes left behind."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from attrs import frozen
from twisted.application.service import MultiService
from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredList, gatherResults, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from teleport_conch.audit.event import cut
from teleport_conch.audit.keeping import Keeping
from teleport_conch.audit.leftovers import leftovers
from teleport_conch.audit.upload import SliceClient
from teleport_conch.audit.upload_spool import InThread, UploadSpool
from teleport_conch.audit.uploader import Uploader
from teleport_conch.client.backoff import spread
from teleport_conch.errors import TeleportError
from teleport_conch.node.recorder import Recorder
from teleport_conch.rank import ALONE, Rank
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.session import ActiveSession
from teleport_conch.ssh.session.channel import TerminalRequest

SERVICE = "node"
RETRY_JITTER = 0.5
STOP_S = 5.0
"""How long a stopping node waits until the last of its sessions are kept."""
MAX_NAME_BYTES = 255
"""Of a name in the start of a recording."""

Emit = Callable[..., object]


@frozen
class Recorded:
    """A session that is about to be recorded.

    :param emergency: its login was with a certificate for emergencies, which auth's absence does not keep out.
    """

    session: ActiveSession
    terminal: TerminalRequest
    cluster: str
    emergency: bool


class Recordings(MultiService):
    """Makes the recorders of sessions, and ships what they make.

    :param folder: where the spools of this host's recordings are, one for each process.
    :param client: of auth, as it is at the moment.
    :param configuration: of the cluster, at each moment.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        folder: Path,
        client: Callable[[], SliceClient],
        configuration: Callable[[], ClusterConfig],
        emit: Emit,
        rank: Rank = ALONE,
        *,
        in_thread: InThread = deferToThread,
        monotonic: Callable[[], float] = time.monotonic,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        super().__init__()
        self._clock = clock
        self._folder = folder
        self._client = client
        self._configuration = configuration
        self._emit = emit
        self._rank = rank
        self._in_thread = in_thread
        self._monotonic = monotonic
        self._jitter = spread(uniform, RETRY_JITTER)
        self._recorders: set[Recorder] = set()
        self._retired = False
        self._own = self._uploader(rank.name(SERVICE))

    def _uploader(self, name: str) -> Uploader:
        spool = UploadSpool(self._folder / name, self._in_thread)
        return Uploader(self._clock, spool, self._client, self._emit, self._jitter)

    def startService(self) -> None:
        """Raises :class:`~teleport_conch.errors.StorageError` where recordings cannot be kept."""
        self._own.setServiceParent(self)
        for name in leftovers(self._folder, SERVICE, self._rank.of) if self._rank.leads else ():
            self._uploader(name).setServiceParent(self)
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Sessions have ended just now; what was recorded of them is kept, and as much as possible is sent."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        under_way = DeferredList([recorder.done for recorder in self._recorders], consumeErrors=True)
        await under_way.addTimeout(STOP_S, self._clock).addErrback(lambda failure: failure.trap(defer.TimeoutError))
        await maybeDeferred(super().stopService)
        if self._retired:
            with suppress(OSError):  # what could not be sent is for the next start
                self._own.spool.directory.rmdir()

    async def retire(self) -> None:
        """Leaves this process's place to a successor, and takes along what there is of its own sessions."""
        self._retired = True
        try:
            self._own.spool.move(self._folder / f"{SERVICE}.{os.getpid()}")
        except OSError as error:
            self._log.error("The recordings of {where} stay there: {why}", where=self._folder, why=error.strerror)
        others = [uploader for uploader in self if uploader is not self._own]
        await gatherResults([maybeDeferred(uploader.disownServiceParent) for uploader in others])

    # Sessions.

    def recorder(self, recorded: Recorded) -> Recorder | None:
        """The observer of a session; None where sessions are not recorded.

        :raises TeleportError: what is known of the cluster is too old.
        """
        mode = self._mode(recorded.emergency)
        if mode == "off":
            return None
        session = recorded.session

        def failed(why: str) -> None:
            self._log.error("The recording of the session {session} has failed: {why}", session=session.id, why=why)
            names = {"user": session.user, "login": session.login, "addr_remote": session.remote_addr}
            self._emit("session.recording.failed", sid=session.id, reason=why, namespace="default", **names)

        upload = self._own.begin(session.id, session.user)
        recorder = Recorder(
            self._clock,
            self._monotonic,
            self._in_thread,
            Keeping(self._clock, self._own, upload, mode == "node-sync", recorded.emergency),
            _heading(recorded),
            failed,
            recorded.emergency,
        )
        self._recorders.add(recorder)
        recorder.done.addBoth(lambda _: self._recorders.discard(recorder))
        return recorder

    def _mode(self, emergency: bool) -> str:
        """In an emergency auth is away, so that nothing waits for it."""
        if not emergency:
            return self._configuration().session_recording
        try:
            mode = self._configuration().session_recording
        except TeleportError:
            mode = "node"
        return "off" if mode == "off" else "node"


def _heading(recorded: Recorded) -> Mapping[str, object]:
    """The fields of a recording's start; see ``docs/protocol/recordings.rst``."""
    session, terminal = recorded.session, recorded.terminal
    return {
        "session": {
            "id": session.id,
            "user": cut(session.user, MAX_NAME_BYTES),
            "login": session.login,
            "server_id": session.server_id,
            "server_hostname": session.server_hostname,
            "remote_addr": session.remote_addr,
        },
        "cluster": recorded.cluster,
        "started": session.created_at,
        "cols": terminal.cols,
        "rows": terminal.rows,
        "term": terminal.term,
    }
