"""Threats 66 to 68 and 71: connections and sockets for which a node is to be used by who may not."""

from __future__ import annotations

import os
import socket
import stat

from attrs import evolve
from twisted.conch.ssh import connection as conch

from teleport_conch import wire
from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.options import Options
from teleport_conch.access.roles import Role
from teleport_conch.ssh.account import lookup
from tests.node.guests import USER, NodeCase
from tests.ssh import messages
from tests.ssh.forwarding.test_agent import AgentCase

TARGETS = ("127.0.0.1", "169.254.169.254", "::1", "localhost", "auth.example.com", "0.0.0.0", "127.1")


def role(options: Options) -> Role:
    """One that lets alice log in everywhere, with these options."""
    return Role("test", options, Conditions(logins=(USER,), node_labels=EVERY_NODE))


def where_to(host: str, port: int) -> bytes:
    return wire.text(host) + wire.uint32(port) + wire.text("127.0.0.1") + wire.uint32(1)


def listen_at(host: str, port: int) -> bytes:
    return wire.text(host) + wire.uint32(port)


class ForwardingThreats(NodeCase):
    async def listen(self, name: bytes, payload: bytes) -> tuple[int, bytes]:  # type: ignore[override]  # by message
        """The answer to a global request."""
        self.transport.sent.clear()
        self.receive(conch.MSG_GLOBAL_REQUEST, messages.global_request(name, True, payload))
        await self.until(lambda: bool(self.transport.sent))
        ((number, answer),) = self.transport.take()
        return number, answer

    async def assert_no_listening(self, name: bytes, payload: bytes, why: str) -> None:
        self.assertEqual(await self.listen(name, payload), (conch.MSG_REQUEST_FAILURE, b""))
        self.assertEqual(self.events.last("port")["error"], why)


class T66PlacesNearTheNode(ForwardingThreats):
    async def test_denied(self) -> None:
        """Whatever the address, and however it is written: who may not forward reaches none; nothing is dialled.

        Who may, and has a shell on the node, reaches from it what the shell does: the roles decide on the forward, not
        on its address. What the proxy dials is bounded by its configuration.
        """
        await self.enter()
        self.give(role(Options(port_forwarding=False)))
        for host in TARGETS:
            reason, sentence = await self.open_refused(b"direct-tcpip", where_to(host, 3025))
            self.assertEqual(reason, 1)
            self.assertIn(f"to {host}:3025: port forwarding denied", sentence)
        payload = wire.text("/run/docker.sock") + wire.text("") + wire.uint32(0)
        reason, sentence = await self.open_refused(b"direct-streamlocal@openssh.com", payload)
        self.assertEqual(reason, 1)
        self.assertIn("to /run/docker.sock:0: port forwarding denied", sentence)
        (denied,) = {(event["event"], event["success"]) for event in self.events.kept[1:]}
        self.assertEqual(denied, ("port", False))


class T67TheSameCheckAsAShell(ForwardingThreats):
    async def test_a_login_that_the_role_lacks(self) -> None:
        """Roles that no longer name the login refuse every kind of channel alike."""
        await self.enter()
        self.give()
        self.assertEqual((await self.open_refused(b"session"))[0], 1)
        self.assertEqual((await self.open_refused(b"direct-tcpip", where_to("127.0.0.1", 1)))[0], 1)
        self.assertEqual(await self.listen(b"tcpip-forward", listen_at("", 0)), (conch.MSG_REQUEST_FAILURE, b""))

    async def test_an_account_that_is_gone(self) -> None:
        """An account that is another than at the login opens nothing, as it starts nothing."""
        guest = await self.enter()
        guest.account = evolve(guest.account, uid=54321)
        sentence = f"The account {USER} is not the one that it was at the login: log in again."
        self.assertEqual(await self.open_refused(b"direct-tcpip", where_to("127.0.0.1", 1)), (1, sentence))
        await self.assert_no_listening(b"tcpip-forward", listen_at("", 0), sentence)


