"""What clients ask of forwarding: what was written is what is read, and cut short, or longer, it is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.ssh.forwarding.direct import DirectTCPIP, parse_direct_streamlocal
from teleport_conch.ssh.forwarding.listening import REQUESTS, ListenRequest
from teleport_conch.ssh.forwarding.x11 import COOKIE_PROTOCOL, MAX_SCREEN, X11Request
from teleport_conch.wire import Reader, WireError

VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
HOSTS = st.text(VISIBLE, min_size=1, max_size=80)
PORTS = st.integers(0, (1 << 16) - 1)
PATHS = HOSTS.map("/{}".format)


class RequestTests(SynchronousTestCase):
    def assert_exact(self, parse: Callable[[bytes], object], content: bytes, data: st.DataObject) -> None:
        """Neither a part of it nor more than it is read."""
        cut = data.draw(st.integers(0, len(content) - 1))
        self.assertRaises(WireError, parse, content[:cut])
        self.assertRaises(WireError, parse, content + data.draw(st.binary(min_size=1, max_size=5)))

    @given(HOSTS, PORTS, HOSTS, PORTS, st.data())
    def test_direct_tcpip(self, host: str, port: int, origin: str, origin_port: int, data: st.DataObject) -> None:
        content = wire.text(host) + wire.uint32(port) + wire.text(origin) + wire.uint32(origin_port)
        self.assertEqual(DirectTCPIP.parse(content), DirectTCPIP(host, port, origin, origin_port))
        self.assert_exact(DirectTCPIP.parse, content, data)

    @given(PATHS, st.data())
    def test_direct_streamlocal(self, path: str, data: st.DataObject) -> None:
        content = wire.text(path) + wire.text("") + wire.uint32(0)
        self.assertEqual(parse_direct_streamlocal(content), path)
        self.assert_exact(parse_direct_streamlocal, content, data)

    @given(st.sampled_from(sorted(REQUESTS)), PATHS, PORTS, st.data())
    def test_listening(self, name: bytes, where: str, number: int, data: st.DataObject) -> None:
        """To listen, and to end it, on ports and on paths."""
        port = number if name.endswith(b"tcpip-forward") else None
        content = wire.text(where) + (b"" if port is None else wire.uint32(port))
        parse = partial(ListenRequest.parse, name)
        self.assertEqual(parse(content), ListenRequest(where, port, name.startswith(b"cancel-")))
        self.assert_exact(parse, content, data)

    @given(st.booleans(), st.binary(min_size=1, max_size=64), st.integers(0, MAX_SCREEN), st.data())
    def test_x11(self, single: bool, cookie: bytes, screen: int, data: st.DataObject) -> None:
        content = wire.boolean(single) + wire.string(COOKIE_PROTOCOL) + wire.text(cookie.hex()) + wire.uint32(screen)

        def parse(content: bytes) -> X11Request:
            return X11Request.parse(Reader(content))

        self.assertEqual(parse(content), X11Request(single, cookie, screen))
        self.assert_exact(parse, content, data)
