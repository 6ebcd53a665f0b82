"""A node's leases for connections: taken before the login, renewed, given back; lost, the connection is."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.options import Options
from teleport_conch.access.roles import Role
from teleport_conch.errors import AccessDenied, ConnectionProblem, LimitExceeded, NotFound, TeleportError
from teleport_conch.node.leases import ConnectionLeases, HeldLease
from tests.node.guests import USER, NodeCase, claim

AWAY = ConnectionProblem("Auth cannot be reached.")
LIMIT = "too many concurrent ssh connections for user alice: max_connections is 2"


@define
class Auth:
    """Counts what it is asked; refuses where a test says so."""

    problem: TeleportError | None = None
    calls: list[str] = field(factory=list)

    async def take_lease(self, kind: str, user: str, most: int, ttl_s: float) -> str:
        self._hear(f"take {kind} {user} {most} {ttl_s:g}")
        return "one"

    async def renew_lease(self, lease_id: str, ttl_s: float) -> None:
        self._hear(f"renew {lease_id} {ttl_s:g}")

    async def give_back_lease(self, lease_id: str) -> None:
        self._hear(f"give back {lease_id}")

    def _hear(self, call: str) -> None:
        self.calls.append(call)
        if self.problem is not None:
            raise self.problem


class LeaseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.auth, self.lost = Clock(), Auth(), list[str]()
        self.leases = ConnectionLeases(self.clock, self.clock.seconds, lambda: self.auth, lambda: 120.0)

    def taken(self) -> HeldLease:
        lease = self.successResultOf(Deferred.fromCoroutine(self.leases.take("alice", 2)))
        self.auth.calls.clear()
        lease.keep(self.lost.append)
        return lease

    def test_taken(self) -> None:
        """With the limit of the roles, for as long as the cluster's configuration says."""
        Deferred.fromCoroutine(self.leases.take("alice", 2))
        self.assertEqual(self.auth.calls, ["take connection alice 2 120"])

    def test_too_many(self) -> None:
        """The sentence is Teleport's, with the limit."""
        self.auth.problem = LimitExceeded("full")
        reason = self.failureResultOf(Deferred.fromCoroutine(self.leases.take("alice", 2)), LimitExceeded).value
        self.assertEqual(reason.sentence, LIMIT)

    def test_away(self) -> None:
        """Nobody is let in uncounted."""
        self.auth.problem = AWAY
        reason = self.failureResultOf(Deferred.fromCoroutine(self.leases.take("alice", 2)), ConnectionProblem).value
        self.assertIn("auth, which counts them, is away: Auth cannot be reached.", reason.sentence)

    def test_renewed(self) -> None:
        """Three times in its life, as long as it is held; then it is given back."""
        lease = self.taken()
        self.clock.pump([40.0] * 5)
        self.assertEqual(self.auth.calls, ["renew one 120"] * 5)
        lease.end()
        lease.end()
        self.assertEqual(self.auth.calls[5:], ["give back one"])
        self.assertEqual((self.clock.getDelayedCalls(), self.lost), ([], []))

    def test_outage(self) -> None:
        """While auth is away it is tried again and again, and all is well if it is back in time."""
        self.taken()
        self.clock.advance(40)
        self.auth.problem = AWAY
        self.clock.pump([5.0] * 23)
        self.assertEqual(self.lost, [])
        self.auth.problem = None
        self.clock.pump([5.0] * 40)
        self.assertEqual(self.lost, [])

    def test_lost(self) -> None:
        """If not, the lease is lost at the end of its time, and not before, once."""
        self.taken()
        self.auth.problem = AWAY
        self.clock.advance(40)
        self.clock.pump([1.0] * 79)
        self.assertEqual(self.lost, [])
        self.clock.advance(1)
        self.assertEqual(self.lost, ["the lease of the connection could not be renewed: Auth cannot be reached."])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_forgotten(self) -> None:
        """Auth knows nothing of it any more: it is lost at once."""
        self.taken()
        self.auth.problem = NotFound("no")
        self.clock.advance(40)
        self.assertEqual(len(self.lost), 1)

    def test_not_given_back(self) -> None:
        """Where auth is away, the lease ends by itself."""
        lease = self.taken()
        self.auth.problem = AWAY
        lease.end()
        self.assertEqual(self.auth.calls, ["give back one"])


class LoginTests(NodeCase):
    """What the leases do for a login and its connection."""

    def limit(self, most: int) -> None:
        allow = Conditions(logins=(USER,), node_labels=EVERY_NODE)
        self.give(Role("test", Options(max_connections=most), allow))

    async def test_not_limited(self) -> None:
        """Who has no limit needs no lease, and no auth."""
        self.lease_client.problem = AWAY
        await self.enter()
        self.assertEqual(self.lease_client.taken, [])

    async def test_limited(self) -> None:
        """Who has one has a lease as long as the connection lasts."""
        self.limit(2)
        await self.enter()
        self.assertEqual(self.lease_client.taken, [("alice", 2)])
        self.connection.serviceStopped()
        self.assertEqual(self.lease_client.given_back, ["lease-1"])

    async def test_refused(self) -> None:
        """One connection too many is refused, and is an event with the limit."""
        self.limit(2)
        self.lease_client.problem = LimitExceeded("full")
        failure = self.failureResultOf(self.start(self.policy.login(claim())), AccessDenied)
        self.assertEqual(failure.value.sentence, LIMIT)
        event = self.events.last("session.rejected")
        self.assertEqual((event["code"], event["reason"], event["max"]), ("T1006W", "max_connections limit reached", 2))
        self.policy.refused(claim(), failure.value)
        trace = self.events.last("auth")["trace"]
        assert isinstance(trace, list)
        self.assertEqual(trace[1], "limit: 2 are open, and max_connections is 2")
        self.assertEqual(trace[-1], "to allow it: close one, or raise max_connections of test")

    async def test_away(self) -> None:
        """While auth is away nobody who is limited comes in, and the person reads why."""
        self.limit(2)
        self.lease_client.problem = AWAY
        failure = self.failureResultOf(self.start(self.policy.login(claim())), AccessDenied)
        self.assertEqual(
            failure.value.sentence,
            "The roles of alice limit the connections, and auth, which counts them, is away: Auth cannot be reached.",
        )

    async def test_lost(self) -> None:
        """A lost lease is the end of the connection."""
        self.limit(2)
        guest = await self.enter()
        assert guest.lease is not None
        assert guest.lease.lost is not None
        guest.lease.lost("the lease of the connection could not be renewed")
        self.assertEqual(self.transport.disconnects, [(11, b"the lease of the connection could not be renewed")])
        self.assertEqual(self.events.last("client.disconnect")["code"], "T3006I")
