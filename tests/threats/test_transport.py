"""Threats 01 to 12 and 15 to 19: what a stranger can do to the transport before, during and behind a key exchange."""

from __future__ import annotations

import time

from attrs import evolve
from twisted.conch.ssh.connection import MSG_CHANNEL_DATA, MSG_CHANNEL_OPEN
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.ssh.connection.service import Connection
from teleport_conch.ssh.transport.kex import METHODS
from teleport_conch.ssh.transport.negotiation import EachWay, KexInit
from teleport_conch.ssh.transport.packets import PacketReader
from teleport_conch.ssh.transport.unsent import MAX_UNSENT_MESSAGES
from tests.ssh import messages
from tests.ssh.ends import OFFER, Ends
from tests.ssh.in_memory import plain_packet
from tests.ssh.raw import OFFERED, POINT, STRICT, Raw

AUTH_REQUEST = wire.string(b"ssh-userauth")
NOISE = ((2, wire.string(b"noise")), (4, b"\0" + wire.string(b"noise") + wire.string(b"")), (3, wire.uint32(0)))


class TransportCase(SynchronousTestCase):
    def assert_ended(self, raw: Raw, reason: int, sentence: str) -> None:
        """The client was told why, once, nobody was logged in, and nothing is read any more."""
        goodbyes = [content for number, content in raw.heard() if number == 1]
        self.assertEqual(goodbyes, [wire.uint32(reason) + wire.text(sentence) + wire.string(b"")])
        self.assertTrue(raw.tcp.losing)
        self.assertEqual((raw.server.service, raw.ends.policy.checked), (None, []))
        raw.say(20, OFFERED.to_payload()[1:])
        raw.say(5, AUTH_REQUEST)
        self.assertEqual(raw.tcp.written, b"")
        self.assertEqual(self.flushLoggedErrors(), [])

    def assert_told(self, ends: Ends, reason: int, sentence: str) -> None:
        """The same behind keys."""
        ends.pump()
        self.assertEqual(ends.client.errors, [(reason, sentence.encode())])
        self.assertTrue(ends.server_tcp.losing)
        self.assertEqual(self.flushLoggedErrors(), [])

    def ended(self, logged: list[LogEvent]) -> list[tuple[object, ...]]:
        """The events that tell of an end."""
        names = ("peer", "phase", "number", "why", "code")
        return [tuple(event[name] for name in names) for event in logged if "phase" in event]


class T01Service(TransportCase):
    """A service that is asked for before there are keys."""

    def test_before_the_exchange(self) -> None:
        raw = Raw()
        raw.say(5, AUTH_REQUEST)
        self.assert_ended(raw, 2, "message 5 is not due now")

    def test_within_it(self) -> None:
        """Also where everything but NEWKEYS was exchanged."""
        raw = Raw()
        raw.offer()
        raw.say(5, AUTH_REQUEST)
        self.assert_ended(raw, 2, "message 5 is not due now")
        raw = Raw()
        raw.offer()
        raw.say(30, wire.string(POINT))
        raw.say(5, AUTH_REQUEST)
        self.assertTrue(raw.tcp.losing)
        self.assertIs(raw.server.service, None)


class T02NewKeys(TransportCase):
    """NEWKEYS before there is anything that they could be."""

    def test_before_the_exchange(self) -> None:
        raw = Raw()
        raw.say(21)
        self.assert_ended(raw, 2, "message 21 is not due now")

    def test_before_the_method(self) -> None:
        raw = Raw()
        raw.offer()
        raw.say(21)
        self.assert_ended(raw, 2, "message 21 is not due now")

    def test_method_before_the_offer(self) -> None:
        for number in (30, 31, 34, 49):
            raw = Raw()
            raw.say(number, wire.string(POINT))
            self.assert_ended(raw, 2, f"message {number} is not due now")

    def test_reply_of_a_client(self) -> None:
        """The server's message of the method, and one of another method."""
        for number in (31, 32, 34):
            raw = Raw()
            raw.offer()
            raw.say(number, wire.string(POINT))
            self.assert_ended(raw, 2, f"message {number} is not due now")

    def test_twice(self) -> None:
        """Nor does the exchange begin, or go, twice."""
        raw = Raw()
        raw.offer()
        raw.offer()
        self.assert_ended(raw, 2, "message 20 is not due now")
        for number in (20, 30):
            raw = Raw()
            raw.offer()
            raw.say(30, wire.string(POINT))
            raw.say(number, wire.string(POINT))
            self.assertTrue(raw.tcp.losing)

    def test_with_content(self) -> None:
        """NEWKEYS has none."""
        raw = Raw()
        raw.offer()
        raw.say(30, wire.string(POINT))
        raw.say(21, b"!")
        self.assertTrue(raw.tcp.losing)


