"""Exchanges of keys between two ends of ours: every algorithm, new keys at any time, and what waits meanwhile."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, frozen
from twisted.conch.ssh.connection import MSG_CHANNEL_DATA, MSG_CHANNEL_OPEN
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.certs import keys
from teleport_conch.errors import AccessDenied
from teleport_conch.ssh.connection.service import Connection
from teleport_conch.ssh.transport.algorithms import ED25519, server_sig_algs
from teleport_conch.ssh.transport.exchange import Names, Offer
from teleport_conch.ssh.transport.hostkeys import HostKey, LocalHostKey
from teleport_conch.ssh.transport.kex import METHODS, Transcript
from teleport_conch.ssh.transport.negotiation import KexInit
from teleport_conch.ssh.transport.rekeying import RekeyLimits
from teleport_conch.ssh.transport.server_exchange import ServerExchange
from tests.ssh import messages
from tests.ssh.ends import OFFER, Ends
from tests.ssh.in_memory import sample_host_keys
from tests.ssh.raw import OFFERED, POINT, STRICT, Raw
from tests.ssh.recording import RecordingChannel
from tests.ssh.sealing import combinations


@frozen
class SlowKey:
    """A host key whose signatures come when the test says so."""

    key: HostKey
    waits: list[Deferred[None]]

    @property
    def algorithm(self) -> bytes:
        return self.key.algorithm

    @property
    def blob(self) -> bytes:
        return self.key.blob

    def cookie(self) -> bytes:
        return self.key.cookie()

    async def sign(self, transcript: Transcript) -> bytes:
        self.waits.append(Deferred())
        await self.waits[-1]
        return await self.key.sign(transcript)

    async def prove(self, session_id: bytes) -> bytes:
        return await self.key.prove(session_id)


def slow_keys() -> tuple[Mapping[bytes, HostKey], list[Deferred[None]]]:
    waits: list[Deferred[None]] = []
    return {ED25519: SlowKey(sample_host_keys()[ED25519], waits)}, waits


class EndsCase(SynchronousTestCase):
    def channel(self, ends: Ends) -> RecordingChannel:
        """The server's end of a channel, which the client calls 7."""
        ends.policy.owner.answers[b"session"] = lambda: RecordingChannel(1 << 20)
        ends.send(MSG_CHANNEL_OPEN, messages.open_channel(b"session", 7, 1 << 30, 1 << 15))
        connection = ends.server.service
        assert isinstance(connection, Connection)
        (channel,) = connection._table.open.values()
        assert isinstance(channel, RecordingChannel)
        ends.client.got.clear()
        return channel

    def data(self, ends: Ends) -> bytes:
        """What the client got on its channel."""
        got = [wire.Reader(payload[4:]).string() for number, payload in ends.client.got if number == MSG_CHANNEL_DATA]
        return b"".join(got)

    def heard(self, channel: RecordingChannel) -> bytes:
        """What the server got on its."""
        return b"".join(told for told in channel.told if isinstance(told, bytes))

    def assert_well(self, ends: Ends) -> None:
        self.assertEqual((ends.client.errors, ends.server_tcp.losing, ends.client_tcp.losing), ([], False, False))

    def exchanges(self, ends: Ends) -> int:
        """How often the client has checked a host key."""
        return len(ends.client.checked)


