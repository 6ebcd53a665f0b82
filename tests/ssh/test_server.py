"""The server's transport: phases, times, goodbyes, and what must not come when."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.conch.ssh import connection as conch
from twisted.conch.ssh.transport import (
    MSG_DEBUG,
    MSG_DISCONNECT,
    MSG_EXT_INFO,
    MSG_IGNORE,
    MSG_KEXDH_INIT,
    MSG_KEXINIT,
    MSG_NEWKEYS,
    MSG_SERVICE_ACCEPT,
    MSG_SERVICE_REQUEST,
)
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.ssh.connection.channel import HIGH_WATER_BYTES, Channel
from teleport_conch.ssh.connection.service import MAX_UNREAD_ANSWERS, Connection
from teleport_conch.ssh.factory import ServerFactory, ServerLimits, address_text
from teleport_conch.ssh.login.counts import MAX_REQUESTS
from teleport_conch.ssh.login.userauth import UserAuth
from teleport_conch.ssh.server import VERSION
from teleport_conch.ssh.transport.algorithms import server_sig_algs
from teleport_conch.ssh.transport.negotiation import KexInit
from teleport_conch.ssh.transport.packets import PacketReader
from tests.ssh import messages
from tests.ssh.in_memory import MemoryClient, MemoryTCP, Pair, plain_packet, sample_host_keys
from tests.ssh.logins import SamplePolicy, ed25519_client
from tests.ssh.recording import RecordingChannel, RecordingProducer

AUTH_REQUEST = wire.string(b"ssh-userauth")
NOTHING = wire.string(b"root") + wire.string(b"ssh-connection") + wire.string(b"none")


class Halfway(MemoryClient):
    """A client that never sends the messages of these numbers."""

    def __init__(self, *kept: int) -> None:
        super().__init__()
        self.kept = kept

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        if messageType not in self.kept:
            super().sendPacket(messageType, payload)


def offered(pair: Pair) -> bytes:
    """The server's first message, which follows its version."""
    reader = PacketReader()
    reader.feed(bytes(pair.server_tcp.written).partition(b"\r\n")[2])
    number, content = reader.next() or (0, b"")
    return wire.byte(number) + content


class ServerCase(SynchronousTestCase):
    def assert_ended(self, pair: Pair, reason: int, sentence: bytes) -> None:
        """The client was told why, once, and nothing behind it is read."""
        pair.pump()
        self.assertEqual(pair.client.errors, [(reason, sentence)])
        self.assertTrue(pair.server_tcp.losing)

    def assert_not_due(self, pair: Pair, number: int) -> None:
        self.assert_ended(pair, 2, b"message %d is not due now" % number)
        self.assertIs(pair.server.service, None)
        self.assertEqual(pair.policy.checked, [])


