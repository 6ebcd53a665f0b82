"""Dialling nodes over real TCP: the header arrives first, and nothing of the client's reaches what is not SSH.

The number in the names of tests is that of the project's list of attacks.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import cast

from attrs import evolve
from twisted.internet import reactor as installed_reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHostnameResolver, IReactorPluggableNameResolver, IResolutionReceiver
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from teleport_conch.errors import ConnectionProblem
from teleport_conch.proxy.dialing import DEFAULT_NODE_PORT, Dialer, HostKey, NodeChannel, NodeStream
from teleport_conch.proxy_protocol import Address, Believer, Voucher, header_length
from teleport_conch.ssh.connection.channel import Channel
from teleport_conch.ssh.forwarding.direct import DIAL_TIMEOUT_S
from teleport_conch.starting import Reactor
from tests.certs import samples
from tests.proxy.samples import CLIENT, NODE, PROXY_UUID, host_authorities, host_certificate, proxy_host_key
from tests.ssh.recording import RecordingLink
from tests.ssh.streams import FarEnd, FarEnds, StreamCase

reactor = cast(Reactor, installed_reactor)
GREETING = b"SSH-2.0-node\r\n"
PROXY = f"{PROXY_UUID}.{samples.CLUSTER}"
FORGED = b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"


def live_host_key() -> HostKey:
    """The proxy's, with a certificate that is good at this hour."""
    now = int(reactor.seconds())
    return evolve(
        proxy_host_key(), certificate=host_certificate("Proxy", valid_after=now - 60, valid_before=now + 3600)
    )


def header_and_rest(received: bytes) -> tuple[Voucher, bytes]:
    """What a node makes of the bytes that reached it."""
    length = header_length(received)
    assert length, received
    voucher = Believer(NODE, host_authorities).believe(received[:length], reactor.seconds())
    return voucher, received[length:]


class DialingCase(StreamCase):
    """A far end that greets as the test says, and a channel that wants to be connected to it."""

    timeout = 10

    def setUp(self) -> None:
        self.dialer = Dialer(reactor, live_host_key)
        self.channel = NodeChannel(reactor)
        self.stream = self.channel.stream

    def serve(self, greeting: bytes = GREETING) -> FarEnds:
        ends = FarEnds(greeting)
        self.port = self.listen(ends)
        return ends

    async def dial(self, host: str = "127.0.0.1", client: Address = CLIENT) -> None:
        await self.dialer.dial_node(self.stream, NODE, f"{host}:{self.port}", client)

    async def assert_refused(self, why: str, host: str = "127.0.0.1") -> None:
        with self.assertRaises(ConnectionProblem) as refused:
            await self.dial(host)
        self.assertEqual(refused.exception.sentence, f"{host}:{self.port} cannot be reached: {why}.")

    async def end_of(self, ends: FarEnds) -> FarEnd:
        """The far end, once the proxy has hung up on it, and everything that it was sent has arrived."""
        await self.until(lambda: bool(ends.made) and bool(ends.made[0].ends))
        self.close_of(ends.made[0])
        await self.until(lambda: "lost" in ends.made[0].ends)
        return ends.made[0]

    def open(self) -> RecordingLink:
        """The channel opens, as the connection does it once the node has been dialled."""
        link = RecordingLink()
        self.channel.bind(link, 0)
        self.channel.connect(7, 1 << 20, 1 << 15)
        self.channel.opened()
        return link

    def client_says(self, data: bytes) -> None:
        self.channel.receive_window.charge(len(data))
        self.channel.data_received(data)