class AlgorithmTests(EndsCase):
    def works(self, offer: Offer) -> None:
        ends = Ends(offer)
        ends.log_in()
        channel = self.channel(ends)
        for _ in range(2):
            ends.send(MSG_CHANNEL_DATA, messages.data(0, b"up" * 1000))
            channel.write(b"down" * 1000)
            ends.client.exchange_keys()
            ends.pump()
        self.assertEqual((self.heard(channel), self.data(ends)), (b"up" * 2000, b"down" * 2000))
        self.assert_well(ends)

    def test_methods(self) -> None:
        """Every key exchange of ours."""
        for method in METHODS:
            self.works(evolve(OFFER, kex=(method,)))

    def test_ciphers(self) -> None:
        """Every cipher and MAC of ours, each with new keys in between."""
        for cipher, mac in combinations():
            self.works(evolve(OFFER, ciphers=(cipher,), macs=(mac,) if mac else ()))

    def test_host_certificate(self) -> None:
        """The certificate is what the client gets, and what the exchange hash covers."""
        certificates: Names = tuple(sample_host_keys())
        ends = Ends(Offer(certificates))
        ends.log_in()
        blob = sample_host_keys()[certificates[0]].blob
        self.assertEqual(
            (ends.client.checked, ends.client.host_key_blob, ends.server.host_key_blob), ([blob], blob, blob)
        )

    def test_compression(self) -> None:
        """Compression begins with the login, in both directions, and anew with new keys."""
        ends = Ends(evolve(OFFER, compressions=(b"zlib@openssh.com",)))
        ends.begin_authentication()
        self.assertEqual(self.sizes_of_a_thousand_zeros(ends), (True, True))
        ends = Ends(evolve(OFFER, compressions=(b"zlib@openssh.com",)))
        ends.log_in()
        self.assertEqual(self.sizes_of_a_thousand_zeros(ends), (False, False))
        ends.client.exchange_keys()
        ends.pump()
        self.assertEqual(self.sizes_of_a_thousand_zeros(ends), (False, False))
        self.assert_well(ends)

    def sizes_of_a_thousand_zeros(self, ends: Ends) -> tuple[bool, bool]:
        """Whether a message of as many bytes is as long, from either side. It is one that both ignore."""
        sizes = []
        for end, tcp in ((ends.client, ends.client_tcp), (ends.server, ends.server_tcp)):
            end.sendPacket(2, wire.string(bytes(1000)))
            sizes.append(len(tcp.written) > 1000)
        ends.pump()
        return sizes[0], sizes[1]

    def test_nothing_in_common(self) -> None:
        """The refusal names what both sides offer."""
        ends = Ends(evolve(OFFER, ciphers=(b"aes128-cbc", b"3des-cbc")))
        ends.pump()
        # Whoever reads the other's offer first says so, and the code is that of a failed exchange.
        self.assertTrue(ends.server_tcp.losing or ends.client_tcp.losing)
        self.assertIn(
            "no common cipher from client to server: the client offers aes128-cbc, 3des-cbc", self.reason(ends)
        )

    def reason(self, ends: Ends) -> str:
        with capturedLogs() as logged:
            again = Ends(ends.client.offer)
            again.pump()
        return " ".join(str(event.get("why")) for event in logged)


class ExtensionTests(EndsCase):
    def test_told(self) -> None:
        """A client that wants them is told of the server's extensions, once."""
        ends = Ends()
        ends.pump()
        told = ends.client.peerExtensions
        self.assertEqual(told[b"server-sig-algs"], server_sig_algs())
        self.assertEqual(told[b"ping@openssh.com"], b"0")
        ends.client.peerExtensions = {}
        ends.client.exchange_keys()
        ends.pump()
        self.assertEqual((ends.client.peerExtensions, ends.client.secure), ({}, 1))

    def test_ping(self) -> None:
        """A ping is answered with what it holds."""
        ends = Ends()
        ends.log_in()
        ends.client.got.clear()
        ends.send(192, wire.string(b"there?"))
        self.assertEqual(ends.client.got, [(193, wire.string(b"there?"))])

    def test_ping_before_the_login(self) -> None:
        """Strangers have nothing sent back to them."""
        ends = Ends()
        ends.pump()
        ends.send(192, wire.string(b"there?"))
        self.assertEqual(ends.client.errors, [(2, b"message 192 is not due now")])

    def test_ping_flood(self) -> None:
        """Answers that are not read are bounded, in whatever way the server's buffer came to be full."""
        for number, payload in ((192, wire.string(bytes(1000))), (8, b"unknown")):
            ends = Ends()
            ends.log_in()
            connection = ends.server.service
            assert isinstance(connection, Connection)
            connection.pauseProducing()
            for _ in range(2000):
                ends.client.sendPacket(number, payload)
            ends.server.dataReceived(ends.client_tcp.take())
            self.assertLess(len(ends.server_tcp.written), 256 << 10)
            ends.pump()
            self.assertEqual(ends.client.errors, [(2, b"too many replies wait to be read")])


