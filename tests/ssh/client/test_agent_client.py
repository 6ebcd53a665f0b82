"""The client of ssh-agent: keys, signatures, refusals, and answers that no agent gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from teleport_conch import wire
from teleport_conch.certs import keys, public_key
from teleport_conch.certs.signatures import Signature, verify
from teleport_conch.ssh.client.agent_client import Agent, AgentIdentity, AgentProblem, Frames, connect_agent
from teleport_conch.ssh.client.identities import KeyIdentity, algorithms_of, sign
from tests.certs import samples

CERTIFICATE = samples.user_certificate()
RSA_BLOB = samples.rsa_blob(samples.rsa_key())
LIST = wire.byte(11)


def frame(kind: int, *parts: bytes) -> bytes:
    return wire.string(wire.byte(kind) + b"".join(parts))


def listing(*held: tuple[bytes, bytes]) -> bytes:
    """An agent's list of keys and comments."""
    return frame(12, wire.uint32(len(held)), *(wire.string(blob) + wire.string(comment) for blob, comment in held))


@implementer(IStreamClientEndpoint)
class Socket:
    """An endpoint that is the test."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.transport = StringTransport()
        self.fails = fails
        self.never = False
        self.protocol: IProtocol | None = None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        if self.never:
            return Deferred()
        if self.fails is not None:
            raise self.fails
        protocol = protocolFactory.buildProtocol(UNIXAddress(b"agent"))
        assert protocol is not None
        protocol.makeConnection(self.transport)
        self.protocol = protocol
        return succeed(protocol)


class AgentCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.socket = Socket()
        self.agent = self.successResultOf(Deferred.fromCoroutine(connect_agent(self.clock, self.socket)))

    def asked(self) -> bytes:
        """What the agent is asked, once."""
        said = self.socket.transport.value()
        self.socket.transport.clear()
        reader = wire.Reader(said)
        question = reader.string()
        reader.end()
        return question

    def listed(self, *held: tuple[bytes, bytes]) -> list[AgentIdentity]:
        listing_ = Deferred.fromCoroutine(self.agent.identities())
        self.assertEqual(self.asked(), LIST)
        self.agent.dataReceived(listing(*held))
        return self.successResultOf(listing_)

    def assert_problem(self, waiting: Deferred[object], sentence: str) -> None:
        self.assertEqual(str(self.failureResultOf(waiting, AgentProblem).value), sentence)


class IdentityTests(AgentCase):
    def test_keys(self) -> None:
        """Keys and certificates in the agent's order; what is not used here is left out."""
        found = self.listed(
            (samples.SSH_BLOB, b"mine"),
            (b"\0\0\0\x07ssh-dss", b"old"),
            (CERTIFICATE.to_blob(), b"al\x1bice"),
            (CERTIFICATE.to_blob()[:-1], b"broken"),
            (RSA_BLOB, b""),
        )
        self.assertEqual([each.blob for each in found], [samples.SSH_BLOB, CERTIFICATE.to_blob(), RSA_BLOB])
        fingerprint = keys.fingerprint(samples.SSH_BLOB)
        self.assertEqual(found[0].name, f"ssh-ed25519 {fingerprint} (mine) of the agent")
        self.assertIn("of 'alice' (alice) of the agent", found[1].name)
        self.assertTrue(found[0].asks)

    def test_signatures(self) -> None:
        """Each kind of key, with the flags that RSA needs; a certificate is asked for by its own blob."""
        for private, blob, algorithm, flags in (
            (samples.SSH_KEY, samples.SSH_BLOB, b"ssh-ed25519", 0),
            (samples.SSH_KEY, CERTIFICATE.to_blob(), b"ssh-ed25519-cert-v01@openssh.com", 0),
            (samples.ecdsa_key(384), keys.public_blob(samples.ecdsa_key(384).public_key()), b"ecdsa-sha2-nistp384", 0),
            (samples.rsa_key(), RSA_BLOB, b"rsa-sha2-256", 2),
            (samples.rsa_key(), RSA_BLOB, b"rsa-sha2-512", 4),
        ):
            (identity,) = self.listed((blob, b""))
            self.assertIn(algorithm, algorithms_of(identity.blob))
            signing = Deferred.fromCoroutine(identity.sign(algorithm, b"data"))
            question = wire.byte(13) + wire.string(blob) + wire.string(b"data") + wire.uint32(flags)
            self.assertEqual(self.asked(), question)
            name = algorithm.decode().removesuffix("-cert-v01@openssh.com")
            signature = sign(private, name, b"data")
            self.agent.dataReceived(frame(14, wire.string(signature)))
            self.assertEqual(self.successResultOf(signing), signature)
            verify(public_key.parse(KeyIdentity.of(private).blob), Signature.parse(signature), b"data")

    def test_a_certificate_beside_the_key(self) -> None:
        """A certificate that the agent does not have: its key signs."""
        (identity,) = self.listed((samples.SSH_BLOB, b""))
        certified = identity.certified(CERTIFICATE)
        self.assertEqual(certified.blob, CERTIFICATE.to_blob())
        Deferred.fromCoroutine(certified.sign(b"ssh-ed25519-cert-v01@openssh.com", b"data"))
        self.assertTrue(self.asked().startswith(wire.byte(13) + wire.string(samples.SSH_BLOB)))

    def test_several_questions(self) -> None:
        """Answers belong to the questions in their order, also behind one that nobody waits for any more."""
        (identity,) = self.listed((samples.SSH_BLOB, b""))
        first, second = (Deferred.fromCoroutine(identity.sign(b"ssh-ed25519", each)) for each in (b"1", b"2"))
        first.addErrback(lambda failure: None)
        first.cancel()
        signatures = [sign(samples.SSH_KEY, "ssh-ed25519", each) for each in (b"1", b"2")]
        answers = b"".join(frame(14, wire.string(each)) for each in signatures)
        for byte in answers:
            self.agent.dataReceived(bytes([byte]))
        self.assertEqual(self.successResultOf(second), signatures[1])

    def test_close(self) -> None:
        """The connection is closed when it is not needed; questions after that fail."""
        self.agent.close()
        self.assertTrue(self.socket.transport.disconnecting)
        self.agent.connectionLost(Failure(ConnectionDone()))
        self.assert_problem(Deferred.fromCoroutine(self.agent.identities()), "The agent ended the connection.")


