"""What a guest may do on a node: sessions as the login's own account, connections, and the agent, each as permitted."""

from __future__ import annotations

import os
import socket
from typing import cast

from attrs import evolve
from twisted.conch.ssh import connection as conch

from teleport_conch import wire
from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.options import Options
from teleport_conch.access.roles import Role
from teleport_conch.errors import AccessDenied, ConnectionProblem
from teleport_conch.node.guest import MAX_SESSIONS
from teleport_conch.ssh.sftp import codec as sftp
from teleport_conch.ssh.sftp import messages as sftp_messages
from teleport_conch.ssh.sftp.program import own_command_line
from tests.certs import samples
from tests.node.guests import SFTP_SERVER, USER, NodeCase, certificate, forced
from tests.ssh import messages
from tests.ssh.streams import FarEnds

NOT_AUTHORIZED = f"user alice@{samples.CLUSTER} is not authorized to"


def role(options: Options) -> Role:
    """One that lets alice log in everywhere, with these options."""
    allow = Conditions(logins=(USER,), node_labels=EVERY_NODE)
    return Role("test", options, allow)


def where_to(port: int, host: str = "127.0.0.1") -> bytes:
    return wire.text(host) + wire.uint32(port) + wire.text("127.0.0.1") + wire.uint32(1)


