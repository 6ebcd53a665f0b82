"""Logging in with certificates, and every way in which that is refused."""

from __future__ import annotations

from attrs import evolve
from cryptography.hazmat.primitives import hashes
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.conch.ssh import userauth as conch
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from teleport_conch import wire
from teleport_conch.errors import AccessDenied, StorageFull
from teleport_conch.ssh.connection.service import Connection
from teleport_conch.ssh.login.counts import MAX_FAILURES, MAX_OFFERS, MAX_REQUESTS, TOO_MANY_FAILURES
from teleport_conch.ssh.login.policy import Attempt
from tests.certs import samples
from tests.ssh.auth_case import FAILURE, NOTHING, PLAIN, SUCCESS, AuthCase, banner
from tests.ssh.logins import (
    SESSION_ID,
    TOUCHED,
    VERIFIED,
    certify,
    ecdsa_client,
    ed25519_client,
    rsa_client,
    security_key_client,
    signed_by,
)

NOT_ACCEPTED = "The signature of the login is not accepted: "


class AcceptedTests(AuthCase):
    def test_every_key(self) -> None:
        """Certificates for every kind of key that clients have."""
        for client in (
            ed25519_client(),
            *map(ecdsa_client, (256, 384, 521)),
            rsa_client("rsa-sha2-256", "rsa-sha2-256", hashes.SHA256()),
            rsa_client("rsa-sha2-512", "rsa-sha2-512", hashes.SHA512()),
            security_key_client("sk-ssh-ed25519", TOUCHED),
            security_key_client("sk-ecdsa-sha2-nistp256", TOUCHED),
        ):
            self.assert_accepted(client)

    def test_the_connection_follows(self) -> None:
        """The grace time ends, the connection service begins, and its owner is what the policy answered."""
        self.ask(ed25519_client().request())
        self.assertEqual(self.transport.successes, 1)
        (connection,) = self.transport.services
        assert isinstance(connection, Connection)
        self.assertIs(connection.owner, self.policy.owner)
        (claim,) = self.policy.logged_in
        self.assertEqual((claim.user, claim.client_address), ("root", "192.0.2.7:50000"))

    def test_offered(self) -> None:
        """A certificate that would be good is answered before anybody is asked to sign; that is no login."""
        client = ed25519_client()
        self.ask(client.request(signed=False))
        answer = wire.string(client.algorithm) + wire.string(client.certificate.to_blob())
        self.assertEqual(self.transport.sent, [(conch.MSG_USERAUTH_PK_OK, answer)])
        self.assert_nobody()

    def test_who_signs_counts(self) -> None:
        """An offer is forgotten: who logs in is who signs (a key that was offered is nobody's identity)."""
        self.ask(ed25519_client().request(b"alice", signed=False))
        self.ask(ecdsa_client(256).request(b"root"))
        (claim,) = self.policy.logged_in
        self.assertEqual((claim.user, claim.certificate.kind), ("root", "ecdsa-sha2-nistp256-cert-v01@openssh.com"))

    def test_later(self) -> None:
        """A policy may take its time; what is sent behind a good login is never looked at."""
        self.policy.wait = Deferred()
        self.ask(ed25519_client().request(b"root"))
        self.ask(ed25519_client().request(b"alice"))
        self.ask(b"rubbish")
        self.assertEqual(self.transport.sent, [])
        self.policy.wait.callback(None)
        self.assertEqual((self.transport.sent, self.transport.disconnects), ([SUCCESS], []))
        self.assertEqual([claim.user for claim in self.policy.logged_in], ["root"])
        self.assertEqual(len(self.transport.services), 1)


