"""Plain keys where a policy wants them, requests that are bound to a host key, proofs, and the moment of failures."""

from __future__ import annotations

from attrs import evolve
from cryptography.hazmat.primitives import hashes
from twisted.conch.ssh import userauth as conch
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import errors, wire
from teleport_conch.certs import public_key
from teleport_conch.certs.authority import Authority
from teleport_conch.certs.certificate import CertificateType, verify_signature
from teleport_conch.certs.trust import check_ssh_certificate
from teleport_conch.errors import AccessDenied
from teleport_conch.ssh.login.policy import Attempt, Claim, KeyClaim, LoginPolicy
from teleport_conch.ssh.login.proof import LoginProof, offered_certificate, signature_algorithm
from teleport_conch.ssh.login.userauth import FAILURE_S
from tests.certs import samples
from tests.ssh.auth_case import FAILURE, PLAIN, SUCCESS, AuthCase, failure
from tests.ssh.logins import (
    SESSION_ID,
    TOUCHED,
    AuthRecorder,
    Client,
    SamplePolicy,
    ecdsa_client,
    ed25519_client,
    plain,
    rsa_client,
    security_key_client,
    signed_by,
)
from tests.ssh.policies import KeysAndPasswords

REFUSED = failure("publickey", "password")
HOST_KEY = AuthRecorder(SamplePolicy()).host_key_blob


class PlainKeyTests(AuthCase):
    def use(self, *clients: Client) -> KeysAndPasswords:
        """Begins again with a policy that knows the keys of these."""
        self.setUp()
        policy = KeysAndPasswords({client.plain for client in clients})
        self.transport.login_policy = policy
        self.auth.serviceStarted()
        return policy

    def test_every_key(self) -> None:
        """Each type of key, by an offer and by a signature; the policy gets the key, and the proof."""
        for certified in (
            ed25519_client(),
            *map(ecdsa_client, (256, 384, 521)),
            rsa_client("rsa-sha2-256", "rsa-sha2-256", hashes.SHA256()),
            rsa_client("rsa-sha2-512", "rsa-sha2-512", hashes.SHA512()),
            security_key_client("sk-ssh-ed25519", TOUCHED),
            security_key_client("sk-ecdsa-sha2-nistp256", TOUCHED),
        ):
            client = plain(certified)
            policy = self.use(client)
            self.ask(client.request(signed=False))
            answer = wire.string(client.algorithm) + wire.string(client.plain)
            self.assertEqual(self.transport.sent, [(conch.MSG_USERAUTH_PK_OK, answer)], client.algorithm)
            self.ask(client.request())
            self.assertEqual(self.transport.sent[1:], [SUCCESS])
            (claim,) = policy.logged_in
            assert isinstance(claim, KeyClaim) and claim.proof is not None
            self.assertEqual((claim.key.to_blob(), claim.client), (client.plain, ("192.0.2.7", 50000)))
            claim.proof.verify(claim.key)

    def test_another_key(self) -> None:
        """A key that the policy does not know is refused without a word, agents offer many; signed, there is a line."""
        policy = self.use(plain(ed25519_client()))
        client = plain(ecdsa_client(256))
        with capturedLogs() as logged:
            self.ask(client.request(signed=False))
            self.assertEqual(logged, [])
            self.ask(client.request())
        self.assertEqual(self.transport.sent, [REFUSED, REFUSED])
        self.assertEqual((len(policy.checked), policy.logged_in), (2, []))
        self.assertEqual(
            list(map(formatEvent, logged)),
            ["192.0.2.7:50000 was refused as 'root' with a plain key: The key is not one of yours."],
        )

    def test_another_signature(self) -> None:
        """Algorithm, key and signature belong together, as they do with certificates; SHA-1 is none."""
        ed25519, ecdsa = plain(ed25519_client()), plain(ecdsa_client(256))
        rsa = plain(rsa_client("rsa-sha2-512", "rsa-sha2-512", hashes.SHA512()))
        for client in (
            signed_by(ed25519, ecdsa),
            evolve(ed25519, plain=ecdsa.plain),
            evolve(ecdsa, algorithm=b"ecdsa-sha2-nistp384"),
            plain(rsa_client("rsa-sha2-512", "ssh-rsa", hashes.SHA1())),  # noqa: S303
            plain(rsa_client("rsa-sha2-512", "rsa-sha2-256", hashes.SHA256())),
            evolve(rsa, algorithm=b"ssh-rsa"),
            evolve(rsa, algorithm=b"rsa-sha2-256"),
            evolve(ed25519, plain=ed25519.plain + b"\0"),
            evolve(ed25519, algorithm=b"ssh-dss"),
            plain(security_key_client("sk-ssh-ed25519", 0)),
        ):
            policy = self.use(ed25519, ecdsa, rsa, client)
            self.ask(client.request())
            self.assertEqual((self.transport.sent, policy.logged_in), ([REFUSED], []), client.algorithm)

    def test_rsa_sizes(self) -> None:
        """RSA keys that are too short, or so long that verifying takes long, are refused before any arithmetic."""
        for bits in (512, 1024, 2047, 16385, 131_072):
            blob = wire.text("ssh-rsa") + wire.mpint(65537) + wire.mpint((1 << bits) - 1)
            client = evolve(PLAIN, algorithm=b"rsa-sha2-512", plain=blob)
            policy = self.use(client)
            self.ask(client.request())
            self.assertEqual((self.transport.sent, policy.checked), ([REFUSED], []), bits)

    def test_later(self) -> None:
        """A policy may take its time to find out whether a key is good."""
        client = plain(ed25519_client())
        policy = self.use(client)
        policy.later = Deferred()
        self.ask(client.request())
        self.assertEqual(self.transport.sent, [])
        policy.later.callback(None)
        self.assertEqual(self.transport.sent, [SUCCESS])

    def test_certificates_of_nobody(self) -> None:
        """Who takes plain keys takes certificates only where the policy says so."""
        self.use(plain(ed25519_client()))
        self.ask(ed25519_client().request())
        self.assertEqual(self.transport.sent[-1], REFUSED)
        self.assertEqual(self.transport.services, [])


