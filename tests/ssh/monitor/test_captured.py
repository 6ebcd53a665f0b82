"""A server in somebody else's hands: what it asks of the monitor, and what it gets.

It has the socket, every certificate and signature that clients sent to it, and any key of its own. It has no key of an
authority and no key of a person.
"""

from __future__ import annotations

import os
import time

from attrs import evolve
from twisted.internet.defer import Deferred

from teleport_conch import errors, wire
from teleport_conch.certs import keys, public_key
from teleport_conch.certs.signatures import Signature, verify
from teleport_conch.errors import AccessDenied, BadParameter, SpawnFailed, TeleportError
from teleport_conch.ssh.login.proof import LoginProof
from teleport_conch.ssh.monitor import orders
from teleport_conch.ssh.monitor.frames import Frame
from teleport_conch.ssh.monitor.orders import Program
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.processes.monitored import Monitor
from tests.certs import samples
from tests.ssh.monitor.servers import HOST_BLOB, MonitorCase, own_name, signed_proof, user_certificate


class CapturedServerTests(MonitorCase):
    """It gets the accounts whose certificate and signature it holds, and no other."""

    async def session(self, monitor: Monitor) -> bytes:
        """The identifier of a session that the monitor has signed for."""
        session_id = os.urandom(32)
        await monitor.sign(HOST_BLOB, session_id)
        return session_id

    async def denied(self, monitor: Monitor, proof: LoginProof, kind: type[TeleportError], host: str = "::1") -> str:
        return await self.refused(monitor.log_in(proof, host), kind)

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

    async def test_session_of_another_host(self) -> None:
        """What a person signed for a session elsewhere is over an identifier that was not signed here."""
        monitor = await self.ready_monitor()
        proof = signed_proof(os.urandom(32), own_name(), user_certificate(time.time(), own_name()))
        sentence = await self.denied(monitor, proof, AccessDenied)
        self.assertEqual(sentence, "The monitor did not sign for this session; log in again.")

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
        await monitor.sign(HOST_BLOB, proof.session_id)
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

    async def test_signs_hashes_only(self) -> None:
        """The host key is not for anything that somebody would like signed."""
        monitor = await self.ready_monitor()
        for data in (b"", b"x" * 31, b"x" * 65, os.urandom(1000)):
            sentence = await self.refused(monitor.sign(HOST_BLOB, data), BadParameter)
            self.assertEqual(sentence, "The monitor signs exchange hashes and proofs of its keys, and nothing else.")
        await self.refused(monitor.sign(samples.SSH_BLOB, bytes(32)), BadParameter)

    async def test_signs_proofs(self) -> None:
        """Nor for anything that only looks like the proof of a key (hostkeys-prove-00@openssh.com)."""
        monitor = await self.ready_monitor()

        def proof(name: bytes, session_id: bytes, blob: bytes) -> bytes:
            return b"".join(map(wire.string, (name, session_id, blob)))

        name, session_id = b"hostkeys-prove-00@openssh.com", os.urandom(32)
        data = proof(name, session_id, HOST_BLOB)
        verify(public_key.parse(HOST_BLOB), Signature.parse(await monitor.sign(HOST_BLOB, data)), data)
        for wrong in (
            proof(b"other", session_id, HOST_BLOB),
            proof(name, session_id[1:], HOST_BLOB),
            proof(name, session_id, samples.SSH_BLOB),
            data + b"x",
        ):
            await self.refused(monitor.sign(HOST_BLOB, wrong), BadParameter)
        proven = signed_proof(session_id, own_name(), user_certificate(time.time(), own_name()))
        await self.denied(monitor, proven, AccessDenied)

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
        answer = monitor._ask(orders.SIGN, wire.string(HOST_BLOB) + wire.string(bytes(32)), 0.05)
        sentence = await self.refused(answer, SpawnFailed)
        self.assertEqual(sentence, "The monitor of this host did not answer within 0 seconds.")

    async def test_late_answer(self) -> None:
        """Descriptors that come too late are closed."""
        monitor = await self.ready_monitor()
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        monitor._received(Frame(orders.DONE, 4_000_000, b"", (reading,)))
        self.assertRaises(OSError, os.fstat, reading)
