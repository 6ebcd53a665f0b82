"""The subsystem ``proxy:`` from the request to the end, with a node on real TCP."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from twisted.internet.defer import Deferred

from teleport_conch import wire
from teleport_conch.access.known import Known
from teleport_conch.company import Company
from teleport_conch.proxy.dialing import Dialer
from teleport_conch.proxy.door import Router, Visitor
from teleport_conch.proxy.outside import OutsideHosts
from teleport_conch.resources.server import Presence, Server, State
from teleport_conch.ssh.login.policy import Claim
from teleport_conch.ssh.session.channel import SessionChannel
from tests.audit.recorder import EventRecorder
from tests.certs import samples
from tests.proxy.samples import NODE
from tests.proxy.test_dialing import GREETING, header_and_rest, live_host_key, reactor
from tests.ssh.recording import RecordingLink
from tests.ssh.streams import FarEnd, FarEnds, StreamCase


class SubsystemTests(StreamCase):
    timeout = 10

    def setUp(self) -> None:
        self.events = EventRecorder()
        outside = OutsideHosts((), self)
        router = Router(self, Dialer(reactor, live_host_key), outside, self.events.emit)
        claim = Claim("root", samples.user_certificate(), "192.0.2.7:50000")
        visitor = Visitor(claim, router, Company(reactor, self.known))
        self.channel, self.link = SessionChannel(visitor), RecordingLink()
        self.channel.bind(self.link, 0)
        self.channel.connect(7, 1 << 20, 1 << 15)

    # The cluster, with the one node that the test plays, and no names to look up.

    def nodes(self) -> Sequence[Server]:
        where = f"127.0.0.1:{self.port}"
        return [Server(kind="node", name=NODE, hostname="web1", addr=where, presence=Presence(State.ONLINE))]

    def user_authorities(self) -> Collection[bytes]:
        return ()

    def cluster_name(self) -> str:
        return samples.CLUSTER

    def known(self) -> Known:
        return Known(samples.CLUSTER)

    async def addresses(self, host: str) -> Sequence[str]:
        return ()

    def ask(self, greeting: bytes = GREETING) -> tuple[Deferred[bool], FarEnds]:
        """The client asks to be connected to web1."""
        ends = FarEnds(greeting)
        self.port = self.listen(ends)
        asking = self.channel.request_received(b"subsystem", wire.text("proxy:web1:0"))
        return Deferred.fromCoroutine(asking), ends

    async def connected(self) -> FarEnd:
        asking, ends = self.ask()
        self.assertTrue(await asking)
        self.channel.request_answered(b"subsystem")
        self.addCleanup(self.close_of, ends.made[0])
        return ends.made[0]

    def client_says(self, data: bytes) -> None:
        self.channel.receive_window.charge(len(data))
        self.channel.data_received(data)

    async def test_both_ways(self) -> None:
        """What one side says the other hears, behind the header and the greeting."""
        far = await self.connected()
        await self.until(lambda: self.link.data_of(0) == GREETING)
        self.client_says(b"SSH-2.0-client\r\nquestion")
        await self.until(lambda: far.received.endswith(b"question"))
        voucher, rest = header_and_rest(bytes(far.received))
        self.assertEqual((voucher.client, rest), (("192.0.2.7", 50000), b"SSH-2.0-client\r\nquestion"))
        far.transport.write(b"answer")
        await self.until(lambda: self.link.data_of(0) == GREETING + b"answer")
        self.assertEqual(self.events.names(), ["proxy.connect"])

    async def test_early_input(self) -> None:
        """What the client sent before the node was reached follows the header."""
        asking, ends = self.ask()
        self.client_says(b"SSH-2.0-client\r\n")
        self.assertTrue(await asking)
        far = ends.made[0]
        self.addCleanup(self.close_of, far)
        await self.until(lambda: far.received.endswith(b"\r\n") and b"client" in far.received)
        self.assertEqual(header_and_rest(bytes(far.received))[1], b"SSH-2.0-client\r\n")

    async def test_both_end(self) -> None:
        """The node's end is the client's EOF, behind its data; when both have ended the session went well."""
        far = await self.connected()
        far.transport.write(b"last words")
        far.transport.loseConnection()
        await self.until(lambda: ("eof",) in self.link.said)
        self.assertEqual(self.link.data_of(0), GREETING + b"last words")
        self.channel.eof_received()
        await self.until(lambda: ("close",) in self.link.said)
        status = ("request", b"exit-status", wire.uint32(0))
        self.assertEqual([said for said in self.link.said if said[0] != "data"], [("eof",), status, ("close",)])

    async def test_node_breaks(self) -> None:
        """A connection that breaks ends the session, whatever the client still had to say."""
        far = await self.connected()
        far.transport.abortConnection()
        await self.until(lambda: ("close",) in self.link.said)

    async def test_client_ends(self) -> None:
        """The end of the client's input is the node's; what the node still says arrives."""
        far = await self.connected()
        self.client_says(b"SSH-2.0-client\r\n")
        self.channel.eof_received()
        await self.until(lambda: "eof" in far.ends)
        far.transport.write(b"answer")
        await self.until(lambda: self.link.data_of(0).endswith(b"answer"))

    async def test_client_leaves(self) -> None:
        """With the channel goes the connection."""
        far = await self.connected()
        self.channel.close_received()
        await self.until(lambda: bool(far.ends))

    async def test_client_leaves_while_its_node_is_dialled(self) -> None:
        """Also where it was not there yet."""
        asking, ends = self.ask(b"")
        await self.until(lambda: bool(ends.made))
        self.channel.close_received()
        ends.made[0].transport.write(GREETING)
        self.assertFalse(await asking)
        await self.until(lambda: bool(ends.made[0].ends))
        self.close_of(ends.made[0])

    async def test_not_ssh(self) -> None:
        """What is not SSH is a refusal that the client reads."""
        asking, ends = self.ask(b"220 mail ESMTP\r\n")
        self.client_says(b"SSH-2.0-client\r\n")
        await asking
        self.channel.request_answered(b"subsystem")
        sentence = f"127.0.0.1:{self.port} cannot be reached: something answers there that is not SSH."
        self.assertEqual(self.link.data_of(1), f"{sentence}\r\n".encode())
        self.assertEqual([fields["error"] for _, _, fields in self.events.take()], [sentence])
        await self.until(lambda: bool(ends.made[0].ends))
        self.assertEqual(header_and_rest(bytes(ends.made[0].received))[1], b"")
        self.close_of(ends.made[0])
