"""X11 forwarding: cookies that are checked and exchanged, and displays that nobody else can use (threat 72)."""

from __future__ import annotations

import socket
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.errors import AccessDenied, SpawnFailed
from teleport_conch.ssh.forwarding.splice import StreamChannel
from teleport_conch.ssh.forwarding.x11 import DISPLAYS, SETUP_S, X11Display, X11Request, exchanged
from teleport_conch.wire import Reader, WireError
from tests.interop.requirements import require
from tests.ssh.forwarding.test_listening import Peer
from tests.ssh.recording import RecordingLink
from tests.ssh.streams import FarEnds, StreamCase, clock, tcp
from tests.ssh.test_openssh_forwarding import ForwardingCase

PROTOCOL = b"MIT-MAGIC-COOKIE-1"
OURS, THEIRS = bytes(range(16)), bytes(range(100, 116))


def setup(cookie: bytes, order: str = "little", protocol: bytes = PROTOCOL, rest: bytes = b"") -> bytes:
    """What a program says first."""
    little = order == "little"

    def number(value: int) -> bytes:
        return value.to_bytes(2, "little" if little else "big")

    sizes = number(11) + number(0) + number(len(protocol)) + number(len(cookie)) + b"\0\0"
    fields = b"".join(field + bytes(-len(field) % 4) for field in (protocol, cookie))
    return (b"l\0" if little else b"B\0") + sizes + fields + rest


def x11_req(protocol: bytes = PROTOCOL, cookie: bytes = b"00ff", screen: int = 0, single: bool = False) -> bytes:
    return wire.boolean(single) + wire.string(protocol) + wire.string(cookie) + wire.uint32(screen)


class RequestTests(SynchronousTestCase):
    def test_parsed(self) -> None:
        """The four fields of RFC 4254, section 6.3.1."""
        request = X11Request.parse(Reader(x11_req(screen=2, single=True)))
        self.assertEqual(request, X11Request(True, b"\0\xff", 2))
        whole = x11_req()
        for broken in (*(whole[:length] for length in range(len(whole))), whole + b"!"):
            self.assertRaises(WireError, X11Request.parse, Reader(broken))

    def test_refused(self) -> None:
        """What is no cookie, and no screen; either ends up in a command for xauth, or in DISPLAY."""
        for payload in (
            x11_req(protocol=b"XDM-AUTHORIZATION-1"),
            x11_req(cookie=b""),
            x11_req(cookie=b"0"),
            x11_req(cookie=b"00\nadd"),
            x11_req(cookie=b"00" * 65),
        ):
            refusal = self.assertRaises(WireError, X11Request.parse, Reader(payload))
            self.assertEqual(str(refusal), "X11 without a cookie")
        refusal = self.assertRaises(WireError, X11Request.parse, Reader(x11_req(screen=256)))
        self.assertEqual(str(refusal), "there is no screen 256")


class CookieTests(SynchronousTestCase):
    def test_exchanged(self) -> None:
        """The client's cookie takes the place of ours, in both byte orders and of any length."""
        for order in ("little", "big"):
            for cookie in (THEIRS, b"short", b"x" * 64):
                received = setup(OURS, order, rest=b"behind it")
                self.assertEqual(exchanged(received, OURS, cookie), setup(cookie, order, rest=b"behind it"))

    def test_in_pieces(self) -> None:
        """Nothing is answered before the whole cookie is there."""
        whole = setup(OURS)
        for length in range(len(whole)):
            self.assertIsNone(exchanged(whole[:length], OURS, THEIRS))

    def test_refused(self) -> None:
        """Another cookie, none, another protocol, or what is no X11."""
        for received, sentence in (
            (setup(THEIRS), "The program does not show the cookie of this display."),
            (setup(b""), "The program does not show the cookie of this display."),
            (setup(OURS, protocol=b""), "The program does not show the cookie of this display."),
            (setup(OURS + b"x"), "The program does not show the cookie of this display."),
            (setup(bytes(257)), "The cookie of the program is too long."),
            (b"GET / HTTP/1.0\r\n", "That is no program of X11."),
        ):
            refusal = self.assertRaises(AccessDenied, exchanged, received, OURS, THEIRS)
            self.assertEqual(refusal.sentence, sentence)

    @given(st.binary(max_size=64))
    def test_anything(self, received: bytes) -> None:
        """Whatever comes, the client's cookie is not in what is answered."""
        try:
            self.assertIsNone(exchanged(received, OURS, THEIRS))
        except AccessDenied:
            return


