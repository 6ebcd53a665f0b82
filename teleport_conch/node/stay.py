"""How long somebody who has logged in may stay: as long as roles and locks allow it, is active, and has time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from operator import itemgetter

from attrs import define, field, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from teleport_conch.access.decision import Grant
from teleport_conch.access.options import Options
from teleport_conch.durations import format_duration
from teleport_conch.errors import AccessDenied, TeleportError
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.ssh.login.policy import Claim


@frozen
class _End:
    """Something that ends a stay: in how many seconds, and what is said of it then."""

    left_s: Callable[[], float]
    reason: Callable[[], str]


@define(eq=False)
class Stay:
    """One connection's time, between :meth:`begin` and :meth:`end`.

    :param monotonic: seconds that nobody sets, for what lasts; of the ends only that of the certificate is an instant.
    :param grant: what the person may do at this moment; raises ``AccessDenied`` where that is nothing any more.
    :param configuration: of the cluster, at this moment.
    :param send_away: called once with the reason why the stay is over.
    """

    clock: IReactorTime
    monotonic: Callable[[], float]
    claim: Claim
    grant: Callable[[], Grant]
    configuration: Callable[[], ClusterConfig]
    send_away: Callable[[str], None]
    _began_at: float = field(init=False, default=0.0)
    _active_at: float = field(init=False, default=0.0)
    _ends: list[_End] = field(init=False, factory=list)
    _shared: ClusterConfig = field(init=False, factory=ClusterConfig)
    _idle_s: float = field(init=False, default=0.0)
    _timer: IDelayedCall | None = field(init=False, default=None)
    _over: bool = field(init=False, default=False)

    def begin(self) -> None:
        """The login is over."""
        self._began_at = self._active_at = self.monotonic()
        self.look_again()

    def active(self) -> None:
        """The client did something that is more than to say that it is there."""
        self._active_at = self.monotonic()

    def end(self) -> None:
        """The connection is over."""
        self._over = True
        self._stop_timer()

    def look_again(self) -> None:
        """Decide once more, by the roles, locks and settings of this moment."""
        if self._over:
            return
        try:
            options, shared = self.grant().options, self._configured()
        except AccessDenied as refusal:
            self.send_away_now(refusal.sentence)
        except TeleportError:
            pass  # what is known of the cluster is too old: nothing new opens, and what was allowed goes on
        else:
            self._idle_s = _shortest(options.client_idle_timeout_s, shared.client_idle_timeout_s)
            self._ends = list(self._every_end(options, shared))
            self._set_timer()

    def _configured(self) -> ClusterConfig:
        """The configuration, the former one where none is known; in an emergency, what is usual."""
        with suppress(TeleportError):
            self._shared = self.configuration()
        return self._shared

    def _every_end(self, options: Options, shared: ClusterConfig) -> Iterator[_End]:
        if self._idle_s:
            yield _End(lambda: self._active_at + self._idle_s - self.monotonic(), self._idle)
        if options.disconnect_expired_cert or shared.disconnect_expired_cert:
            expires_at = float(self.claim.certificate.valid_before)
            said = f"client certificate expired at {_instant(expires_at)}"
            yield _End(lambda: expires_at - self.clock.seconds(), lambda: said)
        ends_at, longest = self._began_at + options.max_session_ttl_s, format_duration(options.max_session_ttl_s)
        lasted = f"the connection has lasted for {longest}, which is the max_session_ttl of the roles"
        yield _End(lambda: ends_at - self.monotonic(), lambda: lasted)

    def _idle(self) -> str:
        if self._active_at == self._began_at:
            return "client reported no activity"
        idle = format_duration(round(self.monotonic() - self._active_at))
        return f"client is idle for {idle}, exceeded idle timeout of {format_duration(self._idle_s)}"

    def _set_timer(self) -> None:
        self._stop_timer()
        left_s, reason = min(((end.left_s(), end.reason) for end in self._ends), key=itemgetter(0))
        if left_s <= 0:
            self.send_away_now(reason())
        else:
            self._timer = self.clock.callLater(left_s, self._time_has_come)

    def _time_has_come(self) -> None:
        self._timer = None
        self._set_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def send_away_now(self, reason: str) -> None:
        """The stay is over, for this reason; once is enough."""
        if self._over:
            return
        self.end()
        self.send_away(reason)


def _shortest(*durations: float) -> float:
    """The shortest of those that are not 0, which stands for never."""
    return min((duration for duration in durations if duration), default=0.0)


def _instant(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return "the end of time"
