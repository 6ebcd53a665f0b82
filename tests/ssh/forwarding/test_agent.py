"""The socket for a forwarded agent: who may use it, and what becomes of it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import stat
import sys
import tempfile
from pathlib import Path
from typing import cast

from attrs import evolve
from twisted.internet import reactor as installed_reactor
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.interfaces import IReactorUNIX
from twisted.internet.utils import getProcessOutputAndValue

from teleport_conch.errors import SpawnFailed
from teleport_conch.ssh.account import Account, lookup
from teleport_conch.ssh.connection.channel import OPEN_RESOURCE_SHORTAGE, ChannelRefused
from teleport_conch.ssh.forwarding.accepting import MAX_ACCEPTED, peer_uid
from teleport_conch.ssh.forwarding.agent import AgentSocket
from teleport_conch.ssh.forwarding.splice import StreamChannel
from tests.ssh.recording import RecordingLink
from tests.ssh.streams import FarEnd, StreamCase, clock

unix = cast(IReactorUNIX, installed_reactor)
NOT_ROOT = "Only root starts processes of other accounts."

CONNECT = """\
import socket, sys
program = socket.socket(socket.AF_UNIX)
try:
    program.connect(sys.argv[1])
    print(program.recv(100))
except OSError as problem:
    print(type(problem).__name__)
"""


def own_account() -> Account:
    return lookup(pwd.getpwuid(os.geteuid()).pw_name)


class AgentCase(StreamCase):
    def setUp(self) -> None:
        self.opened: list[StreamChannel] = []
        self.links: list[RecordingLink] = []
        self.refusal: ChannelRefused | None = None

    def make(self, account: Account | None = None) -> AgentSocket:
        agent = AgentSocket(unix, clock, account or own_account(), self.open_channel)
        self.addCleanup(lambda: self.start(agent.close()))
        return agent

    def open_channel(self, channel: StreamChannel) -> None:
        if self.refusal is not None:
            raise self.refusal
        link = RecordingLink()
        channel.bind(link, len(self.opened))
        self.opened.append(channel)
        self.links.append(link)

    async def connect(self, agent: AgentSocket) -> FarEnd:
        program = FarEnd()
        await connectProtocol(UNIXClientEndpoint(unix, agent.path), program)
        self.addCleanup(lambda: None if "lost" in program.ends else program.transport.abortConnection())
        return program

    async def as_nobody(self, agent: AgentSocket) -> bytes:
        """What a program of the account ``nobody`` hears when it connects."""
        nobody = lookup("nobody")
        setpriv = shutil.which("setpriv") or self.fail("setpriv is missing")
        python = os.path.realpath(sys.executable)
        reachable = all(os.stat(path).st_mode & stat.S_IXOTH for path in Path(python).parents)
        program = [python if reachable else "/usr/bin/python3", "-I", "-S", "-c", CONNECT, agent.path]
        out, err, code = await getProcessOutputAndValue(
            setpriv, [f"--reuid={nobody.uid}", f"--regid={nobody.gid}", "--clear-groups", "--", *program], path="/"
        )
        self.assertEqual((err, code), (b"", 0))
        return bytes(out)


class UseTests(AgentCase):
    async def test_question_and_answer(self) -> None:
        """A program's bytes reach the client's agent once the channel is open, and the answer comes back."""
        agent = self.make()
        program = await self.connect(agent)
        program.transport.write(b"question")
        await self.until(lambda: bool(self.opened))
        (channel,), (link,) = self.opened, self.links
        self.assertEqual(link.said, [])
        channel.connect(7, 1000, 1000)
        channel.opened()
        await self.until(lambda: link.data_of(0) == b"question")
        channel.data_received(b"answer")
        await self.until(lambda: program.received == b"answer")

    async def test_program_leaves(self) -> None:
        """The channel ends behind what the program said, also where the program has gone before it was open."""
        agent = self.make()
        program = await self.connect(agent)
        await self.until(lambda: bool(self.opened))
        program.transport.abortConnection()
        await self.until(lambda: "lost" in program.ends)
        (channel,), (link,) = self.opened, self.links
        channel.connect(7, 1000, 1000)
        channel.opened()
        channel.flush()
        await self.until(lambda: ("eof",) in link.said)
        channel.eof_received()
        await self.until(lambda: ("close",) in link.said)

    async def test_client_refuses(self) -> None:
        """Where the client has no agent, or too many channels, the program is told so by the end of its connection."""
        agent = self.make()
        program = await self.connect(agent)
        await self.until(lambda: bool(self.opened))
        self.opened[0].lost()
        await self.until(lambda: bool(program.ends))
        self.refusal = ChannelRefused(OPEN_RESOURCE_SHORTAGE, "too many")
        another = await self.connect(agent)
        await self.until(lambda: bool(another.ends))

    async def test_limit(self) -> None:
        """One socket has a limited number of connections; those that have gone do not count."""
        agent = self.make()
        programs = [await self.connect(agent) for _ in range(MAX_ACCEPTED)]
        await self.until(lambda: len(self.opened) == MAX_ACCEPTED)
        another = await self.connect(agent)
        await self.until(lambda: bool(another.ends))
        self.assertEqual(len(self.opened), MAX_ACCEPTED)
        programs[0].transport.abortConnection()
        self.opened[0].lost()
        await self.until(lambda: bool(programs[0].ends))
        while len(self.opened) == MAX_ACCEPTED:
            program = await self.connect(agent)
            await self.until(lambda program=program: bool(program.ends) or len(self.opened) > MAX_ACCEPTED)  # type: ignore[misc]

    async def test_gone(self) -> None:
        """With its session goes the socket, and the folder around it."""
        agent = self.make()
        await agent.close()
        self.assertFalse(os.path.exists(os.path.dirname(agent.path)))
        await agent.close()


class PermissionTests(AgentCase):
    def test_modes(self) -> None:
        """The socket is the login's, for nobody else; the folder is ours, and nobody can list it or change it."""
        account = own_account()
        agent = self.make(account)
        found, folder = os.stat(agent.path), os.stat(os.path.dirname(agent.path))
        self.assertEqual((stat.S_IMODE(found.st_mode), found.st_uid), (0o600, account.uid))
        self.assertEqual(folder.st_uid, os.geteuid())
        self.assertEqual(stat.S_IMODE(folder.st_mode) & 0o066, 0)
        self.assertEqual(stat.S_IMODE(folder.st_mode) & 0o022, 0)

    def test_owner(self) -> None:
        """A login of another account gets a socket of its own."""
        if os.geteuid() != 0:
            self.skipTest(NOT_ROOT)
        nobody = lookup("nobody")
        found = os.stat(self.make(nobody).path)
        self.assertEqual((found.st_uid, found.st_gid), (nobody.uid, nobody.gid))

    async def test_another_account(self) -> None:
        """A program of another account cannot connect; if the file let it, the kernel tells us who it is."""
        if os.geteuid() != 0:
            self.skipTest(NOT_ROOT)
        agent = self.make()
        self.assertEqual(await self.as_nobody(agent), b"PermissionError\n")
        os.chmod(agent.path, 0o666)  # noqa: S103
        self.assertEqual(await self.as_nobody(agent), b"b''\n")
        self.assertEqual(self.opened, [])

    async def test_the_login_itself(self) -> None:
        """The account of the login is let in, and root is."""
        if os.geteuid() != 0:
            self.skipTest(NOT_ROOT)
        agent = self.make(lookup("nobody"))
        await self.connect(agent)
        await self.until(lambda: len(self.opened) == 1)
        answered = self.start(self.as_nobody(agent))
        await self.until(lambda: len(self.opened) == 2)
        self.opened[1].lost()
        self.assertEqual(await answered, b"b''\n")

    def test_peer(self) -> None:
        """The kernel's word for who is at the other end."""
        one, other = socket.socketpair()
        with one, other:
            self.assertEqual(peer_uid(one), os.geteuid())


