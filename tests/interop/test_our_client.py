"""Our SSH client against OpenSSH's ``sshd``, and against AsyncSSH for what the system's ``sshd`` may not know."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from attrs import evolve
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IReactorUNIX, IStreamClientEndpoint
from twisted.internet.utils import getProcessOutputAndValue

from teleport_conch.certs import keys
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.errors import ConnectionProblem, TooLarge
from teleport_conch.ssh.client import host_offer
from teleport_conch.ssh.client.agent_client import connect_agent
from teleport_conch.ssh.client.auth import Credentials, LoginRefused, Questions
from teleport_conch.ssh.client.connection import ClientConnection, connect
from teleport_conch.ssh.client.host_offer import HostKeyRefused, HostName
from teleport_conch.ssh.client.identities import Identity, KeyIdentity
from teleport_conch.ssh.client.known_hosts import (
    HostKeyChanged,
    HostKeyRevoked,
    HostKeyUnknown,
    KnownHosts,
    KnownHostsVerifier,
)
from teleport_conch.ssh.client.session import ERR, OUT, ClientSession, Ending
from teleport_conch.ssh.client.transport import ClientOptions
from teleport_conch.ssh.connection.channel import ChannelRefused
from teleport_conch.ssh.connection.requests import RequestRefused
from teleport_conch.ssh.session.channel import SessionStart, TerminalRequest
from teleport_conch.ssh.transport import algorithms, kex
from teleport_conch.ssh.transport.rekeying import RekeyLimits
from tests.interop.openssh_server import (
    KEY_TYPES,
    USER,
    OpenSSHServer,
    certify,
    free_port,
    make_key,
    private_folder,
    start,
    start_agent,
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


class SessionTests(ClientCase):
    async def test_exec(self) -> None:
        """Output, errors, status and signal arrive as they are."""
        self.server.start(self)
        client = await self.connected()
        done = await client.run("cat; echo oops >&2; exit 7", b"input")
        self.assertEqual((done.out, done.err, done.ending), (b"input", b"oops\n", Ending(7)))
        killed = (await client.run("kill -TERM $$")).ending
        self.assertEqual((killed.status, killed.signal), (None, "TERM"))

    async def test_signal(self) -> None:
        """A signal that we send arrives."""
        if USER == "root":
            self.skipTest("sshd sends no signals to the sessions of root")
        self.server.start(self)
        session, receiver = await self.listening(await self.connected(), SessionStart("exec", "exec sleep 100"))
        session.signal("KILL")
        await self.until(lambda: receiver.ending is not None)
        self.assertEqual(cast(Ending, receiver.ending).signal, "KILL")

    async def test_terminal(self) -> None:
        """Size, kind and change of size of the terminal, and variables."""
        self.server.start(self)
        begin = SessionStart("shell", "", XTERM, {"LC_TEST": "set"})
        session, receiver = await self.listening(await self.connected(), begin)
        out = receiver.streams[OUT]
        session.write(b"stty size; echo $TERM-$LC_TEST\n")
        await self.until(lambda: b"43 132\r\n" in out and b"xterm-256color-set\r\n" in out)
        session.resize(80, 24)
        session.write(b"stty size; exit 3\n")
        await self.until(lambda: receiver.ending is not None)
        self.assertIn(b"24 80\r\n", out)
        self.assertEqual(receiver.ending, Ending(3))

    async def test_shell_without_a_terminal(self) -> None:
        """A script on standard input."""
        self.server.start(self)
        session, receiver = await self.listening(await self.connected(), SessionStart("shell"))
        session.write(b"echo one; echo two\n")
        session.send_eof()
        await self.until(lambda: receiver.ending is not None)
        self.assertTrue(receiver.streams[OUT].endswith(b"one\ntwo\n"))
        self.assertEqual((receiver.eof, receiver.ending), (True, Ending(0)))

    async def test_sftp(self) -> None:
        """The subsystem answers the version that it speaks."""
        self.server.start(self)
        session, receiver = await self.listening(await self.connected(), SessionStart("subsystem", "sftp"))
        out = receiver.streams[OUT]
        session.write(b"\0\0\0\5\1\0\0\0\3")
        await self.until(lambda: len(out) > 9)
        self.assertEqual(out[4:9], b"\2\0\0\0\3")
        session.close()
        await self.until(lambda: receiver.ending is not None)

    async def test_refused(self) -> None:
        """A subsystem that there is not, a terminal that is not given, and sessions beyond the server's limit."""
        self.server.start(self, PermitTTY="no", MaxSessions=1)
        error = await self.failing(
            (await self.connected()).open_session(SessionStart("subsystem", "nothing"), Listening())
        )
        self.assertEqual((type(error), str(error)), (RequestRefused, "The server does not start what was asked for."))
        error = await self.failing(self.start_it(SessionStart("shell", "", XTERM)))
        self.assertEqual((type(error), str(error)), (RequestRefused, "The server gives this session no terminal."))
        client = await self.connected()
        first, _ = await self.listening(client, SessionStart("exec", "cat"))
        error = await self.failing(client.run("id"))
        self.assertEqual((type(error), str(error)), (ChannelRefused, "open failed"))
        first.close()

    async def start_it(self, begin: SessionStart) -> None:
        await (await self.connected()).open_session(begin, Listening())

    async def failing(self, coroutine: object) -> Exception:
        try:
            await self.start(coroutine)
        except Exception as problem:  # noqa: BLE001  # the test looks at it
            return problem
        raise self.failureException("it did not fail")


