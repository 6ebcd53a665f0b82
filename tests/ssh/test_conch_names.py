"""What the engine takes from Conch: the signatures that it overrides or calls, and what they do.

No private name of Conch's transport is used. When Twisted changes one of these, a test here fails and says which,
before anything subtle happens.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.service import SSHService
from twisted.conch.ssh.transport import SSHTransportBase
from twisted.trial.unittest import SynchronousTestCase

import teleport_conch.ssh
from tests.ssh.in_memory import Pair

SIGNATURES: dict[Callable[..., object], tuple[str, ...]] = {
    SSHTransportBase.connectionMade: ("self",),
    SSHTransportBase.connectionLost: ("self", "reason"),
    SSHTransportBase.dataReceived: ("self", "data"),
    SSHTransportBase.dispatchMessage: ("self", "messageNum", "payload"),
    SSHTransportBase.sendPacket: ("self", "messageType", "payload"),
    SSHTransportBase.sendDisconnect: ("self", "reason", "desc"),
    SSHTransportBase.setService: ("self", "service"),
    SSHTransportBase.isEncrypted: ("self", "direction"),
    SSHTransportBase.isVerified: ("self", "direction"),
    SSHTransportBase.receiveError: ("self", "reasonCode", "description"),
    SSHTransportBase.sendUnimplemented: ("self",),
    SSHTransportBase.ssh_DISCONNECT: ("self", "packet"),
    SSHTransportBase.ssh_EXT_INFO: ("self", "packet"),
    SSHFactory.startFactory: ("self",),
    SSHFactory.buildProtocol: ("self", "addr"),
    SSHService.packetReceived: ("self", "messageNum", "packet"),
    SSHService.serviceStarted: ("self",),
    SSHService.serviceStopped: ("self",),
}

FOLDER = Path(teleport_conch.ssh.__file__).parent


class SignatureTests(SynchronousTestCase):
    def test_signatures(self) -> None:
        """The arguments that our overrides repeat and our calls give."""
        for function, names in SIGNATURES.items():
            self.assertEqual(tuple(inspect.signature(function).parameters), names, function)

    def test_private_names(self) -> None:
        """Of the names that Conch keeps to itself, the engine uses the logger only, which it makes anew."""
        private = {name for kind in (SSHTransportBase, SSHService, SSHFactory) for name in vars(kind) if name[0] == "_"}
        private = {name for name in private if not name.startswith("__")} - {"_log"}
        for path in FOLDER.rglob("*.py"):
            used = set(re.findall(r"(?:self|super\(\)|transport|service|factory)\.(_\w+)", path.read_text()))
            self.assertEqual(used & private, set(), path.name)


class TransportTests(SynchronousTestCase):
    def test_encrypted(self) -> None:
        """Nothing is encrypted before new keys, and each direction is behind its own."""
        pair = Pair()
        server = pair.server
        self.assertFalse(any(server.isEncrypted(direction) for direction in ("in", "out", "both")))
        pair.client.dataReceived(pair.server_tcp.take())
        server.dataReceived(pair.client_tcp.take())
        server_only = (server.isEncrypted("out"), server.isEncrypted("in"), server.isEncrypted("both"))
        pair.pump()
        self.assertEqual(server_only, (True, False, False))
        self.assertTrue(all(server.isVerified(direction) for direction in ("in", "out", "both")))

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
        """What a service does not know is answered with UNIMPLEMENTED, which names the packet."""
        pair = Pair()
        pair.log_in()
        pair.client.unimplemented.clear()
        count = pair.client.outgoingPacketSequence
        pair.send(190, b"?")
        self.assertEqual((pair.client.errors, pair.client.unimplemented), ([], [count]))
        self.assertFalse(pair.server_tcp.losing)