class FailureTests(AgentCase):
    def test_no_folder(self) -> None:
        """A host without room for a folder refuses the agent with a sentence."""
        self.patch(tempfile, "tempdir", "/nonexistent")
        refusal = self.assertRaises(SpawnFailed, self.make)
        self.assertTrue(str(refusal).startswith("This host could not make a socket for the agent: "))

    def test_no_socket(self) -> None:
        """One whose temporary folder has too long a name does so, too, and keeps nothing of the attempt."""
        deep = os.path.join(self.mktemp(), "x" * 120)
        os.makedirs(deep)
        self.patch(tempfile, "tempdir", deep)
        self.assertRaises(SpawnFailed, self.make)
        self.assertEqual(os.listdir(deep), [])

    async def test_no_owner(self) -> None:
        """So does one that cannot give it away."""
        if os.geteuid() != 0:
            self.skipTest(NOT_ROOT)
        folder = self.mktemp()
        os.makedirs(folder)
        short = os.path.relpath(folder)
        self.patch(tempfile, "tempdir", short)
        self.patch(os, "chown", self.fail_to_give)
        self.assertRaises(SpawnFailed, self.make, evolve(own_account(), uid=12345))
        await self.until(lambda: not os.listdir(folder))

    def fail_to_give(self, *args: object) -> None:
        raise PermissionError(1, "Operation not permitted")
