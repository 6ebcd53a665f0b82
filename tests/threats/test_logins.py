"""Threats 20 to 36: logging in as somebody else, again, for ever, or by what a clock says."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from types import FrameType

from attrs import evolve
from cryptography.hazmat.primitives import hashes
from twisted.internet.defer import Deferred

from teleport_conch import wire
from teleport_conch.certs import keys
from teleport_conch.certs.certificate import option
from teleport_conch.errors import AccessDenied
from teleport_conch.ssh.login.policy import LoginPolicy
from tests.certs import samples
from tests.ssh import messages
from tests.ssh.logins import (
    TOUCHED,
    Client,
    SamplePolicy,
    certify,
    ecdsa_client,
    ed25519_client,
    plain,
    rsa_client,
    security_key_client,
    signed_by,
)
from tests.ssh.policies import CertificateAndCode, CertifiedOwner, KeysAndPasswords
from tests.threats.visitors import (
    BANNER,
    FAILURE,
    INFO_REQUEST,
    INFO_RESPONSE,
    PK_OK,
    SUCCESS,
    Visitor,
    VisitorCase,
    answers,
    interactive,
    nothing,
    password,
)

NOT_ACCEPTED = "The signature of the login is not accepted: "


class T20AnotherKey(VisitorCase):
    """Offer key A, sign with key B."""

    def test_identity(self) -> None:
        """Who signs is who logs in, and nothing of the offer is left."""
        visitor = self.visitor()
        offered = visitor.ask(ed25519_client().request(b"alice", signed=False))
        self.assertEqual([number for number, _ in offered], [PK_OK])
        self.assertEqual(visitor.log_in_as(ecdsa_client(256)), [(SUCCESS, b"")])
        (claim,) = self.policy.logged_in
        self.assertEqual((claim.user, claim.certificate.kind), ("root", "ecdsa-sha2-nistp256-cert-v01@openssh.com"))

    def test_signature(self) -> None:
        """A's certificate with B's signature is nobody's."""
        visitor = self.visitor()
        said = visitor.log_in_as(signed_by(ed25519_client(), ecdsa_client(256)))
        why = "'ecdsa-sha2-nistp256' is not what ssh-ed25519-cert-v01@openssh.com signs with."
        self.assert_refused(visitor, said, NOT_ACCEPTED + why)


class T21OfferOnly(VisitorCase):
    """Offer an authorised key without a signature, then open a channel."""

    def test_channel(self) -> None:
        visitor = self.visitor()
        visitor.ask(ed25519_client().request(signed=False))
        visitor.ask(messages.open_channel(b"session", 0, 1000, 1000), 90)
        self.assertEqual(visitor.client.errors[0][0], 2)
        self.assert_outside(visitor)


class T22ForEver(VisitorCase):
    """500 requests of any kind."""

    def flood(self, payload: bytes) -> Visitor:
        visitor = self.visitor()
        for _ in range(500):
            if visitor.client.errors:
                break
            visitor.ask(payload)
        self.assert_outside(visitor)
        return visitor

    def test_offers(self) -> None:
        """Offers end after twenty, also when each of them is good."""
        for client in (ed25519_client(), plain(ed25519_client())):
            visitor = self.flood(client.request(signed=False))
            self.assertEqual(len(visitor.client.got), 20)
            self.assertEqual([reason for reason, _ in visitor.client.errors], [14])

    def test_none(self) -> None:
        """``none`` ends after the first one and six more."""
        visitor = self.flood(nothing())
        self.assertEqual((len(visitor.client.got), visitor.client.errors[0][0]), (6, 14))

    def test_pipelined(self) -> None:
        """Without waiting for an answer it is no better: what is behind the last one is not looked at."""
        visitor = self.visitor()
        for _ in range(500):
            visitor.client.sendPacket(50, nothing())
        visitor.client.sendPacket(50, ed25519_client().request(session_id=visitor.session_id))
        visitor.ask(b"")
        for _ in range(50):
            visitor.ask(b"", 2)
        self.assertEqual(visitor.client.errors[0][0], 14)
        self.assert_outside(visitor)


