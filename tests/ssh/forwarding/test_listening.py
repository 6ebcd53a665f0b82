"""Where a connection may listen for its client, and what becomes of what connects there."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.errors import TeleportError
from teleport_conch.ssh.account import lookup
from teleport_conch.ssh.connection.channel import Channel
from teleport_conch.ssh.forwarding.account_sockets import BrokeredSockets
from teleport_conch.ssh.forwarding.listening import MAX_FORWARDS, ListenRequest, ListenRules, RemoteForwards, interfaces
from teleport_conch.ssh.forwarding.splice import StreamChannel
from teleport_conch.wire import Reader, WireError
from tests.ssh.engine import USER, fds, sockets
from tests.ssh.recording import RecordingLink
from tests.ssh.streams import StreamCase, clock, tcp

BOTH = ["127.0.0.1", "::1"]


class RequestTests(SynchronousTestCase):
    def test_parsed(self) -> None:
        """Ports by RFC 4254, section 7.1, paths by OpenSSH's PROTOCOL, section 2.4."""
        port = wire.text("localhost") + wire.uint32(8080)
        path = wire.text("/run/s")
        for name, payload, request in (
            (b"tcpip-forward", port, ListenRequest("localhost", 8080)),
            (b"cancel-tcpip-forward", port, ListenRequest("localhost", 8080, ends=True)),
            (b"streamlocal-forward@openssh.com", path, ListenRequest("/run/s", None)),
            (b"cancel-streamlocal-forward@openssh.com", path, ListenRequest("/run/s", None, ends=True)),
        ):
            self.assertEqual(ListenRequest.parse(name, payload), request)
            for broken in (*(payload[:length] for length in range(len(payload))), payload + b"!"):
                self.assertRaises(WireError, ListenRequest.parse, name, broken)

    def test_refused(self) -> None:
        """What can be no address, and no port."""
        for where, port, sentence in (
            ("a\nb", 1, "that is neither a host name nor a path"),
            ("x" * 256, 1, "that is neither a host name nor a path"),
            ("", 65536, "there is no port 65536"),
        ):
            payload = wire.text(where) + wire.uint32(port)
            refusal = self.assertRaises(WireError, ListenRequest.parse, b"tcpip-forward", payload)
            self.assertEqual(str(refusal), sentence)


class InterfaceTests(SynchronousTestCase):
    def test_loopback_alone(self) -> None:
        """Whatever is asked for (threat 68), as from OpenSSH with ``GatewayPorts no``."""
        for host in ("", "*", "localhost", "192.0.2.1", "2001:db8::1", "web1"):
            self.assertEqual(interfaces(host, everywhere=False), BOTH)
        for host in ("0.0.0.0", "127.0.0.1"):
            self.assertEqual(interfaces(host, everywhere=False), ["127.0.0.1"])
        for host in ("::", "::1"):
            self.assertEqual(interfaces(host, everywhere=False), ["::1"])

    def test_where_all_are_allowed(self) -> None:
        """As RFC 4254 says; a name is not looked up."""
        for host, bound in (
            ("", ["0.0.0.0", "::"]),
            ("*", ["0.0.0.0", "::"]),
            ("0.0.0.0", ["0.0.0.0"]),
            ("::", ["::"]),
            ("localhost", BOTH),
            ("127.0.0.1", ["127.0.0.1"]),
            ("192.0.2.1", ["192.0.2.1"]),
            ("2001:db8::1", ["2001:db8::1"]),
        ):
            self.assertEqual(interfaces(host, everywhere=True), bound)
        refusal = self.assertRaises(TeleportError, interfaces, "web1", True)
        self.assertEqual(refusal.sentence, "'web1' is no address of this host; names are not looked up.")


@define
class Peer:
    """The connection: writes down what is opened."""

    opened: list[tuple[bytes, StreamChannel, bytes]] = field(factory=list)

    def open(self, kind: bytes, channel: Channel, payload: bytes = b"") -> None:
        assert isinstance(channel, StreamChannel)
        channel.bind(RecordingLink(), len(self.opened))
        self.opened.append((kind, channel, payload))


class ListeningCase(StreamCase):
    def setUp(self) -> None:
        self.peer = Peer()
        self.sockets = BrokeredSockets(fds, sockets, clock, lookup(USER))
        self.addCleanup(lambda: Deferred.fromCoroutine(self.sockets.stop()))
        self.forwards = self.make(ListenRules())

    def make(self, rules: ListenRules) -> RemoteForwards:
        forwards = RemoteForwards(tcp, clock, self.peer, rules, self.sockets)
        self.addCleanup(lambda: Deferred.fromCoroutine(forwards.stop()))
        return forwards

    async def listen_anywhere(self, where: str) -> int:
        """The port that was chosen."""
        return Reader(await self.forwards.answer(ListenRequest(where, 0))).uint32()

    async def refused(self, request: ListenRequest, forwards: RemoteForwards | None = None) -> str:
        with self.assertRaises(TeleportError) as refusal:
            await (forwards or self.forwards).answer(request)
        sentence: str = refusal.exception.sentence
        return sentence

    def reachable(self, address: str, port: int) -> bool:
        try:
            socket.create_connection((address, port), 5).close()
        except ConnectionRefusedError:
            return False
        return True


