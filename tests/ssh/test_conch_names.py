"""Names that Conch does not promise and that the engine overrides or reads: their signatures, and what they do.

When Twisted changes one of them, a test here fails and says which, before anything subtle happens.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.service import SSHService
from twisted.conch.ssh.transport import (
    MSG_KEXDH_INIT,
    MSG_KEXINIT,
    MSG_NEWKEYS,
    SSHCiphers,
    SSHServerTransport,
    SSHTransportBase,
)
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.certs import keys
from teleport_conch.ssh.server import ServerTransport
from tests.certs import samples
from tests.ssh.in_memory import MemoryTCP, Pair, sample_host_keys

SIGNATURES: dict[Callable[..., object], tuple[str, ...]] = {
    SSHTransportBase.connectionMade: ("self",),
    SSHTransportBase.connectionLost: ("self", "reason"),
    SSHTransportBase.dataReceived: ("self", "data"),
    SSHTransportBase.dispatchMessage: ("self", "messageNum", "payload"),
    SSHTransportBase.sendPacket: ("self", "messageType", "payload"),
    SSHTransportBase.sendDisconnect: ("self", "reason", "desc"),
    SSHTransportBase.sendExtInfo: ("self", "extensions"),
    SSHTransportBase.sendKexInit: ("self",),
    SSHTransportBase.setService: ("self", "service"),
    SSHTransportBase.isEncrypted: ("self", "direction"),
    SSHTransportBase.ssh_DISCONNECT: ("self", "packet"),
    SSHTransportBase._newKeys: ("self",),
    SSHServerTransport._keySetup: ("self", "sharedSecret", "exchangeHash"),
    SSHServerTransport._getHostKeys: ("self", "keyAlg"),
    SSHServerTransport.ssh_KEXINIT: ("self", "packet"),
    SSHServerTransport.ssh_NEWKEYS: ("self", "packet"),
    SSHServerTransport.ssh_SERVICE_REQUEST: ("self", "packet"),
    SSHFactory.startFactory: ("self",),
    SSHFactory.buildProtocol: ("self", "addr"),
    SSHService.packetReceived: ("self", "messageNum", "packet"),
    SSHService.serviceStarted: ("self",),
    SSHService.serviceStopped: ("self",),
    Key.__init__: ("self", "keyObject"),
    Key.sign: ("self", "data", "signatureType"),
    Key.blob: ("self",),
    Key.sshType: ("self",),
}


class Recorded(ServerTransport):
    """A server that writes down which of the private names Conch calls, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        self.calls.append(f"message {messageNum}")
        super().dispatchMessage(messageNum, payload)

    def sendKexInit(self) -> None:
        self.calls.append("sendKexInit")
        super().sendKexInit()

    def _getHostKeys(self, keyAlg: bytes) -> tuple[Key, Key]:
        self.calls.append(f"_getHostKeys {keyAlg.decode()}")
        return super()._getHostKeys(keyAlg)

    def _keySetup(self, sharedSecret: bytes, exchangeHash: bytes) -> None:
        self.calls.append("_keySetup")
        super()._keySetup(sharedSecret, exchangeHash)

    def sendExtInfo(self, extensions: list[tuple[bytes, bytes]]) -> None:
        self.calls.append("sendExtInfo")
        super().sendExtInfo(extensions)

    def _newKeys(self) -> None:
        self.calls.append("_newKeys")
        super()._newKeys()


class SignatureTests(SynchronousTestCase):
    def test_signatures(self) -> None:
        """The arguments that our overrides repeat and our calls give."""
        for function, names in SIGNATURES.items():
            self.assertEqual(tuple(inspect.signature(function).parameters), names, function)

    def test_a_key_is_its_object(self) -> None:
        """A key is made from the object of ``cryptography`` that it keeps, which is how ours adds a certificate."""
        key = Key.fromString(keys.ssh_private_pem(samples.SSH_KEY).encode())
        again = Key(key._keyObject)
        self.assertEqual((again.blob(), again.isPublic()), (key.blob(), False))
        self.assertEqual(again.sign(b"data", b"ssh-ed25519")[:15], b"\0\0\0\x0bssh-ed25519")


