"""AsyncSSH and Paramiko as clients that listen on the server, and that reach its sockets."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

import asyncssh
import paramiko  # type: ignore[import-untyped]  # it has no types
from twisted.internet.threads import deferToThread

from tests.ssh.engine import USER
from tests.ssh.test_openssh_forwarding import LOOPBACK, CountingServer, ForwardingCase, unix

SIZES = (0, 5, 1_000_000)
ANSWERS = [b"%d bytes" % size for size in SIZES]


def counted(family: socket.AddressFamily, address: object, size: int) -> bytes:
    """What is answered to so many bytes once we have said that there are no more."""
    with socket.socket(family) as program:
        program.settimeout(30)
        program.connect(address)  # type: ignore[arg-type]  # whatever the family has
        program.sendall(b"x" * size)
        program.shutdown(socket.SHUT_WR)
        return program.makefile("rb").read()


class AsyncSSHTests(ForwardingCase):
    async def connected(self, talk: Callable[[asyncssh.SSHClientConnection], Awaitable[list[bytes]]]) -> list[bytes]:
        """What comes of ``talk`` on a connection, in a loop of its own."""

        async def run() -> list[bytes]:
            options = {"port": self.port, "username": USER, "known_hosts": None, "agent_path": None, "config": None}
            key = [(str(self.folder / "key"), str(self.folder / "key-cert.pub"))]
            async with asyncssh.connect(LOOPBACK, client_keys=key, **options) as connection:
                return await talk(connection)

        answers: list[bytes] = await deferToThread(asyncio.run, run())
        return answers

    async def test_port(self) -> None:
        """A port of the server's choice, which is listened on no more when the client says so."""

        async def talk(connection: asyncssh.SSHClientConnection) -> list[bytes]:
            listener = await connection.forward_remote_port("", 0, LOOPBACK, self.counting)
            where = (LOOPBACK, listener.get_port())
            answers = [await asyncio.to_thread(counted, socket.AF_INET, where, size) for size in SIZES]
            listener.close()
            await listener.wait_closed()
            with self.assertRaises(ConnectionRefusedError):
                await asyncio.to_thread(counted, socket.AF_INET, where, 1)
            return answers

        self.assertEqual(await self.connected(talk), ANSWERS)

    async def test_paths(self) -> None:
        """Sockets in both directions."""
        there, end = f"{self.sockets}/there", f"{self.sockets}/end"
        port = unix.listenUNIX(end, CountingServer())
        self.addCleanup(port.stopListening)

        async def talk(connection: asyncssh.SSHClientConnection) -> list[bytes]:
            listener = await connection.forward_remote_path(there, end)
            answers = [await asyncio.to_thread(counted, socket.AF_UNIX, there, size) for size in SIZES]
            reader, writer = await connection.open_unix_connection(there, encoding=None)
            writer.write(b"12345")
            writer.write_eof()
            answers.append(await reader.read())
            listener.close()
            await listener.wait_closed()
            return answers

        self.assertEqual(await self.connected(talk), [*ANSWERS, b"5 bytes"])
        await self.until(lambda: not os.path.exists(there))


class ParamikoTests(ForwardingCase):
    async def test_port(self) -> None:
        """A port of the server's choice and its end."""
        self.assertEqual(await deferToThread(self.talk), [b"hello", b"hello"])

    def talk(self) -> list[bytes]:
        key = paramiko.Ed25519Key.from_private_key_file(str(self.folder / "key"))
        key.load_certificate(str(self.folder / "key-cert.pub"))
        transport = paramiko.Transport((LOOPBACK, self.port))
        try:
            transport.connect(username=USER, pkey=key)
            port = transport.request_port_forward("", 0)
            answers = [self.answered(transport, address, port) for address in (LOOPBACK, "::1")]
            transport.cancel_port_forward("", port)
            with self.assertRaises(ConnectionRefusedError):
                socket.create_connection((LOOPBACK, port))
            return answers
        finally:
            transport.close()

    def answered(self, transport: paramiko.Transport, address: str, port: int) -> bytes:
        with socket.create_connection((address, port), 30) as program:
            channel = transport.accept(30)
            self.assertEqual(channel.origin_addr[1], program.getsockname()[1])
            channel.sendall(b"hello")
            answer = program.recv(100)
            channel.close()
            return answer
