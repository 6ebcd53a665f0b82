"""What a client offers to the programs of a server: an agent at a socket, or keys in memory."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.certs import keys, public_key
from teleport_conch.certs.signatures import Signature, verify
from teleport_conch.ssh.client.agent_offer import AgentOffer, HostProof, KeysAgent, SocketAgent, answer_of
from teleport_conch.ssh.client.identities import KeyIdentity
from teleport_conch.ssh.client.session import REQUEST_AGENT, Collected
from teleport_conch.ssh.connection.channel import Channel
from teleport_conch.ssh.connection.service import Connection
from teleport_conch.ssh.forwarding.agent import AGENT_CHANNEL
from teleport_conch.ssh.session.channel import SessionStart
from teleport_conch.wire import Reader
from tests.certs import samples
from tests.ssh.client.test_agent_client import Socket, frame, listing
from tests.ssh.client_pair import ClientCase, EchoChannel, client_options

KEYS = [
    KeyIdentity.of(samples.SSH_KEY, samples.user_certificate()),
    KeyIdentity.of(samples.rsa_key()),
]
LIST, FAILURE = frame(11), frame(5)
FAILED = wire.byte(5)


def question(blob: bytes, flags: int = 0) -> bytes:
    return wire.byte(13) + wire.string(blob) + wire.string(b"data") + wire.uint32(flags)


class AnswerTests(SynchronousTestCase):
    """The agent that keys in memory make."""

    def answer(self, asked: bytes) -> bytes:
        return self.successResultOf(Deferred.fromCoroutine(answer_of(KEYS, asked)))

    def test_keys(self) -> None:
        """Blobs and names, in their order."""
        held = [(each.blob, each.name.encode()) for each in KEYS]
        self.assertEqual(wire.string(self.answer(wire.byte(11))), listing(*held))

    def test_signatures(self) -> None:
        """A certificate is named by its blob, and its key signs; RSA signs as the flags say, and never with SHA-1."""
        for identity, flags, algorithm in (
            (KEYS[0], 0, "ssh-ed25519"),
            (KEYS[1], 2, "rsa-sha2-256"),
            (KEYS[1], 4, "rsa-sha2-512"),
        ):
            reader = Reader(self.answer(question(identity.blob, flags)))
            self.assertEqual(reader.byte(), 14)
            signature = Signature.parse(reader.string())
            self.assertEqual(signature.algorithm, algorithm)
            key = public_key.parse(KeyIdentity.of(identity.private_key).blob)
            verify(key, signature, b"data")
        self.assertEqual(self.answer(question(KEYS[1].blob)), FAILED)

    def test_refused(self) -> None:
        """Keys that are not offered, extensions, changes, and what is no question."""
        other = keys.public_blob(samples.ecdsa_key(256).public_key())
        for asked in (
            question(other),
            question(samples.SSH_BLOB),  # its certificate is offered, and not the key
            question(b""),
            question(KEYS[0].blob)[:-1],
            wire.byte(27) + wire.text("session-bind@openssh.com"),
            wire.byte(17) + b"key",
            wire.byte(19),
            wire.byte(22),
            wire.byte(11) + b"x",
        ):
            self.assertEqual(self.answer(asked), FAILED, asked)

    @given(st.binary(min_size=1, max_size=200))
    def test_anything(self, asked: bytes) -> None:
        """There is one answer to whatever is asked, and no signature."""
        self.assertIn(self.answer(asked)[0], (5, 12))


class OfferCase(ClientCase):
    """A server that opens channels to the agent of its client."""

    def offered(self, offer: AgentOffer | None) -> RecordedChannel:
        """A channel of the server's, once the client has answered."""
        self.client = self.connected(evolve(client_options(), agent=offer))
        channel = RecordedChannel()
        self.server_connection().open(AGENT_CHANNEL, channel)
        self.pump()
        return channel

    def server_connection(self) -> Connection:
        service = self.server.service
        assert isinstance(service, Connection)
        return service