class HandshakeTests(ServerCase):
    def test_login(self) -> None:
        """Key exchange, authentication and connection, with Conch's own client."""
        pair = Pair()
        pair.log_in()
        self.assertEqual(pair.client.secure, 1)
        self.assertIsInstance(pair.server.service, Connection)
        self.assertEqual(pair.policy.logged_in[0].client_address, "192.0.2.7:50000")
        self.assertEqual(pair.client.host_key, sample_host_keys()[b"ssh-ed25519"].blob)
        self.assertEqual(pair.client.otherVersionString, VERSION)

    def test_offers(self) -> None:
        """The host certificate comes first; nothing old or compressed is offered."""
        offer = KexInit.parse(offered(Pair()))
        self.assertEqual(offer.host_key, (b"ssh-ed25519-cert-v01@openssh.com", b"ssh-ed25519"))
        self.assertEqual(offer.compressions.server_to_client, (b"none", b"zlib@openssh.com"))
        old = (b"sha1", b"md5", b"cbc", b"3des", b"group14", b"group-exchange")
        for name in (*offer.kex, *offer.ciphers.client_to_server, *offer.macs.client_to_server):
            self.assertFalse(any(word in name for word in old), name)

    def test_signature_algorithms(self) -> None:
        """The client is told what users may sign with, not what the host signs with."""
        pair = Pair()
        pair.pump()
        self.assertEqual(
            pair.client.peerExtensions,
            {
                b"server-sig-algs": server_sig_algs(),
                b"publickey-hostbound@openssh.com": b"0",
                b"ping@openssh.com": b"0",
            },
        )
        self.assertIn(b"rsa-sha2-512", server_sig_algs().split(b","))
        self.assertNotIn(b"ssh-rsa", server_sig_algs().split(b","))

    def test_tcp(self) -> None:
        """Small messages are not held back, and a client that has vanished is noticed."""
        self.assertEqual(Pair().server_tcp.options, {"no delay", "keep alive"})

    def test_rekey(self) -> None:
        """A client may ask for new keys at any time; what is sent meanwhile follows, whole and in order."""
        pair = Pair()
        pair.log_in()
        pair.policy.owner.answers[b"session"] = RecordingChannel
        pair.send(conch.MSG_CHANNEL_OPEN, messages.open_channel(b"session", 7, 1 << 20, 1 << 15))
        connection = pair.server.service
        assert isinstance(connection, Connection)
        channel = connection._table.open[0]
        pair.client.got.clear()
        for number in range(3):
            pair.client.sendKexInit()
            pair.server.dataReceived(pair.client_tcp.take())
            channel.write(b"during %d" % number)
            self.assertTrue(connection.congested)
            pair.pump()
            self.assertFalse(connection.congested)
        self.assertEqual(
            pair.client.got, [(conch.MSG_CHANNEL_DATA, messages.data(7, b"during %d" % n)) for n in range(3)]
        )
        pair.clock.advance(60)
        self.assertEqual(pair.client.errors, [])

    def test_new_host_keys(self) -> None:
        """Keys that are replaced while the server runs are for new connections; the others keep theirs for rekeying."""
        pair = Pair()
        pair.log_in()
        pair.factory.host_keys = {}
        pair.client.sendKexInit()
        pair.pump()
        self.assertEqual(pair.client.errors, [])
        self.assertEqual(KexInit.parse(offered(Pair(factory=pair.factory))).host_key, ())