class HostBoundTests(AuthCase):
    def test_accepted(self) -> None:
        """OpenSSH's clients sign the server's host key as well; the proof says so."""
        client = ed25519_client()
        self.ask(client.request(signed=False, host_key=HOST_KEY))
        self.ask(client.request(host_key=HOST_KEY))
        self.assertEqual([number for number, _ in self.transport.sent], [60, 52])
        (claim,) = self.policy.logged_in
        assert claim.proof is not None
        self.assertEqual(claim.proof.host_key, HOST_KEY)
        claim.proof.verify(claim.certificate)

    def test_another_server(self) -> None:
        """Who means another server, perhaps since somebody is in between, is refused before the policy is asked."""
        for host_key in (b"", b"another", HOST_KEY + b"\0"):
            for signed in (False, True):
                self.setUp()
                self.ask(ed25519_client().request(signed=signed, host_key=host_key))
                self.assertEqual((self.transport.sent, self.policy.checked), ([FAILURE], []))
                self.assert_nobody()

    def test_no_host_key(self) -> None:
        """Nothing is equal to a host key that is not known."""
        self.transport.host_key_blob = b""
        self.auth.serviceStarted()
        self.ask(ed25519_client().request(host_key=b""))
        self.assertEqual((self.transport.sent, self.policy.checked), ([FAILURE], []))

    def test_is_signed(self) -> None:
        """A signature of the plain method does not do for the bound one, nor the other way round."""
        bare, bound = ed25519_client().request(), ed25519_client().request(host_key=HOST_KEY)
        signature_bytes = 4 + 4 + 11 + 4 + 64
        for head, signature in ((bare, bound), (bound, bare)):
            self.setUp()
            self.ask(head[:-signature_bytes] + signature[-signature_bytes:])
            self.assertEqual(self.transport.sent[-1], FAILURE)
            self.assert_nobody()


def proof(client: Client) -> LoginProof:
    unsigned = LoginProof(SESSION_ID, "root", client.algorithm, client.certificate.to_blob(), b"")
    return evolve(unsigned, signature=client.sign(unsigned.signed_part()))