class RefusalTests(AgentCase):
    def signing(self, algorithm: bytes = b"ssh-ed25519") -> Deferred[object]:
        (identity,) = self.listed((samples.SSH_BLOB if algorithm == b"ssh-ed25519" else RSA_BLOB, b""))
        signing: Deferred[object] = Deferred.fromCoroutine(identity.sign(algorithm, b"data"))
        self.asked()
        return signing

    def test_refused(self) -> None:
        """The person says no, or the agent is locked."""
        signing = self.signing()
        self.agent.dataReceived(frame(5))
        self.assert_problem(signing, "The agent refuses; its person may have said no, or it is locked.")

    def test_another_algorithm(self) -> None:
        """An old agent that does not know the flags signs with SHA-1, which is not sent to anybody."""
        signing = self.signing(b"rsa-sha2-512")
        self.agent.dataReceived(frame(14, wire.string(wire.text("ssh-rsa") + wire.string(b"s"))))
        self.assert_problem(signing, "The agent signs with 'ssh-rsa', where rsa-sha2-512 is due; it may be too old.")

    def test_silence(self) -> None:
        """The list is due within ten seconds; a late one is passed over."""
        waiting: Deferred[object] = Deferred.fromCoroutine(self.agent.identities())
        self.clock.advance(10)
        self.assert_problem(waiting, "The agent did not answer for 10 seconds.")
        self.agent.dataReceived(listing())
        self.socket.transport.clear()
        self.assertEqual(self.listed(), [])

    def test_not_reachable(self) -> None:
        """No agent, and one that does not take the connection."""
        waiting: Deferred[object] = Deferred.fromCoroutine(connect_agent(self.clock, Socket(OSError("no such file"))))
        self.assert_problem(waiting, "The agent cannot be reached: no such file")
        silent = Socket()
        silent.never = True
        waiting = Deferred.fromCoroutine(connect_agent(self.clock, silent))
        self.clock.advance(10)
        self.assert_problem(waiting, "The agent did not answer for 10 seconds.")

    def test_gone(self) -> None:
        """The agent goes while a signature is due."""
        signing = self.signing()
        self.agent.connectionLost(Failure(ConnectionDone()))
        self.assert_problem(signing, "The agent ended the connection.")