class OrderTests(ServerCase):
    """Messages in phases in which they are not due."""

    def test_before_keys(self) -> None:
        """Before the first exchange of keys nothing but that exchange is possible."""
        for number in (MSG_SERVICE_REQUEST, MSG_EXT_INFO, MSG_NEWKEYS, MSG_KEXDH_INIT, 50, 52, 80, 90, 98, 150):
            pair = Pair(Halfway(MSG_KEXINIT, MSG_KEXDH_INIT))
            pair.client.dataReceived(pair.server_tcp.take())
            pair.client_tcp.write(plain_packet(number, AUTH_REQUEST))
            self.assert_not_due(pair, number)

    def test_between_exchange_and_new_keys(self) -> None:
        """The session is known by then, but nothing is encrypted: an attacker in between could have said it."""
        for number in (MSG_SERVICE_REQUEST, MSG_EXT_INFO, MSG_KEXDH_INIT, 50, 90):
            pair = Pair(Halfway(MSG_NEWKEYS, MSG_SERVICE_REQUEST))
            while pair.server.sessionID is None:
                pair.client.dataReceived(pair.server_tcp.take())
                pair.server.dataReceived(pair.client_tcp.take())
            pair.server.dataReceived(plain_packet(number, AUTH_REQUEST))
            self.assertTrue(pair.server_tcp.losing)
            self.assertIs(pair.server.service, None)

    def test_new_keys_that_nobody_agreed(self) -> None:
        """NEWKEYS behind the two KEXINIT, with no exchange between them."""
        pair = Pair(Halfway(MSG_KEXDH_INIT))
        pair.pump()
        pair.client_tcp.write(plain_packet(MSG_NEWKEYS))
        self.assert_not_due(pair, MSG_NEWKEYS)

    def test_exchange_twice(self) -> None:
        """A second KEXINIT before the end of the first exchange."""
        pair = Pair(Halfway(MSG_KEXDH_INIT))
        pair.pump()
        pair.client_tcp.write(plain_packet(MSG_KEXINIT, pair.client.ourKexInitPayload[1:]))
        self.assert_not_due(pair, MSG_KEXINIT)

    def test_exchange_again(self) -> None:
        """An exchange without a KEXINIT, and new keys twice."""
        for number in (MSG_KEXDH_INIT, MSG_NEWKEYS):
            pair = Pair()
            pair.pump()
            pair.send(number, wire.string(bytes(32)) if number == MSG_KEXDH_INIT else b"")
            self.assert_not_due(pair, number)

    def test_before_the_service(self) -> None:
        """With keys, but before authentication was asked for: no login, no channel, no request."""
        for number in (MSG_SERVICE_ACCEPT, 50, 51, 52, 60, 80, 90, 94, 98, 150):
            pair = Pair()
            pair.pump()
            pair.send(number, b"\0\0\0\0")
            self.assert_not_due(pair, number)

    def test_before_the_login(self) -> None:
        """Channels, requests and success are not the client's to say; the policy and its owner hear nothing."""
        for number in (51, 52, 60, 80, 90, 94, 98, 150):
            pair = Pair()
            pair.begin_authentication()
            pair.send(number, messages.open_channel(b"session", 0, 1000, 1000))
            self.assert_ended(pair, 2, b"log in first")
            self.assertEqual((pair.policy.checked, pair.policy.owner.asked), ([], []))

    def test_during_a_rekey(self) -> None:
        """A client that has begun an exchange of keys has to finish it before it says anything else."""
        pair = Pair(Halfway())
        pair.log_in()
        assert isinstance(pair.client, Halfway)
        pair.client.kept = (MSG_KEXDH_INIT,)
        pair.client.sendKexInit()
        pair.pump()
        pair.client._keyExchangeState = pair.client._KEY_EXCHANGE_NONE
        pair.send(90, messages.open_channel(b"session", 0, 1000, 1000))
        self.assert_ended(pair, 2, b"message 90 is not due now")
        self.assertEqual(pair.policy.owner.asked, [])

    def test_services(self) -> None:
        """There is one service to ask for; asking for it again starts nothing anew, and is bounded."""
        for names in ([b"ssh-connection"], [b"nonsense"], [b"ssh-userauth", b"nonsense"]):
            pair = Pair()
            pair.pump()
            for name in names:
                pair.send(MSG_SERVICE_REQUEST, wire.string(name))
            self.assert_ended(pair, 7, b"no such service now")
        pair = Pair()
        pair.begin_authentication()
        service = pair.server.service
        for _ in range(MAX_REQUESTS):
            pair.send(MSG_SERVICE_REQUEST, AUTH_REQUEST)
        self.assertEqual(pair.client.got, [(6, AUTH_REQUEST)] * (MAX_REQUESTS + 1))
        self.assertIs(pair.server.service, service)
        pair.send(MSG_SERVICE_REQUEST, AUTH_REQUEST)
        self.assert_ended(pair, 14, b"too many authentication failures")
        pair = Pair()
        pair.log_in()
        pair.send(MSG_SERVICE_REQUEST, AUTH_REQUEST)
        self.assert_ended(pair, 7, b"no such service now")

    def test_login_after_the_login(self) -> None:
        """A second login changes nothing: the connection service does not know the message."""
        pair = Pair()
        pair.log_in()
        assert pair.client.sessionID is not None
        pair.send(50, ed25519_client().request(b"alice", session_id=pair.client.sessionID))
        self.assertEqual(len(pair.policy.logged_in), 1)

    def test_harmless(self) -> None:
        """What may come at any time does."""
        pair = Pair()
        pair.client.sendIgnore(b"noise")
        pair.client.sendDebug(b"noise")
        pair.log_in()
        pair.send(MSG_IGNORE, wire.string(b"noise"))
        self.assertEqual(pair.client.errors, [])