class PortTests(ListeningCase):
    async def test_any_port(self) -> None:
        """The port is told, is the same for both families, and not bound where nobody asked."""
        port = await self.listen_anywhere("localhost")
        self.assertEqual([self.reachable(address, port) for address in BOTH], [True, True])
        only = await self.listen_anywhere("127.0.0.1")
        self.assertEqual([self.reachable(address, only) for address in BOTH], [True, False])

    async def test_a_connection(self) -> None:
        """Becomes a channel, which says what the client asked for and who connected (RFC 4254, section 7.2)."""
        port = await self.listen_anywhere("")
        with socket.create_connection(("127.0.0.1", port)) as program:
            await self.until(lambda: bool(self.peer.opened))
            ((kind, channel, payload),) = self.peer.opened
            own_host, own_port = program.getsockname()
            said = wire.text("") + wire.uint32(port) + wire.text(own_host) + wire.uint32(own_port)
            self.assertEqual((kind, payload), (b"forwarded-tcpip", said))
            channel.connect(1, 1000, 1000)
            channel.opened()
            channel.data_received(b"hello")
            await self.turns()
            self.assertEqual(program.recv(5), b"hello")
        channel.lost()
        await self.turns()

    async def test_a_port(self) -> None:
        """One that was named is not told again; it is listened on once."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        request = ListenRequest("localhost", port)
        self.assertEqual(await self.forwards.answer(request), b"")
        self.assertEqual(await self.refused(request), f"This connection listens on localhost:{port} already.")
        other = self.make(ListenRules())
        self.assertEqual(
            await self.refused(request, other), f"This host cannot listen on localhost:{port}: Address already in use."
        )

    async def test_cancelled(self) -> None:
        """Nobody can connect any more, who has connected goes on; another's forward is not there (threat 68)."""
        port = await self.listen_anywhere("localhost")
        request = ListenRequest("localhost", port, ends=True)
        other = self.make(ListenRules())
        self.assertEqual(await self.refused(request, other), f"This connection does not listen on localhost:{port}.")
        for another in (ListenRequest("", port, ends=True), ListenRequest("localhost", 1, ends=True)):
            self.assertIn("This connection does not listen on ", await self.refused(another))
        with socket.create_connection(("127.0.0.1", port)) as program:
            await self.until(lambda: bool(self.peer.opened))
            self.assertEqual(await self.forwards.answer(request), b"")
            self.assertEqual([self.reachable(address, port) for address in BOTH], [False, False])
            channel = self.peer.opened[0][1]
            channel.data_received(b"still")
            await self.turns()
            self.assertEqual(program.recv(5), b"still")
        channel.lost()
        await self.turns()

    async def test_low_ports(self) -> None:
        """Are root's (threat 68)."""
        sentence = "Only root may listen on ports below 1024."
        for port in (1, 22, 1023):
            self.assertEqual(await self.refused(ListenRequest("", port)), sentence)
        forwards = self.make(ListenRules(privileged=True))
        self.patch(tcp, "listenTCP", lambda port, factory, interface: _Fake(port))
        self.assertEqual(await forwards.answer(ListenRequest("127.0.0.1", 22)), b"")

    async def test_limit(self) -> None:
        """One connection listens in a limited number of places; one that was given up makes room."""
        ports = [await self.listen_anywhere("127.0.0.1") for _ in range(MAX_FORWARDS)]
        self.assertEqual(
            await self.refused(ListenRequest("127.0.0.1", 0)), "One connection may listen on 32 ports and sockets."
        )
        await self.forwards.answer(ListenRequest("127.0.0.1", ports[0], ends=True))
        await self.listen_anywhere("127.0.0.1")

    async def test_stopped(self) -> None:
        """With the connection goes everything."""
        port = await self.listen_anywhere("localhost")
        await self.forwards.stop()
        self.assertEqual([self.reachable(address, port) for address in BOTH], [False, False])


class _Fake:
    """A port that nobody binds."""

    def __init__(self, port: int) -> None:
        self.port = port

    def getHost(self) -> object:
        return IPv4Address("TCP", "127.0.0.1", self.port)

    def stopListening(self) -> None:
        """Nothing to stop."""


class PathTests(ListeningCase):
    def path(self) -> str:
        folder = tempfile.mkdtemp(prefix="_c")  # the paths of sockets are short
        self.addCleanup(shutil.rmtree, folder)
        return f"{folder}/s"

    async def test_a_connection(self) -> None:
        """Becomes a channel that names the path."""
        path = self.path()
        self.assertEqual(await self.forwards.answer(ListenRequest(path, None)), b"")
        self.assertEqual(await self.refused(ListenRequest(path, None)), f"This connection listens on {path} already.")
        with socket.socket(socket.AF_UNIX) as program:
            program.connect(path)
            await self.until(lambda: bool(self.peer.opened))
            ((kind, channel, payload),) = self.peer.opened
            said = wire.text(path) + wire.text("")
            self.assertEqual((kind, payload), (b"forwarded-streamlocal@openssh.com", said))
            channel.lost()
            await self.turns()
        self.assertEqual(await self.forwards.answer(ListenRequest(path, None, ends=True)), b"")
        self.assertFalse(os.path.exists(path))

    async def test_refused(self) -> None:
        """What is there already stays, and the reason is told."""
        path = self.path()
        with open(path, "w"):
            refusal = await self.refused(ListenRequest(path, None))
        self.assertEqual(refusal, f"This host cannot listen on {path}: Address already in use.")
        unknown = await self.refused(ListenRequest(path, None, ends=True))
        self.assertEqual(unknown, f"This connection does not listen on {path}.")