class RecordedChannel(Channel):
    """Takes down what arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[object] = []

    def opened(self) -> None:
        self.heard.append("opened")

    def refused(self, refusal: Exception) -> None:
        self.heard.append(str(refusal))

    def data_received(self, data: bytes) -> None:
        self.heard.append(data)
        self.consumed(len(data))

    def closed(self) -> None:
        self.heard.append("closed")


class KeysTests(OfferCase):
    def test_in_pieces(self) -> None:
        """Questions are answered one after the other, however they arrive; the end of them is the end."""
        channel = self.offered(KeysAgent(KEYS))
        for piece in (LIST[:3], LIST[3:] + frame(19) + LIST[:1], LIST[1:]):
            channel.write(piece)
            self.pump()
        channel.send_eof()
        self.pump()
        held = listing(*((each.blob, each.name.encode()) for each in KEYS))
        data = b"".join(each for each in channel.heard if isinstance(each, bytes))
        self.assertEqual(data, held + FAILURE + held)
        self.assertEqual(channel.heard[-1], "closed")

    def test_too_long(self) -> None:
        """A question that is longer than any can be ends the channel before it has arrived."""
        channel = self.offered(KeysAgent(KEYS))
        channel.write(b"\xff" * 4)
        self.pump()
        self.assertEqual(channel.heard, ["opened", "closed"])

    def test_not_offered(self) -> None:
        """Without an offer there is no agent, whatever the server opens; nor with one anything else."""
        refused = "Channels of this kind are not opened here."
        self.assertEqual(self.offered(None).heard, [refused, "closed"])
        channel = RecordedChannel()
        self.offered(KeysAgent(KEYS))
        self.server_connection().open(b"x11", channel)
        self.pump()
        self.assertEqual(channel.heard, [refused, "closed"])


class SocketTests(OfferCase):
    def test_bound(self) -> None:
        """The agent hears first which server it is, and its answer to that is kept from the server."""
        socket = Socket()
        channel = self.offered(SocketAgent(socket))
        reader = Reader(socket.transport.value())
        bound = Reader(reader.string())
        reader.end()
        self.assertEqual((bound.byte(), bound.text()), (27, "session-bind@openssh.com"))
        proof = HostProof(bound.string(), bound.string(), bound.string())
        self.assertTrue(bound.boolean())
        bound.end()
        self.assertEqual(proof.session_id, self.wire.client.sessionID)
        self.assertEqual(proof, self.wire.client.proof)
        socket.transport.clear()
        channel.write(LIST)
        self.pump()
        self.assertEqual(socket.transport.value(), LIST)
        stream = socket.protocol
        assert stream is not None
        for piece in (FAILURE[:2], FAILURE[2:] + listing()[:1], listing()[1:]):
            stream.dataReceived(piece)
            self.pump()
        self.assertEqual(b"".join(each for each in channel.heard if isinstance(each, bytes)), listing())

    def test_no_agent(self) -> None:
        """An agent that is not there is a refused channel; whoever asks on the server hears it."""
        channel = self.offered(SocketAgent(Socket(ConnectError())))
        self.assertEqual(channel.heard, ["The agent of the client cannot be reached.", "closed"])


class SessionTests(ClientCase):
    def test_asked_for(self) -> None:
        """Each session asks for it first, where one is offered; it knows whether it has one, and goes on without."""
        for offer, granted, first in (
            (KeysAgent(KEYS), True, REQUEST_AGENT),
            (KeysAgent(KEYS), False, REQUEST_AGENT),
            (None, False, b"exec"),
        ):
            channels: list[SessionChannel] = []

            def make(granted: bool = granted, made: list[SessionChannel] = channels) -> SessionChannel:
                made.append(SessionChannel(granted))
                return made[-1]

            self.setUp()
            self.serve(b"session", make)
            client = self.connected(evolve(client_options(), agent=offer))
            starting = Deferred.fromCoroutine(client.open_session(SessionStart("exec", "id"), Collected()))
            self.pump()
            self.assertEqual(self.successResultOf(starting).has_agent, granted)
            self.assertEqual(channels[0].requests[0][0], first)


class SessionChannel(EchoChannel):
    def __init__(self, agent: bool) -> None:
        super().__init__()
        self.agent = agent

    async def request_received(self, name: bytes, payload: bytes) -> bool:
        await super().request_received(name, payload)
        return name != REQUEST_AGENT or self.agent
