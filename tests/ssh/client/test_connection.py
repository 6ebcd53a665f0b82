"""Our client against our server: the way to a login, what may go wrong on it, and how a connection ends."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import error
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from teleport_conch import wire
from teleport_conch.certs import keys
from teleport_conch.errors import AccessDenied, ConnectionProblem
from teleport_conch.ssh.client.auth import LoginRefused
from teleport_conch.ssh.client.connection import connect
from teleport_conch.ssh.client.host_offer import HostKeyOffer
from teleport_conch.ssh.client.known_hosts import HostKeyUnknown, KnownHosts, KnownHostsVerifier
from teleport_conch.ssh.client.session import Ending, Finished
from teleport_conch.ssh.connection.requests import RequestRefused
from teleport_conch.ssh.transport import algorithms
from teleport_conch.ssh.transport.keepalive import KeepAliveRhythm
from teleport_conch.ssh.transport.rekeying import RekeyLimits
from tests.certs import samples
from tests.ssh.client_pair import KNOWN, NAME, ClientCase, EchoChannel, Wire, client_options
from tests.ssh.hosts import NOW, line
from tests.ssh.in_memory import plain_packet
from tests.ssh.recording import RecordingChannel


class LoginTests(ClientCase):
    def test_login(self) -> None:
        """The host's certificate is believed, ours is, and both sides go on to the connection."""
        client = self.connected()
        self.assertEqual(client.name, NAME)
        (claim,) = self.policy.logged_in
        self.assertEqual((claim.user, claim.certificate.key_id), ("alice", "alice"))
        self.assertTrue(claim.proof is not None and claim.proof.host_key, "bound to the host key")
        self.assertTrue(self.wire.client.peerExtensions[b"server-sig-algs"])

    def test_run(self) -> None:
        """A command's output and ending."""
        self.serve(b"session", EchoChannel)
        client = self.connected()
        running = Deferred.fromCoroutine(client.run("anything", b"data" * 100_000))
        self.pump()
        self.assertEqual(self.successResultOf(running), Finished(b"data" * 100_000, b"", Ending(3)))

    def test_a_person_is_asked(self) -> None:
        """Whether to trust a host may be decided later; nothing is said to it before, and nothing is lost."""
        later: Deferred[None] = Deferred()
        offers: list[HostKeyOffer] = []

        class Person(KnownHostsVerifier):
            async def verify(self, offer: HostKeyOffer) -> None:
                offers.append(offer)
                await later

        options = evolve(client_options(), hosts=Person(KnownHosts.parse(KNOWN), lambda: NOW))
        dialled = self.dial(options)
        self.pump()
        self.assertEqual([offer.name for offer in offers], [NAME])
        self.assertNoResult(dialled)
        self.assertFalse(self.wire.tcp.reading)
        self.assertEqual(self.policy.checked, [])
        later.callback(None)
        self.pump()
        self.successResultOf(dialled)

    def test_refused(self) -> None:
        """The server does not let us in: one sentence, and the connection is closed."""
        dialled = self.dial(client_options(user="mallory"))
        self.pump()
        self.clock.advance(10)  # the server takes its time for a refusal
        self.pump()
        sentence = self.problem_of(dialled, LoginRefused)
        self.assertTrue(sentence.startswith("The server does not let 'mallory' in. It takes: publickey. Tried: ssh-"))
        self.assertTrue(self.wire.tcp.losing)

    def test_nothing_in_common(self) -> None:
        """No algorithm that both have: the sentence names what each offers."""
        dialled = self.dial(evolve(client_options(), ciphers=(b"rot13@example.com",)))
        self.pump()
        sentence = self.problem_of(dialled, ConnectionProblem)
        start = (
            "[web1]:3022 does not speak SSH as it should: no common cipher from client to server: the client offers "
            "rot13@example.com, and the server offers chacha20-poly1305@openssh.com"
        )
        self.assertTrue(sentence.startswith(start), sentence)

    def test_too_slow(self) -> None:
        """A server that does not go on is given up, and so is a person who does not answer."""
        dialled = self.dial(evolve(client_options(), login_s=7))
        self.clock.advance(7)
        self.assertEqual(self.problem_of(dialled, ConnectionProblem), "[web1]:3022 did not let us in within 7 seconds.")
        self.assertTrue(self.wire.tcp.aborted)
        self.wire.lose()

    def test_no_limit(self) -> None:
        """Where a person takes their time there need be none."""
        dialled = self.dial(evolve(client_options(), login_s=None))
        self.clock.advance(1e6)
        self.assertNoResult(dialled)

    def test_given_up(self) -> None:
        """Whoever connects may change their mind."""
        dialled = self.dial()
        dialled.addErrback(lambda failure: None)
        dialled.cancel()
        self.assertTrue(self.wire.tcp.aborted)

    def test_not_reachable(self) -> None:
        """A refused port, with the reason of the system."""

        @implementer(IStreamClientEndpoint)
        class Nowhere:
            def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
                return fail(error.ConnectionRefusedError(osError=111))

        dialled = Deferred.fromCoroutine(connect(self.clock, Nowhere(), client_options()))
        problem = self.failureResultOf(dialled, ConnectionProblem).value
        self.assertEqual(str(problem), "[web1]:3022 cannot be reached: Connection refused.")


