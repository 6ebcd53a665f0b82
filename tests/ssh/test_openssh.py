"""The engine against OpenSSH's own client, scp and agent: every byte, every status, every refusal."""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
import time

from teleport_conch.certs.certificate import option
from tests.certs import samples
from tests.interop.requirements import require
from tests.ssh.engine import SFTP_SERVER, USER, OpenSSHCase, user_certificate
from tests.ssh.streams import FarEnds

MEGABYTES = 8_000_000


class LoginTests(OpenSSHCase):
    async def test_certificates_on_both_sides(self) -> None:
        """No question, no warning, no password: the host is known by its authority, the person by theirs."""
        done = await self.at_web1("echo $LC_TEST; exit 3", options=["-o", "SendEnv=LC_TEST"], LC_TEST="set")
        self.assertEqual((done.out, done.err, done.code), (b"set\n", b"", 3))

    async def test_refused(self) -> None:
        """The person reads why: another login, a foreign authority, a certificate that has ended."""
        foreign = samples.OTHER_USER_CA.sign_user_ssh(
            samples.SSH_BLOB, name="eve", logins=[USER], roles=[], traits={}, ttl_s=600, now=time.time()
        )
        for certificate, login, sentence in (
            (user_certificate(), "somebody", b"The certificate is not for 'somebody'."),
            (foreign, USER, b"is signed by an authority that is not trusted here."),
            (user_certificate(valid_before=int(time.time()) - 100), USER, b"seconds ago; get a new one"),
        ):
            self.write("key-cert.pub", certificate.to_line() + "\n")
            done = await self.at_web1("id", options=["-l", login])
            self.assertEqual((done.out, done.code), (b"", 255))
            self.assertIn(sentence, done.err)
            self.assertIn(b"Permission denied (publickey).", done.err)
        self.assertEqual(len(self.policy.refusals), 3)

    async def test_plain_key(self) -> None:
        """The key without its certificate opens nothing."""
        (self.folder / "key-cert.pub").unlink()
        done = await self.at_web1("id")
        self.assertEqual((done.out, done.code, self.policy.refusals), (b"", 255, []))

    async def test_another_host(self) -> None:
        """A client that expects another authority does not go on, nor one that expects another name."""
        known = (self.folder / "known_hosts").read_text()
        self.write("known_hosts", known.replace("* ", "*.elsewhere "))
        self.assertIn(b"Host key verification failed.", (await self.at_web1("id")).err)
        self.write("known_hosts", known)
        done = await self.at_web1("id", options=["-o", "HostKeyAlias=web2"])
        self.assertIn(b"Host key verification failed.", done.err)
        self.assertEqual(self.policy.logins, [])


class BytesTests(OpenSSHCase):
    async def test_down(self) -> None:
        """All of 8,000,000 bytes, also with new keys every megabyte."""
        for options in ([], ["-o", "RekeyLimit=1M"]):
            done = await self.at_web1(f"head -c {MEGABYTES} /dev/zero", options=options)
            self.assertEqual((len(done.out), done.err, done.code), (MEGABYTES, b"", 0))

    async def test_up(self) -> None:
        """The same in the other direction."""
        for options in ([], ["-o", "RekeyLimit=1M"]):
            done = await self.at_web1("wc -c", options=options, stdin=bytes(MEGABYTES))
            self.assertEqual((done.out.strip(), done.code), (str(MEGABYTES).encode(), 0))

    async def test_both_at_once(self) -> None:
        """And in both, through one channel."""
        done = await self.at_web1("cat", stdin=bytes(MEGABYTES))
        self.assertEqual((len(done.out), done.code), (MEGABYTES, 0))

    async def test_output_that_nobody_wants(self) -> None:
        """A command whose output is cut off ends, as it does under sshd."""
        command = f"{self.ssh} -F {self.folder}/config web1 yes | head -n 1"
        done = await self.program("/bin/sh", "-c", command)
        self.assertEqual((done.out, done.code), (b"y\n", 0))

    async def test_scp(self) -> None:
        """A file there and back, by way of OpenSSH's sftp-server."""
        require(SFTP_SERVER, "openssh-sftp-server")
        scp = require("scp", "openssh-client")
        text = bytes(range(256)) * 4096
        (self.folder / "file").write_bytes(text)
        for source, target in (("file", "web1:{}/there"), ("web1:{}/there", "back")):
            words = [
                word.format(self.folder) if word.startswith("web1:") else str(self.folder / word)
                for word in (source, target)
            ]
            done = await self.program(scp, "-F", str(self.folder / "config"), *words)
            self.assertEqual((done.err, done.code), (b"", 0))
        self.assertEqual((self.folder / "back").read_bytes(), text)