class ProofTests(SynchronousTestCase):
    def test_again(self) -> None:
        """Whoever holds a proof can verify it without a connection, and with no more than the proof."""
        held = proof(ed25519_client())
        held.verify(offered_certificate(held.algorithm, held.blob))

    def test_altered(self) -> None:
        """Nothing in it can be changed: another session, another user, another server, another certificate."""
        client, other = ed25519_client(), ed25519_client()
        good = proof(client)
        for altered in (
            evolve(good, session_id=b"another"),
            evolve(good, user="alice"),
            evolve(good, host_key=b"another"),
            evolve(good, blob=other.certificate.to_blob()),
            evolve(good, signature=b""),
            evolve(good, signature=other.sign(b"something else")),
        ):
            refusal = self.assertRaises(
                AccessDenied, altered.verify, offered_certificate(altered.algorithm, altered.blob)
            )
            self.assertTrue(refusal.sentence.startswith("The signature of the login is not accepted: "))

    def test_remembered(self) -> None:
        """A certificate is read once, and its signature verified once; whether it is believed is decided each time."""
        client = ed25519_client()
        blob = client.certificate.to_blob()
        certificate = offered_certificate(client.algorithm, blob)
        self.assertIs(offered_certificate(client.algorithm, bytes(bytearray(blob))), certificate)

        def check(authority: Authority, now: float) -> None:
            check_ssh_certificate(
                certificate,
                type=CertificateType.USER,
                authorities=authority.public().ssh_keys,
                now=now,
                principal="root",
                source_address=None,
            )

        check(samples.USER_CA, samples.NOW)
        self.assertRaises(errors.CertificateAuthorityUnknown, check, samples.OTHER_USER_CA, samples.NOW)
        self.assertRaises(errors.CertificateExpired, check, samples.USER_CA, samples.NOW + 86_400)
        forged = evolve(certificate, principals=("daemon",))
        self.assertRaises(errors.CertificateSignature, verify_signature, forged)
        self.assertRaises(errors.CertificateSignature, verify_signature, forged)

    def test_secrets(self) -> None:
        """A proof is printed without what is in it."""
        self.assertEqual(
            repr(proof(ed25519_client())), "LoginProof(user='root', algorithm=b'ssh-ed25519-cert-v01@openssh.com')"
        )

    def test_algorithms(self) -> None:
        """An algorithm that is not known signs nothing; SHA-1 is none."""
        for name in (b"", b"ssh-rsa", b"ssh-rsa-cert-v01@openssh.com", b"ssh-dss", b"none", b"\xff"):
            self.assertRaises(ValueError, signature_algorithm, name)


class NobodyTests(SynchronousTestCase):
    def test_denies(self) -> None:
        """A policy says no to everything that it does not override (threat 36)."""
        policy = LoginPolicy()
        certificate = samples.user_certificate()
        claim = Claim("root", certificate, "192.0.2.7:50000")
        key = KeyClaim("root", public_key.parse(samples.SSH_BLOB), "192.0.2.7:50000")
        attempt = Attempt("root", "[2001:db8::7]:50000")
        self.assertEqual((policy.methods("root"), policy.plain_keys, policy.banner), (("publickey",), False, ""))
        self.assertEqual(attempt.client, ("2001:db8::7", 50000))
        self.assertRaises(AccessDenied, policy.check, claim)
        self.assertRaises(AccessDenied, policy.check_key, key)

        async def ask(*questions: object, name: str = "", instruction: str = "") -> tuple[str, ...]:
            raise AssertionError("asked")

        for login in (
            policy.login(claim),
            policy.login_with_key(key),
            policy.interact(attempt, ask),
            policy.password(attempt, "x"),
        ):
            self.failureResultOf(Deferred.fromCoroutine(login), AccessDenied)


class MomentTests(AuthCase):
    def answered_at(self, took: float) -> float:
        """When a failure is answered whose decision takes so long."""
        self.setUp()
        self.policy.wait = Deferred()
        self.auth.packetReceived(50, ed25519_client().request())
        self.clock.advance(took)
        self.policy.wait.errback(AccessDenied("No."))
        while not self.transport.sent[1:]:
            self.clock.advance(0.001)
        return self.clock.seconds()

    def test_failures(self) -> None:
        """A failure is answered at a fixed moment; where deciding took longer, at twice the time, and so on."""
        for took, due in ((0.0, 1), (0.004, 1), (0.0099, 1), (0.0101, 2), (0.03, 4), (0.05, 8)):
            self.assertLess(abs(self.answered_at(took) - due * FAILURE_S), 0.002)

    def test_success(self) -> None:
        """Success, and the answer to a good offer, wait for nothing; nor does the question what there is."""
        nothing = wire.string(b"root") + wire.string(b"ssh-connection") + wire.string(b"none")
        for payload in (nothing, ed25519_client().request(signed=False), ed25519_client().request()):
            self.auth.packetReceived(50, payload)
        self.assertEqual([number for number, _ in self.transport.sent], [51, 60, 52])

    def test_one_after_the_other(self) -> None:
        """Requests that are sent at once wait for one another, each for its own moment."""
        for _ in range(3):
            self.auth.packetReceived(50, PLAIN.request(signed=False))
        for number in range(4):
            self.assertEqual(len(self.transport.sent), number)
            self.clock.advance(FAILURE_S)

    def test_lost(self) -> None:
        """A connection that goes away waits for nothing."""
        self.auth.packetReceived(50, PLAIN.request())
        self.auth.serviceStopped()
        self.assertEqual((self.transport.sent, self.clock.getDelayedCalls()), ([], []))