class RefusedTests(AuthCase):
    def test_plain_keys(self) -> None:
        """A plain key is refused without an event and without asking the policy: agents offer them by the dozen."""
        for signed in (False, True):
            self.setUp()
            self.ask(PLAIN.request(signed=signed))
            self.assertEqual((self.transport.sent, self.policy.checked), ([FAILURE], []))
            self.assertEqual(self.policy.refusals, [])
            self.assert_nobody()

    def test_other_methods(self) -> None:
        """Passwords, questions, hosts and nothing at all are refused, and publickey is named."""
        for method in (b"none", b"password", b"keyboard-interactive", b"hostbased", b"gssapi-with-mic"):
            self.setUp()
            self.ask(wire.string(b"root") + wire.string(b"ssh-connection") + wire.string(method) + b"\0secret")
            self.assertEqual(self.transport.sent, [FAILURE])
            self.assert_nobody()

    def test_other_service(self) -> None:
        """There is one service behind the login."""
        self.ask(ed25519_client().request(service=b"ssh-userauth"))
        self.assertEqual(self.transport.disconnects, [(7, b"no such service")])
        self.assert_nobody()

    def test_the_policy_decides(self) -> None:
        """A policy that lets nobody in is asked first, and is all that counts; the person reads why."""
        self.policy.problem = AccessDenied("Nobody may log in here.")
        for signed in (False, True):
            self.ask(ed25519_client().request(signed=signed))
        self.assertEqual(self.transport.sent, [banner("Nobody may log in here."), FAILURE, FAILURE])
        self.assertEqual([text for _, text in self.policy.refusals], ["Nobody may log in here."])
        self.assert_nobody()

    def test_certificates(self) -> None:
        """What is wrong with a certificate is said: an unknown authority, another principal, the wrong kind."""
        foreign = samples.OTHER_USER_CA.sign_user_ssh(
            samples.SSH_BLOB, name="eve", logins=["root"], roles=[], traits={}, ttl_s=60, now=samples.NOW
        )
        expired = samples.user_certificate(valid_before=int(samples.NOW) - 412)
        for certificate, user, sentence in (
            (foreign, b"root", "The certificate of 'eve' is signed by an authority that is not trusted here."),
            (samples.user_certificate(), b"daemon", "The certificate is not for 'daemon'."),
            (
                samples.host_certificate(),
                b"root",
                "A user certificate is due, and this is a host certificate.",
            ),
            (
                expired,
                b"root",
                "The certificate expired 412 seconds ago; get a new one, or compare the clocks.",
            ),
        ):
            self.assert_refused(ed25519_client(certificate).request(user), sentence)

    def test_logged(self) -> None:
        """Whose certificate was refused, and why, is in the log: once, whether it is only offered or used."""
        self.policy.problem = AccessDenied("Not here.")
        with capturedLogs() as logged:
            self.ask(ed25519_client().request(signed=False))
            self.ask(ed25519_client().request())
        said = [formatEvent(entry) for entry in logged]
        client = self.transport.client_address
        self.assertEqual(said, [f"{client} was refused as 'root' with the certificate of 'alice': Not here."])

    def test_problems_of_ours(self) -> None:
        """What is wrong at our end is an event, and no business of the person at the keyboard."""
        self.policy.problem = StorageFull("The disk is full.")
        self.ask(ed25519_client().request())
        self.assertEqual(self.transport.sent, [FAILURE])
        self.assertEqual([text for _, text in self.policy.refusals], ["The disk is full."])

    def test_failure_of_the_policy(self) -> None:
        """A policy that breaks ends the connection and lets nobody in."""
        self.policy.problem = ZeroDivisionError("ours")
        self.ask(ed25519_client().request())
        self.assertEqual(self.transport.disconnects, [(11, b"the login failed; the log of the server says why")])
        self.assert_nobody()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_banner_is_harmless(self) -> None:
        """A banner holds nothing that a terminal would obey, and is one line."""
        self.policy.problem = AccessDenied("No\x1b]0;title\x07\r\nway\u202e.")
        self.ask(ed25519_client().request())
        self.assertEqual(self.transport.sent[0], banner("No]0;titleway."))


class SignatureTests(AuthCase):
    def test_another_key(self) -> None:
        """Offering one key and signing with another proves nothing."""
        client = signed_by(ed25519_client(), ecdsa_client(256))
        self.assert_refused(
            client.request(),
            f"{NOT_ACCEPTED}'ecdsa-sha2-nistp256' is not what ssh-ed25519-cert-v01@openssh.com signs with.",
        )

    def test_altered(self) -> None:
        """A signature of another session, for another user, or with a flipped bit."""
        client = ed25519_client()
        other_session = client.request(session_id=SESSION_ID[::-1])
        other_user = client.request(b"alice", signed_user=b"root")
        flipped = bytearray(client.request())
        flipped[-1] ^= 1
        for payload in (other_session, other_user, bytes(flipped)):
            self.assert_refused(payload, f"{NOT_ACCEPTED}it does not fit the key.")

    def test_algorithms_of_rsa(self) -> None:
        """What was announced is what has to be used; SHA-1 is never accepted."""
        announced = "rsa-sha2-512-cert-v01@openssh.com"
        for signed, hash_ in (("ssh-rsa", hashes.SHA1()), ("rsa-sha2-256", hashes.SHA256())):  # noqa: S303
            client = rsa_client("rsa-sha2-512", signed, hash_)
            self.assert_refused(client.request(), f"{NOT_ACCEPTED}'{signed}' is not what {announced} signs with.")
        lying = rsa_client("rsa-sha2-512", "rsa-sha2-512", hashes.SHA1())  # noqa: S303
        self.assert_refused(lying.request(), f"{NOT_ACCEPTED}it does not fit the key.")

    def test_sha1_is_not_even_a_name(self) -> None:
        """The algorithm that means SHA-1 is refused like a plain key."""
        self.ask(rsa_client("ssh-rsa", "ssh-rsa", hashes.SHA1()).request())  # noqa: S303
        self.assertEqual(self.transport.sent, [FAILURE])
        self.assert_nobody()

    def test_algorithm_of_another_certificate(self) -> None:
        """The name of one kind of certificate with the blob of another; there is no event, as nobody is named."""
        client = evolve(
            rsa_client("rsa-sha2-512", "rsa-sha2-512", hashes.SHA512()), algorithm=ed25519_client().algorithm
        )
        for signed in (False, True):
            self.setUp()
            self.ask(client.request(signed=signed))
            self.assertEqual((self.transport.sent, self.policy.checked), ([FAILURE], []))
            self.assert_nobody()

    def test_malformed_signature(self) -> None:
        """A signature that is no signature is refused as one."""
        client = evolve(ed25519_client(), sign=lambda data: b"\0\0\0\x50oops")
        self.assert_refused(client.request(), f"{NOT_ACCEPTED}80 bytes are due and 4 are left.")


