"""Threats 13 and 14: connections that begin, and come to nothing."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent

from teleport_conch.node.door import NodeFactory
from teleport_conch.proxy_protocol import Believer
from teleport_conch.ssh.factory import ServerFactory, ServerLimits
from teleport_conch.ssh.login.admission import Bounds, Startups
from tests.certs import samples
from tests.proxy.samples import header, host_authorities
from tests.ssh.in_memory import sample_host_keys
from tests.ssh.logins import SamplePolicy, ed25519_client
from tests.threats.visitors import SUCCESS, Visitor, VisitorCase

ATTACKER, SOMEBODY = "203.0.113.66", "192.0.2.7"


class StartingCase(VisitorCase):
    def log_in(self, factory: ServerFactory, host: str) -> bool:
        visitor = Visitor(factory, host)
        visitor.begin_authentication()
        return not visitor.client.errors and visitor.log_in_as(ed25519_client())[-1] == (SUCCESS, b"")

    def advance(self, factory: ServerFactory, seconds: float) -> None:
        assert isinstance(factory.clock, Clock)
        factory.clock.advance(seconds)


class T13Silence(StartingCase):
    """A client that says nothing, stops in the key exchange, or does not log in."""

    def test_closed(self) -> None:
        factory = self.serve()
        silent, halfway, idle = (Visitor(factory) for _ in range(3))
        halfway.server.dataReceived(b"SSH-2.0-x\r\n")
        idle.begin_authentication()
        self.advance(factory, 29.9)
        self.assertFalse(any(visitor.server_tcp.losing for visitor in (silent, halfway, idle)))
        self.advance(factory, 0.2)
        self.assertTrue(all(visitor.server_tcp.losing for visitor in (silent, halfway, idle)))
        idle.pump()
        self.assertEqual(idle.client.errors, [(11, b"the time to log in is over")])
        self.advance(factory, 2)
        self.assertTrue(all(visitor.server_tcp.aborted for visitor in (silent, halfway, idle)))


class T14HalfOpen(StartingCase):
    """200 half-open sockets of one address, and more."""

    def test_others_log_in(self) -> None:
        """A new address logs in while they hang; the bound of the address holds; who is logged in goes on."""
        factory = self.serve()
        with capturedLogs() as logged:
            hanging = [Visitor(factory, ATTACKER) for _ in range(400)]
            self.assertTrue(self.log_in(factory, SOMEBODY))
        staying = [visitor for visitor in hanging if not visitor.server_tcp.losing and not visitor.server_tcp.aborted]
        self.assertEqual(len(staying), 200)
        self.assertLess(factory.clock.seconds(), 1)
        limit = f"{ATTACKER} has 200 connections that are not logged in, which is the limit (per_source_max_startups)."
        said = [formatEvent(event) for event in logged if event["log_level"] is not LogLevel.debug]
        self.assertEqual([text for text in said if "limit" in text], [f"{limit} 0 more were refused before."])
        self.assertEqual([text for text in said if ATTACKER in text], [f"{limit} 0 more were refused before."])

    def test_the_attacker_waits(self) -> None:
        """An address whose connections hang until their time is over is refused for a while."""
        factory = self.serve()
        hanging = [Visitor(factory, ATTACKER) for _ in range(10)]
        self.advance(factory, 30)
        for visitor in hanging:
            visitor.lose()
        self.assertFalse(self.log_in(factory, ATTACKER))
        self.assertTrue(self.log_in(factory, SOMEBODY))

    def test_many_addresses(self) -> None:
        """Many addresses together meet a bound, too, which lets some in until it is full."""
        dice = [0.5]
        bounds = Bounds(max_startups=Startups(10, 30, 20))
        factory = self.serve(limits=ServerLimits(bounds=bounds, random=lambda: dice[0]))
        for number in range(12):
            Visitor(factory, f"203.0.113.{number}")
        self.assertTrue(self.log_in(factory, SOMEBODY))
        dice[0] = 0.1
        self.assertFalse(self.log_in(factory, SOMEBODY))

    def test_two_hundred_people(self) -> None:
        """Two hundred people behind one address log in, all at once and one after the other."""
        factory = self.serve()
        at_once = [Visitor(factory, SOMEBODY) for _ in range(200)]
        for visitor in at_once:
            visitor.begin_authentication()
            self.assertEqual(visitor.log_in_as(ed25519_client())[-1], (SUCCESS, b""))
        self.assertTrue(all(self.log_in(factory, SOMEBODY) for _ in range(5)))

    def test_probes(self) -> None:
        """A load balancer's probes connect and close without a byte: they are neither logged nor punished."""
        factory = self.serve()
        with capturedLogs() as logged:
            for _ in range(1000):
                Visitor(factory, SOMEBODY).lose()
        self.assertEqual(logged, [])
        self.assertTrue(self.log_in(factory, SOMEBODY))


class T14ThroughAProxy(StartingCase):
    """The same, where a proxy of the cluster makes every connection."""

    def node(self) -> NodeFactory:
        clock = Clock()
        clock.rightNow = samples.NOW
        believer = Believer(samples.HOST_UUID, host_authorities)
        self.policy = SamplePolicy()
        return NodeFactory(clock, self.policy, sample_host_keys(), believer, proxied_only=True)

    def through_the_proxy(self, factory: NodeFactory, client: str, number: int) -> Visitor:
        visitor = Visitor(factory, "10.0.0.9")
        visitor.server.dataReceived(header(client=(client, 4242), nonce=number.to_bytes(16, "big")))
        return visitor

    def test_clients_count(self) -> None:
        """Clients are counted for themselves, and the proxy is not."""
        factory = self.node()
        hanging = [self.through_the_proxy(factory, ATTACKER, number) for number in range(250)]
        self.assertEqual(factory.admission.starting, {ATTACKER: 200})
        self.assertEqual(sum(visitor.server_tcp.losing for visitor in hanging), 50)
        hanging[-1].pump()
        self.assertEqual([reason for reason, _ in hanging[-1].client.errors], [12])
        visitor = self.through_the_proxy(factory, SOMEBODY, 1000)
        visitor.begin_authentication()
        self.assertEqual(visitor.log_in_as(ed25519_client())[-1], (SUCCESS, b""))
        self.assertEqual(factory.admission.logged_in, {SOMEBODY: 1})

    def test_before_the_header(self) -> None:
        """A proxy that was seen before has as many connections before their headers as it likes."""
        factory = self.node()
        self.through_the_proxy(factory, SOMEBODY, 0)
        waiting = [Visitor(factory, "10.0.0.9") for _ in range(300)]
        self.assertFalse(any(visitor.server_tcp.losing for visitor in waiting))
        for visitor in waiting:
            visitor.lose()
        self.assertEqual(factory.admission.starting, {SOMEBODY: 1})

    def test_everything_is_given_back(self) -> None:
        factory = self.node()
        visitors = [self.through_the_proxy(factory, ATTACKER, number) for number in range(220)]
        for visitor in visitors:
            visitor.lose()
        self.assertEqual((factory.admission.starting, factory.admission.goodbyes, factory.connections), ({}, 0, set()))