class GuessTests(SynchronousTestCase):
    """A client that lets its first message follow its offer, before it knows the server's (RFC 4253, section 7)."""

    def heard(self, offered: KexInit, *said: bytes) -> list[int]:
        raw = Raw()
        raw.offer(evolve(offered, first_kex_packet_follows=True))
        for public in said:
            raw.say(30, wire.string(public))
        return [number for number, _ in raw.heard()]

    def test_right(self) -> None:
        """A guess that is right saves a round trip."""
        first, *_ = METHODS
        guessed = evolve(OFFERED, kex=(first,), host_key=tuple(sample_host_keys()))
        self.assertEqual(self.heard(guessed, METHODS[first].start().public), [20, 31, 21])

    def test_wrong(self) -> None:
        """One that is wrong is passed over, once, and what follows it counts."""
        for guessed in (OFFERED, STRICT):
            self.assertEqual(self.heard(guessed, b"a guess"), [20])
            self.assertEqual(self.heard(guessed, b"a guess", POINT), [20, 31, 21])
            self.assertEqual(self.heard(guessed, b"a guess", b"another"), [20, 1])

    def test_not_announced(self) -> None:
        """Without the announcement nothing is passed over."""
        raw = Raw()
        raw.offer()
        raw.say(30, wire.string(b"a guess"))
        self.assertEqual([number for number, _ in raw.heard()], [20, 1])