class DisplayTests(StreamCase):
    def setUp(self) -> None:
        self.peer = Peer()

    def make(self, clock: object = clock, single: bool = False, displays: range = DISPLAYS) -> X11Display:
        wanted = X11Request(single, THEIRS, 0)
        display = X11Display(tcp, clock, self.peer, wanted, lambda count: OURS[:count], displays)  # type: ignore[arg-type]
        self.addCleanup(lambda: self.start(display.close()))
        return display

    def program(self, display: X11Display, said: bytes) -> socket.socket:
        connected = socket.create_connection(("127.0.0.1", 6000 + display.number))
        self.addCleanup(connected.close)
        connected.sendall(said)
        connected.setblocking(False)
        return connected

    def end(self) -> None:
        for _, channel, _ in self.peer.opened:
            if channel.connection is not None:
                channel.lost()

    async def test_with_the_cookie(self) -> None:
        """The channel is opened, and hears the client's cookie and everything behind it; answers come back."""
        display = self.make()
        program = self.program(display, setup(OURS, rest=b"windows"))
        await self.until(lambda: bool(self.peer.opened))
        ((kind, channel, payload),) = self.peer.opened
        host, port = program.getsockname()
        self.assertEqual((kind, payload), (b"x11", wire.text(host) + wire.uint32(port)))
        channel.connect(1, 1000, 1000)
        channel.opened()
        channel.flush()
        self.assertEqual(self.said(channel), setup(THEIRS, rest=b"windows"))
        program.send(b" and more")
        await self.until(lambda: self.said(channel).endswith(b" and more"))
        channel.data_received(b"answer")
        await self.turns()
        self.assertEqual(program.recv(100), b"answer")
        self.end()
        await self.turns()

    def said(self, channel: StreamChannel) -> bytes:
        assert isinstance(channel.connection, RecordingLink)
        return channel.connection.data_of(0)

    async def test_without_the_cookie(self) -> None:
        """Another account of the host reaches the port, and nothing behind it."""
        display = self.make()
        program = self.program(display, setup(THEIRS))
        await self.until(lambda: self.is_over(program))
        self.assertEqual(self.peer.opened, [])

    def is_over(self, program: socket.socket) -> bool:
        try:
            return program.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    async def test_silence(self) -> None:
        """Who shows nothing is cut off."""
        time = Clock()
        display = self.make(time)
        program = self.program(display, b"l\0")
        await self.until(lambda: bool(time.getDelayedCalls()))
        time.advance(SETUP_S)
        await self.until(lambda: self.is_over(program))
        self.assertEqual(self.peer.opened, [])

    async def test_single(self) -> None:
        """A client that wants one connection gets one."""
        display = self.make(single=True)
        self.program(display, setup(OURS))
        await self.until(lambda: len(self.peer.opened) == 1)
        another = self.program(display, setup(OURS))
        await self.until(lambda: self.is_over(another))
        self.assertEqual(len(self.peer.opened), 1)
        self.end()
        await self.turns()

    async def test_displays(self) -> None:
        """Each session has its own, and xauth is told its cookie."""
        first, second = self.make(), self.make()
        self.assertLess(first.number, second.number)
        self.assertEqual(first.name, f"localhost:{first.number}.0")
        name = f"unix:{first.number}.0"
        self.assertEqual(first.authority, f"remove {name}\nadd {name} MIT-MAGIC-COOKIE-1 {OURS.hex()}\n")

    async def test_all_in_use(self) -> None:
        """There are so many displays and no more."""
        only = range(self.make().number + 1, 1000)[:1]
        self.make(displays=only)
        refusal = self.assertRaises(SpawnFailed, self.make, displays=only)
        self.assertEqual(refusal.sentence, "All 1 displays that sessions of this host may have are in use.")


PROGRAM = """\
import os, socket, subprocess, sys
display = os.environ["DISPLAY"]
number = int(display.split(":")[1].split(".")[0])
cookie = bytes.fromhex(subprocess.check_output(["xauth", "list"]).split()[-1].decode())
program = socket.create_connection(("localhost", 6000 + number))
protocol = b"MIT-MAGIC-COOKIE-1"
program.sendall(b"l\\0\\x0b\\0\\0\\0" + bytes([18, 0, 16, 0, 0, 0]) + protocol + b"\\0\\0" + cookie + b"hello")
answer = program.recv(100).decode()
print(display, cookie.hex(), answer)  # before any end: OpenSSH's client answers that of a window with its own
"""


class OpenSSHTests(ForwardingCase):
    async def test_a_program_and_its_display(self) -> None:
        """``ssh -Y``: a program there shows its windows here, and neither knows the other's cookie."""
        xauth = require("xauth", "xauth")
        ends = FarEnds(b"welcome")
        display = tcp.listenTCP(0, ends, interface="127.0.0.1")
        self.addCleanup(display.stopListening)
        number = display.getHost().port - 6000  # type: ignore[attr-defined]  # a port of TCP
        here, there = self.folder / "here", self.folder / "there"
        variables = {"DISPLAY": f"127.0.0.1:{number}", "XAUTHORITY": str(here)}
        await self.program(xauth, "add", f"127.0.0.1:{number}", ".", THEIRS.hex(), stdin=b"", **variables)
        self.policy.xauthority = str(there)
        self.write("program", PROGRAM)
        command = f"/usr/bin/env python3 {Path(self.folder).absolute()}/program"
        done = await self.at_web1(command, options=["-Y", "-o", f"XAuthLocation={xauth}"], stdin=b"", **variables)
        self.assertEqual(done.code, 0, done)
        shown, cookie, answer = done.out.split()
        self.assertTrue(shown.startswith(b"localhost:1"))
        self.assertEqual(answer, b"welcome")
        (end,) = ends.made
        self.assertEqual(bytes(end.received), setup(THEIRS, rest=b"hello"))
        self.assertNotIn(bytes.fromhex(cookie.decode()), end.received)
        end.transport.abortConnection()
        await self.turns()

    async def test_without_xauth(self) -> None:
        """A host without it refuses, and the session goes on without windows."""
        self.policy.xauthority = "/nonexistent/folder/file"
        variables = {"DISPLAY": "127.0.0.1:99", "XAUTHORITY": str(self.folder / "here")}
        done = await self.at_web1("echo in; true $DISPLAY", options=["-Y"], stdin=b"", **variables)
        self.assertEqual(done.out, b"in\n")
        self.assertIn(b"X11 forwarding request failed", done.err)