class T03Connection(TransportCase):
    """Messages of the connection service before the login."""

    def test_refused(self) -> None:
        for number in (80, 90, 94, 98, 150):
            raw = Raw()
            raw.say(number, messages.open_channel(b"session", 0, 1000, 1000))
            self.assert_ended(raw, 2, f"message {number} is not due now")
            ends = Ends()
            ends.pump()
            ends.send(number, messages.open_channel(b"session", 0, 1000, 1000))
            self.assert_told(ends, 2, f"message {number} is not due now")
            self.assertEqual((ends.policy.checked, ends.policy.owner.asked), ([], []))


class T04OtherSide(TransportCase):
    """What only the other side says."""

    def test_refused(self) -> None:
        for number in (6, 7, 51, 52, 53, 60):
            ends = Ends()
            ends.pump()
            ends.send(number, wire.string(b"ssh-userauth"))
            self.assert_told(ends, 2, f"message {number} is not due now")

    def test_to_a_client(self) -> None:
        """A server that asks for a service, or begins with the method."""
        for number in (5, 30):
            ends = Ends()
            ends.pump()
            ends.server.transmit(number, AUTH_REQUEST)
            ends.pump()
            self.assertTrue(ends.client_tcp.losing)


class T05Strict(TransportCase):
    """Strict key exchange: the first exchange is undisturbed, and packets are counted anew."""

    def test_before_the_offer(self) -> None:
        for number, content in NOISE:
            raw = Raw()
            raw.say(number, content)
            raw.offer(STRICT)
            self.assert_ended(raw, 2, "a strict key exchange begins with the first packet")

    def test_within(self) -> None:
        for number, content in (*NOISE, (8, b""), (25, b""), (192, wire.string(b""))):
            raw = Raw()
            raw.offer(STRICT)
            raw.say(number, content)
            self.assert_ended(raw, 2, f"message {number} is not due now")

    def test_not_strict(self) -> None:
        """A client that does not speak it may say what RFC 4253 allows."""
        raw = Raw()
        for number, content in NOISE:
            raw.say(number, content)
        raw.offer()
        for number, content in NOISE:
            raw.say(number, content)
        raw.say(30, wire.string(POINT))
        self.assertEqual([number for number, _ in raw.heard()], [20, 31, 21])
        self.assertFalse(raw.tcp.losing)

    def test_counted_anew(self) -> None:
        """At each NEWKEYS, the first and all that follow, in both directions."""
        ends = Ends()
        ends.pump()
        self.assertTrue(ends.server._exchange.strict and ends.client._exchange.strict)
        self.assertEqual((ends.client.writer.sequence, ends.server.reader.sequence), (0, 0))
        self.assertEqual((ends.server.writer.sequence, ends.client.reader.sequence), (1, 1))  # the extensions
        ends.log_in()
        self.assertGreater(ends.client.writer.sequence, 1)
        ends.client._exchange.begin()
        ends.pump()
        self.assertEqual((ends.client.writer.sequence, ends.server.reader.sequence), (0, 0))
        self.assertEqual((ends.server.writer.sequence, ends.client.reader.sequence), (0, 0))

    def test_later_exchanges(self) -> None:
        """Only the first exchange is undisturbed."""
        ends = Ends()
        ends.log_in()
        ends.client._exchange.begin()
        ends.client.sendPacket(2, wire.string(b"noise"))
        ends.pump()
        self.assertEqual(ends.client.errors, [])


