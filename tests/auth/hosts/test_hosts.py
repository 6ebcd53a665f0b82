"""Registrations: what makes an identity good, and what bars it."""

from __future__ import annotations

from teleport_conch.auth.hosts.hosts import Hosts, Registration
from teleport_conch.auth.hosts.presence import HostKey
from teleport_conch.errors import HostBarred, NotFound
from tests.auth.fixture import GATEWAY, WEB1, WEB2, ClusterTestCase

WEB = HostKey("node", WEB1)


class BarringTests(ClusterTestCase):
    def test_removed(self) -> None:
        """The identity of a host that was removed is refused on every route, until it joins again."""
        peer = self.host(self.join())
        self.beat()
        self.now(self.cluster.inventory.remove(WEB, "alice"))
        for route in self.gate.routes.values():
            if route.needs is not None:
                path = route.path.replace("<namespace>", "default").replace("<kind>", "node").replace("<uuid>", WEB1)
                answer = self.call(peer, route.method, path, {} if route.method == "POST" else None)
                self.assertEqual((answer.status, answer.code), (403, "HOST_BARRED"), path)
        self.assertIn("was removed from the cluster, and its identity is refused", answer.sentence)
        self.clock.advance(10)
        again = self.host(self.join())
        self.assertEqual(self.call(again, "GET", "/v1/configuration").status, 200)

    def test_copies_from_before(self) -> None:
        """Once a host joined again, a copy of its former identity is good no more."""
        before = self.host(self.join())
        self.now(self.cluster.inventory.remove(WEB, "alice"))
        self.clock.advance(10)
        after = self.host(self.join())
        answer = self.call(before, "GET", "/v1/configuration")
        self.assertEqual(answer.code, "HOST_BARRED")
        self.assertIn("joined the cluster again since this identity was made", answer.sentence)
        self.assertEqual(self.call(after, "GET", "/v1/configuration").status, 200)

    def test_copies_from_before_in_any_second(self) -> None:
        """That does not depend on clocks: not in one second, and not when the clock was set back meanwhile."""
        for seconds in (0, -3600):
            before = self.host(self.join())
            self.now(self.cluster.inventory.remove(WEB, "alice"))
            self.clock.rightNow += seconds
            after = self.host(self.join())
            self.assertEqual(self.call(before, "GET", "/v1/configuration").code, "HOST_BARRED", seconds)
            self.assertEqual(self.call(after, "GET", "/v1/configuration").status, 200)
            self.now(self.cluster.inventory.remove(WEB, "alice"))

    def test_renewed_after_the_clock_was_set_back(self) -> None:
        """A renewal is of the same registration, whatever the clock says."""
        before = self.host(self.join())
        self.clock.rightNow -= 200
        renewed = self.now(self.cluster.renewing.renew(self.request(), before.identity, "10.0.0.5"))
        for peer in (before, self.host(renewed)):
            self.assertEqual(self.call(peer, "GET", "/v1/configuration").status, 200)

    def test_renewed_identity(self) -> None:
        """A renewal bars neither the new certificate nor the one before."""
        before = self.host(self.join())
        self.clock.advance(86_400)
        renewed = self.now(self.cluster.renewing.renew(self.request(), before.identity, "10.0.0.5"))
        for peer in (before, self.host(renewed)):
            self.assertEqual(self.call(peer, "GET", "/v1/configuration").status, 200)

    def test_other_role(self) -> None:
        """Removing the node of a host leaves its proxy alone, and the identity of one is not that of the other."""
        node, proxy = self.host(self.join()), self.host(self.join(role="Proxy"))
        self.now(self.cluster.inventory.remove(WEB, "alice"))
        self.assertEqual(self.call(node, "GET", "/v1/configuration").code, "HOST_BARRED")
        self.assertEqual(self.call(proxy, "GET", "/v1/configuration").status, 200)

    def test_after_a_restart(self) -> None:
        """Who was barred stays barred, and who was not stays in."""
        out, kept = self.host(self.join()), self.host(self.join(WEB2, "web2"))
        self.now(self.cluster.inventory.remove(WEB, "alice"))
        self.open()
        self.assertEqual(self.call(out, "GET", "/v1/configuration").code, "HOST_BARRED")
        self.assertEqual(self.call(kept, "GET", "/v1/configuration").status, 200)

    def test_removed_before_it_beat(self) -> None:
        """A host that joined and never came can be removed, too."""
        peer = self.host(self.join())
        self.now(self.cluster.inventory.remove(WEB, "alice"))
        self.assertRaises(HostBarred, self.cluster.hosts.check, peer.identity)
        self.refused(self.cluster.inventory.remove(WEB, "alice"), NotFound)

    def test_event(self) -> None:
        """Who removed what."""
        self.join()
        self.now(self.cluster.inventory.remove(WEB, "alice"))
        [event] = self.emitted.named("node.remove")
        self.assertEqual(event.fields, {"node_id": WEB1, "node_name": "web1", "user": "alice"})


class RegistrationTests(ClusterTestCase):
    def test_json(self) -> None:
        """What is stored is read again as it was."""
        token = self.token(node_name="web1", principals=("a.example.org",), labels={"env": "prod"})
        self.register(self.request(token=token))
        registration = next(iter(self.cluster.hosts))
        self.assertEqual(Registration.from_json(registration.to_json()), registration)
        again = Hosts(self.backend)
        self.now(again.load())
        self.assertEqual(list(again), [registration])
        self.assertEqual(again.holders("a.example.org"), frozenset({WEB}))

    def test_ends_with_the_certificate(self) -> None:
        """A registration whose last certificate has ended is gone, and so are its names."""
        self.join(GATEWAY, "gate", "Proxy")
        self.clock.advance(30 * 86_400)
        self.cluster.hosts.drop_expired(self.clock.seconds())
        self.assertEqual((list(self.cluster.hosts), self.cluster.hosts.holders("gate")), ([], frozenset()))
        again = Hosts(self.backend)
        self.now(again.load())
        self.assertEqual(list(again), [])
