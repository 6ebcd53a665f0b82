"""A server in somebody else's hands: what it asks of the monitor, and what it gets.

It has the socket, every certificate and signature that clients sent to it or to hosts whose keys it holds, and any key
of its own. It has no key of an authority and no key of a person.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from uuid import uuid4

from attrs import evolve
from twisted.internet.defer import Deferred

from teleport_conch import errors, wire
from teleport_conch.certs import keys, public_key
from teleport_conch.certs.signatures import Signature, verify
from teleport_conch.errors import AccessDenied, BadParameter, SpawnFailed, TeleportError
from teleport_conch.ssh.login.proof import LoginProof
from teleport_conch.ssh.monitor import orders
from teleport_conch.ssh.monitor.cookies import Cookies
from teleport_conch.ssh.monitor.exchanges import pack_transcript
from teleport_conch.ssh.monitor.frames import Frame
from teleport_conch.ssh.monitor.orders import Program
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.processes.monitored import Monitor
from teleport_conch.ssh.transport.hostkeys import proved_part
from tests.certs import samples
from tests.ssh.monitor.servers import (
    HOST_BLOB,
    HOST_KEY,
    MonitorCase,
    host_certificate,
    own_name,
    signed_proof,
    transcript,
    user_certificate,
)

ALGORITHM_OF_HOSTS = b"ssh-ed25519-cert-v01@openssh.com"


class CapturedCase(MonitorCase):
    async def denied(self, monitor: Monitor, proof: LoginProof, kind: type[TeleportError], host: str = "::1") -> str:
        return await self.refused(monitor.log_in(proof, host), kind)


class CapturedServerTests(CapturedCase):
    """It gets the accounts whose certificate and signature it holds, and no other."""

    async def test_what_it_holds(self) -> None:
        """A login that is as it should be: this is what the others lack."""
        monitor = await self.ready_monitor()
        proof = signed_proof(await self.session(monitor), own_name(), user_certificate(time.time(), own_name()))
        login = await monitor.log_in(proof, "::1")
        self.assertEqual((await self.run_to_end(login, Program("exit 5", {})))[1], ExitStatus(code=5))

    async def test_another_account(self) -> None:
        """A certificate for one account opens no other, whatever the signature is over."""
        monitor = await self.ready_monitor()
        proof = signed_proof(await self.session(monitor), own_name(), user_certificate(time.time(), "nobody"))
        sentence = await self.denied(monitor, proof, errors.CertificatePrincipal)
        self.assertEqual(sentence, f"The certificate is not for '{own_name()}'.")

    async def test_another_user_name(self) -> None:
        """The user name is under the signature."""
        monitor = await self.ready_monitor()
        certificate = user_certificate(time.time(), "nobody", own_name())
        proof = evolve(signed_proof(await self.session(monitor), "nobody", certificate), user=own_name())
        sentence = await self.denied(monitor, proof, AccessDenied)
        self.assertEqual(sentence, "The signature of the login is not accepted: it does not fit the key.")

    async def test_its_own_authority(self) -> None:
        """It can make authorities, and the monitor does not know them."""
        monitor = await self.ready_monitor()
        certificate = user_certificate(time.time(), own_name(), authority=samples.OTHER_USER_CA)
        await self.denied(
            monitor,
            signed_proof(await self.session(monitor), own_name(), certificate),
            errors.CertificateAuthorityUnknown,
        )

    async def test_certificate_without_its_key(self) -> None:
        """It has seen the certificate of somebody whose key it does not have."""
        monitor = await self.ready_monitor()
        theirs = keys.public_blob(keys.generate_ssh_key().public_key())
        certificate = user_certificate(time.time(), own_name(), public_key=theirs)
        await self.denied(monitor, signed_proof(await self.session(monitor), own_name(), certificate), AccessDenied)

    async def test_altered_certificate(self) -> None:
        """More principals than the authority wrote."""
        monitor = await self.ready_monitor()
        certificate = evolve(user_certificate(time.time(), "nobody"), principals=("nobody", own_name()))
        await self.denied(
            monitor, signed_proof(await self.session(monitor), own_name(), certificate), errors.CertificateSignature
        )

    async def test_expired_certificate(self) -> None:
        monitor = await self.ready_monitor()
        certificate = user_certificate(time.time() - 7200, own_name())
        await self.denied(
            monitor, signed_proof(await self.session(monitor), own_name(), certificate), errors.CertificateExpired
        )

    async def test_host_certificate(self) -> None:
        """A certificate of the other type, even if it names the account."""
        monitor = await self.ready_monitor()
        certificate = samples.host_certificate(principals=(own_name(),))
        await self.denied(
            monitor, signed_proof(await self.session(monitor), own_name(), certificate), errors.CertificateType
        )

    async def test_signature_bound_to_another_host(self) -> None:
        """A client says which host key it saw (OpenSSH 8.9 and later): such a signature is good for one host only."""
        monitor = await self.ready_monitor()
        elsewhere = keys.public_blob(keys.generate_ssh_key().public_key())
        certificate = user_certificate(time.time(), own_name())
        proof = signed_proof(await self.session(monitor), own_name(), certificate, elsewhere)
        sentence = await self.denied(monitor, proof, AccessDenied)
        self.assertEqual(sentence, "The login is bound to the host key of another server.")

    async def test_login_twice(self) -> None:
        """One session has one login: a signature that was used is used."""
        monitor = await self.ready_monitor()
        proof = signed_proof(await self.session(monitor), own_name(), user_certificate(time.time(), own_name()))
        await monitor.log_in(proof, "::1")
        await self.denied(monitor, proof, AccessDenied)

    async def test_source_address(self) -> None:
        """A certificate for some addresses is not good from others."""
        monitor = await self.ready_monitor()
        limit = (("source-address", wire.text("10.0.0.0/8")),)
        certificate = user_certificate(time.time(), own_name(), critical_options=limit)
        proof = signed_proof(await self.session(monitor), own_name(), certificate)
        await self.denied(monitor, proof, errors.CertificateSourceAddress, "192.0.2.1")

    async def test_addresses_only(self) -> None:
        """Where a client is goes to PAM, and is what the next login reads of the last one: no place for other text."""
        monitor = await self.ready_monitor()
        proof = signed_proof(await self.session(monitor), own_name(), user_certificate(time.time(), own_name()))
        for text in ("", "web1", "::1\n", "\x1b]0;hello\x07", "fe80::1%\x1b"):
            sentence = await self.denied(monitor, proof, BadParameter, text)
            self.assertEqual(sentence, "The address of the client is none.")
        await monitor.log_in(proof, "fe80::1%eth0")

    async def test_no_login(self) -> None:
        """A session without a login, or with the number of one that has ended."""
        monitor = await self.ready_monitor()
        login = await self.logged_in(monitor)
        for number in (0, login.number + 1, 0xFFFFFFFF):
            sentence = await self.refused(monitor.start(number, Program("id", {})), AccessDenied)
            self.assertEqual(sentence, "The monitor knows no such login.")
        login.leave()
        await self.refused(login.spawn(Program("id", {})), AccessDenied)

    async def test_forced_command(self) -> None:
        """A certificate for one command runs that one, and tells it what was asked for."""
        monitor = await self.ready_monitor()
        forced = (("force-command", wire.text("echo forced: $SSH_ORIGINAL_COMMAND")),)
        login = await self.logged_in(monitor, critical_options=forced)
        heard, _ = await self.run_to_end(login, Program("id", {"SSH_ORIGINAL_COMMAND": "no"}))
        self.assertEqual(heard.output, b"forced: id\n")

    async def test_other_programs_for_a_forced_command(self) -> None:
        """No variable makes the shell run something else first, nor find another program by the name."""
        monitor = await self.ready_monitor()
        login = await self.logged_in(monitor, critical_options=(("force-command", wire.text("env")),))
        asked = {"BASH_ENV": "/tmp/x", "ENV": "/tmp/x", "PYTHONPATH": "/tmp", "SSH_SK_PROVIDER": "/tmp/x.so"}
        path = "/tmp/x:.:/usr/bin/../../tmp:/usr/local/bin::/usr/bin:/bin:/binary"
        heard, _ = await self.run_to_end(login, Program("id", {**asked, "LC_ALL": "C", "PATH": path}))
        lines = heard.output.decode().splitlines()
        self.assertIn("PATH=/usr/local/bin:/usr/bin:/bin", lines)
        self.assertIn("LC_ALL=C", lines)
        self.assertEqual([line for line in lines if line.partition("=")[0] in asked], [])

    async def test_sockets(self) -> None:
        """Nor is there another way to an account's programs for who may run one, or may not forward."""
        monitor = await self.ready_monitor()
        forced = (("force-command", wire.text("env")),)
        for login in (
            await self.logged_in(monitor, critical_options=forced),
            await self.logged_in(monitor, extensions=(("permit-pty", b""),)),
        ):
            sentence = await self.refused(Deferred.fromCoroutine(login.broker()), AccessDenied)
            self.assertEqual(sentence, "The certificate does not permit sockets.")

    async def test_loader(self) -> None:
        """Nor is the program changed by its loader."""
        login = await self.logged_in(await self.ready_monitor())
        sentence = await self.refused(login.spawn(Program("id", {"LD_PRELOAD": "/tmp/x.so"})), BadParameter)
        self.assertEqual(sentence, "A variable of the session has a name that no variable can have.")

    async def test_nul(self) -> None:
        """No program can be given a NUL byte; who asks for one is refused before the monitor cuts the server off."""
        monitor = await self.ready_monitor()
        login = await self.logged_in(monitor)
        for program in (Program("id\0", {}), Program(None, {"LANG": "C\0"})):
            with self.assertRaisesRegex(wire.WireError, "a text with a NUL byte"):
                await login.spawn(program)
        self.assertEqual((await self.run_to_end(login, Program("exit 3", {})))[1], ExitStatus(code=3))

    async def test_malformed(self) -> None:
        """What is no request ends the conversation, and nothing is answered any more."""
        monitor = await self.ready_monitor()
        answer = monitor._ask(orders.START, b"\0")
        self.assertEqual(await self.refused(answer, SpawnFailed), "The monitor of this host has ended.")

    async def test_silence(self) -> None:
        """A monitor that does not answer is not waited for without end."""
        monitor = await self.ready_monitor()
        monitor._received = lambda frame: None  # type: ignore[method-assign]
        answer = monitor._ask(orders.SIGN, pack_transcript(self.exchange()), 0.05)
        sentence = await self.refused(answer, SpawnFailed)
        self.assertEqual(sentence, "The monitor of this host did not answer within 0 seconds.")

    async def test_late_answer(self) -> None:
        """Descriptors that come too late are closed."""
        monitor = await self.ready_monitor()
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        monitor._received(Frame(orders.DONE, 4_000_000, b"", (reading,)))
        self.assertRaises(OSError, os.fstat, reading)