class T06Terrapin(TransportCase):
    """A prefix is cut off, and what was put in front makes up for it (CVE-2023-48795)."""

    def test_the_attack(self) -> None:
        """The first packet behind the keys is dropped, and the count is right again: strict key exchange sees both."""
        ends = Ends()
        client_offer = ends.client_tcp.take()
        version, _, offer = client_offer.partition(b"\r\n")
        ends.server.dataReceived(version + b"\r\n" + plain_packet(2, wire.string(b"")) + offer)
        ends.client.dataReceived(ends.server_tcp.take())
        self.assertTrue(ends.server_tcp.losing)

    def test_dropped_extensions(self) -> None:
        """Without a message in front, what is dropped behind the keys is missed."""
        ends = Ends()
        ends.server.dataReceived(ends.client_tcp.take())
        ends.client.dataReceived(ends.server_tcp.take())
        ends.server.dataReceived(ends.client_tcp.take())
        replies = ends.server_tcp.take()
        reader = PacketReader()
        reader.feed(replies)
        end = len(replies)
        while (message := reader.next()) is not None:
            end = len(reader._data) - reader._at
            if message[0] == 21:
                break
        self.assertGreater(end, 0)  # the extensions, which an attacker drops
        ends.client.dataReceived(replies[:-end])
        ends.pump()
        ends.begin_authentication()
        self.assertTrue(ends.client_tcp.losing)

    def test_everybody_of_ours(self) -> None:
        """Both roles say that they are strict, and nothing that needs it is offered without."""
        ends = Ends()
        offers = []
        for tcp in (ends.server_tcp, ends.client_tcp):
            reader = PacketReader()
            reader.feed(bytes(tcp.written).partition(b"\r\n")[2])
            number, content = reader.next() or (0, b"")
            offers.append(KexInit.parse(bytes((number,)) + content).kex[-1])
        self.assertEqual(offers, [b"kex-strict-s-v00@openssh.com", b"kex-strict-c-v00@openssh.com"])


class T07Extensions(TransportCase):
    """Extensions at the wrong moment, or more of them than there are bytes."""

    def test_to_a_server(self) -> None:
        """A server of ours does not say that it wants any."""
        raw = Raw()
        raw.say(7, wire.uint32(0))
        self.assert_ended(raw, 2, "message 7 is not due now")
        for log_in in (False, True):
            ends = Ends()
            if log_in:
                ends.log_in()
            ends.pump()
            ends.send(7, wire.uint32(0xFFFF_FFFF))
            self.assert_told(ends, 2, "message 7 is not due now")

    def test_to_a_client(self) -> None:
        """A number is not believed; behind the login there are none."""
        for log_in, content, sentence in (
            (False, wire.uint32(0xFFFF_FFFF), "4294967295 extensions, where 64 are the limit"),
            (True, wire.uint32(0), "message 7 is not due now"),
        ):
            ends = Ends()
            if log_in:
                ends.log_in()
            ends.pump()
            ends.server.transmit(7, content)
            began = time.process_time()
            with capturedLogs() as logged:
                ends.pump()
            self.assertLess(time.process_time() - began, 1)
            self.assertEqual([found[3] for found in self.ended(list(logged))], [sentence])


class T08Length(TransportCase):
    """Lengths that no packet has."""

    def test_refused(self) -> None:
        """Before memory is taken, and before more than the length has arrived."""
        for length in (0, 1, 35_001, 1 << 31, 0xFFFF_FFFF):
            raw = Raw()
            raw.say_bytes(length.to_bytes(4, "big"))
            self.assert_ended(raw, 2, f"a packet of {length} bytes, where 6 to 35000 may be")
        raw = Raw()
        raw.say_bytes((13).to_bytes(4, "big"))
        self.assert_ended(raw, 2, "a packet of 13 bytes, which is no multiple of 8")

    def test_behind_keys(self) -> None:
        """A length that was altered, or invented; where it is a secret, it is the tag that does not fit."""
        for cipher in (b"aes128-gcm@openssh.com", b"chacha20-poly1305@openssh.com", b"aes128-ctr"):
            ends = Ends(evolve(OFFER, ciphers=(cipher,)))
            ends.pump()
            ends.client.sendPacket(5, AUTH_REQUEST)
            packet = bytearray(ends.client_tcp.take())
            packet[0] ^= 0x80
            ends.server.dataReceived(bytes(packet))
            ends.pump()
            ((reason, sentence),) = ends.client.errors
            self.assertEqual(reason, 2)
            self.assertIn(b" bytes, where 6 to 262144 may be", sentence)