class RekeyTests(EndsCase):
    def test_by_bytes(self) -> None:
        """The server exchanges keys after so many bytes, sent or received; nothing is lost."""
        for direction in ("down", "up"):
            ends = Ends()
            ends.server.rekey_limits = RekeyLimits(100_000)
            ends.log_in()
            channel = self.channel(ends)
            sent = b""
            for number in range(60):
                piece = bytes((number,)) * 10_000
                sent += piece
                if direction == "down":
                    channel.write(piece)
                    ends.pump()
                else:
                    ends.send(MSG_CHANNEL_DATA, messages.data(0, piece))
                    channel.consumed(len(piece))
            self.assertEqual(self.data(ends) if direction == "down" else self.heard(channel), sent)
            self.assertIn(self.exchanges(ends), (6, 7))
            self.assert_well(ends)

    def test_not_before_the_login(self) -> None:
        """However soon keys are worn, none are exchanged before the login is over."""
        ends = Ends()
        ends.server.rekey_limits = RekeyLimits(1)
        ends.pump()
        ends.send(5, wire.string(b"ssh-userauth"))
        ends.send(2, wire.string(b""))
        self.assertEqual(self.exchanges(ends), 1)
        self.assert_well(ends)

    def test_by_age(self) -> None:
        """Keys serve for an hour; the next message behind that brings new ones."""
        ends = Ends()
        ends.log_in()
        ends.clock.advance(3600)
        ends.send(2, wire.string(b""))
        self.assertEqual(self.exchanges(ends), 1)
        ends.clock.advance(1)
        ends.send(2, wire.string(b""))
        self.assertEqual(self.exchanges(ends), 2)
        ends.send(2, wire.string(b""))
        self.assertEqual(self.exchanges(ends), 2)
        self.assert_well(ends)

    def test_both_at_once(self) -> None:
        """Two offers that cross are one exchange."""
        ends = Ends()
        ends.log_in()
        channel = self.channel(ends)
        for number in range(5):
            ends.client.exchange_keys()
            ends.server._exchange.begin()
            channel.write(b"%d" % number)
            ends.client.sendPacket(MSG_CHANNEL_DATA, messages.data(0, b"%d" % number))
            ends.pump()
        self.assertEqual((self.data(ends), self.heard(channel), self.exchanges(ends)), (b"01234", b"01234", 6))
        self.assert_well(ends)

    def test_data_in_flight(self) -> None:
        """What the peer sent before it heard of the exchange is read with the old keys."""
        ends = Ends()
        ends.log_in()
        channel = self.channel(ends)
        ends.server._exchange.begin()
        for number in range(20):
            ends.client.sendPacket(MSG_CHANNEL_DATA, messages.data(0, bytes((number,)) * 1000))
        ends.pump()
        self.assertEqual(len(self.heard(channel)), 20_000)
        self.assert_well(ends)

    def test_only_the_exchange(self) -> None:
        """Behind our offer, and before our new keys, nothing but the exchange is sent (RFC 4253, section 7.1)."""
        ends = Ends()
        ends.log_in()
        channel = self.channel(ends)
        ends.server._exchange.begin()
        ends.server_tcp.take()
        channel.write(b"waits")
        ends.server.sendPacket(80, messages.global_request(b"waits", False))
        ends.server.sendPacket(7, wire.uint32(0))
        self.assertEqual(ends.server_tcp.written, b"")
        ends.server.sendPacket(2, wire.string(b"does not"))
        self.assertNotEqual(ends.server_tcp.written, b"")

    def test_order(self) -> None:
        """What has waited is sent in its order."""
        ends = Ends()
        ends.log_in()
        ends.client.got.clear()
        ends.client.exchange_keys()
        ends.server.dataReceived(ends.client_tcp.take())
        for number in range(5):
            ends.server.sendPacket(80, messages.global_request(b"%d" % number, False))
        ends.pump()
        self.assertEqual(ends.client.got, [(80, messages.global_request(b"%d" % number, False)) for number in range(5)])

    def test_keys_of_each_direction(self) -> None:
        """Our new keys serve behind our NEWKEYS, though the peer's has not arrived."""
        ends = Ends()
        ends.log_in()
        channel = self.channel(ends)
        ends.client.exchange_keys()
        while ends.server._exchange.may_send or not ends.server._exchange.under_way:
            ends.server.dataReceived(ends.client_tcp.take())
            if ends.server._exchange.may_receive:
                ends.client.dataReceived(ends.server_tcp.take())
        ends.client.dataReceived(ends.server_tcp.take())
        ends.server.dataReceived(ends.client_tcp.take())
        self.assertEqual(self.state(ends), (True, True))
        channel.write(b"with the new ones")
        ends.server.sendPacket(2, wire.string(b"noise"))
        ends.pump()
        self.assertEqual(self.data(ends), b"with the new ones")
        self.assert_well(ends)

    def state(self, ends: Ends) -> tuple[bool, bool]:
        """Whether the server may send, and whether an exchange is under way."""
        return ends.server._exchange.may_send, ends.server._exchange.under_way


