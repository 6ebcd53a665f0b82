"""Certificates that the administrator asks for."""

from __future__ import annotations

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.options import Options
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import Rule
from teleport_conch.auth.hosts.presence import HostKey
from teleport_conch.auth.rules.callers import Peer
from teleport_conch.certs.certificate import CertificateType, SSHCertificate
from teleport_conch.certs.extensions import roles_of, traits_of
from teleport_conch.certs.names import host_name
from teleport_conch.certs.tls import TLSIdentity, load_certificate_pem
from teleport_conch.certs.trust import check_ssh_certificate, check_tls_certificate
from teleport_conch.resources.user import User
from tests.auth.fixture import CLUSTER, GATEWAY, NOW, SSH_KEY, TLS_KEY, WEB1, Answered, ClusterTestCase, heartbeat

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
            ({"ttl": -5}, 400, "A user certificate lives for 1m to 87600h, and not for -5 seconds."),
            ({"ttl": 59}, 400, "lives for 1m to 87600h, and not for 59s."),
            ({"ttl": 3.6e8}, 400, "and not for 100000h."),
            ({"public_ssh_key": "nonsense"}, 400, "This is not the line of a public key"),
            ({"public_tls_key": "nonsense"}, 400, "This is not a public key in PEM form."),
            ({"user": None}, 400, "missing parameter request.user"),
            ({"public_ssh_key": None}, 400, "missing parameter request.public_ssh_key"),
        ):
            answer = self.sign(**options)
            self.assertEqual(answer.status, status, options)
            self.assertIn(sentence, answer.sentence)
        self.assertEqual(self.emitted.named("cert.create"), [])


class PeopleWhoSignTests(ClusterTestCase):
    """By a rule of their roles; alice's certificate ends in an hour where a test says nothing else."""

    def setUp(self) -> None:
        super().setUp()
        rules = (Rule(("user_cert",), ("create",)),)
        for name, hours in (("short", 2.0), ("long", 30.0)):
            options = Options(max_session_ttl_s=hours * 3600)
            signer = Role(name, options, Conditions(("root",), EVERY_NODE, rules))
            self.now(self.cluster.roles.shelf.create(signer))
        plain = Options(max_session_ttl_s=2 * 3600.0, port_forwarding=False)
        self.now(self.cluster.roles.shelf.create(Role("guest", plain, Conditions(("web",), EVERY_NODE))))

    def sign(self, *roles: str, hours: float = 1.0, **options: object) -> Answered:
        identity = TLSIdentity("user", "alice", CLUSTER, roles, 2, NOW + hours * 3600, ("root",), not_before=NOW)
        usual: dict[str, object] = {"user": "bob", "logins": ["web"], "roles": ["guest"], "public_ssh_key": SSH_KEY}
        return self.call(self.peer_of(identity), "POST", USER, {**usual, **options})

    def hours(self, answer: Answered) -> float:
        """For how long the certificate of an answer is good."""
        self.assertEqual(answer.status, 200, answer.body)
        return (SSHCertificate.from_line(str(answer.body["cert"])).valid_before - NOW) / 3600

    def test_left_out(self) -> None:
        """As long as a login would be good, by either's roles, and as the signer's certificate is."""
        for roles, own, expected in (("long", 1.0, 1.0), ("short", 30.0, 2.0), ("long", 30.0, 2.0)):
            self.assertEqual(self.hours(self.sign(roles, hours=own)), expected)
        self.assertEqual(self.hours(self.sign("long", hours=30.0, ttl=2 * 3600)), 2.0)

    def test_too_long(self) -> None:
        """More is refused, with the limit that it met."""
        for roles, own, asked, sentence in (
            ("long", 1.0, 3601, "You may sign for 1h, which is what your own certificate lasts, and not for 1h1s."),
            (
                "short",
                30.0,
                7201,
                "You may sign for 2h, which is what the roles of both of you allow, and not for 2h1s.",
            ),
            ("long", 30.0, 1e8, "You may sign for 2h, which is what the roles of both of you allow, and not for"),
            ("long", 30.0, -5, "lives for 1m to"),
        ):
            answer = self.sign(roles, hours=own, ttl=asked)
            self.assertEqual((answer.status, answer.code), (400, "BAD_PARAMETER"))
            self.assertIn(sentence, answer.sentence)
        self.assertEqual(self.emitted.named("cert.create"), [])

    def test_almost_over(self) -> None:
        """Nothing is signed in the last minute."""
        answer = self.sign("long", hours=59 / 3600)
        self.assertEqual((answer.status, answer.code), (401, "CERT_EXPIRED"))
        self.assertIn("Your own certificate ends too soon", answer.sentence)

    def test_stored_user(self) -> None:
        """A stored user's certificate also ends with the user."""
        self.now(self.cluster.users.shelf.create(User("bob", ("guest",), expires_at=NOW + 1800)))
        answer = self.sign("long", hours=2.0, logins=[], roles=[])
        self.assertEqual(self.hours(answer), 0.5)

    def test_administrator(self) -> None:
        """tctl on the auth host signs for as long as it likes."""
        body = {"user": "bob", "logins": ["web"], "roles": ["guest"], "public_ssh_key": SSH_KEY, "ttl": 86_400 * 365}
        self.assertEqual(self.hours(self.call(self.admin(), "POST", USER, body)), 24 * 365)


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