class T23Oracle(VisitorCase):
    """What the answer to an offer tells."""

    def test_same_answer(self) -> None:
        """A foreign certificate, a host's, a plain key: one answer for every user, there or not."""
        foreign = samples.OTHER_USER_CA.ssh_keys[0].sign(samples.user_certificate())
        for client in (
            ed25519_client(foreign),
            ed25519_client(samples.host_certificate()),
            plain(ed25519_client()),
        ):
            said = []
            for user in (b"root", b"no-such-user"):
                visitor = self.visitor()
                said.append(visitor.ask(client.request(user, signed=False)))
                self.assertNotIn(PK_OK, [number for number, _ in said[-1]])
                self.assert_outside(visitor)
            self.assertEqual(said[0], said[1])

    def test_no_touch_in_vain(self) -> None:
        """An offer that would be refused once signed is refused at once: the policy counts, not the CA alone."""
        visitor = self.visitor()
        said = visitor.ask(ed25519_client().request(b"daemon", signed=False))
        self.assert_refused(visitor, said, "The certificate is not for 'daemon'.")


class T24SHA1(VisitorCase):
    """Announce rsa-sha2-512, sign with SHA-1."""

    def test_refused(self) -> None:
        visitor = self.visitor()
        said = visitor.log_in_as(rsa_client("rsa-sha2-512", "ssh-rsa", hashes.SHA1()))  # noqa: S303
        why = "'ssh-rsa' is not what rsa-sha2-512-cert-v01@openssh.com signs with."
        self.assert_refused(visitor, said, NOT_ACCEPTED + why)
        visitor = self.visitor()
        said = visitor.log_in_as(rsa_client("rsa-sha2-512", "rsa-sha2-512", hashes.SHA1()))  # noqa: S303
        self.assert_refused(visitor, said, f"{NOT_ACCEPTED}it does not fit the key.")


class T25AnotherType(VisitorCase):
    """The name of one algorithm, a key of another type; a curve's name with another's point."""

    def test_refused(self) -> None:
        rsa = rsa_client("rsa-sha2-512", "rsa-sha2-512", hashes.SHA512())
        wrong_point = wire.text("ecdsa-sha2-nistp256") + wire.text("nistp256")
        wrong_point += keys.public_blob(samples.ecdsa_key(384).public_key())[-101:]
        for client in (
            evolve(rsa, algorithm=ed25519_client().algorithm),
            evolve(ecdsa_client(256), algorithm=ecdsa_client(384).algorithm),
            ed25519_client(evolve(ecdsa_client(256).certificate, public_key=wrong_point)),
        ):
            visitor = self.visitor()
            self.assert_refused(visitor, visitor.log_in_as(client))

    def test_plain(self) -> None:
        """Where plain keys are accepted, they are looked at as closely."""
        ed25519, rsa = plain(ed25519_client()), plain(rsa_client("rsa-sha2-512", "rsa-sha2-512", hashes.SHA512()))
        for client in (evolve(ed25519, plain=rsa.plain), evolve(rsa, plain=ed25519.plain)):
            policy = KeysAndPasswords({ed25519.plain, rsa.plain})
            visitor = self.visitor(policy)
            self.assert_refused(visitor, visitor.log_in_as(client), methods="publickey,password")
            self.assertEqual(policy.checked, [])


class T26SizesOfRSA(VisitorCase):
    """RSA keys of 512 bits, and of 131,072."""

    def test_refused(self) -> None:
        """No arithmetic is done with them: the policy is not even asked."""
        for bits in (512, 1024, 131_072):
            blob = wire.text("ssh-rsa") + wire.mpint(65537) + wire.mpint((1 << bits) - 1)
            client = evolve(plain(ed25519_client()), algorithm=b"rsa-sha2-512", plain=blob)
            policy = KeysAndPasswords({blob})
            visitor = self.visitor(policy)
            self.assert_refused(visitor, visitor.log_in_as(client), methods="publickey,password")
            self.assertEqual(policy.checked, [])