class T68ListeningForOthers(ForwardingThreats):
    async def test_every_interface(self) -> None:
        """Asked to listen everywhere the node listens on loopback, as OpenSSH does unless it is told otherwise."""
        await self.enter()
        for host in ("0.0.0.0", "", "*"):
            number, answer = await self.listen(b"tcpip-forward", listen_at(host, 0))
            self.assertEqual(number, conch.MSG_REQUEST_SUCCESS)
            port = int.from_bytes(answer, "big")
            bound = {line.split()[1] for line in open("/proc/net/tcp") if line.split()[3] == "0A"}  # noqa: SIM115
            self.assertIn(f"0100007F:{port:04X}", bound)
            self.assertNotIn(f"00000000:{port:04X}", bound)
            await self.listen(b"cancel-tcpip-forward", listen_at(host, port))

    async def test_an_address(self) -> None:
        """A node that is told so listens where it is asked to; names are not looked up, nor is there anybody else's."""
        self.policy = evolve(self.policy, room=evolve(self.room, gateway_ports=True))
        await self.enter()
        number, answer = await self.listen(b"tcpip-forward", listen_at("127.0.0.2", 0))
        self.assertEqual(number, conch.MSG_REQUEST_SUCCESS)
        port = int.from_bytes(answer, "big")
        socket.create_connection(("127.0.0.2", port)).close()
        self.assertRaises(ConnectionRefusedError, socket.create_connection, ("127.0.0.1", port))
        for host, why in (
            ("web2.example.com", "'web2.example.com' is no address of this host; names are not looked up."),
            ("192.0.2.1", "This host cannot listen on 192.0.2.1:0: Cannot assign requested address."),
        ):
            await self.assert_no_listening(b"tcpip-forward", listen_at(host, 0), why)

    async def test_low_ports(self) -> None:
        """Ports below 1024 are root's."""
        guest = await self.enter()
        guest._forwarding.account = evolve(guest.account, uid=54321)
        await self.assert_no_listening(
            b"tcpip-forward", listen_at("127.0.0.1", 22), "Only root may listen on ports below 1024."
        )

    async def test_the_forward_of_another(self) -> None:
        """Each connection can end its own forwards only."""
        await self.enter()
        _, answer = await self.listen(b"tcpip-forward", listen_at("127.0.0.1", 0))
        port = int.from_bytes(answer, "big")
        first = self.connection
        await self.enter()
        refused = await self.listen(b"cancel-tcpip-forward", listen_at("127.0.0.1", port))
        self.assertEqual(refused, (conch.MSG_REQUEST_FAILURE, b""))
        socket.create_connection(("127.0.0.1", port)).close()
        first.serviceStopped()
        await self.turns()

    async def test_without_permission(self) -> None:
        """Listening needs the role's option like connecting, for ports and for paths."""
        await self.enter()
        self.give(role(Options(port_forwarding=False)))
        for name, payload in (
            (b"tcpip-forward", listen_at("localhost", 0)),
            (b"streamlocal-forward@openssh.com", wire.text("/tmp/x")),
        ):
            self.assertEqual(await self.listen(name, payload), (conch.MSG_REQUEST_FAILURE, b""))
            self.assertIn("port forwarding denied", str(self.events.last("port")["error"]))


class T71TheAgentOfAnother(AgentCase):
    async def test_the_place_of_the_socket(self) -> None:
        """The folder of the socket can be changed by nobody but its maker: no link can take the socket's place."""
        if os.geteuid() != 0:
            self.skipTest("Only root makes sockets for other accounts.")
        agent = self.make(lookup("nobody"))
        folder = os.stat(os.path.dirname(agent.path))
        self.assertEqual((folder.st_uid, stat.S_IMODE(folder.st_mode)), (0, 0o711))
        self.assertTrue(stat.S_ISSOCK(os.lstat(agent.path).st_mode))

    async def test_another_account(self) -> None:
        """Who is let in by the file all the same is found out by the kernel, and reaches no agent."""
        if os.geteuid() != 0:
            self.skipTest("Only root starts processes of other accounts.")
        agent = self.make(lookup("daemon"))
        self.assertEqual(await self.as_nobody(agent), b"PermissionError\n")
        os.chmod(agent.path, 0o666)  # noqa: S103
        self.assertEqual(await self.as_nobody(agent), b"b''\n")
        self.assertEqual(self.opened, [])
