"""The node's listener: with and without a proxy's header, and with headers that are not believed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.node.door import NodeFactory, NodeTransport
from teleport_conch.proxy_protocol import MAGIC, Believer
from tests.certs import samples
from tests.proxy.samples import header, host_authorities, host_certificate
from tests.ssh.in_memory import MemoryTCP, Pair, sample_host_keys
from tests.ssh.logins import SamplePolicy


class DoorCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.make()

    def make(self, proxied_only: bool = False) -> None:
        """A node, and Conch's client whose bytes come behind whatever the test sends first."""
        self.policy, clock = SamplePolicy(), Clock()
        clock.rightNow = samples.NOW
        believer = Believer(samples.HOST_UUID, host_authorities)
        self.factory = NodeFactory(clock, self.policy, sample_host_keys(), believer, proxied_only)
        self.pair = Pair(factory=self.factory)
        self.pair.policy = self.policy
        assert isinstance(self.pair.server, NodeTransport)
        self.node = self.pair.server

    def assert_refused(self, sentence: str) -> None:
        self.pair.pump()
        self.assertEqual(self.pair.client.errors, [(11, sentence.encode())])
        self.assertTrue(self.pair.server_tcp.losing)
        self.assertEqual((self.node.client_address, self.policy.checked), ("192.0.2.7:50000", []))


class BelievedTests(DoorCase):
    def test_straight(self) -> None:
        """Who comes without a header is who TCP says."""
        self.pair.log_in()
        self.assertEqual((self.policy.logged_in[0].client_address, self.node.proxy), ("192.0.2.7:50000", ""))

    def test_through_a_proxy(self) -> None:
        """The client is who the proxy vouches for, from the first moment of the login on."""
        self.node.dataReceived(header(client=("203.0.113.9", 4242)))
        self.pair.log_in()
        self.assertEqual(self.policy.logged_in[0].client_address, "203.0.113.9:4242")
        self.assertIn(samples.CLUSTER, self.node.proxy)

    def test_greeting_waits_for_nobody(self) -> None:
        """The node greets at once, with or without a header."""
        self.assertTrue(self.pair.server_tcp.written.startswith(b"SSH-2.0-"))

    @given(st.data())
    @settings(deadline=None, max_examples=30)
    def test_in_pieces(self, data: st.DataObject) -> None:
        """However header and greeting are cut up on their way."""
        self.make()
        self.pair.client.dataReceived(self.pair.server_tcp.take())
        stream = header(client=("203.0.113.9", 4242)) + self.pair.client_tcp.take()
        while stream:
            count = data.draw(st.integers(1, 300))
            self.node.dataReceived(stream[:count])
            stream = stream[count:]
        self.pair.log_in()
        self.assertEqual(self.policy.logged_in[0].client_address, "203.0.113.9:4242")

    def test_ipv6(self) -> None:
        """An IPv6 address is written with brackets, as everywhere."""
        self.node.dataReceived(header(client=("2001:db8::7", 5)))
        self.assertEqual(self.node.client_address, "[2001:db8::7]:5")


class RefusedTests(DoorCase):
    def test_forged(self) -> None:
        """A header that is not believed ends the connection, and the client is told why (threat 103)."""
        for forged, why in (
            (header(certificate=host_certificate("Node")), "it is signed by a host that is no proxy"),
            (header(node="other"), "it is meant for another server"),
        ):
            self.make()
            self.node.dataReceived(forged)
            self.assert_refused(f"A PROXY header was refused: {why}.")

    def test_replayed(self) -> None:
        """A header that another connection has used is refused: all connections of a node share what they have seen."""
        used = header()
        self.node.dataReceived(used)
        second = self.factory.buildProtocol(IPv4Address("TCP", "198.51.100.1", 1))
        tcp = MemoryTCP()
        second.makeConnection(tcp)
        second.dataReceived(used)
        self.assertEqual((tcp.losing, second.client_address), (True, "198.51.100.1:1"))

    def test_too_long(self) -> None:
        """One that announces more than any of ours has is refused before the rest is waited for."""
        self.node.dataReceived(MAGIC + b"\x21\x11\xff\xff")
        self.assert_refused("A PROXY header of 65551 bytes was sent, where 12288 is the limit.")

    def test_second_header(self) -> None:
        """Behind the first header comes SSH, and nothing else is looked at as a header."""
        self.node.dataReceived(header(client=("203.0.113.9", 4242)))
        self.node.dataReceived(header(client=("203.0.113.10", 1), nonce=bytes(16)))
        self.assertEqual(self.node.client_address, "203.0.113.9:4242")
        self.pair.pump()
        self.assertEqual(self.pair.client.errors, [(2, b"a client begins with its version, SSH-2.0")])

    def test_version_1(self) -> None:
        """The PROXY protocol's first version is text that nobody signs: it is refused as what it is, no SSH."""
        for before in (b"", header(client=("203.0.113.9", 4242))):
            self.make()
            self.node.dataReceived(before + b"PROXY TCP4 10.9.8.7 10.0.0.5 1 22\r\n")
            self.pair.pump()
            self.assertEqual(self.pair.client.errors, [(2, b"a client begins with its version, SSH-2.0")])
            self.assertNotIn("10.9.8.7", self.node.client_address)

    def test_behind_a_refusal(self) -> None:
        """What comes behind a refusal is neither kept nor logged, nor read as a greeting."""
        with capturedLogs() as logged:
            for _ in range(100):
                self.node.dataReceived(header(node="other"))
                self.node.dataReceived(bytes(1 << 16))
        said = [event for event in logged if event["log_level"] is LogLevel.warn]
        self.assertEqual(len(said), 1)
        self.assertLess(len(self.node._start or b""), 5000)
        self.pair.pump()
        self.assertEqual(self.policy.checked, [])

    def test_silence(self) -> None:
        """Half a header is waited for as long as a login is."""
        self.node.dataReceived(header()[:50])
        clock = self.factory.clock
        assert isinstance(clock, Clock)
        clock.advance(30)
        self.assertTrue(self.pair.server_tcp.losing)


class ProxiedOnlyTests(DoorCase):
    def test_straight(self) -> None:
        """A node that is reached through proxies only lets nobody else begin."""
        self.make(proxied_only=True)
        self.pair.pump()
        self.assert_refused("This node takes connections through a proxy of its cluster only.")

    def test_through_a_proxy(self) -> None:
        """And lets in who comes through one."""
        self.make(proxied_only=True)
        self.node.dataReceived(header())
        self.pair.log_in()
        self.assertEqual(len(self.policy.logged_in), 1)

    def test_forged(self) -> None:
        """A header that is not believed is as good as none."""
        self.make(proxied_only=True)
        self.node.dataReceived(header(certificate=host_certificate("Node")))
        self.assertTrue(self.pair.server_tcp.losing)