class NodeTests(DialingCase):
    async def test_header_first(self) -> None:
        """The node learns who the client is before it hears anything of it, and the client gets the whole greeting."""
        ends = self.serve()
        await self.dial()
        far = ends.made[0]
        self.addCleanup(self.close_of, far)
        await self.until(lambda: bool(far.received))
        self.assertEqual(header_and_rest(bytes(far.received)), (Voucher(CLIENT, PROXY), b""))
        link = self.open()
        self.assertEqual(link.data_of(0), GREETING)
        self.client_says(b"SSH-2.0-client\r\n")
        self.client_says(b"and so on")
        await self.until(lambda: far.received.endswith(b"and so on"))
        self.assertEqual(header_and_rest(bytes(far.received))[1], b"SSH-2.0-client\r\nand so on")
        far.transport.write(b"and back")
        await self.until(lambda: link.data_of(0).endswith(b"and back"))
        self.assertEqual(link.data_of(0), GREETING + b"and back")

    async def test_by_name(self) -> None:
        """A node may announce a name; the header holds the client's address all the same."""
        ends = self.serve()
        await self.dial("localhost", ("2001:db8::7", 50000))
        self.stream.abandon()
        far = await self.end_of(ends)
        self.assertEqual(header_and_rest(bytes(far.received))[0].client, ("2001:db8::7", 50000))

    async def test_each_with_its_own_header(self) -> None:
        """No header is sent twice."""
        seen = set()
        for _ in range(3):
            self.setUp()
            ends = self.serve()
            await self.dial()
            self.stream.abandon()
            seen.add(bytes((await self.end_of(ends)).received))
        self.assertEqual(len(seen), 3)

    async def test_greeting_in_pieces(self) -> None:
        """A greeting that comes byte by byte is one."""
        ends = self.serve(b"")
        dialling = self.start(self.dial())
        await self.until(lambda: bool(ends.made))
        for at in range(len(GREETING)):
            ends.made[0].transport.write(GREETING[at : at + 1])
            await self.turns(2)
        await dialling
        link = self.open()
        await self.until(lambda: link.data_of(0) == GREETING)
        self.stream.abandon()
        await self.end_of(ends)

    async def test_greeting_waits_for_its_channel(self) -> None:
        """A node that says more than its greeting is held until the client's channel is open."""
        ends = self.serve(GREETING + bytes(100_000))
        await self.dial()
        await self.turns()
        link = self.open()
        await self.until(lambda: len(link.data_of(0)) == len(GREETING) + 100_000)
        self.stream.abandon()
        await self.end_of(ends)

    async def test_host_that_is_no_node(self) -> None:
        """``sshd`` gets no header: it would not know what to do with it."""
        ends = self.serve()
        await self.dialer.dial_host(self.stream, "127.0.0.1", self.port)
        self.open()
        self.client_says(b"SSH-2.0-client\r\n")
        await self.until(lambda: bool(ends.made[0].received))
        self.stream.abandon()
        self.assertEqual((await self.end_of(ends)).received, b"SSH-2.0-client\r\n")

    async def test_probe(self) -> None:
        """A probe is a dial that hangs up after the greeting, and speaks for no client."""
        ends = self.serve()
        await self.dialer.probe(NODE, f"127.0.0.1:{self.port}")
        far = await self.end_of(ends)
        self.assertEqual(header_and_rest(bytes(far.received)), (Voucher(("127.0.0.1", 0), PROXY), b""))


