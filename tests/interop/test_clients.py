"""Clients that are not OpenSSH: Paramiko and AsyncSSH, straight to a node and through the proxy."""

from __future__ import annotations

import asyncio
import os

import asyncssh
import paramiko  # type: ignore[import-untyped]  # it has no types

from tests.interop.case import InteropTests
from tests.interop.cluster import LOGIN, Cluster
from tests.interop.person import Person
from tests.interop.programs import DEADLINE_S
from tests.interop.services import LOCALHOST
from tests.interop.shared import alice, quiet_cluster

DATA = os.urandom(3_000_000)
Connection = asyncssh.SSHClientConnection


class ClientCase(InteropTests):
    def cluster(self) -> Cluster:
        """Where the node ``web1`` is."""
        return quiet_cluster()

    def person(self) -> Person:
        return alice()


class ParamikoTests(ClientCase):
    """Paramiko shows certificates. Those of hosts it does not know: it is told to believe any key."""

    def client(self, port: int, sock: paramiko.Channel | None = None) -> paramiko.SSHClient:
        key = paramiko.ECDSAKey.from_private_key_file(str(self.person().key))
        key.load_certificate(str(self.person().certificate))
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # noqa: S507  # loopback
        client.connect(
            LOCALHOST, port, LOGIN, pkey=key, sock=sock, timeout=DEADLINE_S, allow_agent=False, look_for_keys=False
        )
        self.addCleanup(client.close)
        return client

    def through_the_proxy(self, node: str) -> paramiko.SSHClient:
        transport = self.client(self.cluster().proxy_port).get_transport()
        assert transport is not None
        channel = transport.open_channel("direct-tcpip", (node, 0), (LOCALHOST, 0), timeout=DEADLINE_S)
        return self.client(0, channel)

    def check_client(self, client: paramiko.SSHClient) -> None:
        stdin, stdout, _ = client.exec_command("cat; exit 5", timeout=DEADLINE_S)
        stdin.write(DATA[:100_000])
        stdin.channel.shutdown_write()
        self.assertEqual(stdout.read(), DATA[:100_000])
        self.assertEqual(stdout.channel.recv_exit_status(), 5)
        sftp = client.open_sftp()
        path = os.path.abspath(self.mktemp())
        with sftp.open(path, "wb") as file:
            file.set_pipelined(True)
            file.write(DATA)
        with sftp.open(path, "rb") as file:
            self.assertEqual(file.read(), DATA)

    def test_direct(self) -> None:
        self.check_client(self.client(self.cluster().nodes["web1"].port))

    def test_through_the_proxy(self) -> None:
        self.check_client(self.through_the_proxy("web1"))

    def test_unknown_node(self) -> None:
        """A target that is none is a channel that is not opened."""
        with self.assertRaises(paramiko.ChannelException) as caught:
            self.through_the_proxy("nowhere")
        self.assertEqual(caught.exception.code, 2)  # SSH_OPEN_CONNECT_FAILED


class AsyncSSHTests(ClientCase):
    """AsyncSSH shows certificates, and checks those of hosts."""

    async def connect(self, tunnel: asyncssh.SSHClientConnection | None, host: str, port: int) -> Connection:
        return await asyncssh.connect(
            host,
            port,
            tunnel=tunnel or (),
            config=None,
            username=LOGIN,
            client_keys=[(str(self.person().key), str(self.person().certificate))],
            known_hosts=str(self.person().known_hosts),
            agent_path=None,
            login_timeout=DEADLINE_S,
        )

    async def check_connection(self, connection: Connection) -> None:
        data = os.urandom(3_000_000)
        done = await connection.run("cat; exit 5", input=data, encoding=None)
        self.assertEqual((done.stdout == data, done.exit_status), (True, 5))
        killed = await connection.run("kill -TERM $$")
        self.assertEqual(killed.exit_signal and killed.exit_signal[0], "TERM")
        many = await asyncio.gather(*(connection.run(f"sleep 0.1; echo {number}") for number in range(8)))
        self.assertEqual([done.stdout for done in many], [f"{number}\n" for number in range(8)])
        on_terminal = await connection.run("stty size", term_type="xterm", term_size=(120, 50))
        self.assertEqual(on_terminal.stdout, "50 120\r\n")
        async with connection.start_sftp_client() as sftp:
            path = os.path.abspath(self.mktemp())
            async with sftp.open(path, "wb") as file:
                await file.write(data)
            async with sftp.open(path, "rb") as file:
                self.assertEqual(await file.read(), data)

    def test_direct(self) -> None:
        async def talk() -> None:
            async with await self.connect(None, LOCALHOST, self.cluster().nodes["web1"].port) as node:
                await self.check_connection(node)

        asyncio.run(asyncio.wait_for(talk(), DEADLINE_S))

    def test_through_the_proxy(self) -> None:
        async def talk() -> None:
            async with (
                await self.connect(None, LOCALHOST, self.cluster().proxy_port) as proxy,
                await self.connect(proxy, "web1", 22) as node,
            ):
                await self.check_connection(node)

        asyncio.run(asyncio.wait_for(talk(), DEADLINE_S))

    def test_unknown_node(self) -> None:
        async def talk() -> None:
            async with await self.connect(None, LOCALHOST, self.cluster().proxy_port) as proxy:
                await self.connect(proxy, "nowhere", 22)

        with self.assertRaises(asyncssh.ChannelOpenError) as caught:
            asyncio.run(asyncio.wait_for(talk(), DEADLINE_S))
        self.assertIn('no node is called "nowhere"', str(caught.exception))
