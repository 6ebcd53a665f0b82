"""When the time of a connection is over, and what the person and the audit log read then."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.decision import Grant
from teleport_conch.access.options import Options
from teleport_conch.access.roles import Role
from teleport_conch.errors import AccessDenied, ConnectionProblem
from teleport_conch.node.stay import Stay
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.ssh.login.policy import Claim
from tests.certs import samples

NOW = samples.NOW
TTL = "the connection has lasted for 1h, which is the max_session_ttl of the roles"


class StayTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.shared = ClusterConfig()
        self.options: tuple[Options, ...] = (Options(),)
        self.problem: Exception | None = None
        self.unconfigured: Exception | None = None
        self.reasons: list[str] = []
        certificate = evolve(samples.user_certificate(), valid_before=int(NOW) + 600)
        claim = Claim("root", certificate, "192.0.2.7:50000")
        self.steady: Clock | None = None
        self.stay = Stay(self.clock, self.monotonic, claim, self.grant, self.configuration, self.reasons.append)
        self.addCleanup(self.stay.end)

    def grant(self) -> Grant:
        if self.problem is not None:
            raise self.problem
        return Grant("dev", tuple(Role(f"r{n}", options) for n, options in enumerate(self.options)))

    def monotonic(self) -> float:
        """As the clock does, until a test takes another for it."""
        return (self.steady or self.clock).seconds()

    def configuration(self) -> ClusterConfig:
        if self.unconfigured is not None:
            raise self.unconfigured
        return self.shared

    def begin(self, *options: Options, **shared: object) -> None:
        self.options, self.shared = options or (Options(),), evolve(self.shared, **shared)  # type: ignore[arg-type]  # a test knows what it changes
        self.stay.begin()

    def test_idle(self) -> None:
        """A client that did something, and then nothing for the time that is allowed."""
        self.begin(Options(client_idle_timeout_s=900))
        self.clock.advance(600)
        self.stay.active()
        self.clock.advance(899)
        self.assertEqual(self.reasons, [])
        self.clock.advance(1)
        self.assertEqual(self.reasons, ["client is idle for 15m, exceeded idle timeout of 15m"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_activity(self) -> None:
        """A client that never did anything."""
        self.begin(Options(client_idle_timeout_s=60))
        self.clock.advance(60)
        self.assertEqual(self.reasons, ["client reported no activity"])

    def test_shortest_idle(self) -> None:
        """Of the cluster and all roles the shortest counts, and never is no time at all."""
        self.begin(Options(), Options(client_idle_timeout_s=90), client_idle_timeout_s=120.0)
        self.clock.advance(89)
        self.assertEqual(self.reasons, [])
        self.clock.advance(1)
        self.assertEqual(len(self.reasons), 1)

    def test_idle_of_the_cluster(self) -> None:
        """Without any in a role, the cluster's."""
        self.begin(client_idle_timeout_s=30.0)
        self.clock.advance(30)
        self.assertEqual(len(self.reasons), 1)

    def test_expired(self) -> None:
        """The end of the certificate ends the connection where the cluster or any role says so, and else not."""
        for options, shared, ends in (
            ((Options(),), False, 0),
            ((Options(), Options(disconnect_expired_cert=True)), False, 1),
            ((Options(),), True, 1),
        ):
            self.setUp()
            self.begin(*options, disconnect_expired_cert=shared)
            self.clock.advance(600)
            self.assertEqual(len(self.reasons), ends)
        self.assertEqual(self.reasons, ["client certificate expired at 2026-09-21 14:23:20 UTC"])

    def test_session_ttl(self) -> None:
        """No connection lasts longer than the shortest max_session_ttl of the roles, however active it is."""
        self.begin(Options(max_session_ttl_s=3600), Options())
        for _ in range(60):
            self.assertEqual(self.reasons, [])
            self.clock.advance(60)
            self.stay.active()
        self.assertEqual(self.reasons, [TTL])

    def test_changes(self) -> None:
        """A change of roles or settings counts for those who are there: what is over is over now, and else later."""
        self.begin()
        self.clock.advance(3000)
        self.options = (Options(max_session_ttl_s=3600),)
        self.stay.look_again()
        self.clock.advance(599)
        self.assertEqual(self.reasons, [])
        self.shared = ClusterConfig(client_idle_timeout_s=60.0)
        self.stay.look_again()
        self.assertEqual(self.reasons, ["client reported no activity"])

    def test_given_more_time(self) -> None:
        """An end that was near may be far again."""
        self.begin(Options(client_idle_timeout_s=60))
        self.clock.advance(59)
        self.options = (Options(),)
        self.stay.look_again()
        self.clock.advance(3600)
        self.assertEqual(self.reasons, [])

    def test_not_allowed_any_more(self) -> None:
        """What refuses now is the reason."""
        self.begin()
        self.problem = AccessDenied("no")
        self.stay.look_again()
        self.stay.look_again()
        self.assertEqual(self.reasons, ["no"])

    def test_nothing_is_known(self) -> None:
        """Where what is known is too old to decide by, whoever is there stays, for the time that was left."""
        self.begin(Options(client_idle_timeout_s=60))
        self.problem = ConnectionProblem("too old")
        self.stay.look_again()
        self.assertEqual(self.reasons, [])
        self.clock.advance(60)
        self.assertEqual(len(self.reasons), 1)

    def test_configuration_is_not_known(self) -> None:
        """Where the configuration is too old, what the roles say still holds, and what was configured before."""
        self.begin(Options(max_session_ttl_s=3600), client_idle_timeout_s=60.0)
        self.unconfigured = ConnectionProblem("too old")
        self.stay.look_again()
        self.clock.advance(60)
        self.assertEqual(self.reasons, ["client reported no activity"])
        self.setUp()
        self.unconfigured = ConnectionProblem("too old")
        self.begin(Options(max_session_ttl_s=3600))
        self.clock.advance(3600)
        self.assertEqual(self.reasons, [TTL])

    def test_clock_is_set(self) -> None:
        """A clock that is set forward ends certificates, and no connection that was idle for a second only."""
        self.steady = Clock()
        self.begin(Options(client_idle_timeout_s=60, max_session_ttl_s=3600))
        self.clock.advance(7200)
        self.assertEqual(self.reasons, [])
        self.steady.advance(60)
        self.clock.advance(60)
        self.assertEqual(self.reasons, ["client reported no activity"])
        self.setUp()
        self.steady = Clock()
        self.begin(disconnect_expired_cert=True)
        self.clock.advance(7200)
        self.assertEqual(len(self.reasons), 1)

    def test_end(self) -> None:
        """After the end of the connection nothing happens."""
        self.begin(Options(client_idle_timeout_s=60))
        self.stay.end()
        self.problem = AccessDenied("no")
        self.stay.look_again()
        self.clock.advance(3600)
        self.assertEqual((self.reasons, self.clock.getDelayedCalls()), ([], []))

    def test_for_ever(self) -> None:
        """A certificate without an end has an end of time that nobody sees."""
        self.stay.claim = evolve(
            self.stay.claim, certificate=evolve(self.stay.claim.certificate, valid_before=2**64 - 1)
        )
        self.begin(disconnect_expired_cert=True)
        self.clock.advance(3600)
        self.assertEqual(self.reasons, [])