class BytesTests(ClientCase):
    async def test_whole(self) -> None:
        """Eight megabytes arrive whole, up, down, and both at once."""
        self.server.start(self)
        client = await self.connected()
        data = hashlib.shake_256(b"data").digest(MEGABYTES)
        done = await client.run("tee /dev/stderr", data)
        self.assertEqual((done.out == data, done.err == data, done.ending), (True, True, Ending(0)))
        self.assertEqual((await client.run("wc -c", data)).out, b"%d\n" % MEGABYTES)

    async def test_rekey(self) -> None:
        """So they do while both sides change keys with every megabyte."""
        self.server.start(self, RekeyLimit="1M", LogLevel="DEBUG1")
        options = evolve(self.options(), rekey_limits=RekeyLimits(data_bytes=1 << 20))
        client = await self.connected(options)
        data = hashlib.shake_256(b"data").digest(MEGABYTES)
        self.assertTrue((await client.run("cat", data)).out == data)
        self.assertGreater(self.server.said("SSH2_MSG_NEWKEYS received"), 8)

    async def test_rekey_by_one_side(self) -> None:
        """Or only one of them."""
        data = hashlib.shake_256(b"data").digest(MEGABYTES)
        self.server.start(self)
        ours = await self.connected(evolve(self.options(), rekey_limits=RekeyLimits(data_bytes=1 << 20)))
        self.assertTrue((await ours.run("cat", data)).out == data)
        self.server.port = free_port()
        self.server.start(self, RekeyLimit="1M", LogLevel="DEBUG1")
        theirs = await self.connected()
        self.assertTrue((await theirs.run("cat", data)).out == data)
        self.assertGreater(self.server.said("SSH2_MSG_NEWKEYS received"), 8)

    async def test_back_pressure(self) -> None:
        """A program that says more than is used has to wait, and goes on when it is."""
        self.server.start(self)
        session, receiver = await self.listening(
            await self.connected(), SessionStart("exec", "head -c 8000000 /dev/zero"), hungry=False
        )
        await self.until(lambda: receiver.unused == session.receive_window.size)
        await self.turns(50)
        self.assertEqual(receiver.unused, 2 << 20)
        receiver.hungry = True
        receiver.use(session)
        await self.until(lambda: receiver.ending is not None)
        self.assertEqual((len(receiver.streams[OUT]), receiver.ending), (MEGABYTES, Ending(0)))

    async def test_too_much(self) -> None:
        """A program that says more than is to be kept is hung up on."""
        self.server.start(self)
        client = await self.connected()
        with self.assertRaisesRegex(TooLarge, "The program says more than 1000 bytes, which is the limit."):
            await client.run("yes", max_bytes=1000)

    async def test_our_producer_waits(self) -> None:
        """Who writes is paused while the program does not read."""
        self.server.start(self)
        session, receiver = await self.listening(
            await self.connected(), SessionStart("exec", "read go; exec cat >/dev/null")
        )
        writer = Writer(session)
        session.registerProducer(writer)
        writer.resumeProducing()
        await self.until(lambda: writer.paused)
        self.assertLess(writer.written, 6 << 20)
        session.unregisterProducer()
        session.close()
        await self.until(lambda: receiver.ending is not None)