class TimeTests(ServerCase):
    def test_silence(self) -> None:
        """A client that never says anything is let go when the time for the login is over."""
        pair = Pair()
        pair.clock.advance(29.9)
        self.assertFalse(pair.server_tcp.losing)
        pair.clock.advance(0.2)
        self.assert_ended(pair, 11, b"the time to log in is over")

    def test_every_phase(self) -> None:
        """So is one that stops in the middle of the key exchange, or of the login."""
        for stop in (MSG_KEXINIT, MSG_KEXDH_INIT, MSG_NEWKEYS):
            pair = Pair(Halfway(stop))
            pair.pump()
            pair.clock.advance(30)
            self.assertTrue(pair.server_tcp.losing)
        pair = Pair()
        pair.begin_authentication()
        pair.clock.advance(20)
        pair.send(50, NOTHING)
        pair.clock.advance(10)
        self.assert_ended(pair, 11, b"the time to log in is over")

    def test_logged_in(self) -> None:
        """Who has logged in may stay."""
        pair = Pair()
        pair.log_in()
        pair.clock.advance(100)
        self.assertFalse(pair.server_tcp.losing)

    def test_slow_policy(self) -> None:
        """The time includes what a policy takes; a login that is decided later is none."""
        pair = Pair()
        pair.policy.wait = Deferred()
        pair.begin_authentication()
        assert pair.client.sessionID is not None
        pair.send(50, ed25519_client().request(session_id=pair.client.sessionID))
        pair.clock.advance(30)
        self.assert_ended(pair, 11, b"the time to log in is over")
        pair.lose()
        pair.policy.wait.callback(None)
        self.assertEqual((pair.policy.logged_in, pair.server_tcp.written), ([], b""))

    def test_own_time(self) -> None:
        """The time is a setting."""
        clock = Clock()
        pair = Pair(factory=ServerFactory(clock, SamplePolicy(), sample_host_keys(), ServerLimits(login_grace_s=3)))
        clock.advance(3)
        self.assertTrue(pair.server_tcp.losing)

    def test_unfinished_rekey(self) -> None:
        """Output waits for a rekey in a bounded queue, with its producer paused, and the rekey has a limit."""
        pair = Pair(Halfway())
        pair.log_in()
        assert isinstance(pair.client, Halfway)
        channel, producer = Channel(), RecordingProducer()
        channel.registerProducer(producer)
        pair.policy.owner.answers[b"session"] = lambda: channel
        pair.send(conch.MSG_CHANNEL_OPEN, messages.open_channel(b"session", 7, (1 << 32) - 1, 1 << 15))
        pair.client.kept = (MSG_KEXDH_INIT,)
        pair.client.sendKexInit()
        pair.pump()
        channel.write(bytes(HIGH_WATER_BYTES))
        self.assertEqual(producer.calls, ["pause"])
        self.assertEqual(list(pair.server._unsent.take()), [])
        pair.clock.advance(30)
        self.assert_ended(pair, 2, b"the key exchange takes too long")