class ExchangeTests(SynchronousTestCase):
    def pair(self) -> tuple[Pair, Recorded]:
        pair = Pair()
        recorded = Recorded()
        recorded.factory, recorded.login_policy = pair.factory, pair.policy
        pair.server, pair.server_tcp = recorded, MemoryTCP()
        recorded.makeConnection(pair.server_tcp)
        pair.pump()
        return pair, recorded

    def test_order(self) -> None:
        """KEXINIT is sent at once; the host key is asked for by the name that was agreed; new keys come last."""
        _, recorded = self.pair()
        self.assertEqual(
            recorded.calls,
            [
                "sendKexInit",
                f"message {MSG_KEXINIT}",
                f"message {MSG_KEXDH_INIT}",
                "_getHostKeys ssh-ed25519",
                "_keySetup",
                "sendExtInfo",
                f"message {MSG_NEWKEYS}",
                "_newKeys",
            ],
        )

    def test_order_of_a_rekey(self) -> None:
        """A client's KEXINIT is answered from within its message, and the extensions are not told again."""
        pair, recorded = self.pair()
        recorded.calls.clear()
        pair.client.sendKexInit()
        pair.pump()
        self.assertEqual(
            recorded.calls,
            [
                f"message {MSG_KEXINIT}",
                "sendKexInit",
                f"message {MSG_KEXDH_INIT}",
                "_getHostKeys ssh-ed25519",
                "_keySetup",
                f"message {MSG_NEWKEYS}",
                "_newKeys",
            ],
        )

    def test_session(self) -> None:
        """The session's identifier is that of the first exchange, and stays."""
        pair, recorded = self.pair()
        first = recorded.sessionID
        pair.client.sendKexInit()
        pair.pump()
        self.assertEqual((recorded.sessionID, pair.client.sessionID), (first, first))
        self.assertIsNot(first, None)

    def test_encrypted(self) -> None:
        """Nothing is encrypted before new keys, and both directions are behind them."""
        transport = Pair().server
        self.assertFalse(transport.isEncrypted("in") or transport.isEncrypted("out"))
        _, recorded = self.pair()
        self.assertTrue(recorded.isEncrypted("both"))
        self.assertIsInstance(recorded.currentEncryptions, SSHCiphers)

    def test_queue_of_an_exchange(self) -> None:
        """During an exchange other messages wait in a list without a bound, which is why channels hold theirs."""
        pair, recorded = self.pair()
        pair.client.sendKexInit()
        recorded.dataReceived(pair.client_tcp.take())
        recorded.sendPacket(80, b"waits")
        blocked = recorded._blockedByKeyExchange
        assert blocked is not None
        self.assertEqual(list(blocked), [(80, b"waits")])
        pair.pump()
        self.assertIs(recorded._blockedByKeyExchange, None)
        self.assertIn((80, b"waits"), pair.client.got)


class TransportTests(SynchronousTestCase):
    def test_version(self) -> None:
        """The client's version line is taken off the buffer, and Conch says so by ``gotVersion``."""
        transport = Pair().server
        transport.dataReceived(b"SSH-2.0-x")
        self.assertEqual((transport.gotVersion, transport.buf), (False, b"SSH-2.0-x"))
        transport.dataReceived(b"\r\nrest")
        self.assertEqual((transport.gotVersion, transport.buf), (True, b"rest"))
        self.assertEqual(transport.otherVersionString, b"SSH-2.0-x")

    def test_algorithms_are_read_when_they_are_sent(self) -> None:
        """The lists of one transport may be set until its connection is made."""
        self.assertEqual(Pair().server.supportedPublicKeys, list(sample_host_keys()))

    def test_services(self) -> None:
        """A service gets its transport before it starts, and stops when another takes its place."""
        told: list[str] = []

        class Service(SSHService):
            name = b"service"

            def serviceStarted(self) -> None:
                told.append(f"started with {self.transport is not None}")

            def serviceStopped(self) -> None:
                told.append("stopped")

        transport = Pair().server
        transport.setService(Service())
        transport.setService(Service())
        self.assertEqual(told, ["started with True", "stopped", "started with True"])

    def test_unknown_messages(self) -> None:
        """What a service does not know is answered with UNIMPLEMENTED."""
        pair = Pair()
        pair.log_in()
        pair.send(190, b"?")
        self.assertEqual(pair.client.errors, [])
        self.assertFalse(pair.server_tcp.losing)
