"""Threats 53, 54, 56 and 58: what was withdrawn, and certificates that give more than somebody has.

A policy may change its mind at any moment, authorities can be withdrawn, connections can be ended, hosts can be barred.
Locks are in ``tests/auth/rules/test_locks.py``, and what people have signed for themselves is in
``tests/auth/people/test_people_certificates.py``.
"""

from __future__ import annotations

from attrs import define, field

from teleport_conch.auth.limits import MAX_USER_CERTIFICATE_S
from teleport_conch.certs.certificate import CertificateType, SSHCertificate
from teleport_conch.certs.trust import check_ssh_certificate
from teleport_conch.errors import AccessDenied, TokenBinding
from teleport_conch.ssh.login.policy import Answer, Claim
from tests.auth.fixture import ADDRESS, GATEWAY, SSH_KEY, ClusterTestCase
from tests.certs import samples
from tests.ssh.logins import SamplePolicy, ed25519_client
from tests.threats.visitors import PK_OK, VisitorCase

USER_CERTIFICATES = "/v1/ca/user/certs"


@define
class Revocable(SamplePolicy):
    """Knows serials and authorities that were withdrawn."""

    serials: set[int] = field(factory=set)
    authorities: list[bytes] = field(factory=lambda: list(samples.USER_CA.public().ssh_keys))

    def check(self, claim: Claim) -> None:
        check_ssh_certificate(
            claim.certificate,
            type=CertificateType.USER,
            authorities=self.authorities,
            now=samples.NOW,
            principal=claim.user,
            source_address=claim.client[0],
        )
        if claim.certificate.serial in self.serials:
            raise AccessDenied("The certificate was revoked.")

    async def login(self, claim: Claim) -> Answer:
        self.check(claim)
        return await super().login(claim)


class T53Revoked(VisitorCase):
    def test_serial(self) -> None:
        """It holds from the next request on, also between an offer and the signature."""
        policy = self.policy = Revocable()
        visitor = self.visitor(policy)
        self.policy = policy
        client = ed25519_client()
        self.assertEqual([number for number, _ in visitor.ask(client.request(signed=False))], [PK_OK])
        policy.serials.add(client.certificate.serial)
        self.assert_refused(visitor, visitor.log_in_as(client), "The certificate was revoked.")

    def test_authority(self) -> None:
        """Nothing that it signed is believed any more, and the person reads so."""
        policy = Revocable()
        visitor = self.visitor(policy)
        self.policy = policy
        policy.authorities.clear()
        said = visitor.log_in_as(ed25519_client())
        self.assertIn(b"signed by an authority that is not trusted here", said[0][1])
        self.assertFalse(visitor.logged_in)

    def test_live_sessions(self) -> None:
        """Who is logged in is sent away with the reason."""
        visitor = self.visitor()
        visitor.log_in_as(ed25519_client())
        self.assertTrue(visitor.logged_in)
        self.factory.disconnect_all("Alice is locked.")
        visitor.pump()
        self.assertEqual(visitor.client.errors, [(11, b"Alice is locked.")])
        self.assertTrue(visitor.server_tcp.losing)


class T54Renewal(ClusterTestCase):
    """A host's renewal."""

    def test_never_wider(self) -> None:
        """What a token bound stays bound, another role or host is not to be had, and the life is as at joining."""
        token = self.token(node_name="gate", principals=("a.example.org",))
        joined = self.register(self.request(GATEWAY, "gate", token=token))
        caller = self.host(joined).identity
        self.clock.advance(1000)
        for request, kind in (
            (self.request(GATEWAY, "other"), TokenBinding),
            (self.request(GATEWAY, "gate", principals=("b.example.org",)), TokenBinding),
            (self.request(GATEWAY, "gate", role="Proxy"), AccessDenied),
            (self.request(role="Node"), AccessDenied),
        ):
            self.refused(self.cluster.renewing.renew(request, caller, ADDRESS), kind)
        answer = self.now(self.cluster.renewing.renew(self.request(GATEWAY, "gate"), caller, ADDRESS))
        before, after = (SSHCertificate.from_line(each.ssh_certificate) for each in (joined, answer))
        self.assertEqual(set(after.principals), set(before.principals))
        self.assertEqual(after.valid_before - before.valid_before, 1000)


class T58LinesOfKeys(ClusterTestCase):
    def test_refused(self) -> None:
        """A line whose type is missing behind its options is no key; nor are options of which nothing would be kept."""
        kind, key = SSH_KEY.split()[:2]
        for line in (
            f"restrict {key}",
            f"restrict,pty {kind} {key}",
            key,
            f'command="x" {kind} {key}',
            f"{kind} restrict",
        ):
            fields = {"user": "alice", "logins": ["web"], "public_ssh_key": line}
            answer = self.call(self.admin(), "POST", USER_CERTIFICATES, fields)
            self.assertEqual((answer.status, answer.code), (400, "BAD_PARAMETER"), line)
        self.assertEqual(self.emitted.named("cert.create"), [])


class T56Issuing(ClusterTestCase):
    USUAL = {"user": "alice", "logins": ["web"], "public_ssh_key": SSH_KEY}

    def test_nobody_else(self) -> None:
        """People and hosts have nothing signed, not even for themselves; that is decided before anything is signed."""
        for peer in (self.user("access"), self.user("auditor"), self.host(self.join()), None):
            answer = self.call(peer, "POST", USER_CERTIFICATES, self.USUAL)
            self.assertIn(answer.status, (401, 403))
        self.assertEqual(self.emitted.named("cert.create"), [])

    def test_beyond_any_role(self) -> None:
        """Roles that are none, names that are more than one, and times that are none are refused; nothing is signed."""
        for change, sentence in (
            ({"roles": ["root"]}, "There is no role 'root'"),
            ({"logins": ["web,root"]}, "holds a comma"),
            ({"logins": ["*"]}, "a wildcard"),
            ({"ttl": -1}, "lives for"),
            ({"ttl": MAX_USER_CERTIFICATE_S + 1}, "lives for"),
            ({"ttl": "NaN"}, ""),
        ):
            answer = self.call(self.admin(), "POST", USER_CERTIFICATES, {**self.USUAL, **change})
            self.assertIn(answer.status, (400, 403), change)
            self.assertIn(sentence, answer.sentence)
        self.assertEqual(self.emitted.named("cert.create"), [])