class Writer:
    """Writes until it is paused."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session
        self.written = 0
        self.paused = False

    def resumeProducing(self) -> None:
        self.paused = False
        while not self.paused and self.written < 64 << 20:
            self.written += 1 << 16
            self.session.write(bytes(1 << 16))

    def pauseProducing(self) -> None:
        self.paused = True

    def stopProducing(self) -> None:
        self.paused = True


class AlgorithmTests(ClientCase):
    def supported(self, what: str) -> set[bytes]:
        listed = subprocess.run(["ssh", "-Q", what], capture_output=True, check=True).stdout
        return set(listed.split())

    async def test_key_exchanges(self) -> None:
        """Each method that both have."""
        self.server.start(self)
        both = [name for name in algorithms.KEY_EXCHANGES if name in self.supported("kex")]
        self.assertGreaterEqual(len(both), 5)
        for name in both:
            client = await self.connected(evolve(self.options(), kex=(name,)))
            self.assertEqual((await client.run("echo hello")).out, b"hello\n", name)
            client.close()

    async def test_ciphers_and_macs(self) -> None:
        """Each cipher, and each MAC where there is one."""
        everything = ",".join(name.decode() for name in algorithms.CIPHERS)
        macs = ",".join(name.decode() for name in algorithms.MACS)
        self.server.start(self, Ciphers=everything, MACs=macs)
        pairs = [(cipher, algorithms.MACS[0]) for cipher in algorithms.CIPHERS]
        pairs += [(b"aes128-ctr", mac) for mac in algorithms.MACS]
        for cipher, mac in pairs:
            client = await self.connected(evolve(self.options(), ciphers=(cipher,), macs=(mac,)))
            data = bytes(100_000)
            self.assertTrue((await client.run("cat", data)).out == data, (cipher, mac))
            client.close()

    async def test_compression(self) -> None:
        """Compression begins with the login, and survives new keys."""
        self.server.start(self, Compression="yes")
        options = evolve(
            self.options(), compressions=(b"zlib@openssh.com",), rekey_limits=RekeyLimits(data_bytes=1 << 18)
        )
        data = hashlib.shake_256(b"data").digest(1_000_000)
        self.assertTrue((await (await self.connected(options)).run("cat", data)).out == data)

    async def test_host_keys(self) -> None:
        """Each type of host key, by its certificate and by its line."""
        self.server.start(self)
        lines = "".join(f"[web1]:3022 {self.server.public(f'host_{kind}')}\n" for kind in KEY_TYPES)
        kinds = [b"ssh-ed25519", b"ecdsa-sha2-nistp256", b"rsa-sha2-512", b"rsa-sha2-256"]
        certified = [name + b"-cert-v01@openssh.com" for name in kinds]
        for known, wanted in ((self.known, certified), (lines, kinds)):
            for name in wanted:
                self.known = known
                verifier = OneAlgorithm(name, KnownHosts.parse(known))
                client = await self.connected(evolve(self.options(), hosts=verifier))
                self.assertEqual(verifier.shown, [name])
                client.close()

    async def test_mlkem(self) -> None:
        """ML-KEM, with a server that knows it."""
        if not kex.HAS_MLKEM:
            self.skipTest("the OpenSSL of this Python has no ML-KEM")
        port = start_asyncssh(self, self.folder)
        self.known = f"[web1]:3022 {self.server.public('host_ed25519')}\n"
        options = evolve(self.options(), kex=(b"mlkem768x25519-sha256",), credentials=self.alice())
        client = await self.connected(options, TCP4ClientEndpoint(tcp, "127.0.0.1", port))
        done = await client.run("hello")
        self.assertEqual((done.out, done.ending), (b"you said hello\n", Ending(5)))

    def alice(self) -> Credentials:
        return Credentials("alice", [self.identity()])


class OneAlgorithm:
    """Known hosts that are asked for one algorithm only."""

    def __init__(self, name: bytes, known: KnownHosts) -> None:
        self.name = name
        self.known = known
        self.shown: list[bytes] = []

    def algorithms(self, name: HostName) -> tuple[bytes, ...]:
        return (self.name,)

    async def verify(self, offer: host_offer.HostKeyOffer) -> None:
        # Later, as it would be where a person is asked; the server's next message is on its way.
        later: Deferred[None] = Deferred()
        clock.callLater(0.05, later.callback, None)
        await later
        self.shown.append(offer.algorithm)
        self.known.check(offer, time.time())


def start_asyncssh(case: StreamCase, folder: Path, *methods: str) -> int:
    port, log = free_port(), folder / "asyncssh.log"
    words = [str(port), str(folder / "host_ed25519"), str(folder / "authorized"), *methods]
    start(case, [sys.executable, "-m", "tests.interop.asyncssh_server", *words], log)
    wait_for_port(port, log)
    return port


class LoginTests(ClientCase):
    async def test_keys(self) -> None:
        """Keys of each type; RSA signs with SHA-2."""
        self.server.start(self)
        for kind, bits in (("ed25519", ""), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "2048")):
            name = f"user_{kind}{bits}"
            self.server.authorize(make_key(self.folder / name, kind, *(["-b", bits] if bits else [])))
            client = await self.connected(self.options(self.identity(name)))
            client.close()
        await self.until(lambda: self.server.said("Accepted publickey") == 5)  # written by another process

    async def test_certificates(self) -> None:
        """Certificates over keys of each type."""
        self.server.start(self)
        for kind in KEY_TYPES:
            make_key(self.folder / f"certified_{kind}", kind)
            public = self.folder / f"certified_{kind}.pub"
            certificate = certify(self.folder / "user_ca", public, "-n", USER, "-V", "-1m:+1h")
            client = await self.connected(self.options(self.identity(f"certified_{kind}", certificate)))
            client.close()
        self.assertEqual(self.server.said("-CERT SHA256:"), 3)

    async def test_the_second_key(self) -> None:
        """A key that is not wanted is no end; the one behind it is."""
        self.server.start(self)
        make_key(self.folder / "unknown")
        await self.connected(self.options(self.identity("unknown"), self.identity()))

    async def test_agent(self) -> None:
        """Keys and certificates that an agent holds, RSA among them."""
        self.server.start(self)
        names = [f"agent_{kind}" for kind in KEY_TYPES]
        for name, kind in zip(names, KEY_TYPES, strict=True):
            self.server.authorize(make_key(self.folder / name, kind))
        make_key(self.folder / "held")
        certify(self.folder / "user_ca", self.folder / "held.pub", "-n", USER, "-V", "-1m:+1h")
        path = start_agent(self, self.folder, *(self.folder / name for name in (*names, "held")))
        endpoint = UNIXClientEndpoint(cast(IReactorUNIX, installed_reactor), str(path))
        agent = await connect_agent(clock, endpoint)
        self.addCleanup(agent.close)
        identities = await agent.identities()
        self.assertEqual(len(identities), 5)
        logins = 0
        for identity in identities:
            if "ssh-ed25519 " in identity.name and "held" in identity.name:
                continue
            try:
                client = await self.connected(self.options(identity))
            except LoginRefused:
                self.assertEqual(identity.blob, self.identity("held").blob)
                continue
            client.close()
            logins += 1
        self.assertEqual(logins, 4)

    async def test_refused(self) -> None:
        """The sentence says what the server takes and what was tried; the server's own limit says so, too."""
        self.server.start(self, MaxAuthTries=2)
        make_key(self.folder / "unknown")
        unknown = self.identity("unknown")
        sentence = await self.refused(LoginRefused, self.options(unknown))
        self.assertEqual(sentence, f"The server does not let '{USER}' in. It takes: publickey. Tried: {unknown.name}.")
        sentence = await self.refused(ConnectionProblem, self.options(unknown, unknown, unknown))
        self.assertIn("[web1]:3022 ended the connection: Too many authentication failures", sentence)

    async def test_password_and_questions(self) -> None:
        """Passwords and questions, the first of them wrong, and the server's texts."""
        port = start_asyncssh(self, self.folder, "password", "questions")
        self.known = f"[web1]:3022 {self.server.public('host_ed25519')}\n"
        asked: list[Questions] = []
        answers = [("wrong", "0"), ("secret", "123456")]
        passwords = ["wrong", "secret"]

        async def answer(questions: Questions) -> Sequence[str]:
            asked.append(questions)
            return answers.pop(0)

        async def password() -> str:
            return passwords.pop(0)

        for credentials in (Credentials("alice", answer=answer), Credentials("alice", password=password)):
            options = evolve(self.options(), credentials=credentials)
            client = await self.connected(options, TCP4ClientEndpoint(tcp, "127.0.0.1", port))
            client.close()
        self.assertEqual((answers, passwords), ([], []))
        self.assertEqual((asked[0].name, asked[0].instruction), ("Two things", "Answer both."))

    async def test_two_steps(self) -> None:
        """A key, and then another one, where the server wants both."""
        self.server.authorize(make_key(self.folder / "second"))
        self.server.start(self, AuthenticationMethods="publickey,publickey")
        await self.connected(self.options(self.identity(), self.identity("second")))
        sentence = await self.refused(LoginRefused)
        self.assertIn("It takes: publickey. Tried: ssh-ed25519 SHA256:", sentence)

    async def test_banner(self) -> None:
        """The server's text before the login, without what would move a cursor."""
        (self.folder / "banner").write_bytes(b"\x1b[31mAuthorised people only.\x07\n")
        self.server.start(self, Banner=self.folder / "banner")
        banners: list[str] = []
        options = self.options()
        await self.connected(evolve(options, credentials=evolve(options.credentials, banner=banners.append)))
        self.assertEqual(banners, ["[31mAuthorised people only.\n"])