class SessionTests(OpenSSHCase):
    async def test_terminal(self) -> None:
        """With a terminal, programs see one; a signal ends the session as it ends the program."""
        done = await self.at_web1("tty; test -t 0 && echo yes; kill -9 $$", options=["-tt"])
        self.assertRegex(done.out, rb"/dev/pts/\d+\r\nyes\r\n")
        self.assertEqual(done.code, 255)

    async def test_several_sessions(self) -> None:
        """One connection carries several sessions, one after the other and at once."""
        folder = tempfile.mkdtemp(prefix="mux")  # a short name, as sockets need one
        self.addCleanup(shutil.rmtree, folder)
        master = ["-o", f"ControlPath={folder}/socket", "-o", "ControlMaster=auto", "-o", "ControlPersist=30"]
        try:
            first = await self.at_web1("echo first", options=master)
            more = [self.start(self.at_web1(f"echo {name}", options=master)) for name in ("second", "third")]
            answers = [getattr(await answer, "out", b"") for answer in more]
        finally:
            await self.at_web1(options=[*master, "-O", "exit"])
        self.assertEqual([first.out, *answers], [b"first\n", b"second\n", b"third\n"])
        self.assertEqual(len(self.policy.logins), 1)

    async def test_agent(self) -> None:
        """A program there sees the keys of the agent here, while the session lasts."""
        agent, add = require("ssh-agent", "openssh-client"), require("ssh-add", "openssh-client")
        ssh = f"{self.ssh} -A -o IdentityAgent=SSH_AUTH_SOCK -F {self.folder}/config"
        command = f"{add} -q {self.folder}/key && {ssh} web1 {add} -l"
        done = await self.program(agent, "/bin/sh", "-c", command)
        self.assertEqual((len(re.findall(rb"ED25519", done.out)), done.code), (2, 0), done.err)

    async def test_no_agent(self) -> None:
        """Without forwarding there is none."""
        done = await self.at_web1('echo "agent: $SSH_AUTH_SOCK"')
        self.assertEqual(done.out, b"agent: \n")


class ForwardingTests(OpenSSHCase):
    async def test_stdio(self) -> None:
        """``ssh -W`` reaches a port behind the server, and ends when the port does."""
        ends = FarEnds(b"greeting")
        port = self.listen(ends)
        answer = self.start(self.at_web1(options=["-W", f"127.0.0.1:{port}"], stdin=b"question"))
        await self.until(lambda: bool(ends.made) and ends.made[0].ends == ["eof"])
        self.assertEqual(ends.made[0].received, b"question")
        ends.made[0].transport.write(b" and answer")
        ends.made[0].transport.loseConnection()
        self.assertEqual(getattr(await answer, "out", None), b"greeting and answer")

    async def test_refused_port(self) -> None:
        """A port on which nobody listens is a refusal that the person reads."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        done = await self.at_web1(options=["-W", f"127.0.0.1:{port}"])
        self.assertEqual(done.code, 255)
        self.assertIn(f"127.0.0.1:{port} cannot be reached: Connection refused.".encode(), done.err)


class CertificateLimitTests(OpenSSHCase):
    async def test_source_address(self) -> None:
        """A certificate for other addresses is refused, and one for ours is not."""
        for networks, code in (("192.0.2.0/24", 255), ("127.0.0.0/8", 0)):
            limits = (option("source-address", networks),)
            self.write("key-cert.pub", user_certificate(critical_options=limits).to_line() + "\n")
            self.assertEqual((await self.at_web1("true")).code, code)

    async def test_keygen_reads_ours(self) -> None:
        """``ssh-keygen`` reads the certificates that these tests log in with."""
        keygen = require("ssh-keygen", "openssh-client")
        done = await self.program(keygen, "-L", "-f", str(self.folder / "key-cert.pub"))
        self.assertIn(b'Key ID: "alice"', done.out)
