"""Threat 72: windows of a node at a client, for programs and clients that should not have them."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile

from attrs import evolve
from twisted.conch.ssh import connection as conch

from teleport_conch import wire
from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.options import Options
from teleport_conch.access.roles import Role
from teleport_conch.node.guest import Guest
from teleport_conch.ssh.forwarding.x11 import DISPLAYS
from tests.interop.requirements import require
from tests.node.guests import USER, NodeCase, certificate
from tests.ssh import messages
from tests.ssh.forwarding.test_x11 import setup, x11_req

PERMITTED = "permit-X11-forwarding"


class T72X11(NodeCase):
    async def somebody(self, node: bool = True, extension: bool = True, role: bool = True) -> Guest:
        """One for whom each of the three says yes, or not."""
        plain = certificate()
        extensions = tuple(sorted((*plain.extensions, (PERMITTED, b""))))
        guest = await self.enter(certificate(extensions=extensions) if extension else plain)
        guest.room = evolve(guest.room, displays=DISPLAYS if node else range(0))
        allow = Conditions(logins=(USER,), node_labels=EVERY_NODE)
        self.give(Role("test", Options(permit_x11_forwarding=role), allow))
        home = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, home)
        guest.account = evolve(guest.account, home=home)
        return guest

    async def ask_x11(self, payload: bytes = x11_req()) -> tuple[int, bool]:  # bytes
        """The session, and whether it got a display."""
        channel = await self.session()
        self.receive(conch.MSG_CHANNEL_REQUEST, messages.request(channel, b"x11-req", True, payload))
        await self.until(lambda: bool(self.transport.sent))
        ((number, _),) = self.transport.take()
        return channel, number == conch.MSG_CHANNEL_SUCCESS

    async def test_off(self) -> None:
        """Off, unless the node, the certificate and the role say yes, all three; each refusal is an event."""
        for node, extension, role, sentence in (
            (False, True, True, "This node does not forward X11 (ssh_service.x11.enabled)."),
            (True, False, True, "The certificate does not permit X11 forwarding."),
            (True, True, False, "X11 forwarding denied"),
        ):
            await self.somebody(node, extension, role)
            self.assertFalse((await self.ask_x11())[1])
            self.assertIn(sentence, str(self.events.last("x11-forward")["error"]))
            self.connection.serviceStopped()

    async def test_out_of_range(self) -> None:
        """A screen or a cookie that is none is refused, and no display is made."""
        guest = await self.somebody()
        for payload in (x11_req(screen=1 << 31), x11_req(cookie=b"00; rm -rf /"), b""):
            self.assertFalse((await self.ask_x11(payload))[1])
        self.assertEqual(guest._displays, {})

    async def test_the_cookie(self) -> None:
        """The session finds its display and its cookie; who does not show it reaches nobody."""
        require("xauth", "xauth")
        guest = await self.somebody()
        channel, granted = await self.ask_x11()
        self.assertTrue(granted)
        number = guest._displays[self.connection._table.open[channel]].number  # type: ignore[index]  # a session
        self.assertTrue(self.ask(channel, b"exec", wire.text("echo $DISPLAY; xauth list")))
        out, _, _ = self.outcome(await self.until_closed())
        display, _, _, cookie = out.split()
        self.assertEqual(display, f"localhost:{number}.0")
        with socket.create_connection(("127.0.0.1", 6000 + number)) as stranger:
            stranger.sendall(setup(os.urandom(16)))
            stranger.setblocking(False)
            await self.turns(50)
            self.assertEqual(self.transport.sent, [])
        with socket.create_connection(("127.0.0.1", 6000 + number)) as program:
            program.sendall(setup(bytes.fromhex(cookie)))
            await self.until(lambda: bool(self.transport.sent))
            ((opened, payload),) = self.transport.take()
            self.assertEqual((opened, payload[4:7]), (conch.MSG_CHANNEL_OPEN, b"x11"))
        self.receive(conch.MSG_CHANNEL_CLOSE, wire.uint32(channel))
        await self.until(lambda: not guest._displays)
        await self.turns()
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", 6000 + number))

    async def test_without_xauth(self) -> None:
        """Where the cookie cannot be kept there is no display."""
        guest = await self.somebody()
        guest.account = evolve(guest.account, home="/nonexistent")
        self.assertFalse((await self.ask_x11())[1])
        self.assertEqual(guest._displays, {})
        needed = "X11 forwarding needs xauth on this host, and a home to keep its cookies in."
        self.assertEqual(self.events.last("x11-forward")["error"], needed)