class PeopleWhoSignForHostsTests(ClusterTestCase):
    """By a rule of their roles: for hosts outside of the cluster, and for none of those that are in it."""

    own_names = frozenset({"auth1", "auth.example.org", "10.0.0.1"})

    def setUp(self) -> None:
        super().setUp()
        rules = (Rule(("host_cert",), ("create",)),)
        self.now(self.cluster.roles.shelf.create(Role("signer", allow=Conditions(rules=rules))))
        gate = self.request(GATEWAY, "gate", "Proxy", principals=("proxy.example.org",), dns_names=("www.example.org",))
        self.register(gate)
        self.join()
        record = heartbeat(addr="10.0.0.8:3022", public_addrs=("[2001:db8::7]:22",))
        self.now(self.cluster.inventory.beat(self.registration(), record, "10.0.0.8"))

    def sign(self, *principals: str, peer: Peer | None = None) -> Answered:
        body = {"principals": principals, "public_ssh_key": SSH_KEY}
        return self.call(peer or self.user("signer"), "POST", HOST, body)

    def test_others(self) -> None:
        """Whatever nobody has is signed, as before."""
        self.assertEqual(self.sign("db.example.org", "10.0.0.7", "web1.example.org").status, 200)

    def test_of_hosts(self) -> None:
        """Names, addresses and further names of registered hosts are refused, in whatever form; it is an event."""
        for kind, uuid, names in (
            ("node", WEB1, ("web1", "WEB1.", f"web1.{CLUSTER}", "10.0.0.8", "2001:DB8:0::7")),
            ("proxy", GATEWAY, ("gate", "proxy.example.org", "www.example.org", f"gate.{CLUSTER}")),
        ):
            for name in names:
                answer = self.sign("db.example.org", name)
                self.assertEqual((answer.status, answer.code), (409, "PRINCIPAL_TAKEN"), name)
                usual = host_name(name)
                self.assertIn(
                    f"The name {usual!r} is that of the {kind} {uuid} of this cluster: nobody signs a certificate for"
                    " it but tctl on the auth host.",
                    answer.sentence,
                )
                self.assertEqual(self.emitted.events[-1].fields["kind"], "host_cert")
        self.assertEqual(self.emitted.named("cert.create"), [])

    def test_uuids(self) -> None:
        """The form of a UUID is refused whosever it is, to everybody."""
        for peer in (self.user("signer"), self.admin()):
            for name in (WEB1, f"{GATEWAY}.{CLUSTER}"):
                self.assertIn(self.sign("db", name, peer=peer).code, ("PRINCIPAL_TAKEN", "PRINCIPAL_FORBIDDEN"))

    def test_of_auth(self) -> None:
        """So are those of auth itself."""
        for name in ("auth1", f"auth1.{CLUSTER}", "auth.example.org", "10.0.0.1"):
            answer = self.sign(name)
            self.assertEqual((answer.status, answer.code), (409, "PRINCIPAL_TAKEN"), name)
            self.assertIn(f"The name {name!r} is that of the auth server of this cluster", answer.sentence)

    def test_stopped(self) -> None:
        """A host that is off has its names until it is removed."""
        self.clock.advance(3600)
        self.assertEqual(self.sign("web1").code, "PRINCIPAL_TAKEN")
        self.now(self.cluster.inventory.remove(HostKey("node", WEB1), "tests"))
        self.assertEqual(self.sign("web1", "10.0.0.8").status, 200)

    def test_administrator(self) -> None:
        """tctl on the auth host signs for any of them: a host may have a second server."""
        self.assertEqual(self.sign("web1", "proxy.example.org", "auth1", peer=self.admin()).status, 200)