class GoodbyeTests(ServerCase):
    def test_nothing_is_read_behind_it(self) -> None:
        """What the client sent behind the message that ended the connection is not looked at."""
        pair = Pair()
        pair.begin_authentication()
        assert pair.client.sessionID is not None
        pair.client.sendPacket(52, b"")
        pair.client.sendPacket(50, ed25519_client().request(session_id=pair.client.sessionID))
        pair.pump()
        self.assert_ended(pair, 2, b"log in first")
        self.assertEqual(pair.policy.checked, [])

    def test_nothing_is_kept(self) -> None:
        """Nor does it take memory."""
        pair = Pair()
        pair.pump()
        pair.send(52)
        for _ in range(100):
            pair.server.dataReceived(bytes(1 << 16))
        self.assertLess(len(pair.server.reader._data), 1 << 10)

    def test_only_our_direction_is_closed(self) -> None:
        """A client that is just sending something would lose the answer with the whole connection."""
        pair = Pair()
        pair.pump()
        pair.send(52)
        self.assertIn("shut", pair.server_tcp.options)

    def test_cut_off(self) -> None:
        """A client that does not take the goodbye is cut off after two seconds."""
        pair = Pair()
        pair.pump()
        pair.send(52)
        pair.clock.advance(1.9)
        self.assertFalse(pair.server_tcp.aborted)
        pair.clock.advance(0.2)
        self.assertTrue(pair.server_tcp.aborted)

    def test_once(self) -> None:
        """A connection is ended once, whatever happens behind it; a lost one needs no cutting off."""
        pair = Pair()
        pair.pump()
        pair.factory.disconnect_all("The proxy is stopping.")
        pair.factory.disconnect_all("The proxy is stopping.")
        self.assert_ended(pair, 11, b"The proxy is stopping.")
        pair.lose()
        self.assertEqual(pair.clock.getDelayedCalls(), [])
        self.assertEqual(pair.factory.connections, set())

    def test_waits_for_no_producer(self) -> None:
        """A connection whose output waits for a client that does not read ends all the same."""
        pair = Pair()
        pair.log_in()
        self.assertIs(pair.server_tcp.producer, pair.server.service)
        pair.send(MSG_SERVICE_REQUEST, AUTH_REQUEST)
        self.assertIs(pair.server_tcp.producer, None)

    def test_of_the_client(self) -> None:
        """A client's goodbye ends reading and writing, without the tone of an error, and without waiting for it."""
        pair = Pair()
        pair.log_in()
        with capturedLogs() as logged:
            pair.send(MSG_DISCONNECT, wire.uint32(11) + wire.string(b"disconnected by user") + wire.string(b""))
            pair.send(MSG_SERVICE_REQUEST, AUTH_REQUEST)
        self.assertEqual([event for event in logged if event["log_level"] >= LogLevel.warn], [])
        self.assertTrue(pair.server_tcp.losing)
        self.assertIs(pair.server_tcp.producer, None)
        self.assertEqual(pair.server_tcp.written, b"")
        pair.clock.advance(2)
        self.assertTrue(pair.server_tcp.aborted)

    def test_lost(self) -> None:
        """A connection that is lost stops its service and its clocks."""
        pair = Pair()
        pair.log_in()
        self.assertEqual(pair.factory.connections, {pair.server})
        pair.lose()
        self.assertEqual((pair.policy.owner.ended, pair.clock.getDelayedCalls()), (1, []))
        self.assertEqual(pair.factory.connections, set())