class T27TrailingBytes(VisitorCase):
    """A key blob with bytes behind it."""

    def test_refused(self) -> None:
        certificate = samples.user_certificate()
        policy = KeysAndPasswords({samples.SSH_BLOB, samples.SSH_BLOB + b"\0"})
        client = plain(ed25519_client())
        visitor = self.visitor(policy)
        longer = evolve(client, plain=client.plain + b"\0")
        self.assert_refused(visitor, visitor.log_in_as(longer), methods="publickey,password")
        visitor = self.visitor()
        longer = evolve(ed25519_client(certificate), plain=certificate.to_blob() + b"\0")
        self.assert_refused(visitor, visitor.log_in_as(longer))


class T28Untouched(VisitorCase):
    """A security key that nobody touched."""

    def test_refused(self) -> None:
        for kind in ("sk-ssh-ed25519", "sk-ecdsa-sha2-nistp256"):
            for flags in (0, 0x04):  # the second: a PIN was given
                visitor = self.visitor()
                said = visitor.log_in_as(security_key_client(kind, flags))
                self.assert_refused(visitor, said, f"{NOT_ACCEPTED}the security key was not touched.")

    def test_allowed(self) -> None:
        """Unless the certificate says that it need not be."""
        for client in (
            security_key_client("sk-ssh-ed25519", TOUCHED),
            security_key_client("sk-ssh-ed25519", 0, extensions=("no-touch-required",)),
        ):
            self.assertEqual(self.visitor().log_in_as(client), [(SUCCESS, b"")])


class StepsCase(VisitorCase):
    def first_step(self, client: Client) -> Visitor:
        """A visitor who has shown a certificate, and is to answer now."""
        self.steps = CertificateAndCode()
        visitor = self.visitor(self.steps)
        said = visitor.log_in_as(client)
        self.assertEqual(said, [(FAILURE, wire.text("keyboard-interactive") + wire.boolean(True))])
        return visitor


class T29AnotherUser(StepsCase):
    """The user name changes between two steps of a login."""

    def test_starts_over(self) -> None:
        """Nothing of the first step is left, also not for the first user."""
        visitor = self.first_step(ed25519_client())
        for user in (b"alice", b"root"):
            said = visitor.ask(interactive(user))
            self.assert_refused(visitor, said)
            self.assertEqual(self.steps.second_steps[0].asked, [])

    def test_in_the_middle_of_it(self) -> None:
        """Nor where the question was already asked: its answer is to no question."""
        visitor = self.first_step(ed25519_client())
        visitor.ask(interactive())
        visitor.ask(nothing(b"alice"))
        visitor.ask(answers(b"123456"), INFO_RESPONSE)
        self.assertEqual(visitor.client.errors, [(2, b"log in first")])
        self.assert_outside(visitor)


class T30LimitsOfTheFirstStep(StepsCase):
    """What a certificate limits, behind a second factor."""

    def test_force_command(self) -> None:
        """The owner of the connection is made of the certificate of the first step, with its one command."""
        certificate = samples.user_certificate(critical_options=(option("force-command", "date"),))
        visitor = self.first_step(ed25519_client(certificate))
        self.assertEqual([number for number, _ in visitor.ask(interactive())], [INFO_REQUEST])
        self.assertEqual(visitor.ask(answers(b"123456"), INFO_RESPONSE), [(SUCCESS, b"")])
        owner = getattr(visitor.server.service, "owner", None)
        assert isinstance(owner, CertifiedOwner) and owner.certificate is not None
        self.assertEqual(owner.certificate.critical_option("force-command"), "date")