class HostTests(ClientCase):
    """Threats 57, 106 and 110, against a real server."""

    async def test_wrong_key(self) -> None:
        """Another key is known: refused, whatever the server's certificate says."""
        self.server.start(self)
        self.known = f"[web1]:3022 {make_key(self.folder / 'other')}\n"
        self.assertIn("The host key of [web1]:3022 has changed: ", await self.refused(HostKeyChanged))
        self.assertEqual(self.server.said("Accepted"), 0)

    async def test_unknown(self) -> None:
        """Nothing is known; the fingerprint is that of the server's key."""
        self.server.start(self)
        self.known = ""
        fingerprint = keys.fingerprint(keys.blob_of_line(self.server.public("host_ed25519")))
        self.assertIn(f"which shows ssh-ed25519 {fingerprint}. ", await self.refused(HostKeyUnknown))

    async def test_certificates(self) -> None:
        """Expired, for another name, of another authority: refused, although the plain key is known."""
        self.known += f"[web1]:3022 {self.server.public('host_ed25519')}\n"
        for options, why in (
            (("-n", "web1", "-V", "-2h:-1h"), "seconds ago; get a new one, or compare the clocks."),
            (("-n", "web2", "-V", "-1m:+1h"), "The certificate is not for 'web1'."),
            (("-V", "-1m:+1h"), "The certificate has no principals, so that it is good for nobody."),
            (("-n", "web1", "-V", "-1m:forever"), "The certificate never ends; one that expires is due."),
        ):
            self.server.port = free_port()
            self.server.certify_host("ed25519", *options)
            self.server.start(self)
            sentence = await self.refused(HostKeyRefused)
            self.assertIn("The host certificate of [web1]:3022 is refused: ", sentence)
            self.assertIn(why, sentence)

    async def test_revoked(self) -> None:
        """The key in a certificate that is good is revoked."""
        self.server.start(self)
        self.known += f"@revoked * {self.server.public('host_ed25519')}\n"
        self.assertIn("shows a key that is revoked", await self.refused(HostKeyRevoked))

    async def test_hashed_by_openssh(self) -> None:
        """A file whose names OpenSSH has hashed."""
        self.server.start(self)
        path = self.folder / "known"
        path.write_text(f"[web1]:3022 {self.server.public('host_ed25519')}\n")
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(path)], check=True, capture_output=True)
        self.known = path.read_text()
        self.assertTrue(self.known.startswith("|1|"))
        await self.connected()

    async def test_no_server(self) -> None:
        """A port on which nobody listens, and a server that speaks something else."""
        self.assertEqual(await self.refused(ConnectionProblem), "[web1]:3022 cannot be reached: Connection refused.")