class SessionTests(NodeCase):
    async def test_command(self) -> None:
        """A command runs as the account, with its environment, and ends with its status."""
        await self.enter()
        command = "id -un; echo $USER $SSH_TELEPORT_USER $SSH_TELEPORT_CLUSTER_NAME; echo $SSH_CONNECTION >&2; exit 4"
        out, err, code = await self.run_command(b"exec", command)
        self.assertEqual(out, f"{USER}\n{USER} alice {samples.CLUSTER}\n")
        self.assertEqual((err, code), ("192.0.2.7 50000 127.0.0.1 3022\n", 4))

    async def test_events(self) -> None:
        """Its begin, its end and what it was are events, and it is in the list while it lasts."""
        await self.enter()
        await self.run_command(b"exec", "echo output; exit 4")
        self.assertEqual(self.events.names(), ["auth", "session.start", "exec", "session.data", "session.end"])
        ran = self.events.last("exec")
        self.assertEqual((ran["command"], ran["exitCode"], ran["code"]), ("echo output; exit 4", "4", "T3002E"))
        self.assertEqual(self.events.last("session.data")["tx"], len("output\n"))
        (session,) = self.sessions.seen
        self.assertEqual(self.sessions.running, {})
        self.assertEqual(
            (session.user, session.login, session.server_hostname, session.remote_addr, session.interactive),
            ("alice", USER, "web1", "192.0.2.7:50000", False),
        )
        self.assertEqual({event["sid"] for event in self.events.kept[1:]}, {session.id})

    async def test_shell(self) -> None:
        """A shell reads its commands from the channel; with a terminal it is interactive."""
        await self.enter()
        channel = await self.session()
        self.assertTrue(self.pty(channel))
        self.assertTrue(self.ask(channel, b"shell"))
        self.receive(conch.MSG_CHANNEL_DATA, messages.data(channel, b"echo $TERM; test -t 0 && exit 5\r"))
        out, _, code = self.outcome(await self.until_closed())
        self.assertIn("xterm", out)
        self.assertEqual((code, self.sessions.seen[0].interactive), (5, True))
        self.assertEqual(self.events.last("session.start")["size"], "80:24")

    async def test_bytes_of_a_command(self) -> None:
        """A command line that is no text is run as it was sent, and is text in the event."""
        await self.enter()
        channel = await self.session()
        self.assertTrue(self.ask(channel, b"exec", wire.string(b"printf '\xe9' | od -An -tx1")))
        self.assertEqual(self.outcome(await self.until_closed())[0].split(), ["e9"])
        self.assertIn("udce9", str(self.events.last("exec")["command"]))

    async def test_variables(self) -> None:
        """The client's variables by the allow-list, and no others."""
        await self.enter()
        channel = await self.session()
        self.assertTrue(self.ask(channel, b"env", wire.text("LC_TEST") + wire.text("yes")))
        self.assertFalse(self.ask(channel, b"env", wire.text("LD_PRELOAD") + wire.text("/x")))
        self.assertTrue(self.ask(channel, b"exec", wire.text("echo $LC_TEST $LANG")))
        self.assertEqual(self.outcome(await self.until_closed())[0], "yes C.UTF-8\n")

    async def test_sftp(self) -> None:
        """The one subsystem, by OpenSSH's server and by ours; what there is none of is said."""
        await self.enter()
        self.assertEqual(await self.run_command(b"subsystem", "sftp"), ("", "", 0))
        self.assertEqual(self.events.last("subsystem")["name"], "sftp")
        self.assertEqual(
            await self.run_command(b"subsystem", "netconf"),
            ("", "This node has the subsystem sftp, and no other.\r\n", 255),
        )
        self.guest.room = evolve(self.room, sftp_server=own_command_line())
        self.assertEqual(await self.run_command(b"subsystem", "sftp"), ("", "", 0))
        self.guest.room = evolve(self.room, sftp_server=own_command_line("/no/python"))
        _, err, code = await self.run_command(b"subsystem", "sftp")
        self.assertIn("This account cannot use the SFTP server of the node: it may not read /no/python or ", err)
        self.assertEqual(code, 126)
        self.assertEqual(self.events.last("subsystem")["code"], "T3001E")

    async def test_files_over_sftp(self) -> None:
        """What is done with files is in the log, whichever server did it."""
        folder = os.path.abspath(self.mktemp())
        asked = sftp.message(sftp_messages.INIT, None, 3, {})
        asked += sftp.message(sftp_messages.MKDIR, 1, os.fsencode(folder), sftp.Attributes())
        asked += sftp.message(sftp_messages.RMDIR, 2, os.fsencode(folder))
        asked += sftp.message(sftp_messages.RMDIR, 3, os.fsencode(folder))
        await self.enter()
        for server in (SFTP_SERVER, own_command_line()):
            self.guest.room, self.events.kept = evolve(self.room, sftp_server=server), []
            channel = await self.session()
            self.assertTrue(self.ask(channel, b"subsystem", wire.text("sftp")))
            self.receive(conch.MSG_CHANNEL_DATA, messages.data(channel, asked))
            await self.until(lambda: self.events.names().count("sftp") == 3)
            self.receive(conch.MSG_CHANNEL_EOF, wire.uint32(channel))
            await self.until_closed()
            told = [each for each in self.events.kept if each["event"] == "sftp"]
            self.assertEqual([each["action"] for each in told], ["mkdir", "rmdir", "rmdir"])
            self.assertEqual([each["success"] for each in told], [True, True, False])
            self.assertEqual({(each["path"], each["sid"]) for each in told}, {(folder, self.sessions.seen[-1].id)})

    async def test_nul(self) -> None:
        """What no program can be given is refused with a sentence."""
        await self.enter()
        _, err, code = await self.run_command(b"exec", "echo \0")
        self.assertEqual(
            (err, code), ("A command or a variable of the session holds a NUL byte or is not text.\r\n", 255)
        )

    async def test_limit(self) -> None:
        """One connection has a limited number of sessions; one that has ended makes room."""
        await self.enter()
        channels = [await self.session() for _ in range(MAX_SESSIONS)]
        self.assertEqual(
            await self.open_refused(b"session"), (4, "One connection may have 10 sessions open at a time.")
        )
        self.receive(conch.MSG_CHANNEL_CLOSE, wire.uint32(channels[3]))
        self.transport.take()
        await self.session()

    async def test_client_goes(self) -> None:
        """With the client goes what it ran, and the list and the events know."""
        await self.enter()
        channel = await self.session()
        self.ask(channel, b"exec", wire.text("cat"))
        self.connection.serviceStopped()
        self.assertEqual(self.sessions.running, {})
        self.assertEqual(self.events.last("exec")["exitCode"], "disconnected")

    async def test_nothing_is_left_of_a_start_that_fails(self) -> None:
        """A session that cannot begin leaves no terminal open."""
        await self.enter()
        await self.turns()
        before = sorted(os.listdir("/proc/self/fd"))
        for terminal in (False, True):
            self.cluster.too_old = None
            channel = await self.session()
            self.cluster.too_old = ConnectionProblem("What is known of the cluster is too old.")
            self.assertEqual(self.pty(channel), True) if terminal else None
            self.assertTrue(self.ask(channel, b"exec", wire.text("id")))
            _, err, code = self.outcome(await self.until_closed())
            self.assertEqual((err, code), ("What is known of the cluster is too old.\r\n", 255))
        self.assertEqual(sorted(os.listdir("/proc/self/fd")), before)