class T31AfterSuccess(VisitorCase):
    """A second login on a connection that is logged in."""

    def test_changes_nothing(self) -> None:
        visitor = self.visitor()
        visitor.log_in_as(ed25519_client())
        service = visitor.server.service
        visitor.log_in_as(ed25519_client(), b"alice")
        self.assertIn(visitor.server.service, (service, None))
        self.assertEqual([claim.user for claim in self.policy.logged_in], ["root"])

    def test_pipelined(self) -> None:
        """Nor does one that was sent together with the first."""
        visitor = self.visitor()
        for user in (b"root", b"alice"):
            visitor.client.sendPacket(50, ed25519_client().request(user, session_id=visitor.session_id))
        visitor.pump()
        self.assertEqual([claim.user for claim in self.policy.logged_in], ["root"])


class T31BehindAGoodbye(VisitorCase):
    """A login that is decided when the connection has already said goodbye."""

    def test_comes_to_nothing(self) -> None:
        """Nobody is logged in, and who made the owner of the channels hears that there will be none."""
        visitor = self.visitor()
        self.policy.wait = Deferred()
        visitor.log_in_as(ed25519_client())
        visitor.ask(b"", 80)
        self.assertTrue(visitor.server_tcp.losing)
        self.policy.wait.callback(None)
        self.assertEqual((visitor.logged_in, self.policy.owner.ended), (False, 1))
        self.assertEqual(self.factory.admission.logged_in, {})


class T32Replay(VisitorCase):
    """The signature of another session, such as that of the other hop."""

    def test_refused(self) -> None:
        first = self.visitor()
        payload = ed25519_client().request(session_id=first.session_id)
        self.assertEqual(first.ask(payload), [(SUCCESS, b"")])
        second = self.visitor()
        self.assert_refused(second, second.ask(payload), f"{NOT_ACCEPTED}it does not fit the key.")

    def test_another_host(self) -> None:
        """A signature that is bound to another server's host key."""
        visitor = self.visitor()
        payload = ed25519_client().request(session_id=visitor.session_id, host_key=b"another")
        self.assert_refused(visitor, visitor.ask(payload))

    def test_this_host(self) -> None:
        """The host key is the one that the client saw in the key exchange."""
        visitor = self.visitor()
        payload = ed25519_client().request(session_id=visitor.session_id, host_key=visitor.client.host_key)
        self.assertEqual(visitor.ask(payload), [(SUCCESS, b"")])


class T33Names(VisitorCase):
    """User names that mean something else to a shell, a path, a terminal or a format."""

    def test_never_looked_at(self) -> None:
        """What cannot be printed, and what has no end, is refused before the policy hears of it."""
        for user in (b"root\0x", b"x" * 10_000, "ab\u202egnp".encode(), b"\x1b]0;x\x07", b"a\nb", b"", b"\xff"):
            visitor = self.visitor()
            self.assert_refused(visitor, visitor.log_in_as(ed25519_client(), user))
            self.assertEqual(self.policy.checked, [])

    def test_principals_are_literal(self) -> None:
        """The rest is compared with the principals of the certificate, and nothing else is done with it."""
        for user in (b"-oProxyCommand=x", b"../x", b"%u", b"$(id)"):
            visitor = self.visitor()
            said = visitor.log_in_as(ed25519_client(), user)
            self.assert_refused(visitor, said, f"The certificate is not for '{user.decode()}'.")


class T34Passwords(VisitorCase):
    """Passwords of 256 to 1,024 characters and more, empty ones, and some with a NUL inside."""

    WORDS = (b"", b"x", b"x" * 256, b"x" * 1024, b"x" * 1025, b"x" * 100_000, b"correct horse\0", b"\xff")

    def test_not_offered(self) -> None:
        """Node and proxy take none, and say the same to each."""
        for word in self.WORDS:
            visitor = self.visitor()
            self.assert_refused(visitor, visitor.ask(password(word)))

    def test_wrong(self) -> None:
        """Where a policy takes passwords, each of them is as wrong as any other, and takes as long."""
        for word in self.WORDS:
            visitor = self.visitor(KeysAndPasswords())
            self.assert_refused(visitor, visitor.ask(password(word)), methods="publickey,password")
            self.assertEqual(visitor.server.factory.clock.seconds(), 0.1)


