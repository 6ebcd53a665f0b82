"""Host keys that are announced, and the proof that the server has them."""

from __future__ import annotations

from attrs import frozen
from twisted.conch.ssh import connection as conch
from twisted.internet.defer import Deferred

from teleport_conch import wire
from teleport_conch.errors import AccessDenied
from teleport_conch.ssh.connection.host_key_proof import HostKeyProof
from teleport_conch.ssh.connection.service import Connection
from teleport_conch.ssh.transport.hostkeys import proved_part
from tests.ssh import messages
from tests.ssh.connections import ConnectionCase
from tests.ssh.recording import RecordingTransport


@frozen
class SampleKey:
    """Signs by saying what it signs."""

    blob: bytes

    async def prove(self, session_id: bytes) -> bytes:
        return b"signed:" + proved_part(session_id, self.blob)


class HostKeyProofTests(ConnectionCase):
    def setUp(self) -> None:
        super().setUp()
        keys = {
            b"ssh-ed25519-cert-v01@openssh.com": SampleKey(b"certificate"),
            b"ssh-ed25519": SampleKey(b"ed"),
            b"rsa-sha2-512": SampleKey(b"rsa"),
            b"rsa-sha2-256": SampleKey(b"rsa"),
        }
        self.proof = HostKeyProof(b"session id", keys)
        self.connection = Connection(self.owner, self.proof)
        self.transport = RecordingTransport()
        self.connection.transport = self.transport
        self.connection.serviceStarted()

    def test_announced(self) -> None:
        """After the login: every plain key, once, in a request that wants no reply."""
        announcement = messages.global_request(
            b"hostkeys-00@openssh.com", False, wire.string(b"ed") + wire.string(b"rsa")
        )
        self.assertEqual(self.transport.take(), [(conch.MSG_GLOBAL_REQUEST, announcement)])

    def test_proven(self) -> None:
        """A signature for each key that was asked about, over the request's name, the session and the key."""
        self.transport.take()
        asked = messages.global_request(
            b"hostkeys-prove-00@openssh.com", True, wire.string(b"rsa") + wire.string(b"ed")
        )
        self.receive(conch.MSG_GLOBAL_REQUEST, asked)
        head = wire.string(b"hostkeys-prove-00@openssh.com") + wire.string(b"session id")
        proofs = [wire.string(b"signed:" + head + wire.string(blob)) for blob in (b"rsa", b"ed")]
        self.assertEqual(self.transport.take(), [(conch.MSG_REQUEST_SUCCESS, b"".join(proofs))])

    def prove(self, payload: bytes) -> Deferred[bytes]:
        return Deferred.fromCoroutine(self.proof.prove(payload))

    def test_refused(self) -> None:
        """What is not a plain key of ours is not signed, nor is nothing, nor more than a client can need."""
        rsa = wire.string(b"rsa")
        for payload in (b"", wire.string(b"certificate"), rsa + wire.string(b"another's"), 17 * rsa):
            self.assertEqual(str(self.failureResultOf(self.prove(payload), AccessDenied).value), "That is not proven.")
        for _ in range(2):
            self.successResultOf(self.prove(rsa))
        self.failureResultOf(self.prove(rsa), AccessDenied)

    def test_malformed(self) -> None:
        """What is no list of keys is refused, and the connection goes on."""
        self.transport.take()
        self.receive(conch.MSG_GLOBAL_REQUEST, messages.global_request(b"hostkeys-prove-00@openssh.com", True, b"\0\0"))
        self.assertEqual((self.transport.take(), self.transport.disconnects), ([(conch.MSG_REQUEST_FAILURE, b"")], []))

    def test_a_client_proves_nothing(self) -> None:
        """In the client's role there is no key, and nothing is announced."""
        super().setUp()
        self.assertEqual(self.transport.take(), [])
        self.receive(conch.MSG_GLOBAL_REQUEST, messages.global_request(b"hostkeys-prove-00@openssh.com"))
        self.assertEqual(self.transport.take(), [(conch.MSG_REQUEST_FAILURE, b"")])
