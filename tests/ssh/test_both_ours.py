"""Our client and our server on TCP: programs, terminals, signals, bytes under new keys, and hops."""

from __future__ import annotations

import hashlib
import time

from attrs import evolve
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from teleport_conch.certs import keys
from teleport_conch.errors import ConnectionProblem
from teleport_conch.ssh import algorithms
from teleport_conch.ssh.client import ClientConnection, connect
from teleport_conch.ssh.client_auth import Credentials, LoginRefused
from teleport_conch.ssh.client_session import OUT, ClientSession, Ending
from teleport_conch.ssh.client_transport import ClientOptions
from teleport_conch.ssh.host_offer import HostName
from teleport_conch.ssh.identities import KeyIdentity
from teleport_conch.ssh.known_hosts import KnownHosts, KnownHostsVerifier
from teleport_conch.ssh.rekeying import RekeyLimits
from teleport_conch.ssh.session import SessionStart, TerminalRequest
from tests.certs import samples
from tests.ssh.engine import USER, OpenSSHCase, user_certificate
from tests.ssh.hosts import CA_BLOB
from tests.ssh.streams import clock, tcp

MEGABYTES = 8_000_000


class Screen:
    """Takes down what a session says."""

    def __init__(self) -> None:
        self.text = bytearray()
        self.ending: Ending | None = None

    def output(self, session: ClientSession, stream: int, data: bytes) -> None:
        if stream == OUT:
            self.text += data
        session.consumed(len(data))

    def output_ended(self, session: ClientSession) -> None:
        """The ending follows."""

    def ended(self, session: ClientSession, ending: Ending) -> None:
        self.ending = ending


class BothCase(OpenSSHCase):
    """The server that OpenSSH's client is let in by, and our client in its place."""

    def setUp(self) -> None:
        super().setUp()
        self.clients: list[ClientConnection] = []
        self.addCleanup(self.close_clients)

    async def close_clients(self) -> None:
        for client in reversed(self.clients):
            client.close()
            await client.ended()

    def options(self, user: str = USER) -> ClientOptions:
        known = KnownHosts.parse(f"@cert-authority * {keys.public_line(CA_BLOB)}\n")
        identity = KeyIdentity.of(samples.SSH_KEY, user_certificate())
        return ClientOptions(HostName("web1"), Credentials(user, [identity]), KnownHostsVerifier(known, time.time))

    async def connected(
        self, options: ClientOptions | None = None, endpoint: IStreamClientEndpoint | None = None
    ) -> ClientConnection:
        endpoint = endpoint or TCP4ClientEndpoint(tcp, "127.0.0.1", self.port)
        self.clients.append(await connect(clock, endpoint, options or self.options()))
        return self.clients[-1]


class ProgramTests(BothCase):
    async def test_exec(self) -> None:
        """Output, errors, status."""
        done = await (await self.connected()).run("cat; echo oops >&2; exit 7", b"input")
        self.assertEqual((done.out, done.err, done.ending), (b"input", b"oops\n", Ending(7)))

    async def test_signal(self) -> None:
        """A signal arrives, and its effect is told."""
        client, screen = await self.connected(), Screen()
        session = await client.open_session(SessionStart("exec", "echo here; exec sleep 100"), screen)
        await self.until(lambda: b"here" in screen.text)
        session.signal("TERM")
        await self.until(lambda: screen.ending is not None)
        self.assertEqual(screen.ending, Ending(None, "TERM"))

    async def test_terminal(self) -> None:
        """Size, kind, and a change of size."""
        client, screen = await self.connected(), Screen()
        begin = SessionStart("shell", "", TerminalRequest("xterm", 132, 43, 0, 0, b""))
        session = await client.open_session(begin, screen)
        session.write(b"stty size; echo $TERM\n")
        await self.until(lambda: b"43 132\r\n" in screen.text and b"xterm\r\n" in screen.text)
        session.resize(80, 24)
        session.write(b"stty size; exit 3\n")
        await self.until(lambda: screen.ending is not None)
        self.assertIn(b"24 80\r\n", screen.text)
        self.assertEqual(screen.ending, Ending(3))

    async def test_refused(self) -> None:
        """A login that the certificate is not for: what the server says of it, and the end."""
        banners: list[str] = []
        options = self.options("somebody")
        options = evolve(options, credentials=evolve(options.credentials, banner=banners.append))
        with self.assertRaisesRegex(
            LoginRefused, "The server does not let 'somebody' in. It takes: publickey. Tried: "
        ):
            await self.connected(options)
        self.assertIn("The certificate is not for 'somebody'.", "".join(banners))


class BytesTests(BothCase):
    async def test_every_algorithm(self) -> None:
        """Each method, cipher and MAC, with compression and without, and new keys in the middle."""
        data = hashlib.shake_256(b"data").digest(400_000)
        first = (algorithms.SERVER_KEY_EXCHANGES[0], algorithms.CIPHERS[0], algorithms.SERVER_MACS[0], b"none")
        choices = [(each, *first[1:]) for each in algorithms.SERVER_KEY_EXCHANGES]
        choices += [(first[0], each, *first[2:]) for each in algorithms.CIPHERS]
        choices += [(first[0], b"aes128-ctr", each, b"none") for each in algorithms.SERVER_MACS]
        choices += [(*first[:3], each) for each in algorithms.COMPRESSIONS]
        limits = RekeyLimits(data_bytes=1 << 17)
        for kex, cipher, mac, compression in choices:
            options = evolve(self.options(), kex=(kex,), ciphers=(cipher,), macs=(mac,), compressions=(compression,))
            client = await self.connected(evolve(options, rekey_limits=limits))
            done = await client.run("cat", data)
            self.assertTrue(done.out == data, (kex, cipher, mac, compression))

    async def test_whole(self) -> None:
        """Eight megabytes each way, while we change keys with every megabyte."""
        data = hashlib.shake_256(b"data").digest(MEGABYTES)
        client = await self.connected(evolve(self.options(), rekey_limits=RekeyLimits(data_bytes=1 << 20)))
        done = await client.run("cat", data)
        self.assertTrue(done.out == data)


class JumpTests(BothCase):
    async def test_three_hops(self) -> None:
        """Through ourselves, and again: each connection has its own keys, and changes them."""
        options = evolve(self.options(), rekey_limits=RekeyLimits(data_bytes=1 << 18))
        client = await self.connected(options)
        for _ in range(2):
            client = await self.connected(options, client.to("127.0.0.1", self.port))
        data = hashlib.shake_256(b"data").digest(1_000_000)
        done = await client.run("cat", data)
        self.assertTrue(done.out == data)

    async def test_refused_port(self) -> None:
        """A port on which nobody listens is told as such."""
        client = await self.connected()
        with self.assertRaisesRegex(ConnectionProblem, "127.0.0.1:1 cannot be reached through the host in between: "):
            await self.connected(None, client.to("127.0.0.1", 1))
