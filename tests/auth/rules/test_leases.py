"""Leases: no more than so many of a user's at a time, over all hosts, and each ends by itself."""

from __future__ import annotations

from teleport_conch.auth.rules.leases import Lease
from teleport_conch.errors import AccessDenied, BadParameter, LimitExceeded, NotFound
from tests.auth.fixture import NOW, WEB1, WEB2, ClusterTestCase


class LeaseTests(ClusterTestCase):
    def take(self, user: str = "alice", most: int = 2, ttl_s: float = 120.0, holder: str = WEB1) -> Lease:
        return self.now(self.cluster.leases.take("connection", user, most, ttl_s, holder))

    def test_counted(self) -> None:
        """The users' leases are counted each for itself, whichever host took them."""
        first = self.take()
        self.take(holder=WEB2)
        reason = self.refused(self.cluster.leases.take("connection", "alice", 2, 120, WEB1), LimitExceeded)
        self.assertEqual(reason.sentence, "The user 'alice' has 2 of the kind connection, and may have no more.")
        self.take("alic")
        self.take("bob/../alice")
        self.now(self.cluster.leases.give_back(first.id, WEB1))
        self.take()

    def test_fewer(self) -> None:
        """Who has more than there may be by now takes no further one, and keeps those that are renewed."""
        leases = [self.take(most=3) for _ in range(3)]
        self.clock.advance(60)
        for lease in leases:
            self.now(self.cluster.leases.renew(lease.id, 120, WEB1))
        for lease in leases:
            self.refused(self.cluster.leases.take("connection", "alice", 1, 120, WEB1), LimitExceeded)
            self.now(self.cluster.leases.give_back(lease.id, WEB1))
        self.take(most=1)

    def test_ends(self) -> None:
        """A lease that is not renewed is gone, and cannot be renewed then."""
        first, second = self.take(), self.take()
        self.clock.advance(119)
        self.assertEqual(self.now(self.cluster.leases.renew(second.id, 120, WEB1)).expires_at, NOW + 239)
        self.clock.advance(1)
        self.take()
        reason = self.refused(self.cluster.leases.renew(first.id, 120, WEB1), NotFound)
        self.assertEqual(reason.sentence, "There is no such lease, or it has ended.")
        self.now(self.cluster.leases.give_back(first.id, WEB1))

    def test_restart(self) -> None:
        """Leases outlive a restart of auth."""
        first = self.take(most=1)
        self.open()
        self.refused(self.cluster.leases.take("connection", "alice", 1, 120, WEB1), LimitExceeded)
        self.now(self.cluster.leases.renew(first.id, 120, WEB1))

    def test_97_another_host(self) -> None:
        """One host neither renews nor gives back what another took."""
        lease = self.take()
        for call in (self.cluster.leases.renew(lease.id, 60, WEB2), self.cluster.leases.give_back(lease.id, WEB2)):
            reason = self.refused(call, AccessDenied)
            self.assertIn("by the host that took it", reason.sentence)

    def test_nonsense(self) -> None:
        """Kinds, numbers, times and ids that are none."""
        take = self.cluster.leases.take
        for kind, most, ttl_s in (("door", 1, 60), ("connection", 0, 60), ("connection", 10**6, 60)):
            self.refused(take(kind, "alice", most, ttl_s, WEB1), BadParameter)
        for ttl_s in (0, -1, 10**6):
            self.refused(take("connection", "alice", 1, ttl_s, WEB1), BadParameter)
        for lease in ("", "x", "connection.YQ", "connection.YQ.a/b", "connection.YQ..", "connection.YQ.a.b", "é.a.b"):
            self.refused(self.cluster.leases.renew(lease, 60, WEB1), NotFound)

    def test_route(self) -> None:
        """What a node asks for, and hears when there are as many as there may be."""
        peer, body = self.host(self.join()), {"kind": "connection", "user": "alice", "max": 1, "ttl": 120}
        answer = self.call(peer, "POST", "/v1/leases", body)
        self.assertEqual((answer.status, answer.body["expires"]), (200, NOW + 120))
        self.assertEqual(self.call(peer, "POST", "/v1/leases", body).status, 429)
        path = f"/v1/leases/{answer.body['lease']}"
        self.assertEqual(self.call(peer, "PUT", path, {"ttl": 60}).body["expires"], NOW + 60)
        self.assertEqual(self.call(peer, "DELETE", path).status, 200)
        self.assertEqual(self.call(peer, "POST", "/v1/leases", body).status, 200)