class JumpTests(ClientCase):
    async def test_jump(self) -> None:
        """Through one server to another, with a key of its own for each; eight megabytes and new keys on both."""
        self.server.start(self)
        behind = OpenSSHServer.prepare(self.inner_folder())
        behind.authorize(self.server.public("key"))
        behind.start(self)
        self.known += f"@cert-authority inner {behind.public('host_ca')}\n"
        behind.certify_host("ed25519", "-n", "inner", "-V", "-1m:+1h")
        behind.port = free_port()
        behind.start(self)
        limits = RekeyLimits(data_bytes=1 << 20)
        first = await self.connected(evolve(self.options(), rekey_limits=limits))
        inner = evolve(self.options(name="inner"), rekey_limits=limits)
        second = await self.connected(inner, first.to("127.0.0.1", behind.port))
        data = hashlib.shake_256(b"data").digest(MEGABYTES)
        self.assertTrue((await second.run("cat", data)).out == data)
        second.close()
        self.assertIs(await second.ended(), None)
        self.assertEqual((await first.run("echo still here")).out, b"still here\n")

    def inner_folder(self) -> Path:
        folder = self.folder / "inner"
        folder.mkdir()
        return folder

    async def test_the_first_hops_key(self) -> None:
        """The first hop's key is not that of the second (threat 106)."""
        self.server.start(self)
        self.known = f"[web1]:3022 {self.server.public('host_ed25519')}\n"
        first = await self.connected()
        try:
            await self.connected(self.options(name="inner"), first.to("127.0.0.1", self.server.port))
        except HostKeyUnknown as refusal:
            self.assertIn("No host key is known for [inner]:3022, ", str(refusal))
        else:
            raise self.failureException("it was not refused")

    async def test_not_reachable(self) -> None:
        """A port behind the first server on which nobody listens."""
        self.server.start(self)
        first = await self.connected()
        port = free_port()
        try:
            await self.connected(self.options(name="inner"), first.to("127.0.0.1", port))
        except ConnectionProblem as problem:
            self.assertEqual(
                problem.sentence,
                f"127.0.0.1:{port} cannot be reached through the host in between: Connection refused",
            )
        else:
            raise self.failureException("it was not refused")

    async def test_the_first_one_goes(self) -> None:
        """When the first connection ends, so does what went through it."""
        self.server.start(self)
        first = await self.connected()
        second = await self.connected(endpoint=first.to("127.0.0.1", self.server.port))
        first.close()
        problem = await second.ended()
        self.assertEqual(str(problem), "[web1]:3022 ended the connection without saying why.")


