"""Forwarding of every kind with OpenSSH's own client: both directions, each of which ends for itself."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import tempfile
from pathlib import Path
from typing import cast

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorProcess, IReactorUNIX, IStreamClientEndpoint
from twisted.internet.protocol import ProcessProtocol, ServerFactory
from twisted.python.failure import Failure

from tests.interop.services import free_port
from tests.ssh.engine import OpenSSHCase
from tests.ssh.streams import FarEnd, tcp

processes = cast(IReactorProcess, installed_reactor)
unix = cast(IReactorUNIX, installed_reactor)
LOOPBACK = "127.0.0.1"
LISTENS_HERE = rb"channel \d+: new .*\[(port|unix) listener\]"
LISTENS_THERE = rb"remote forward success for: listen "


class Counting(FarEnd):
    """Reads to the end of what comes, and only then answers how much it was."""

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        self.transport.write(b"%d bytes" % len(self.received))
        self.transport.loseConnection()


class CountingServer(ServerFactory):
    noisy = False

    def buildProtocol(self, addr: object) -> Counting:
        return Counting()


class Running(ProcessProtocol):
    """A program that goes on until the test stops it."""

    def __init__(self) -> None:
        self.said = bytearray()
        self.ended: Deferred[None] = Deferred()

    def outReceived(self, data: bytes) -> None:
        self.said += data

    def errReceived(self, data: bytes) -> None:
        self.said += data

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(None)


class ForwardingCase(OpenSSHCase):
    def setUp(self) -> None:
        super().setUp()
        self.counting = self.listen(CountingServer())
        self.sockets = Path(tempfile.mkdtemp(prefix="_c"))  # the paths of sockets are short
        self.addCleanup(shutil.rmtree, self.sockets)

    def background(self, *words: str) -> Running:
        """``ssh`` with these words, to web1; it tells what it does."""
        running = Running()
        line = [self.ssh, "-v", "-F", str(self.folder / "config"), *words, "web1"]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder)}
        process = processes.spawnProcess(running, self.ssh, line, environment)

        async def stop() -> None:
            if process.pid is not None:
                process.signalProcess(signal.SIGKILL)  # OpenSSH's client can miss a SIGTERM, and then waits on
            await running.ended

        self.addCleanup(lambda: Deferred.fromCoroutine(stop()))
        return running

    async def said(self, running: Running, pattern: bytes) -> re.Match[bytes]:
        """The first place where the program says this."""
        await self.until(lambda: re.search(pattern, running.said) is not None or running.ended.called)
        found = re.search(pattern, running.said)
        assert found is not None, running.said
        return found

    async def ask(self, endpoint: IStreamClientEndpoint, size: int) -> bytes:
        """What is answered to so many bytes once we have said that there are no more."""
        program = FarEnd()
        await connectProtocol(endpoint, program)
        program.transport.write(b"x" * size)
        program.transport.loseWriteConnection()
        await self.until(lambda: "eof" in program.ends or "lost" in program.ends)
        program.transport.abortConnection()
        return bytes(program.received)

    async def serves(self, ssh: Running, path: str, here: bool = False) -> UNIXClientEndpoint:
        """The socket at ``path``, when the client says that it, or for it the server, listens there."""
        await self.said(ssh, LISTENS_HERE if here else LISTENS_THERE)
        return UNIXClientEndpoint(unix, path)

    async def silent(self, endpoint: IStreamClientEndpoint) -> None:
        """Waits until nobody listens there any more; the client does not wait for that."""
        while True:
            try:
                await self.ask(endpoint, 1)
                await self.turns()
            except ConnectError:
                return

    async def assert_counts(self, endpoint: IStreamClientEndpoint) -> None:
        """Who has said everything still hears the answer."""
        for size in (0, 5, 3_000_000):
            self.assertEqual(await self.ask(endpoint, size), b"%d bytes" % size)


class RemotePortTests(ForwardingCase):
    async def test_any_port(self) -> None:
        """``-R 0``: the port is told, and leads from both loopback addresses to the client's network."""
        ssh = self.background("-N", "-R", f"0:{LOOPBACK}:{self.counting}")
        port = int((await self.said(ssh, rb"Allocated port (\d+) for remote forward"))[1])
        await self.assert_counts(TCP4ClientEndpoint(tcp, LOOPBACK, port))
        await self.assert_counts(TCP6ClientEndpoint(tcp, "::1", port))

    async def test_port_and_cancel(self) -> None:
        """A port that is named, on one shared connection, and its end with ``-O cancel``."""
        port = free_port()
        control = f"{self.sockets}/control"
        self.background("-N", "-M", "-S", control)
        await self.until(lambda: os.path.exists(control))
        forward = f"{LOOPBACK}:{port}:{LOOPBACK}:{self.counting}"
        endpoint = TCP4ClientEndpoint(tcp, LOOPBACK, port)
        for _ in range(2):
            done = await self.at_web1(options=["-S", control, "-O", "forward", "-R", forward])
            self.assertEqual(done.code, 0, done)
            await self.assert_counts(endpoint)
            done = await self.at_web1(options=["-S", control, "-O", "cancel", "-R", forward])
            self.assertEqual(done.code, 0, done)
            await self.silent(endpoint)

    async def test_taken(self) -> None:
        """A port that somebody else has is refused."""
        forward = f"{LOOPBACK}:{self.counting}:{LOOPBACK}:1"
        done = await self.at_web1("echo in", options=["-o", "ExitOnForwardFailure=yes", "-R", forward])
        self.assertEqual(done.out, b"")
        self.assertIn(b"remote port forwarding failed", done.err)

    async def test_nobody_at_the_client(self) -> None:
        """Where the client reaches nobody, the connection to the port ends."""
        ssh = self.background("-N", "-R", f"0:{LOOPBACK}:1")
        port = int((await self.said(ssh, rb"Allocated port (\d+) for remote forward"))[1])
        self.assertEqual(await self.ask(TCP4ClientEndpoint(tcp, LOOPBACK, port), 5), b"")


