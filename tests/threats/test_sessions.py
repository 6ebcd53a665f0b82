"""Threats 36, 49, 50 and 69: what roles and certificates do not permit, and variables that would run code."""

from __future__ import annotations

from attrs import evolve
from twisted.conch.ssh import connection as conch

from teleport_conch import wire
from teleport_conch.certs.certificate import option
from teleport_conch.errors import AccessDenied
from teleport_conch.node.environment import DEFAULT_PATH, DEFAULT_ROOT_PATH
from teleport_conch.ssh.forwarding.x11 import DISPLAYS
from teleport_conch.ssh.monitor.logins import Login
from teleport_conch.ssh.monitor.orders import ANY_RC, HOST_RC, NO_RC, Account, Program
from teleport_conch.ssh.session.channel import MAX_VARIABLES
from tests.node.guests import USER, NodeCase, certificate, forced
from tests.ssh import messages

TO_A_PORT = wire.text("127.0.0.1") + wire.uint32(22) + wire.text("127.0.0.1") + wire.uint32(1)
TO_A_SOCKET = wire.text("/run/docker.sock") + wire.text("") + wire.uint32(0)
ANY_PORT = wire.text("") + wire.uint32(0)
AGENT = b"auth-agent-req@openssh.com"
X11 = wire.boolean(False) + wire.text("MIT-MAGIC-COOKIE-1") + wire.text("00" * 16) + wire.uint32(0)


class PermissionCase(NodeCase):
    async def refused_request(self, name: bytes, payload: bytes = b"") -> bool:
        """Whether a request of a new session is refused."""
        channel = await self.session()
        self.receive(conch.MSG_CHANNEL_REQUEST, messages.request(channel, name, True, payload))
        await self.until(lambda: bool(self.transport.sent))
        return conch.MSG_CHANNEL_FAILURE in [number for number, _ in self.transport.take()]

    async def no_forwards(self, sentence: str) -> None:
        """Neither to ports and sockets, nor from them."""
        for kind, payload in ((b"direct-tcpip", TO_A_PORT), (b"direct-streamlocal@openssh.com", TO_A_SOCKET)):
            self.assertEqual(await self.open_refused(kind, payload), (1, sentence))
        socket = wire.text("/tmp/socket")
        for name, payload in ((b"tcpip-forward", ANY_PORT), (b"streamlocal-forward@openssh.com", socket)):
            self.receive(conch.MSG_GLOBAL_REQUEST, messages.global_request(name, True, payload))
            await self.until(lambda: bool(self.transport.sent))
            self.assertEqual(self.transport.take(), [(conch.MSG_REQUEST_FAILURE, b"")])
            self.assertEqual(self.events.last("port")["error"], sentence)


class T36WithoutARole(PermissionCase):
    async def test_denied(self) -> None:
        """No role, one that allows no login, and one that nobody made, which makes the others count for nothing."""
        for roles, why in (
            ((), "denied"),
            (("auditor",), "denied"),
            (("access", "nobody-made-this"), "role 'nobody-made-this' does not exist in this cluster"),
        ):
            with self.assertRaisesRegex(AccessDenied, why):
                await self.enter(certificate(roles=roles))


class T49ForcedCommand(PermissionCase):
    """A certificate for one command, and everything else that one may ask for."""

    async def test_whatever_is_asked(self) -> None:
        """A shell, another command and a subsystem are that command, which can read what was asked for."""
        await self.enter(certificate(critical_options=(forced,)))
        for kind, command, told in ((b"exec", "id", "id"), (b"shell", None, ""), (b"subsystem", "sftp", "sftp")):
            self.assertEqual(await self.run_command(kind, command), (f"forced\n{told}\n", "", 0))

    async def test_nothing_else(self) -> None:
        """Connections in either direction, the agent and X11 are no command, and are refused."""
        await self.enter(certificate(critical_options=(forced,)))
        await self.no_forwards("The certificate is for one command, and does not permit port forwarding.")
        self.assertTrue(await self.refused_request(AGENT))
        self.guest.room = evolve(self.room, displays=DISPLAYS)
        self.assertTrue(await self.refused_request(b"x11-req", X11))
        for event, called in (("agent-forward", "agent forwarding"), ("x11-forward", "X11 forwarding")):
            sentence = f"The certificate is for one command, and does not permit {called}."
            self.assertEqual(self.events.last(event)["error"], sentence)


class T50Extensions(PermissionCase):
    """Certificates without an extension: what it permits is refused, and nothing else is."""

    async def test_terminal(self) -> None:
        """The terminal itself is not refused, as clients would go on without one: the start of the shell is."""
        await self.enter(certificate(without=["permit-pty"]))
        channel = await self.session()
        self.assertTrue(self.pty(channel))
        self.assertTrue(self.ask(channel, b"shell"))
        said = self.outcome(await self.until_closed())
        self.assertEqual(said, ("", "The certificate does not permit a terminal.\r\n", 255))
        self.assertEqual(await self.run_command(b"exec", "echo in"), ("in\n", "", 0))

    async def test_forwards(self) -> None:
        await self.enter(certificate(without=["permit-port-forwarding"]))
        await self.no_forwards("The certificate does not permit port forwarding.")
        self.assertEqual(await self.run_command(b"exec", "echo in"), ("in\n", "", 0))

    async def test_agent(self) -> None:
        await self.enter(certificate(without=["permit-agent-forwarding"]))
        self.assertTrue(await self.refused_request(AGENT))
        self.assertEqual(await self.run_command(b"exec", "echo ${SSH_AUTH_SOCK-none}"), ("none\n", "", 0))

    async def test_windows(self) -> None:
        """Also where the node and the roles permit it (see threat 72 for these)."""
        await self.enter()
        self.guest.room = evolve(self.room, displays=DISPLAYS)
        self.assertTrue(await self.refused_request(b"x11-req", X11))
        sentence = "The certificate does not permit X11 forwarding."
        self.assertEqual(self.events.last("x11-forward")["error"], sentence)
        self.assertEqual(await self.run_command(b"exec", "echo ${DISPLAY-none}"), ("none\n", "", 0))

    def test_rc(self) -> None:
        """``~/.ssh/rc`` needs ``permit-user-rc``, and never runs before a forced command; the host's own file may."""
        permitted = tuple(sorted((*certificate().extensions, option("permit-user-rc"))))
        for signed, wanted, rc in (
            (certificate(), ANY_RC, HOST_RC),
            (certificate(extensions=permitted), ANY_RC, ANY_RC),
            (certificate(extensions=permitted), HOST_RC, HOST_RC),
            (certificate(extensions=permitted, critical_options=(forced,)), ANY_RC, HOST_RC),
            (certificate(), NO_RC, NO_RC),
        ):
            account = Account(USER, 0, 0, "/", "/bin/sh")
            order = Login(account, signed, "192.0.2.7", b"").order(Program("id", {}, None, wanted))
            self.assertEqual(order.program.rc, rc)


class T69Variables(PermissionCase):
    """Variables by which a program would run other code."""

    NAMES = ("LD_PRELOAD", "DYLD_INSERT_LIBRARIES", "BASH_ENV", "ENV", "PATH", "IFS", "GCONV_PATH", "SHELLOPTS", "PS4")

    async def test_none_arrives(self) -> None:
        """They are on no list; the session has what it would have had."""
        await self.enter()
        channel = await self.session()
        for name in self.NAMES:
            self.assertFalse(self.ask(channel, b"env", wire.text(name) + wire.text("/tmp/evil")), name)
        self.assertTrue(self.ask(channel, b"env", wire.text("LC_TEST") + wire.text("kept")))
        self.assertTrue(self.ask(channel, b"exec", wire.text("echo $PATH; env | grep -c evil; echo $LC_TEST")))
        out, _, _ = self.outcome(await self.until_closed())
        path, evil, kept = out.splitlines()
        self.assertIn(path, (DEFAULT_PATH, DEFAULT_ROOT_PATH))
        self.assertEqual((evil, kept), ("0", "kept"))

    async def test_many(self) -> None:
        """More than a client may set: so many are set, and the rest is refused, one by one."""
        await self.enter()
        channel = await self.session()
        granted = [
            self.ask(channel, b"env", wire.text(f"LC_{number}") + wire.text("x"))
            for number in range(MAX_VARIABLES + 50)
        ]
        self.assertEqual(granted, [True] * MAX_VARIABLES + [False] * 50)
        self.assertTrue(self.ask(channel, b"exec", wire.text("env | grep -c ^LC_")))
        out, _, _ = self.outcome(await self.until_closed())
        self.assertEqual(out, f"{MAX_VARIABLES}\n")