class T09Padding(TransportCase):
    """Padding that is too short, or that leaves no message."""

    def test_refused(self) -> None:
        for padding in (0, 1, 2, 3, 11, 12, 255):
            raw = Raw()
            raw.say_bytes(wire.uint32(12) + bytes((padding, 2)) + bytes(10))
            self.assert_ended(raw, 2, f"a padding of {padding} bytes in a packet of 12")


class T10Tags(TransportCase):
    """Packets without a message, and tags that do not fit."""

    def test_flipped(self) -> None:
        for cipher in OFFER.ciphers:
            ends = Ends(evolve(OFFER, ciphers=(cipher,)))
            ends.pump()
            ends.client.sendPacket(5, AUTH_REQUEST)
            packet = bytearray(ends.client_tcp.take())
            packet[-1] ^= 1
            ends.server.dataReceived(bytes(packet))
            self.assert_told(ends, 5, "a packet was altered on its way")
            self.assertIs(ends.server.service, None)

    def test_truncated(self) -> None:
        """A tag that is cut short has the next packet's bytes in its place."""
        ends = Ends(evolve(OFFER, ciphers=(b"aes128-gcm@openssh.com",)))
        ends.pump()
        ends.client.sendPacket(5, AUTH_REQUEST)
        ends.server.dataReceived(ends.client_tcp.take()[:-4] + bytes(64))
        self.assert_told(ends, 5, "a packet was altered on its way")

    def test_empty(self) -> None:
        """A packet that is all padding, behind good keys."""
        for cipher in OFFER.ciphers:
            ends = Ends(evolve(OFFER, ciphers=(cipher,)))
            ends.pump()
            writer = ends.client.writer
            size = 16 - writer._sealer.counted
            body = bytes((size - 1,)) + bytes(size - 1)
            ends.server.dataReceived(writer._sealer.seal(writer.sequence, size.to_bytes(4, "big"), body))
            self.assert_told(ends, 2, f"a padding of {size - 1} bytes in a packet of {size}")
            self.assertIs(ends.server.service, None)


class T11Compression(TransportCase):
    """Compression before the login, and packets that become too long."""

    def test_offered(self) -> None:
        """``zlib``, which begins before the login, is not; and what is offered does nothing before it."""
        raw = Raw()
        raw.offer(evolve(OFFERED, compressions=EachWay((b"zlib",), (b"zlib",))))
        sentence = "no common compression from client to server: the client offers zlib, and the server offers none, "
        self.assert_ended(raw, 3, sentence + "zlib@openssh.com")

    def test_bomb(self) -> None:
        """20 kB that become 20 MB are given up at the length of a packet."""
        ends = Ends(evolve(OFFER, compressions=(b"zlib@openssh.com",)))
        ends.log_in()
        deflated = ends.client.writer._deflater
        assert deflated is not None
        bomb = deflated.deflate(b"\2" + bytes(20 << 20))
        self.assertLess(len(bomb), 32 << 10)
        ends.client.writer._deflater = None
        ends.client.transport.write(ends.client.writer.pack(bomb[0], bomb[1:]))
        ends.client.errors.clear()
        with capturedLogs() as logged:
            ends.server.dataReceived(ends.client_tcp.take())
        self.assertEqual(
            [found[1:] for found in self.ended(list(logged))],
            [("connection", 50, "a packet decompresses to more than 262144 bytes", 6)],
        )
        self.assertTrue(ends.server_tcp.losing)


class T12Greeting(TransportCase):
    """A greeting without end. As with OpenSSH, the time for it is that for the login."""

    def test_endless(self) -> None:
        ends = Ends()
        for _ in range(10):
            ends.server.dataReceived(b"SSH-" + b"x" * (1 << 20))
        self.assertTrue(ends.server_tcp.losing)
        greeting = ends.server._greeting
        assert greeting is not None
        self.assertLess(len(greeting._line), 4096)

    def test_never_finished(self) -> None:
        ends = Ends()
        ends.server.dataReceived(b"SSH-2.0-x")
        ends.clock.advance(ends.factory.limits.login_grace_s)
        self.assertTrue(ends.server_tcp.losing)


class T15UnfinishedExchange(TransportCase):
    """An exchange that is opened and never finished, while there is output."""

    def unfinished(self) -> Ends:
        """A server that has sent its offer to a client that does not go on."""
        ends = Ends()
        ends.log_in()
        ends.client._exchange.begin()
        ends.server.dataReceived(ends.client_tcp.take())
        ends.server_tcp.take()
        return ends

    def test_messages(self) -> None:
        """What waits is bounded in number and in bytes."""
        for content, least, most in ((b"", MAX_UNSENT_MESSAGES, MAX_UNSENT_MESSAGES), (bytes(100_000), 20, 21)):
            ends = self.unfinished()
            sent = 0
            with capturedLogs() as logged:
                while not ends.server_tcp.losing:
                    ends.server.sendPacket(99, content)
                    sent += 1
            self.assertTrue(least <= sent - 1 <= most, sent)
            (found,) = self.ended(list(logged))
            self.assertEqual(found[3], "too much waits for the end of a key exchange")
            self.assertEqual(len(ends.server._unsent.take()), 0)

    def test_time(self) -> None:
        """And in time."""
        ends = self.unfinished()
        ends.clock.advance(30)
        self.assertTrue(ends.server_tcp.losing)

    def test_input(self) -> None:
        """Nothing but the exchange is taken from who began it."""
        ends = self.unfinished()
        ends.client.transmit(MSG_CHANNEL_DATA, messages.data(0, b"data"))
        with capturedLogs() as logged:
            ends.server.dataReceived(ends.client_tcp.take())
        found = [event[1:4] for event in self.ended(list(logged))]
        self.assertEqual(found, [("key exchange", 94, "message 94 is not due now")])


class T16Points(TransportCase):
    """Public values that make no secret."""

    def test_refused(self) -> None:
        for method, value, sentence in (
            (b"curve25519-sha256", bytes(32), "an X25519 value of small order"),
            (b"curve25519-sha256", b"\1" + bytes(31), "an X25519 value of small order"),
            (b"curve25519-sha256", bytes(31), "an X25519 value of 31 bytes, where 32 are due"),
            (b"ecdh-sha2-nistp256", b"\4" + bytes(64), "a point that is not on secp256r1"),
            (b"ecdh-sha2-nistp256", b"\4" + b"\1" * 64, "a point that is not on secp256r1"),
            (b"ecdh-sha2-nistp256", b"\0", "a point of secp256r1 of 1 bytes, where 65 are due"),
            (b"mlkem768x25519-sha256", bytes(32), "a request of 32 bytes, where 1216 are due"),
        ):
            if method in METHODS:
                raw = Raw()
                raw.offer(evolve(OFFERED, kex=(method,)))
                raw.say(30, wire.string(value))
                self.assert_ended(raw, 3, sentence)


class T17AnotherHostKey(TransportCase):
    """A host key that changes within a connection: see ``tests/ssh/test_exchange.py`` for the client's side."""

    def test_kept(self) -> None:
        """A server whose keys are replaced goes on with those of the connection's beginning."""
        ends = Ends()
        ends.log_in()
        ends.factory.host_keys = {}
        ends.client._exchange.begin()
        ends.pump()
        self.assertEqual(len(set(ends.client.checked)), 1)
        self.assertEqual((len(ends.client.checked), ends.client.errors), (2, []))