class DecisionTests(NodeCase):
    """Each channel and each session is decided on again, when it is asked for."""

    async def test_sessions(self) -> None:
        """A role that no longer fits ends what is new, not what runs."""
        await self.enter()
        channel = await self.session()
        self.give()
        denied = f"{NOT_AUTHORIZED} login as {USER}@web1: access to server denied"
        self.assertEqual(await self.open_refused(b"session"), (1, denied))
        self.assertTrue(self.ask(channel, b"exec", wire.text("id")))
        self.assertEqual(self.outcome(await self.until_closed()), ("", f"{denied}\r\n", 255))

    async def test_forwarding(self) -> None:
        """Connections need the role's option beside the login, and a refusal is an event."""
        await self.enter()
        self.give(role(Options(port_forwarding=False)))
        denied = f"{NOT_AUTHORIZED} forward a connection as {USER}@web1 to 127.0.0.1:80: port forwarding denied"
        self.assertEqual(await self.open_refused(b"direct-tcpip", where_to(80)), (1, denied))
        event = self.events.last("port")
        self.assertEqual((event["code"], event["error"], event["addr"]), ("T3003E", denied, "127.0.0.1:80"))
        self.assertIn("role test: option: ", "\n".join(cast(list[str], event["trace"])))

    async def test_agent(self) -> None:
        """So does the agent."""
        await self.enter()
        self.give(role(Options(forward_agent=False)))
        self.assertFalse(self.ask(await self.session(), b"auth-agent-req@openssh.com"))


class CertificateTests(NodeCase):
    """What the certificate itself permits (threats 49 and 50)."""

    async def test_without_extensions(self) -> None:
        """No terminal, no connections, no agent, each for itself; a command without a terminal is always possible."""
        await self.enter(certificate(without=["permit-pty"]))
        channel = await self.session()
        self.assertTrue(self.pty(channel))
        self.assertTrue(self.ask(channel, b"shell"))
        said = self.outcome(await self.until_closed())
        self.assertEqual(said, ("", "The certificate does not permit a terminal.\r\n", 255))
        self.assertEqual(await self.run_command(b"exec", "echo works"), ("works\n", "", 0))
        await self.leave()

        await self.enter(certificate(without=["permit-port-forwarding"]))
        self.assertEqual(
            await self.open_refused(b"direct-tcpip", where_to(80)),
            (1, "The certificate does not permit port forwarding."),
        )
        await self.leave()

        await self.enter(certificate(without=["permit-agent-forwarding"]))
        self.assertFalse(self.ask(await self.session(), b"auth-agent-req@openssh.com"))

    async def test_forced_command(self) -> None:
        """Whatever is asked for, the command of the certificate runs, and is told what was asked for."""
        await self.enter(certificate(critical_options=(forced,)))
        for name, command, original in (
            (b"exec", "id", "id\n"),
            (b"shell", None, "\n"),
            (b"subsystem", "sftp", "sftp\n"),
        ):
            self.assertEqual(await self.run_command(name, command), (f"forced\n{original}", "", 0))
        self.assertEqual(self.events.last("exec")["command"], forced[1][4:].decode())

    async def test_forced_command_only(self) -> None:
        """Connections and the agent are no command."""
        await self.enter(certificate(critical_options=(forced,)))
        self.assertEqual(
            await self.open_refused(b"direct-tcpip", where_to(80)),
            (1, "The certificate is for one command, and does not permit port forwarding."),
        )
        self.assertFalse(self.ask(await self.session(), b"auth-agent-req@openssh.com"))

    async def test_no_original_command(self) -> None:
        """A shell was no command: nothing is said of one."""
        await self.enter(certificate(critical_options=(("force-command", wire.text("env")),)))
        out, _, _ = await self.run_command(b"shell")
        self.assertNotIn("SSH_ORIGINAL_COMMAND", out)


