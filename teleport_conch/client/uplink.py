"""What keeps a node or proxy a member of its cluster: an identity that is renewed in time, and beats."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path

from attrs import evolve
from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from teleport_conch.certs.identity import HostIdentity
from teleport_conch.client.backoff import spread
from teleport_conch.client.enrolment import Enrolment, Membership
from teleport_conch.client.skew import clock_skew
from teleport_conch.client.standing import Standing
from teleport_conch.errors import HostBarred, TeleportError
from teleport_conch.periodic import Periodic
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.joining import Heartbeat, HeartbeatAnswer
from teleport_conch.resources.server import Server

#: How far beats, and tries to join, are spread, as a share of the time between two.
BEAT_JITTER = 0.1
RETRY_JITTER = 0.5
#: Seconds between two tries to renew certificates.
RENEW_WAIT_S = 60.0
#: Seconds by which this host's clock may differ from auth's before the log says so.
MAX_SKEW_S = 30.0
#: Seconds that a clean stop waits for the beat under way and for auth to hear the goodbye.
GOODBYE_S = 2.0


class Uplink(Standing):
    """One service's membership: joins, renews, beats, and says goodbye at a clean stop.

    A stored identity that is still valid is used at once, whether or not auth can be reached and the token is good.

    :param record: answers what the host announces with the next beat. Its ``name`` and ``hostname`` are those of the
        identity, whatever is in them.
    :param random: answers so many random bytes.
    :param uniform: answers numbers from 0 to 1, for jitter.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        data_dir: Path,
        wanted: Membership,
        record: Callable[[], Server],
        random: Callable[[int], bytes],
        uniform: Callable[[], float],
    ) -> None:
        super().__init__(reactor, data_dir, wanted, random)
        self._reactor = reactor
        self._kind = wanted.role.lower()
        self._record = record
        self._beat_jitter = spread(uniform, BEAT_JITTER)
        self._instance = random(16).hex()
        self._enrolment = Enrolment(reactor, self._store, wanted, spread(uniform, RETRY_JITTER))
        self._enrolling: Deferred[None] | None = None
        self._abandoned: Callable[[], None] = _nothing
        self._beats: Periodic | None = None
        self._interval_s = 0.0
        self._knows_interval = False
        self._renew_at = self._ends_at = self._renew_next_at = 0.0
        self._names_asked = False
        self._unreachable = ""
        self._renewal_refused = ""
        self._clock_is_wrong = False

    def startService(self) -> None:
        """Takes up the stored identity, or begins to join.

        :raises UnsafePath: others can read the stored identity, or write where it lies.
        """
        self._host_uuid = self._store.host_uuid()
        self._store.load(self._role)
        super().startService()
        self.beat_every(ClusterConfig().heartbeat_interval_s)
        self._enrol()

    def stopService(self) -> Deferred[None]:
        """Ends the beats, says goodbye, and closes the connections; all of it is bounded in time."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._enrolling is not None:
            self._enrolling.cancel()
        hurry = self._reactor.callLater(GOODBYE_S, self._abandon)
        await MultiService.stopService(self)
        if self.identity is not None and hurry.active():
            with suppress(TeleportError, CancelledError):
                await self._alone(self.client.goodbye(self._kind, self.identity.host_uuid, self._instance))
        if hurry.active():
            hurry.cancel()
        await self.client.close()

    async def _alone(self, call: Coroutine[Deferred[object], object, None]) -> None:
        """Wait for the one thing that is under way, which :meth:`_abandon` ends."""
        under_way = Deferred.fromCoroutine(call)
        self._abandoned = under_way.cancel
        try:
            await under_way
        finally:
            self._abandoned = _nothing

    def _abandon(self) -> None:
        self._abandoned()

    # The identity.

    def _enrol(self) -> None:
        self._enrolling = Deferred.fromCoroutine(self._become_member())
        self._enrolling.addErrback(self._enrolment_failed)

    async def _become_member(self) -> None:
        self._adopt(await self._enrolment.admitted())
        self.beat_now()

    def _enrolment_failed(self, reason: Failure) -> None:
        if not reason.check(CancelledError):
            self._log.failure("This host ({role}) cannot become a member.", failure=reason, role=self._role)

    def _adopt(self, identity: HostIdentity) -> None:
        self._renew_at, self._ends_at = identity.renew_at(), identity.not_after
        super()._adopt(identity)

    def _lose_identity(self) -> None:
        self.identity = None
        self._enrol()

    # The beats.

    def beat_every(self, interval_s: float) -> None:
        """Beat in another rhythm from now on, that of the cluster's configuration."""
        if interval_s == self._interval_s:
            return
        self._interval_s = interval_s
        if self._beats is not None:
            self._beats.disownServiceParent()
        self._beats = Periodic(
            self._reactor, interval_s, self._beat, self._beat_jitter, f"heartbeat of the {self._kind}"
        )
        self._beats.setServiceParent(self)

    def beat_now(self) -> Deferred[None]:
        """Announce what has changed without waiting for the next beat; fires when that has ended, well or not."""
        return succeed(None) if self._beats is None else self._beats.beat_now()

    async def _beat(self) -> None:
        if self.identity is None:
            return
        if self._ends_at <= self._reactor.seconds():
            self._log.warn("The certificates of this host ({role}) have expired; it joins again.", role=self._role)
            self._lose_identity()
            return
        try:
            await self._alone(self._announce(self.identity))
        except HostBarred as reason:
            self._log.warn("Auth does not know this host any more, so it joins again. {reason}", reason=reason.sentence)
            self._store.drop(self._role)
            self._lose_identity()
        except TeleportError:
            self._knows_interval = False  # auth may come back with another configuration
            raise

    async def _announce(self, identity: HostIdentity) -> None:
        server = evolve(self._record(), name=identity.host_uuid, hostname=identity.node_name)
        answer = await self.client.beat(self._kind, Heartbeat(self._instance, server))
        self._heard(answer, server)
        await self._renew_if_due(identity)
        if not self._knows_interval:
            configuration = await self.client.configuration()
            self._knows_interval = True
            self.beat_every(configuration.heartbeat_interval_s)

    def _heard(self, answer: HeartbeatAnswer, server: Server) -> None:
        if answer.labels != self.bound_labels:
            self._store.save_labels(self._role, answer.labels)
            self.bound_labels = dict(answer.labels)
        self._check_clock(answer.server_time - self._reactor.seconds())
        if answer.unreachable != self._unreachable:
            self._unreachable = answer.unreachable
            if answer.unreachable:
                self._log.warn(
                    "The proxy cannot reach this {kind} at {address}: {reason}; "
                    "set ssh_service.public_addr or teleport.advertise_ip",
                    kind=self._kind,
                    address=server.addr,
                    reason=answer.unreachable.rstrip("."),
                )
            else:
                self._log.info("The proxy reaches this {kind} at {address}.", kind=self._kind, address=server.addr)

    def _check_clock(self, skew_s: float) -> None:
        is_wrong = abs(skew_s) > MAX_SKEW_S
        if is_wrong and not self._clock_is_wrong:
            self._log.warn("{reason}", reason=clock_skew(skew_s).sentence)
        self._clock_is_wrong = is_wrong

    async def _renew_if_due(self, identity: HostIdentity) -> None:
        now = self._reactor.seconds()
        due = now >= self._renew_at or (not self._names_asked and self._enrolment.lacks(identity))
        if not due or now < self._renew_next_at:
            return
        self._renew_next_at = now + RENEW_WAIT_S
        try:
            renewed = await self._enrolment.renewed(self.client, identity)
        except HostBarred:
            raise
        except TeleportError as reason:
            if reason.sentence != self._renewal_refused:
                self._log.warn("The certificates of this host were not renewed: {reason}", reason=reason.sentence)
            self._renewal_refused = reason.sentence
            return
        self._renewal_refused = ""
        self._names_asked = True
        self._adopt(renewed)
        if renewed.node_name != identity.node_name:
            self.beat_now()


def _nothing() -> None:
    """What is done to end something that is not under way."""
