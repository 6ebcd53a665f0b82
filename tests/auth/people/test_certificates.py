"""Certificates that the administrator asks for."""

from __future__ import annotations

from teleport_conch.certs.certificate import CertificateType, SSHCertificate
from teleport_conch.certs.extensions import roles_of, traits_of
from teleport_conch.certs.tls import load_certificate_pem
from teleport_conch.certs.trust import check_ssh_certificate, check_tls_certificate
from tests.auth.fixture import CLUSTER, NOW, SSH_KEY, TLS_KEY, Answered, ClusterTestCase

NO_EVENT = (
    "No certificate is issued, as the event that says so cannot be kept. The disk of the auth server is full, or its"
    " spool of events: make room there. Its log says more."
)
USER = "/v1/ca/user/certs"
HOST = "/v1/ca/host/certs"


class UserTests(ClusterTestCase):
    def sign(self, **options: object) -> Answered:
        usual: dict[str, object] = {"user": "alice", "logins": ["root", "web"], "public_ssh_key": SSH_KEY}
        return self.call(self.admin(), "POST", USER, {**usual, **options})

    def test_both(self) -> None:
        """An SSH certificate for the logins, a TLS one for the API; both say access, and hold for 12 hours."""
        answer = self.sign(public_tls_key=TLS_KEY)
        ssh = SSHCertificate.from_line(str(answer.body["cert"]))
        check_ssh_certificate(
            ssh,
            type=CertificateType.USER,
            authorities=self.cluster.authorities.public("user").ssh_keys,
            now=NOW + 12 * 3600 - 1,
            principal="web",
            source_address="192.0.2.7",
        )
        self.assertEqual((ssh.key_id, ssh.principals, ssh.valid_before), ("alice", ("root", "web"), NOW + 12 * 3600))
        self.assertEqual((roles_of(ssh), traits_of(ssh)), (("access",), {"logins": ("root", "web")}))
        tls = load_certificate_pem(str(answer.body["tls_cert"]))
        identity = check_tls_certificate(tls, self.cluster.authorities.trusted, NOW)
        self.assertEqual((identity.kind, identity.name, identity.roles), ("user", "alice", ("access",)))

    def test_ssh_only(self) -> None:
        """Without a TLS key there is no TLS certificate; the authorities come without their secrets."""
        answer = self.sign(ttl=60, roles=["auditor"])
        self.assertEqual(answer.body["tls_cert"], "")
        self.assertEqual(roles_of(SSHCertificate.from_line(str(answer.body["cert"]))), ("auditor",))
        self.assertNotIn("signing_keys", str(answer.body))

    def test_permissions(self) -> None:
        """The extensions are what the roles permit; nobody gets another one."""
        forwards = ["permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding"]
        for roles, permitted in ((["access"], forwards), (["auditor"], []), (["auditor", "admin"], forwards)):
            signed = SSHCertificate.from_line(str(self.sign(roles=roles).body["cert"]))
            permits = [name for name, _ in signed.extensions if name.startswith("permit-")]
            self.assertEqual(permits, [*permitted, "permit-pty"])

    def test_event(self) -> None:
        """Who got a certificate for what, who asked for it, and when it ends."""
        self.sign(ttl=3600)
        [event] = self.emitted.named("cert.create")
        self.assertEqual(
            event.fields,
            {
                "cert_type": "user",
                "name": "alice",
                "logins": ("root", "web"),
                "roles": ("access",),
                "user": "tctl on the auth host",
                "expires": NOW + 3600,
            },
        )

    def test_no_room_for_the_event(self) -> None:
        """There is no certificate without its event."""
        self.emitted.full = True
        answer = self.sign()
        self.assertEqual((answer.status, answer.code, answer.sentence), (507, "STORAGE_FULL", NO_EVENT))
        self.emitted.full = False
        self.assertEqual(self.sign().status, 200)

    def test_refused(self) -> None:
        """What no certificate may say, and times out of bounds; nothing is signed, and nothing is an event."""
        for options, status, sentence in (
            ({"roles": ["nonsense"]}, 400, "There is no role 'nonsense'; there are access, admin, auditor, robot."),
            ({"roles": ["Admin"]}, 400, "There is no role 'Admin'"),
            ({"logins": []}, 403, "name at least one login"),
            ({"logins": ["root,admin"]}, 403, "The login 'root,admin' holds a comma"),
            ({"logins": ["*"]}, 403, "holds a comma, a wildcard"),
            ({"logins": [f"u{number}" for number in range(65)]}, 400, "at most 64 logins"),
            ({"user": "../x"}, 403, "The user name '../x'"),
            ({"ttl": -5}, 400, "lives for 60 to"),
            ({"ttl": 59}, 400, "lives for 60 to"),
            ({"ttl": 1e9}, 400, "lives for 60 to"),
            ({"public_ssh_key": "nonsense"}, 400, "This is not the line of a public key"),
            ({"public_tls_key": "nonsense"}, 400, "This is not a public key in PEM form."),
            ({"user": None}, 400, "missing parameter request.user"),
            ({"public_ssh_key": None}, 400, "missing parameter request.public_ssh_key"),
        ):
            answer = self.sign(**options)
            self.assertEqual(answer.status, status, options)
            self.assertIn(sentence, answer.sentence)
        self.assertEqual(self.emitted.named("cert.create"), [])


class HostTests(ClusterTestCase):
    def sign(self, **options: object) -> Answered:
        usual: dict[str, object] = {"principals": ["db.example.org", "10.0.0.7"], "public_ssh_key": SSH_KEY}
        return self.call(self.admin(), "POST", HOST, {**usual, **options})

    def test_signed(self) -> None:
        """For a host that runs sshd: all its names, no place in the cluster."""
        certificate = SSHCertificate.from_line(str(self.sign().body["cert"]))
        self.assertIs(certificate.type, CertificateType.HOST)
        for name in ("db.example.org", "10.0.0.7", f"db.example.org.{CLUSTER}"):
            self.assertIn(name, certificate.principals)
        self.assertEqual(list(self.cluster.hosts), [])
        [event] = self.emitted.named("cert.create")
        self.assertEqual((event.fields["cert_type"], event.fields["name"]), ("host", "db.example.org"))

    def test_no_room_for_the_event(self) -> None:
        """There is no certificate without its event."""
        self.emitted.full = True
        answer = self.sign()
        self.assertEqual((answer.status, answer.sentence), (507, NO_EVENT))

    def test_refused(self) -> None:
        """Names that no host may have, and none at all."""
        for options, sentence in (
            ({"principals": []}, "a host certificate is for at least one name"),
            ({"principals": ["*"]}, "is not a host name"),
            ({"principals": [CLUSTER]}, "is that of the cluster"),
            ({"principals": ["teleport.cluster.local"]}, "is reserved"),
            ({"ttl": -1}, "more than 0"),
        ):
            self.assertIn(sentence, self.sign(**options).sentence)