class SecurityKeyTests(AuthCase):
    def test_touch(self) -> None:
        """A security key has to be touched, unless the certificate says that it need not be."""
        for kind in ("sk-ssh-ed25519", "sk-ecdsa-sha2-nistp256"):
            self.assert_refused(
                security_key_client(kind, 0).request(), f"{NOT_ACCEPTED}the security key was not touched."
            )
            self.assert_accepted(security_key_client(kind, 0, extensions=("no-touch-required",)))

    def test_verification(self) -> None:
        """Where the certificate demands it, the key has to have recognised its user, by a PIN or a finger."""
        sentence = f"{NOT_ACCEPTED}the certificate demands that the security key verifies its user."
        demands = ("verify-required",)
        for kind in ("sk-ssh-ed25519", "sk-ecdsa-sha2-nistp256"):
            self.assert_refused(security_key_client(kind, TOUCHED, options=demands).request(), sentence)
            self.assert_accepted(security_key_client(kind, TOUCHED | VERIFIED, options=demands))

    def test_verification_by_a_plain_key(self) -> None:
        """A key that can verify nobody does not do for a certificate that demands it."""
        client = ed25519_client(certify(samples.SSH_BLOB, options=("verify-required",)))
        self.assert_refused(
            client.request(), f"{NOT_ACCEPTED}the certificate demands that the security key verifies its user."
        )


class UserNameTests(AuthCase):
    def test_refused(self) -> None:
        """Names that no account and no log should see are refused before the policy hears of them."""
        for user in (
            b"",
            b"root\0x",
            b"a\nb",
            "ab\u202egnp".encode(),
            b"x" * 257,
            b"x" * 10_000,
            b"\xff\xfe",
            b"\x1b[2J",
        ):
            self.setUp()
            self.ask(ed25519_client().request(user))
            self.assertEqual((self.transport.sent, self.policy.checked), ([FAILURE], []), user)
            self.assert_nobody()

    def test_left_to_the_policy(self) -> None:
        """A name that can be printed is the policy's to judge, as a proxy takes any."""
        for user in (b"-oProxyCommand=x", b"../x", b"%u", "j\u00f6rg".encode(), b"x" * 256):
            self.setUp()
            self.ask(ed25519_client().request(user))
            self.assertEqual([claim.user for claim in self.policy.checked], [user.decode()])
            self.assert_nobody()