class CapturedExchangeTests(CapturedCase):
    """What it wants signed with the host key: exchanges of this host, each once, and what follows from them."""

    async def test_what_is_signed(self) -> None:
        """An exchange that is as it should be: this is what the others lack."""
        monitor = await self.ready_monitor()
        for blob in (HOST_BLOB, self.host_keys[ALGORITHM_OF_HOSTS].blob):
            exchange = evolve(self.exchange(), host_key=blob)
            verify(public_key.parse(HOST_BLOB), Signature.parse(await monitor.sign(exchange)), exchange.digest)

    async def test_any_digest(self) -> None:
        """It says what is digested, and has no digest signed that comes from elsewhere."""
        monitor = await self.ready_monitor()
        body = wire.string(HOST_BLOB) + wire.string(os.urandom(32))
        self.assertEqual(
            await self.refused(monitor._ask(orders.SIGN, body), SpawnFailed), "The monitor of this host has ended."
        )

    async def test_key_of_another_host(self) -> None:
        """Nor an exchange in which another host shows its key, though the attacker may hold that key."""
        monitor = await self.ready_monitor()
        other = keys.generate_ssh_key()
        certificate = samples.host_certificate(public_key=keys.public_blob(other.public_key()))
        for blob in (keys.public_blob(other.public_key()), certificate.to_blob(), b""):
            sentence = await self.refused(monitor.sign(evolve(self.exchange(), host_key=blob)), AccessDenied)
            self.assertEqual(sentence, "The exchange shows a host key that is not this host's.")

    async def test_login_to_another_host(self) -> None:
        """A person logs in at a host whose key the attacker holds. The session is theirs, and no session here."""
        monitor = await self.ready_monitor()
        elsewhere = evolve(self.exchange(), host_key=keys.public_blob(keys.generate_ssh_key().public_key()))
        await self.refused(monitor.sign(elsewhere), AccessDenied)
        for host_key in (b"", HOST_BLOB):
            proof = signed_proof(elsewhere.digest, own_name(), user_certificate(time.time(), own_name()), host_key)
            sentence = await self.denied(monitor, proof, AccessDenied)
            self.assertEqual(sentence, "The monitor did not sign for this session; log in again.")

    async def test_cookie_of_its_own(self) -> None:
        """An offer that does not come from here: of another host with the same key, or from before a restart."""
        monitor = await self.ready_monitor()
        for cookie in (bytes(16), os.urandom(16), Cookies(os.urandom(16))()):
            sentence = await self.refused(monitor.sign(transcript(cookie)), AccessDenied)
            self.assertEqual(sentence, "The exchange has a cookie that the monitor did not give out.")

    async def test_after_a_restart(self) -> None:
        """What one monitor signed, and a person answered, is nothing to the next one."""
        before = await self.ready_monitor()
        exchange = self.exchange()
        await before.sign(exchange)
        monitor = await self.ready_monitor()
        sentence = await self.refused(monitor.sign(exchange), AccessDenied)
        self.assertEqual(sentence, "The exchange has a cookie that the monitor did not give out.")
        proof = signed_proof(exchange.digest, own_name(), user_certificate(time.time(), own_name()))
        sentence = await self.denied(monitor, proof, AccessDenied)
        self.assertEqual(sentence, "The monitor did not sign for this session; log in again.")

    async def test_cookie_twice(self) -> None:
        """One offer, one exchange: neither the same again, nor another with the same cookie."""
        monitor = await self.ready_monitor()
        cookie = self.host_keys[b"ssh-ed25519"].cookie()
        exchange = transcript(cookie)
        await monitor.sign(exchange)
        for again in (exchange, transcript(cookie)):
            sentence = await self.refused(monitor.sign(again), AccessDenied)
            self.assertEqual(sentence, "The exchange has a cookie that was used before.")

    async def test_session_twice(self) -> None:
        """So that a session which had its login never is a session without one again."""
        monitor = await self.ready_monitor()
        exchange = self.exchange()
        await monitor.sign(exchange)
        proof = signed_proof(exchange.digest, own_name(), user_certificate(time.time(), own_name()))
        login = await monitor.log_in(proof, "::1")
        for _ in range(2):
            await self.refused(monitor.sign(exchange), AccessDenied)
            sentence = await self.denied(monitor, proof, AccessDenied)
            self.assertEqual(sentence, "The monitor did not sign for this session; log in again.")
            login.leave()

    async def test_refused_exchange(self) -> None:
        """A refusal costs nothing: the cookie is still good."""
        monitor = await self.ready_monitor()
        exchange = self.exchange()
        await self.refused(monitor.sign(evolve(exchange, host_key=samples.SSH_BLOB)), AccessDenied)
        await monitor.sign(exchange)

    async def test_unknown_method(self) -> None:
        monitor = await self.ready_monitor()
        sentence = await self.refused(monitor.sign(evolve(self.exchange(), method=b"md5")), BadParameter)
        self.assertEqual(sentence, "The exchange is by a method that the monitor does not know.")

    async def test_no_offer(self) -> None:
        """An offer that cannot be read ends the conversation."""
        for offer in (b"", b"\x14" + bytes(15), b"\x15" + bytes(16)):
            monitor = await self.ready_monitor()
            answer = monitor.sign(evolve(self.exchange(), server_kexinit=offer))
            self.assertEqual(await self.refused(answer, SpawnFailed), "The monitor of this host has ended.")

    async def test_proofs(self) -> None:
        """A client is told of the host's keys in sessions of this host (hostkeys-prove-00@openssh.com): that of another
        one would take them for that one's.
        """
        monitor = await self.ready_monitor()
        session_id = await self.session(monitor)
        proof = signed_proof(session_id, own_name(), user_certificate(time.time(), own_name()))
        await self.check_proof(monitor, session_id)
        login = await monitor.log_in(proof, "::1")
        await self.check_proof(monitor, session_id)
        sentence = await self.refused(monitor.prove(session_id, samples.SSH_BLOB), BadParameter)
        self.assertEqual(sentence, "The monitor does not hold this host key.")
        login.leave()
        for other in (session_id, os.urandom(32)):
            sentence = await self.refused(monitor.prove(other, HOST_BLOB), AccessDenied)
            self.assertEqual(sentence, "The monitor proves its keys in sessions that it signed for, and in no others.")

    async def check_proof(self, monitor: Monitor, session_id: bytes) -> None:
        signature = Signature.parse(await monitor.prove(session_id, HOST_BLOB))
        verify(public_key.parse(HOST_BLOB), signature, proved_part(session_id, HOST_BLOB))