class PlayedServer(ClientCase):
    """A server that the test plays, before there are keys."""

    def dial_to(self, said: bytes) -> Deferred[object]:
        """A server that says this, and nothing else."""
        self.wire = Wire()
        dialled: Deferred[object] = Deferred.fromCoroutine(connect(self.clock, self.wire, client_options()))
        self.wire.client.dataReceived(said)
        return dialled

    def assert_problem(self, dialled: Deferred[object], sentence: str) -> None:
        if self.wire.protocol is not None:
            self.wire.lose()
        self.assertEqual(str(self.failureResultOf(dialled, ConnectionProblem).value), sentence)


class ServerTests(PlayedServer):
    def test_silence(self) -> None:
        """TCP ends without a word."""
        self.assert_problem(
            self.dial_to(b""),
            "[web1]:3022 ended the connection without a word; perhaps it is no SSH server, or takes no more of us.",
        )

    def test_not_ssh(self) -> None:
        """A server of something else, and one of an older SSH."""
        start = "[web1]:3022 does not speak SSH as it should: "
        self.assert_problem(
            self.dial_to(b"HTTP/1.1 400 Bad Request\r\n" * 33), f"{start}more than 32 lines in front of the version."
        )
        self.assert_problem(
            self.dial_to(b"SSH-1.5-old\r\n"), f"{start}version 1.5 of SSH is not spoken here, only 2.0."
        )

    def test_text_before_the_version(self) -> None:
        """What a server says in front of its version is passed over."""
        self.assert_problem(
            self.dial_to(b"Welcome\r\n\r\nSSH-2.0-x\r\n"), "[web1]:3022 ended the connection without saying why."
        )

    def test_garbage(self) -> None:
        """What follows the version is no packet."""
        dialled = self.dial_to(b"SSH-2.0-x\r\n" + b"\xff" * 100)
        self.wire.lose()
        sentence = str(self.failureResultOf(dialled, ConnectionProblem).value)
        self.assertIn("[web1]:3022 does not speak SSH as it should: ", sentence)

    def test_goodbye(self) -> None:
        """A server that sends us away: its words, without what would move a cursor (threat 111)."""
        for said, sentence in (
            (b"Too many \x1b[31mconnections\x07.", "Too many [31mconnections."),
            (b"", "too many connections."),
        ):
            goodbye = plain_packet(1, wire.uint32(12) + wire.string(said) + wire.string(b""))
            dialled = self.dial_to(b"SSH-2.0-x\r\n" + goodbye)
            self.assert_problem(dialled, f"[web1]:3022 ended the connection: {sentence}")

    def test_service_accepted_before_it_was_asked_for(self) -> None:
        """No message of a later phase is taken in an earlier one."""
        for number in (6, 52, 51, 90):
            dialled = self.dial_to(b"SSH-2.0-x\r\n" + plain_packet(number, wire.string(b"ssh-userauth")))
            self.assert_problem(
                dialled, f"[web1]:3022 does not speak SSH as it should: message {number} is not due now."
            )


class AnyServerTests(PlayedServer):
    @settings(max_examples=60)
    @given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=60)), max_size=4))
    def test_any_bytes(self, raw: bytes, messages: list[tuple[int, bytes]]) -> None:
        """Whatever a server says, there is one sentence in the end, and nothing is raised."""
        for said in (
            raw,
            b"SSH-2.0-x\r\n" + raw,
            b"SSH-2.0-x\r\n" + b"".join(plain_packet(*each) for each in messages),
        ):
            dialled = self.dial_to(said)
            self.wire.lose()
            self.assertTrue(str(self.failureResultOf(dialled, ConnectionProblem).value).startswith("[web1]:3022 "))