class LimitTests(AuthCase):
    def assert_ended(self, why: bytes = TOO_MANY_FAILURES) -> None:
        self.assertEqual(self.transport.disconnects, [(14, why)])
        self.ask(ed25519_client().request())
        self.assertEqual(len(self.transport.disconnects), 1)
        self.assert_nobody()

    def test_offers(self) -> None:
        """Twenty keys are offered by one agent, and are no failures; the next one is the end, and names the cure."""
        for _ in range(MAX_OFFERS):
            self.ask(ed25519_client().request(b"daemon", signed=False))
        self.assertEqual(self.transport.disconnects, [])
        self.ask(ed25519_client().request(signed=False))
        self.assert_ended(b"too many keys were offered; name one with IdentityFile and IdentitiesOnly=yes")

    def test_good_behind_many_offers(self) -> None:
        """Who offers twenty keys logs in with the last of them."""
        for _ in range(MAX_OFFERS - 1):
            self.ask(PLAIN.request(signed=False))
        self.ask(ed25519_client().request(signed=False))
        self.ask(ed25519_client().request())
        self.assertEqual(self.transport.sent[-1], SUCCESS)

    def test_nothing(self) -> None:
        """The method ``none`` asks what there is, once; from then on it is a failure like any other."""
        for _ in range(MAX_FAILURES):
            self.ask(NOTHING)
        self.assertEqual((self.transport.sent, self.transport.disconnects), ([FAILURE] * MAX_FAILURES, []))
        self.ask(NOTHING)
        self.assert_ended()

    def test_failed_signatures(self) -> None:
        """Six signed requests that fail are the end, and a good one behind them is not looked at."""
        for _ in range(MAX_FAILURES):
            self.ask(ed25519_client().request(session_id=b"another"))
        self.assert_ended()

    def test_one_count(self) -> None:
        """Failures of every kind are counted together: keys, methods that are not offered, names that are none."""
        for payload in (
            ed25519_client().request(session_id=b"another"),
            PLAIN.request(),
            NOTHING,
            ed25519_client().request(b"a\nb"),
            wire.string(b"root") + wire.string(b"ssh-connection") + wire.string(b"password") + b"\0secret",
        ):
            self.ask(payload)
        self.assertEqual(self.transport.disconnects, [])
        self.ask(ed25519_client().request(b"daemon"))
        self.assert_ended()

    def test_requests(self) -> None:
        """All requests together are bounded, whatever becomes of them."""
        self.auth._counts.requests = MAX_REQUESTS
        self.ask(ed25519_client().request())
        self.assert_ended()

    def test_pipelined(self) -> None:
        """Requests that are sent without waiting for answers count like all others."""
        self.policy.wait = Deferred()
        for _ in range(MAX_REQUESTS + 1):
            self.ask(ed25519_client().request())
        self.assertEqual(self.transport.disconnects, [(14, TOO_MANY_FAILURES)])
        self.policy.wait.callback(None)
        self.assert_nobody()

    def test_lost_while_it_is_decided(self) -> None:
        """With the connection goes a login that is not finished."""
        self.policy.wait = Deferred()
        self.ask(ed25519_client().request())
        self.auth.serviceStopped()
        self.assertEqual((self.transport.sent, self.transport.disconnects), ([], []))
        self.assert_nobody()

    def test_other_messages(self) -> None:
        """Whatever is no request ends the connection: success said by the client above all (RFC 4252, section 6)."""
        for number in (51, 52, 53, 60, 80, 90, 98, 130):
            self.setUp()
            self.auth.packetReceived(number, b"\0\0\0\0")
            self.assertEqual(self.transport.disconnects, [(2, b"log in first")])
            self.assert_nobody()


class MalformedTests(AuthCase):
    def test_unreadable_certificate(self) -> None:
        """What is shown as a certificate and is none is told once, with whoever shows it, offered or signed."""
        lying = evolve(ed25519_client(), plain=b"no certificate")
        with capturedLogs() as logged:
            self.ask(lying.request(signed=False))
            self.ask(lying.request())
        attempt = Attempt("root", self.transport.client_address)
        ((told, sentence),) = self.policy.refusals
        self.assertEqual(told, attempt)
        self.assertIn("This is not a certificate", sentence)
        said = [formatEvent(entry) for entry in logged]
        self.assertEqual(
            said, [f"{attempt.client_address} was refused as 'root' with an unreadable certificate: {sentence}"]
        )
        self.assert_nobody()

    def test_truncated(self) -> None:
        """A request that ends too early, or goes on too long, ends the connection without a traceback."""
        for whole in (ed25519_client().request(), ed25519_client().request(signed=False)):
            for payload in (*(whole[:length] for length in range(len(whole))), whole + b"!"):
                self.setUp()
                self.ask(payload)
                self.assertEqual(self.transport.disconnects, [(2, b"malformed authentication request")])
                self.assert_nobody()
        self.assertEqual(self.flushLoggedErrors(), [])

    @given(st.binary(max_size=200))
    @settings(deadline=None)
    def test_certificates(self, blob: bytes) -> None:
        """Whatever the blob of a certificate holds, it lets nobody in, and nothing is raised or logged as a failure."""
        self.setUp()
        head = wire.string(b"root") + wire.string(b"ssh-connection") + wire.string(b"publickey") + b"\0"
        kind = b"ssh-ed25519-cert-v01@openssh.com"
        self.ask(head + wire.string(kind) + wire.string(wire.string(kind) + blob))
        self.assertEqual(self.transport.sent, [FAILURE])
        self.assert_nobody()
        self.assertEqual(self.flushLoggedErrors(), [])