class UnixTests(ForwardingCase):
    async def test_remote(self) -> None:
        """``-R`` with a socket of the host, which goes with the connection."""
        path = f"{self.sockets}/remote"
        ssh = self.background("-N", "-R", f"{path}:{LOOPBACK}:{self.counting}")
        await self.assert_counts(await self.serves(ssh, path))
        ssh.transport.signalProcess(signal.SIGKILL)  # type: ignore[union-attr]  # it runs
        await self.until(lambda: not os.path.exists(path))

    async def test_local(self) -> None:
        """``-L`` from a socket of the client to one of the host."""
        there, here = f"{self.sockets}/there", f"{self.sockets}/here"
        port = unix.listenUNIX(there, CountingServer())
        self.addCleanup(port.stopListening)
        ssh = self.background("-N", "-L", f"{here}:{there}")
        await self.assert_counts(await self.serves(ssh, here, here=True))

    async def test_both(self) -> None:
        """Both at once: to the host and back to the client."""
        there, here = f"{self.sockets}/there", f"{self.sockets}/here"
        port = unix.listenUNIX(f"{self.sockets}/end", CountingServer())
        self.addCleanup(port.stopListening)
        ssh = self.background("-N", "-R", f"{there}:{self.sockets}/end", "-L", f"{here}:{there}")
        await self.serves(ssh, there)
        await self.assert_counts(await self.serves(ssh, here, here=True))

    async def test_refused(self) -> None:
        """A path that is taken."""
        path = self.sockets / "taken"
        path.touch()
        options = ["-o", "ExitOnForwardFailure=yes", "-R", f"{path}:{LOOPBACK}:1"]
        done = await self.at_web1("echo in", options=options)
        self.assertEqual(done.out, b"")
        self.assertIn(b"remote port forwarding failed", done.err)


class LocalTests(ForwardingCase):
    async def listening(self, *words: str) -> TCP4ClientEndpoint:
        """A port of this host where the client listens, and forwards what these words say."""
        port = free_port()
        listen, *rest = words
        where = ":".join((LOOPBACK, str(port), *rest))
        await self.said(self.background("-N", listen, where), LISTENS_HERE)
        return TCP4ClientEndpoint(tcp, LOOPBACK, port)

    async def test_port(self) -> None:
        """``-L`` to a port, by IPv4."""
        await self.assert_counts(await self.listening("-L", LOOPBACK, str(self.counting)))

    async def test_ipv6(self) -> None:
        """``-L`` to a port of ``::1``."""
        server = tcp.listenTCP(0, CountingServer(), interface="::1")
        self.addCleanup(server.stopListening)
        port = server.getHost().port  # type: ignore[attr-defined]  # a port of TCP
        await self.assert_counts(await self.listening("-L", "[::1]", str(port)))

    async def test_socks(self) -> None:
        """``-D``: who speaks SOCKS 5 to the client says where to."""
        endpoint = await self.listening("-D")
        program = FarEnd()
        await connectProtocol(endpoint, program)
        where = socket.inet_aton(LOOPBACK) + self.counting.to_bytes(2, "big")
        program.transport.write(b"\5\1\0")
        await self.until(lambda: len(program.received) == 2)
        program.transport.write(b"\5\1\0\1" + where)
        await self.until(lambda: len(program.received) == 12)
        program.transport.write(b"hello")
        program.transport.loseWriteConnection()
        await self.until(lambda: "eof" in program.ends or "lost" in program.ends)
        program.transport.abortConnection()
        self.assertTrue(program.received.endswith(b"5 bytes"), program.received)

    async def test_stdio(self) -> None:
        """``-W``."""
        done = await self.at_web1(options=["-W", f"{LOOPBACK}:{self.counting}"], stdin=b"hello")
        self.assertEqual((done.out, done.code), (b"5 bytes", 0))


class SharedTests(ForwardingCase):
    async def test_sessions(self) -> None:
        """A ControlMaster that persists carries sessions one after the other and at once, on one login."""
        control = f"{self.sockets}/control"
        shared = ["-o", f"ControlPath={control}", "-o", "ControlMaster=auto", "-o", "ControlPersist=30"]
        self.background("-N", "-M", "-S", control)
        await self.until(lambda: os.path.exists(control))
        done = await self.at_web1("echo first", options=shared)
        self.assertEqual(done.out, b"first\n")
        started = [
            Deferred.fromCoroutine(self.at_web1(f"head -c 2000000 /dev/zero; exit {number}", options=shared))
            for number in range(4)
        ]
        for number, session in enumerate(started):
            done = await session
            self.assertEqual((len(done.out), done.code), (2_000_000, number))
        self.assertEqual(len(self.policy.logins), 1)