class HostTests(ClientCase):
    def test_unknown(self) -> None:
        """A host of which nothing is known; no user name was told to it."""
        dialled = self.dial(client_options(known=""))
        self.pump()
        fingerprint = keys.fingerprint(samples.SSH_BLOB)
        sentence = self.problem_of(dialled, HostKeyUnknown)
        self.assertIn(f"No host key is known for [web1]:3022, which shows ssh-ed25519 {fingerprint}.", sentence)
        self.assertEqual(self.policy.checked, [])

    def test_plain_key(self) -> None:
        """A host whose plain key is known is asked for that, not for a certificate."""
        self.connected(client_options(known=line("[web1]:3022")))
        self.assertEqual(self.wire.client.host_key_blob, samples.SSH_BLOB)

    def test_a_verifier_that_fails(self) -> None:
        """What decides about hosts has a fault of its own: nobody is trusted."""

        class Broken(KnownHostsVerifier):
            async def verify(self, offer: HostKeyOffer) -> None:
                raise RuntimeError("out of order")

        options = evolve(client_options(), hosts=Broken(KnownHosts.parse(KNOWN), lambda: NOW))
        dialled = self.dial(options)
        self.pump()
        sentence = "The connection to [web1]:3022 ended for a fault on this side: out of order."
        self.assertEqual(self.problem_of(dialled, ConnectionProblem), sentence)
        self.assertEqual(self.policy.checked, [])


class RekeyTests(ClientCase):
    def test_by_us(self) -> None:
        """We exchange keys after so much data, and nothing is lost."""
        self.serve(b"session", EchoChannel)
        client = self.connected(evolve(client_options(), rekey_limits=RekeyLimits(data_bytes=1 << 16)))
        running = Deferred.fromCoroutine(client.run("x", b"data" * 100_000))
        self.pump()
        self.assertEqual(self.successResultOf(running).out, b"data" * 100_000)

    def test_compression(self) -> None:
        """Compression begins with the login, in both directions, and survives new keys."""
        if b"zlib@openssh.com" not in algorithms.COMPRESSIONS:
            return
        self.serve(b"session", EchoChannel)
        client = self.connected(evolve(client_options(), compressions=(b"zlib@openssh.com",)))
        for _ in range(2):
            running = Deferred.fromCoroutine(client.run("x", b"data" * 1000))
            self.pump()
            self.assertEqual(self.successResultOf(running).out, b"data" * 1000)
            self.wire.client._exchange.begin()
            self.pump()


class EndTests(ClientCase):
    def test_close(self) -> None:
        """We are done: the server reads so, and nothing is said to have gone wrong."""
        client = self.connected()
        client.close()
        self.pump()
        self.assertIs(self.ending_of(client), None)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(client.ended())), None)

    def test_lost(self) -> None:
        """TCP ends under a connection, and with it what runs on it."""
        channel = RecordingChannel()
        self.serve(b"session", lambda: channel)
        client = self.connected()
        running = Deferred.fromCoroutine(client.run("x"))
        self.pump()
        self.assertEqual(str(self.ending_of(client)), "[web1]:3022 ended the connection without saying why.")
        self.failureResultOf(running, RequestRefused)

    def test_sent_away(self) -> None:
        """The server's administrator says why, without control characters (threat 111)."""
        client = self.connected()
        self.server.sendDisconnect(11, b"Maintenance\x1b]0;owned\x07 at noon.")
        self.pump()
        self.assertEqual(str(self.ending_of(client)), "[web1]:3022 ended the connection: Maintenance]0;owned at noon.")

    def test_a_server_that_breaks_the_rules(self) -> None:
        """A malformed message ends the connection with its reason."""
        client = self.connected()
        self.server.sendPacket(94, wire.uint32(99) + wire.string(b"data"))
        self.pump()
        self.assertTrue(self.wire.tcp.losing)
        self.assertEqual(
            str(self.ending_of(client)),
            "[web1]:3022 does not speak SSH as it should: there never was a channel 99.",
        )


class AliveTests(ClientCase):
    RHYTHM = KeepAliveRhythm(interval_s=10.0, count_max=2)

    def test_answered(self) -> None:
        """A silent server is asked whether it is there; any answer will do."""
        self.policy.owner.global_answers[b"keepalive@openssh.com"] = AccessDenied("That is unknown.")
        client = self.connected(evolve(client_options(), keep_alive=self.RHYTHM))
        for _ in range(10):
            self.clock.advance(10)
            self.pump()
        self.assertFalse(self.wire.tcp.losing)
        client.close()
        self.wire.lose()

    def test_silent(self) -> None:
        """After two questions without an answer it is given up."""
        client = self.connected(evolve(client_options(), keep_alive=self.RHYTHM))
        self.clock.pump([10] * 4)
        self.assertTrue(self.wire.tcp.losing)
        self.assertEqual(str(self.ending_of(client)), "[web1]:3022 has not answered for too long.")


class OwnerTests(ClientCase):
    def test_the_server_opens_nothing(self) -> None:
        """A server that opens a channel, or asks for something, is refused, and the connection goes on."""
        self.serve(b"session", EchoChannel)
        client = self.connected()
        opener = self.policy.owner.connection
        assert opener is not None
        channel = RecordingChannel()
        opener.open(b"auth-agent@openssh.com", channel)
        self.pump()
        self.assertEqual(channel.told, ["closed"])
        running = Deferred.fromCoroutine(client.run("x", b"data"))
        self.pump()
        self.assertEqual(self.successResultOf(running).out, b"data")