class ExampleTests(ClientCase):
    """The example of the manual."""

    async def run_example(self, *words: str) -> tuple[bytes, bytes, int]:
        agent = start_agent(self, self.folder, self.folder / "key")
        (self.folder / ".ssh").mkdir()
        (self.folder / ".ssh" / "known_hosts").write_text(self.known)
        script = Path(__file__).parents[2] / "examples" / "ssh_run.py"
        variables = {"HOME": str(self.folder), "SSH_AUTH_SOCK": str(agent), "PATH": os.defpath}
        target = f"{USER}@127.0.0.1:{self.server.port}"
        ended = getProcessOutputAndValue(sys.executable, [str(script), target, *words], env=variables)
        out, err, code = await ended
        return out, err, code

    async def test_run(self) -> None:
        """What a command says, and its status."""
        self.server.start(self)
        self.known = f"[127.0.0.1]:{self.server.port} {self.server.public('host_ed25519')}\n"
        self.assertEqual(await self.run_example("echo", "out;", "echo err >&2;", "exit 7"), (b"out\n", b"err\n", 7))

    async def test_refused(self) -> None:
        """A sentence, and no traceback."""
        self.server.start(self)
        self.known = ""
        out, err, code = await self.run_example("id")
        self.assertEqual((out, code), (b"", 1))
        self.assertTrue(err.startswith(b"No host key is known for [127.0.0.1]:"), err)
        self.assertEqual(err.count(b"\n"), 1, err)