class T18Bytes(TransportCase):
    """Bytes behind the last field, and strings that are cut short."""

    def test_offer(self) -> None:
        payload = OFFERED.to_payload()[1:]
        for content in (payload + b"\0", payload[:-1], payload[:20], b""):
            raw = Raw()
            raw.say(20, content)
            self.assert_ended(raw, 2, "a message cannot be read")

    def test_method(self) -> None:
        for content in (wire.string(POINT) + b"\0", wire.string(POINT)[:-1], b"\0\0", b""):
            raw = Raw()
            raw.offer()
            raw.say(30, content)
            self.assert_ended(raw, 2, "a message cannot be read")

    def test_service(self) -> None:
        for content in (AUTH_REQUEST + b"\0", AUTH_REQUEST[:-1], b""):
            ends = Ends()
            ends.pump()
            ends.send(5, content)
            self.assert_told(ends, 2, "a message cannot be read")
            self.assertIs(ends.server.service, None)

    def test_channel_open(self) -> None:
        """A field too few; what follows is the kind's own, and its parser's business."""
        ends = Ends()
        ends.log_in()
        ends.send(MSG_CHANNEL_OPEN, messages.open_channel(b"session", 0, 1000, 1000)[:-1])
        self.assertTrue(ends.server_tcp.losing)


class T19ManyExchanges(TransportCase):
    """Exchanges of keys without end, each of which costs a signature."""

    def test_refused(self) -> None:
        for log_in in (False, True):
            ends = Ends()
            if log_in:
                ends.log_in()
            ends.pump()
            for _ in range(1000):
                ends.client._exchange.begin()
                ends.pump()
                if ends.server_tcp.losing:
                    break
            self.assertEqual(ends.client.errors, [(2, b"keys are exchanged too often")])
            self.assertLess(len(ends.client.checked), 40)


class OneEvent(TransportCase):
    """Whatever ends a connection is one event, which names the peer, the phase, the message and the reason."""

    def test_phases(self) -> None:
        cases = []
        for phase in ("greeting", "key exchange", "login", "connection"):
            ends = Ends()
            if phase == "greeting":
                ends.client_tcp.written[:] = b"GET / HTTP/1.1\r\n"
            elif phase == "key exchange":
                ends.client_tcp.written[:] = b"SSH-2.0-x\r\n" + plain_packet(90)
            elif phase == "login":
                ends.pump()
                ends.client.transmit(90)
            else:
                ends.log_in()
                ends.client.transmit(20, b"no offer")
            with capturedLogs() as logged:
                ends.server.dataReceived(ends.client_tcp.take())
                ends.server.dataReceived(b"more")
            cases.append((phase, self.ended(list(logged))))
        address = "192.0.2.7:50000"
        self.assertEqual(
            cases,
            [
                ("greeting", [(address, "greeting", 0, "a client begins with its version, SSH-2.0", 2)]),
                ("key exchange", [(address, "key exchange", 90, "message 90 is not due now", 2)]),
                ("login", [(address, "login", 90, "message 90 is not due now", 2)]),
                ("connection", [(address, "connection", 20, "16 bytes are due and 8 are left", 2)]),
            ],
        )
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_failure_of_ours(self) -> None:
        """A mistake of ours that a message provokes is no traceback either."""
        ends = Ends()
        ends.log_in()
        connection = ends.server.service
        assert isinstance(connection, Connection)

        def mistaken(messageNum: int, packet: bytes) -> None:
            raise IndexError("list index out of range")

        self.patch(connection, "packetReceived", mistaken)
        with capturedLogs() as logged:
            ends.send(80, messages.global_request(b"x"))
        self.assertEqual(ends.client.errors, [(2, b"a message cannot be handled")])
        self.assertEqual([found[3] for found in self.ended(list(logged))], ["IndexError('list index out of range')"])

    def test_nothing_behind_it(self) -> None:
        """What the same read holds behind it is not looked at, nor what a slow answer brings later."""
        ends = Ends()
        ends.begin_authentication()
        ends.policy.wait = Deferred()
        ends.client.transmit(90)
        ends.client.transmit(50, b"anything")
        ends.pump()
        self.assertEqual((len(ends.client.errors), ends.policy.checked), (1, []))