class RefusedTests(DialingCase):
    async def test_103_not_ssh(self) -> None:
        """What greets in another way gets the header and no more, and is hung up on."""
        for greeting in (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"220 mail ESMTP\r\n",
            b"\0",
            b"SSX",
            b"\r\nSSH-2.0-node\r\n",
        ):
            self.setUp()
            ends = self.serve(greeting)
            await self.assert_refused("something answers there that is not SSH")
            self.open()
            self.client_says(b"SSH-2.0-client\r\nsecret")
            far = await self.end_of(ends)
            self.assertEqual(header_and_rest(bytes(far.received)), (Voucher(CLIENT, PROXY), b""))

    async def test_103_host_that_is_not_ssh(self) -> None:
        """A host that is no node does not even get that."""
        ends = self.serve(b"220 mail ESMTP\r\n")
        with self.assertRaises(ConnectionProblem):
            await self.dialer.dial_host(self.stream, "127.0.0.1", self.port)
        self.assertEqual((await self.end_of(ends)).received, b"")

    async def test_103_client_that_is_not_ssh(self) -> None:
        """A client that begins with a header of its own is hung up on: the node never sees it."""
        for start in (FORGED, b"\r\n\r\n\0\r\nQUIT\n!\x11", b"GET / HTTP/1.1\r\n", b"SSX-"):
            self.setUp()
            ends = self.serve()
            await self.dial()
            self.open()
            self.client_says(start)
            far = await self.end_of(ends)
            self.assertEqual(header_and_rest(bytes(far.received))[1], b"")

    async def test_103_client_in_pieces(self) -> None:
        """Nor does it see the beginning of one that is sent byte by byte."""
        ends = self.serve()
        await self.dial()
        self.open()
        for at in range(3):
            self.client_says(b"SSX"[at : at + 1])
        far = await self.end_of(ends)
        self.assertEqual(header_and_rest(bytes(far.received))[1], b"")

    async def test_hang_up(self) -> None:
        """A host that takes the connection and says nothing, or ends in the middle of its greeting."""
        for greeting in (b"", b"SS"):
            for half in (True, False):
                self.setUp()
                ends = self.serve(greeting)
                dialling = self.start(self.assert_refused("it hung up without a word"))
                await self.until(partial(bool, ends.made))
                transport = ends.made[0].transport
                transport.loseWriteConnection() if half else transport.loseConnection()
                await dialling
                await self.end_of(ends)

    async def test_refused_port(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port = taken.getsockname()[1]
        await self.assert_refused("Connection refused")

    async def test_no_such_name(self) -> None:
        self.port = 22
        with self.assertRaises(ConnectionProblem) as refused:
            await self.dial("a..b")
        self.assertTrue(refused.exception.sentence.startswith("a..b:22 cannot be reached: "))

    async def test_given_up(self) -> None:
        """A client that leaves while its node is dialled leaves no connection behind."""
        ends = self.serve(b"")
        dialling = self.start(self.dial())
        await self.until(lambda: bool(ends.made))
        await self.turns()
        dialling.cancel()
        with self.assertRaises(CancelledError):
            await dialling
        await self.end_of(ends)


class Literals:
    """Resolves what is an address already, as every resolver does."""

    def resolveHostName(self, receiver: IResolutionReceiver, name: str, portNumber: int = 0, **_: object) -> object:
        receiver.resolutionBegan(object())  # type: ignore[arg-type]  # nobody asks what it is
        receiver.addressResolved(IPv4Address("TCP", name, portNumber))
        receiver.resolutionComplete()
        return object()


@implementer(IReactorPluggableNameResolver)
class MemoryReactor(MemoryReactorClock):
    """One with a resolver: without, Twisted before 26.4 asks threads, which this one does not have."""

    nameResolver = Literals()  # type: ignore[assignment]  # as much of one as is asked for

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """There is none but this."""
        return resolver


class AddressTests(SynchronousTestCase):
    """Where a connection is made to, and for how long it is waited for, without a network."""

    def setUp(self) -> None:
        self.memory = MemoryReactor()
        self.memory.advance(samples.NOW)
        self.reactor = cast(Reactor, self.memory)
        self.dialer = Dialer(self.reactor, proxy_host_key)
        self.stream = NodeStream(self.reactor, Channel(), lambda: None)

    def dial(self, address: str) -> Deferred[None]:
        return Deferred.fromCoroutine(self.dialer.dial_node(self.stream, NODE, address, CLIENT))

    def test_usual_ports(self) -> None:
        """A node without a port is dialled at Teleport's, another host at that of SSH."""
        self.dial("10.0.0.5")
        Deferred.fromCoroutine(self.dialer.dial_host(self.stream, "10.0.0.5", 0))
        self.assertEqual([client[1] for client in self.memory.tcpClients], [3022, 22])
        self.assertEqual(DEFAULT_NODE_PORT, 3022)

    def test_no_address(self) -> None:
        """What a node announces may be anything."""
        for address in ("", ":22", "[]:22", "10.0.0.5:65536", "10.0.0.5:99999"):
            problem = self.failureResultOf(self.dial(address), ConnectionProblem).value
            said = f'The node advertises the address "{address}", which cannot be dialled.'
            self.assertEqual(problem.sentence, said)
        self.assertEqual(self.memory.tcpClients, [])

    def test_no_answer(self) -> None:
        """Half a minute for the connection."""
        dialling = self.dial("10.0.0.5:3022")
        self.memory.advance(DIAL_TIMEOUT_S)
        problem = self.failureResultOf(dialling, ConnectionProblem).value
        self.assertEqual(problem.sentence, "10.0.0.5:3022 cannot be reached: there was no answer for 30 seconds.")