class T113AgentFrames(AgentCase):
    """Threat 113: messages of an agent that are too long, empty, or nonsense."""

    def test_four_gigabytes(self) -> None:
        """A message that says it is too long is refused by its length, and nothing of it is kept."""
        for length in (0xFFFFFFFF, (256 << 10) + 1, 0):
            self.setUp()
            waiting: Deferred[object] = Deferred.fromCoroutine(self.agent.identities())
            self.agent.dataReceived(wire.uint32(length))
            self.assert_problem(waiting, f"The agent sent a message of {length} bytes, where 1 to 262144 are due.")
            self.assertTrue(self.socket.transport.disconnecting)
            self.agent.dataReceived(b"x" * 1000)

    def test_an_answer_to_nothing(self) -> None:
        """An answer that was not asked for ends the connection."""
        self.agent.dataReceived(listing())
        self.assertTrue(self.socket.transport.disconnecting)
        self.assert_problem(Deferred.fromCoroutine(self.agent.identities()), "The agent sent an answer to nothing.")

    def test_lists(self) -> None:
        """A list that is cut off, goes on, is another message, or says that it is endless."""
        start = "The agent's list of keys cannot be read: "
        for said, why in (
            (frame(12, wire.uint32(1)), "4 bytes are due and 0 are left."),
            (frame(12, wire.uint32(0), b"x"), "1 bytes too many."),
            (frame(14), "an answer of the kind 14, where 12 is due."),
            (frame(12, wire.uint32(2049)), "2049 keys, where 2048 are the limit."),
        ):
            self.setUp()
            waiting: Deferred[object] = Deferred.fromCoroutine(self.agent.identities())
            self.agent.dataReceived(said)
            self.assert_problem(waiting, start + why)
            self.assertTrue(self.socket.transport.disconnecting)

    def test_signatures(self) -> None:
        """A signature that is none."""
        (identity,) = self.listed((samples.SSH_BLOB, b""))
        waiting: Deferred[object] = Deferred.fromCoroutine(identity.sign(b"ssh-ed25519", b""))
        self.agent.dataReceived(frame(14, wire.string(b"")))
        self.assert_problem(waiting, "The agent's signature cannot be read: 4 bytes are due and 0 are left.")

    @given(st.lists(st.binary(min_size=1, max_size=50), max_size=6), st.integers(1, 20))
    def test_cut_into_pieces(self, messages: list[bytes], size: int) -> None:
        """However the bytes arrive, the messages are those that were sent."""
        data, frames, found = b"".join(map(wire.string, messages)), Frames(), []
        for at in range(0, len(data), size):
            found += frames.feed(data[at : at + size])
        self.assertEqual(found, messages)

    @given(st.binary(max_size=100))
    def test_any_bytes(self, data: bytes) -> None:
        """Whatever an agent says, the question is answered, refused in our way, or open."""
        agent = Agent(Clock())
        agent.makeConnection(StringTransport())
        waiting = Deferred.fromCoroutine(agent.identities())
        waiting.addErrback(lambda failure: failure.trap(AgentProblem))
        agent.dataReceived(wire.string(data) + data)
        agent.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(waiting)
