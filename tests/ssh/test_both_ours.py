"""Our client and our server on TCP: programs, terminals, signals, bytes under new keys, and hops."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from attrs import evolve
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from teleport_conch.certs import keys
from teleport_conch.errors import AccessDenied, ConnectionProblem
from teleport_conch.ssh.client.agent_offer import KeysAgent
from teleport_conch.ssh.client.auth import Credentials, LoginRefused, Questions
from teleport_conch.ssh.client.connection import ClientConnection, connect
from teleport_conch.ssh.client.host_offer import HostName
from teleport_conch.ssh.client.identities import KeyIdentity
from teleport_conch.ssh.client.known_hosts import KnownHosts, KnownHostsVerifier
from teleport_conch.ssh.client.session import OUT, ClientSession, Ending
from teleport_conch.ssh.client.transport import ClientOptions
from teleport_conch.ssh.login.policy import Answer, Ask, Attempt, Claim, LoginPolicy, Partial, Question
from teleport_conch.ssh.session.channel import SessionStart, TerminalRequest
from teleport_conch.ssh.transport import algorithms
from teleport_conch.ssh.transport.rekeying import RekeyLimits
from tests.certs import samples
from tests.ssh.engine import USER, OnePerson, OpenSSHCase, user_certificate
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


class AgentTests(BothCase):
    async def test_keys_in_memory(self) -> None:
        """A program there lists the keys that are offered here, and signs with them."""
        offered = [KeyIdentity.of(samples.SSH_KEY), KeyIdentity.of(samples.rsa_key())]
        client = await self.connected(evolve(self.options(), agent=KeysAgent(offered)))
        listed = await client.run("ssh-add -L; ssh-add -L >&2")
        blobs = [line.split()[1] for line in (listed.out + listed.err).splitlines()]
        self.assertEqual(blobs, [base64.b64encode(each.blob) for each in offered] * 2, listed)
        signed = await client.run(f"ssh-add -T {self.public_file(*offered)}")
        self.assertEqual((signed.out, signed.ending), (b"", Ending(0)), signed.err)
        unknown = await client.run(f"ssh-add -T {self.public_file(KeyIdentity.of(samples.ecdsa_key(256)))}")
        self.assertIn(b"agent refused operation", unknown.err)

    def public_file(self, *identities: KeyIdentity) -> str:
        self.write("asked.pub", "".join(f"{keys.public_line(each.blob)}\n" for each in identities))
        return f"{self.folder}/asked.pub"


class Asks(LoginPolicy):
    """Two questions, or a password; then it lets in whom it was made for."""

    def __init__(self, let_in: Callable[[], Awaitable[Answer]]) -> None:
        self._let_in = let_in

    def methods(self, user: str) -> Sequence[str]:
        return ("keyboard-interactive", "password")

    async def interact(self, attempt: Attempt, ask: Ask) -> Answer:
        given = await ask(Question("Code: "), Question("Colour: ", echo=True), name="Factor", instruction="Two things.")
        if given != ("123456", "blau"):
            raise AccessDenied("The answers are wrong.")
        return await self._let_in()

    async def password(self, attempt: Attempt, password: str) -> Answer:
        if password != "größer":
            raise AccessDenied("The password is wrong.")
        return await self._let_in()


class CertificateAndMore(OnePerson):
    """A certificate, and then what :class:`Asks` wants."""

    async def login(self, claim: Claim) -> Answer:
        self.check(claim)
        return Partial(Asks(partial(super().login, claim)))


class StepsTests(BothCase):
    """Logins of several steps, between both of ours."""

    def setUp(self) -> None:
        super().setUp()
        self.policy = CertificateAndMore()
        self.factory.login_policy = self.policy

    async def test_certificate_and_questions(self) -> None:
        """A certificate, then questions, of which the first answers were wrong."""
        asked: list[Questions] = []
        answers = [("0", ""), ("123456", "blau")]

        async def answer(questions: Questions) -> Sequence[str]:
            asked.append(questions)
            return answers.pop(0)

        options = self.options()
        options = evolve(options, credentials=evolve(options.credentials, answer=answer))
        client = await self.connected(options)
        self.assertEqual((await client.run("echo in")).out, b"in\n")
        wanted = (Question("Code: "), Question("Colour: ", echo=True))
        self.assertEqual(asked, [Questions("Factor", "Two things.", wanted)] * 2)

    async def test_certificate_and_password(self) -> None:
        """A certificate, then a password."""

        async def password() -> str:
            return "größer"

        options = self.options()
        client = await self.connected(evolve(options, credentials=evolve(options.credentials, password=password)))
        self.assertEqual((await client.run("echo in")).out, b"in\n")

    async def test_the_first_step_is_not_enough(self) -> None:
        """The certificate alone; the sentence says what else the server takes."""
        with self.assertRaisesRegex(LoginRefused, "It takes: keyboard-interactive, password. Tried: ssh-ed25519-cert"):
            await self.connected()


class BytesTests(BothCase):
    async def test_every_algorithm(self) -> None:
        """Each method, cipher and MAC, with compression and without, and new keys in the middle."""
        self.offer_everything()
        data = hashlib.shake_256(b"data").digest(400_000)
        first = (algorithms.KEY_EXCHANGES[0], algorithms.CIPHERS[0], algorithms.MACS[0], b"none")
        choices = [(each, *first[1:]) for each in algorithms.KEY_EXCHANGES]
        choices += [(first[0], each, *first[2:]) for each in algorithms.CIPHERS]
        choices += [(first[0], b"aes128-ctr", each, b"none") for each in algorithms.MACS]
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