def calls(act: Callable[[], object]) -> list[str]:
    """The names of the functions of ours that ``act`` calls, in their order."""
    called: list[str] = []

    def took_place(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and "/teleport_conch/" in frame.f_code.co_filename:
            called.append(frame.f_code.co_qualname)

    gc.collect()
    gc.disable()  # or what is thrown away in the middle of it counts as well
    sys.setprofile(took_place)
    try:
        act()
    finally:
        sys.setprofile(None)
        gc.enable()
    return called


class Accounts(LoginPolicy):
    """Keys of some users, as an old server has them, and the same work for all."""

    plain_keys = True

    def methods(self, user: str) -> Sequence[str]:
        return ("publickey", "password")

    def check_key(self, claim: object) -> None:
        raise AccessDenied("No.")

    async def password(self, attempt: object, password: str) -> SamplePolicy:  # type: ignore[override]  # never any
        raise AccessDenied("No.")


class T35Clock(VisitorCase):
    """An unknown user against a known user with the wrong key, by the time of the answer."""

    def cost(self, policy: LoginPolicy | None, client: Client, user: bytes) -> list[str]:
        visitor = self.visitor(policy)
        payload = client.request(user, session_id=visitor.session_id)
        return calls(lambda: visitor.ask(payload))

    def test_same_work(self) -> None:
        """The same functions are called, in the same order, whoever is asked for."""
        foreign = ed25519_client(samples.OTHER_USER_CA.ssh_keys[0].sign(samples.user_certificate()))
        for policy, client in (
            (None, ed25519_client()),
            (None, foreign),
            (None, plain(ed25519_client())),
            (Accounts(), plain(ed25519_client())),
        ):
            self.cost(policy, client, b"first")  # which finds out what is the same each time
            costs = [self.cost(policy, client, user) for user in (b"daemon", b"nobody", b"nosuch")]
            self.assertGreater(len(costs[0]), 10)
            self.assertEqual(costs[0], costs[1])
            self.assertEqual(costs[0], costs[2])

    def test_same_moment(self) -> None:
        """Nothing is said before that, whatever was found out."""
        for payload in (password(b"x"), interactive(), nothing(b"x"), plain(ed25519_client()).request()):
            visitor = self.visitor()
            visitor.ask(nothing())
            visitor.client.got.clear()
            visitor.send(50, payload)
            self.assertEqual(visitor.client.got, [])


class T36Nobody(VisitorCase):
    """No policy, no role."""

    def test_denied(self) -> None:
        """A policy that says nothing lets nobody in."""
        for payload in (nothing(), password(b"x"), interactive()):
            visitor = self.visitor(LoginPolicy())
            self.assert_refused(visitor, visitor.ask(payload))
        visitor = self.visitor(LoginPolicy())
        said = visitor.log_in_as(ed25519_client())
        self.assertEqual([number for number, _ in said], [BANNER, FAILURE])
        self.assert_outside(visitor)


class T48SourceAddress(StepsCase):
    """A certificate that is limited to addresses, together with a second factor."""

    def test_enforced(self) -> None:
        """The first step fails elsewhere, and nobody comes to the second."""
        elsewhere = certify(samples.SSH_BLOB)
        elsewhere = samples.resigned(elsewhere, critical_options=(option("source-address", "198.51.100.0/24"),))
        visitor = self.visitor(CertificateAndCode())
        said = visitor.log_in_as(ed25519_client(elsewhere))
        self.assert_refused(visitor, said, "The certificate may not be used from the address 192.0.2.7.")
        self.assert_refused(visitor, visitor.ask(interactive()))