class ForwardingTests(NodeCase):
    async def test_connection(self) -> None:
        """A channel to a port that is there, and an event."""
        await self.enter()
        ends = FarEnds(b"greeting")
        port = self.listen(ends)
        opening = messages.open_channel(b"direct-tcpip", 40, 1 << 20, 1 << 15, where_to(port))
        self.receive(conch.MSG_CHANNEL_OPEN, opening)
        await self.until(lambda: len(self.transport.sent) == 2)
        confirmed, data = self.transport.take()
        self.assertEqual(confirmed[0], conch.MSG_CHANNEL_OPEN_CONFIRMATION)
        self.assertEqual(data, (conch.MSG_CHANNEL_DATA, messages.data(40, b"greeting")))
        self.assertEqual(
            (self.events.last("port")["addr"], self.events.last("port")["code"]), (f"127.0.0.1:{port}", "T3003I")
        )
        self.connection.serviceStopped()
        await self.until(lambda: bool(ends.made[0].ends))
        ends.made[0].transport.loseConnection()

    async def test_nobody_there(self) -> None:
        """A port on which nobody listens, and an event."""
        await self.enter()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        sentence = f"127.0.0.1:{port} cannot be reached: Connection refused."
        self.assertEqual(await self.open_refused(b"direct-tcpip", where_to(port)), (2, sentence))
        self.assertEqual(self.events.last("port")["error"], sentence)

    async def test_malformed(self) -> None:
        """What is no address is refused."""
        await self.enter()
        self.assertEqual(await self.open_refused(b"direct-tcpip", where_to(70000)), (2, "there is no port 70000"))

    async def test_other_channels(self) -> None:
        """There are no others."""
        await self.enter()
        for kind in (b"x11", b"forwarded-tcpip", b"tun@openssh.com", b""):
            reason, sentence = await self.open_refused(kind)
            self.assertEqual((reason, sentence), (3, "This node opens sessions and connections, and nothing else."))

    async def test_requests(self) -> None:
        """The node says that it is there, and does nothing whose name it does not know."""
        guest = await self.enter()
        self.assertEqual(await guest.global_request(b"keepalive@openssh.com", b""), b"")
        for name in (b"tcpip-forward@elsewhere", b"hostkeys-prove", b""):
            with self.assertRaises(AccessDenied) as refused:
                await guest.global_request(name, b"")
            self.assertEqual(refused.exception.sentence, "This node does nothing of that name.")


class AgentTests(NodeCase):
    async def test_socket(self) -> None:
        """Programs of the session find the socket, and it goes with the session."""
        await self.enter()
        channel = await self.session()
        self.assertTrue(self.ask(channel, b"auth-agent-req@openssh.com"))
        self.assertTrue(self.ask(channel, b"auth-agent-req@openssh.com"))
        self.assertTrue(self.ask(channel, b"exec", wire.text("test -S $SSH_AUTH_SOCK && echo $SSH_AUTH_SOCK")))
        path = self.outcome(await self.until_closed())[0].strip()
        self.assertTrue(os.path.exists(path))
        self.receive(conch.MSG_CHANNEL_CLOSE, wire.uint32(channel))
        await self.until(lambda: not os.path.exists(os.path.dirname(path)))

    async def test_other_sessions(self) -> None:
        """A session that did not ask for it has none."""
        await self.enter()
        channel = await self.session()
        self.assertTrue(self.ask(channel, b"auth-agent-req@openssh.com"))
        out, _, _ = await self.run_command(b"exec", "echo [$SSH_AUTH_SOCK]")
        self.assertEqual(out, "[]\n")
        self.connection.serviceStopped()
        await self.turns()