class CapturedHostKeyTests(CapturedCase):
    """What it does about the host key itself, where that is the monitor's."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp()) / "monitor"
        self.addCleanup(shutil.rmtree, self.folder.parent)

    async def test_what_it_has(self) -> None:
        """Exchanges of this host are signed with a key that it never sees."""
        monitor = await self.keeping_monitor(self.folder)
        blob = await monitor.public_key()
        exchange = transcript(self.host_keys[b"ssh-ed25519"].cookie(), blob)
        verify(public_key.parse(blob), Signature.parse(await monitor.sign(exchange)), exchange.digest)
        proof = signed_proof(exchange.digest, own_name(), user_certificate(time.time(), own_name()), blob)
        login = await monitor.log_in(proof, "::1")
        self.assertEqual((await self.run_to_end(login, Program("exit 5", {})))[1], ExitStatus(code=5))

    async def test_reading_it(self) -> None:
        """Its account opens neither the file nor the memory of the monitor."""
        if os.geteuid() != 0:
            self.skipTest("only root tries as another account")
        self.folder.parent.chmod(0o755)
        await self.keeping_monitor(self.folder)
        path = self.folder / "host_key"
        self.assertEqual((path.stat().st_uid, path.stat().st_mode & 0o777), (0, 0o600))
        for file in (str(path), f"/proc/{self.monitor_pid}/mem", f"/proc/{self.monitor_pid}/environ"):
            self.assertIn("Permission denied", as_nobody('cat "$1"', file))
        for name in ("host_key", "host_key.pub", "host_name", "authorities", "another"):
            self.assertIn("Permission denied", as_nobody('echo mine > "$1"', str(self.folder / name)))
        self.assertTrue(as_nobody('cat "$1"', f"{path}.pub").startswith("ssh-ed25519 AAAA"))

    async def test_key_of_its_own(self) -> None:
        """It cannot have another key signed with, to show people who log in a host that it is alone with."""
        monitor = await self.keeping_monitor(self.folder)
        mine = host_certificate(time.time())
        sentence = await self.refused(monitor.host_keys(keys.ssh_private_pem(HOST_KEY), mine), AccessDenied)
        self.assertEqual(sentence, "The host key of this host is the monitor's own, and no other is taken.")
        sentence = await self.refused(monitor.host_keys("", mine), BadParameter)
        self.assertEqual(sentence, "The host certificate is for another key.")

    async def test_certificate_of_another_host(self) -> None:
        """Who has the identity of another host can have that one's certificate made over this host's key. People who
        log in there would sign sessions that are good here.
        """
        monitor = await self.keeping_monitor(self.folder)
        blob = await monitor.public_key()
        other = host_certificate(time.time(), blob, str(uuid4()))
        sentence = await self.refused(monitor.host_keys("", other), AccessDenied)
        self.assertRegex(sentence, "^The host certificate is for .+, and this host was .+ before. If that is right, ")
        exchange = transcript(self.host_keys[b"ssh-ed25519"].cookie(), other.to_blob())
        sentence = await self.refused(monitor.sign(exchange), AccessDenied)
        self.assertEqual(sentence, "The exchange shows a host key that is not this host's.")


def as_nobody(script: str, argument: str) -> str:
    """What a script of the shell says as another account."""
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", argument],
        env={"LC_ALL": "C", "PATH": os.defpath},
        user=65534,
        group=65534,
        extra_groups=(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr
