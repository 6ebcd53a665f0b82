"""What the tests of our SSH client share: a server, a client that knows its certificates, and who listens."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from teleport_conch.certs import keys
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.ssh.client.auth import Credentials
from teleport_conch.ssh.client.connection import ClientConnection, connect
from teleport_conch.ssh.client.host_offer import HostName
from teleport_conch.ssh.client.identities import Identity, KeyIdentity
from teleport_conch.ssh.client.known_hosts import (
    KnownHosts,
    KnownHostsVerifier,
)
from teleport_conch.ssh.client.session import ERR, OUT, ClientSession, Ending
from teleport_conch.ssh.client.transport import ClientOptions
from teleport_conch.ssh.session.channel import SessionStart, TerminalRequest
from tests.interop.openssh_server import (
    USER,
    OpenSSHServer,
    free_port,
    make_key,
    private_folder,
    start,
    wait_for_port,
)
from tests.ssh.streams import StreamCase, clock, tcp

MEGABYTES = 8_000_000
XTERM = TerminalRequest("xterm-256color", 132, 43, 0, 0, b"")


class Listening:
    """Takes what a session says, and uses it at once, or when the test wants it."""

    def __init__(self, hungry: bool = True) -> None:
        self.streams = {OUT: bytearray(), ERR: bytearray()}
        self.hungry = hungry
        self.unused = 0
        self.eof = False
        self.ending: Ending | None = None

    def output(self, session: ClientSession, stream: int, data: bytes) -> None:
        self.streams[stream] += data
        self.unused += len(data)
        if self.hungry:
            self.use(session)

    def use(self, session: ClientSession) -> None:
        unused, self.unused = self.unused, 0
        session.consumed(unused)

    def output_ended(self, session: ClientSession) -> None:
        self.eof = True

    def ended(self, session: ClientSession, ending: Ending) -> None:
        self.ending = ending


class ClientCase(StreamCase):
    """A server that knows one key, and a client that knows the server's certificates."""

    timeout = 120

    def setUp(self) -> None:
        self.folder = private_folder(self)
        self.server = OpenSSHServer.prepare(self.folder)
        self.server.authorize(make_key(self.folder / "key"))
        self.known = f"@cert-authority * {self.server.public('host_ca')}\n"
        self.clients: list[ClientConnection] = []
        self.addCleanup(self.hang_up)

    async def hang_up(self) -> None:
        for client in reversed(self.clients):
            client.close()
            await client.ended()

    def identity(self, name: str = "key", certificate: Path | None = None) -> KeyIdentity:
        shown = None if certificate is None else SSHCertificate.from_line(certificate.read_text())
        return KeyIdentity.of(keys.load_private_pem((self.folder / name).read_text()), shown)

    def options(self, *identities: Identity, name: str = "web1") -> ClientOptions:
        verifier = KnownHostsVerifier(KnownHosts.parse(self.known), time.time)
        credentials = Credentials(USER, identities or [self.identity()])
        return ClientOptions(HostName(name, 3022), credentials, verifier, login_s=30)

    async def connected(
        self, options: ClientOptions | None = None, endpoint: IStreamClientEndpoint | None = None
    ) -> ClientConnection:
        """A client that is logged in."""
        endpoint = endpoint or TCP4ClientEndpoint(tcp, "127.0.0.1", self.server.port)
        client = await connect(clock, endpoint, options or self.options())
        self.clients.append(client)
        return client

    async def refused(self, kind: type[Exception], options: ClientOptions | None = None) -> str:
        """The sentence with which a connection fails."""
        try:
            await self.connected(options)
        except kind as refusal:
            return str(refusal)
        raise self.failureException("it was not refused")

    async def listening(
        self, client: ClientConnection, begin: SessionStart, hungry: bool = True
    ) -> tuple[ClientSession, Listening]:
        receiver = Listening(hungry)
        return await client.open_session(begin, receiver), receiver


def start_asyncssh(case: StreamCase, folder: Path, *methods: str) -> int:
    port, log = free_port(), folder / "asyncssh.log"
    words = [str(port), str(folder / "host_ed25519"), str(folder / "authorized"), *methods]
    start(case, [sys.executable, "-m", "tests.interop.asyncssh_server", *words], log)
    wait_for_port(port, log)
    return port