class MalformedTests(ServerCase):
    def test_cut_short(self) -> None:
        """Messages of the transport that end too early end the connection with one sentence and no traceback."""
        cases: Sequence[tuple[int, bytes]] = (
            (MSG_DISCONNECT, b"\0"),
            (3, b"\0"),
            (MSG_DEBUG, b""),
            (MSG_SERVICE_REQUEST, b"\0\0\0\x20short"),
            (MSG_SERVICE_REQUEST, AUTH_REQUEST + b"!"),
            (MSG_KEXINIT, b"\0\0"),
        )
        for number, payload in cases:
            pair = Pair()
            pair.pump()
            pair.send(number, payload)
            self.assert_ended(pair, 2, b"a message cannot be read")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_exchange(self) -> None:
        """A key that is no point of the curve, or not even a string."""
        for payload, reason, sentence in (
            (b"", 2, b"a message cannot be read"),
            (wire.string(b"short"), 3, b"an X25519 value of 5 bytes, where 32 are due"),
            (wire.string(bytes(32)), 3, b"an X25519 value of small order"),
        ):
            pair = Pair(Halfway(MSG_KEXDH_INIT))
            pair.pump()
            pair.client_tcp.write(plain_packet(MSG_KEXDH_INIT, payload))
            self.assert_ended(pair, reason, sentence)
        self.assertEqual(self.flushLoggedErrors(), [])

    @given(st.integers(1, 255), st.binary(max_size=64), st.booleans())
    @settings(deadline=None, max_examples=50)
    def test_anything(self, number: int, payload: bytes, encrypted: bool) -> None:
        """Whatever a client sends first, or behind the keys, nothing is raised and nobody is logged in."""
        pair = Pair() if encrypted else Pair(Halfway(MSG_KEXINIT))
        pair.pump()
        if encrypted:
            pair.send(number, payload)
        else:
            pair.server.dataReceived(plain_packet(number, payload))
        self.assertFalse(isinstance(pair.server.service, Connection))
        self.assertEqual((pair.policy.checked, self.flushLoggedErrors()), ([], []))

    @given(st.binary(max_size=5000))
    @settings(deadline=None, max_examples=50)
    def test_not_ssh(self, data: bytes) -> None:
        """Bytes that are no SSH at all."""
        pair = Pair(Halfway(MSG_KEXINIT))
        pair.server.dataReceived(data)
        pair.server.dataReceived(b"SSH-2.0-x\r\n" + data)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_in_front_of_the_version(self) -> None:
        """Only servers may say something in front of their version (RFC 4253, section 4.2), and nobody an address."""
        for start in (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", b"GET / HTTP/1.1\r\n", b"\r\n", b"S", b"SSH:", b"\0"):
            pair = Pair()
            for byte in start + b"SSH-2.0-client\r\n":
                pair.server.dataReceived(bytes((byte,)))
            pair.client.dataReceived(pair.server_tcp.take())
            self.assertEqual(pair.client.errors, [(2, b"a client begins with its version, SSH-2.0")])
            self.assertTrue(pair.server_tcp.losing)

    def test_endless_version(self) -> None:
        """A version line that does not end."""
        pair = Pair()
        for _ in range(100):
            pair.server.dataReceived(b"SSH-" + b"x" * 1000)
        self.assertTrue(pair.server_tcp.losing)


class FloodTests(ServerCase):
    def test_questions(self) -> None:
        """A client that asks without reading, in the middle of a rekey or not, fills a bounded buffer."""
        pair = Pair()
        pair.log_in()
        pair.policy.owner.global_answers[b"keepalive@openssh.com"] = b""
        connection = pair.server.service
        assert isinstance(connection, Connection)
        connection.pauseProducing()
        for _ in range(MAX_UNREAD_ANSWERS + 1):
            pair.client.sendPacket(80, messages.global_request(b"keepalive@openssh.com"))
        pair.server.dataReceived(pair.client_tcp.take())
        self.assert_ended(pair, 2, b"1024 answers wait to be read")


class AddressTests(ServerCase):
    def test_text(self) -> None:
        """IPv6 addresses have brackets around them."""
        self.assertEqual(address_text("192.0.2.7", 22), "192.0.2.7:22")
        self.assertEqual(address_text("2001:db8::7", 22), "[2001:db8::7]:22")

    def test_of_the_peer(self) -> None:
        """A transport knows the address of its client."""
        factory = ServerFactory(Clock(), SamplePolicy(), sample_host_keys())
        self.assertEqual(factory.buildProtocol(IPv4Address("TCP", "192.0.2.7", 5)).client_address, "192.0.2.7:5")
        self.assertEqual(factory.buildProtocol(IPv6Address("TCP", "::1", 5)).client_address, "[::1]:5")

    def test_start(self) -> None:
        """A factory starts with the keys that it was given, and asks nobody for others."""
        factory = ServerFactory(Clock(), SamplePolicy(), sample_host_keys())
        factory.doStart()
        factory.doStop()
        transport = factory.buildProtocol(None)
        transport.makeConnection(MemoryTCP())
        self.assertIs(transport.service, None)
        self.assertNotIsInstance(transport.service, UserAuth)