class HostKeyTests(EndsCase):
    def test_slow_signature(self) -> None:
        """A host key may sign elsewhere; meanwhile nothing is read, and the connection waits no longer than a login."""
        slow, waits = slow_keys()
        ends = Ends(host_keys=slow)
        ends.pump()
        self.assertFalse(ends.server_tcp.reading)
        waits[0].callback(None)
        self.assertTrue(ends.server_tcp.reading)
        ends.log_in()
        ends.clock.advance(30)
        self.assert_well(ends)

    def test_signature_that_never_comes(self) -> None:
        """The time for the login, and behind it that for an exchange, end such a connection."""
        slow, waits = slow_keys()
        ends = Ends(host_keys=slow)
        ends.pump()
        ends.clock.advance(ends.factory.limits.login_grace_s)
        ends.client_tcp.reading = True
        ends.pump()
        self.assertEqual(ends.client.errors, [(11, b"the time to log in is over")])
        self.assertEqual(len(waits), 1)
        ends.lose()
        self.assertEqual(ends.clock.getDelayedCalls(), [])

    def test_new_keys_signed_slowly(self) -> None:
        """The same in a later exchange, with data that waits for it."""
        slow, waits = slow_keys()
        ends = Ends(host_keys=slow)
        ends.pump()
        waits[0].callback(None)
        ends.log_in()
        channel = self.channel(ends)
        ends.client.exchange_keys()
        ends.pump()
        channel.write(b"waits")
        ends.pump()
        self.assertEqual(self.data(ends), b"")
        waits[1].callback(None)
        ends.pump()
        self.assertEqual(self.data(ends), b"waits")
        ends.client.exchange_keys()
        ends.pump()
        ends.clock.advance(30)
        self.assertTrue(ends.server_tcp.losing)

    def test_signature_that_fails(self) -> None:
        """Who signs elsewhere may fail; the client is sent away, and the log says why."""
        slow, waits = slow_keys()
        ends = Ends(host_keys=slow)
        ends.pump()
        with capturedLogs() as logged:
            waits[0].errback(AccessDenied("The monitor does not answer."))
        ends.pump()
        self.assertEqual(ends.client.errors, [(9, b"the host key is not accepted")])
        self.assertEqual([event["why"] for event in logged if "why" in event], ["The monitor does not answer."])

    def test_slow_check(self) -> None:
        """A client may take its time over a host key: what the server sends behind it is read with the new keys."""
        ends = Ends()
        ends.client.wait = Deferred()
        ends.pump()
        self.assertEqual((ends.client.secure, ends.client_tcp.reading), (0, False))
        ends.client.wait.callback(None)
        ends.client.wait = None
        ends.pump()
        self.assertEqual((ends.client.secure, ends.client_tcp.reading), (1, True))
        self.assertIn(b"server-sig-algs", ends.client.peerExtensions)
        ends.client.exchange_keys()
        ends.log_in()
        self.assertEqual(ends.client.secure, 1)
        self.assert_well(ends)

    def test_check_in_the_middle(self) -> None:
        """The same, with NEWKEYS and what follows in the same read as the reply."""
        ends = Ends()
        ends.client.wait = Deferred()
        ends.pump()
        ends.client.wait.callback(None)
        ends.pump()
        self.assertEqual(ends.client.secure, 1)
        wait: Deferred[None] = Deferred()
        ends.client.wait = wait
        ends.client.exchange_keys()
        ends.pump()
        ends.server.sendPacket(2, wire.string(b"behind the new keys"))
        self.assertFalse(ends.client_tcp.reading)
        ends.client.dataReceived(ends.server_tcp.take())  # what was on its way when reading was paused
        wait.callback(None)
        ends.pump()
        self.assert_well(ends)

    def test_refused(self) -> None:
        """A host key that is not accepted ends the connection, and nothing behind it is looked at."""
        ends = Ends()
        ends.client.wait = Deferred()
        ends.pump()
        ends.client.wait.errback(AccessDenied("Not that one."))
        ends.pump()
        self.assertEqual((ends.client.secure, ends.client.peerExtensions), (0, {}))
        self.assertTrue(ends.client_tcp.losing)

    def test_another(self) -> None:
        """T17: a server that shows another host key later is refused, and nobody is asked about it."""
        ends = Ends()
        ends.log_in()
        key = keys.generate_ssh_key()
        exchange = ends.server._exchange
        assert isinstance(exchange, ServerExchange)
        exchange._host_keys = {ED25519: LocalHostKey(ED25519, keys.public_blob(key.public_key()), key)}
        ends.client.exchange_keys()
        with capturedLogs() as logged:
            ends.pump()
        self.assertEqual(self.exchanges(ends), 1)
        self.assertIn("the host key changed during the connection", [event.get("why") for event in logged])
        self.assertTrue(ends.client_tcp.losing)
