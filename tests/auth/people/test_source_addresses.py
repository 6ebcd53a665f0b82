"""From where the certificates may be used that are signed by hand."""

from __future__ import annotations

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.options import Options
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import Rule
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.tls import TLSIdentity, load_certificate_pem
from teleport_conch.certs.trust import check_tls_certificate
from teleport_conch.resources.user import User
from tests.auth.fixture import CLUSTER, NOW, SSH_KEY, TLS_KEY, Answered, ClusterTestCase

PINNED = Role("pinned", Options(pin_source_ip=True), Conditions(("web",), EVERY_NODE))
FREE = Role("free", allow=Conditions(("web",), EVERY_NODE))
HERE = "192.0.2.7"
NOBODY_SAYS = (
    "A role binds certificates to the address of the client, and nobody says which that is: name it with"
    " --source-address."
)


class AddressTestCase(ClusterTestCase):
    def setUp(self) -> None:
        super().setUp()
        for role in (PINNED, FREE):
            self.now(self.cluster.roles.shelf.create(role))
        self.now(self.cluster.users.shelf.create(User("bob", ("pinned", "free"), {"logins": ("web",)})))

    def sign(self, **options: object) -> Answered:
        keys = {"public_ssh_key": SSH_KEY, "public_tls_key": TLS_KEY}
        return self.call(self.admin(), "POST", "/v1/ca/user/certs", {"user": "bob", **keys, **options})

    def bound_to(self, answer: Answered) -> str | None:
        """What both certificates of an answer say."""
        self.assertEqual(answer.status, 200, answer.body)
        tls = load_certificate_pem(str(answer.body["tls_cert"]))
        said = SSHCertificate.from_line(str(answer.body["cert"])).critical_option("source-address")
        self.assertEqual(check_tls_certificate(tls, self.cluster.authorities.trusted, NOW).source_address, said or "")
        return said

    def assert_refused(self, answer: Answered, sentence: str) -> None:
        self.assertEqual((answer.status, answer.code, answer.sentence), (400, "BAD_PARAMETER", sentence))
        self.assertEqual([each for each in self.emitted.named("cert.create") if each.success], [])


class AdministratorTests(AddressTestCase):
    """tctl on the auth host."""

    def test_nobody_says(self) -> None:
        """What a role binds to an address is not signed without one, whichever way it is asked for."""
        for options in (
            {},
            {"ttl": 3600},
            {"logins": ["web"]},
            {"roles": ["pinned"], "logins": ["web"]},
            {"user": "carol", "roles": ["free", "pinned"], "logins": ["web"]},
        ):
            self.assert_refused(self.sign(**options), NOBODY_SAYS)

    def test_bound(self) -> None:
        """To the address that is named, in both certificates, also where no role asks for it."""
        for options in (
            {},
            {"ttl": 3600},
            {"logins": ["web"]},
            {"roles": ["free"], "logins": ["web"]},
            {"user": "carol", "roles": ["pinned"], "logins": ["web"]},
        ):
            self.assertEqual(self.bound_to(self.sign(addresses=[HERE], **options)), HERE)

    def test_free(self) -> None:
        """Where no role asks for an address, there need be none, and there may be networks."""
        self.assertIsNone(self.bound_to(self.sign(roles=["free"])))
        for options in ({"roles": ["free"]}, {"roles": ["free"], "logins": ["web"]}):
            bound = self.bound_to(self.sign(addresses=["10.0.0.0/8", HERE], **options))
            self.assertEqual(bound, f"10.0.0.0/8,{HERE}")

    def test_wide(self) -> None:
        """A role asks for the address of the client, and not for any network that the client may be in."""
        sentence = "A role binds certificates to the address of the client: name that one, and no more."
        for addresses in (["0.0.0.0/0"], ["192.0.2.0/31"], [HERE, "192.0.2.8"], [f"{HERE},192.0.2.8"]):
            for logins in ([], ["web"]):
                self.assert_refused(self.sign(addresses=addresses, logins=logins), sentence)

    def test_no_address(self) -> None:
        """What is none."""
        sentence = "The certificate's list of source addresses holds 'here', which is no address or CIDR block."
        for roles in (["free"], ["pinned"]):
            self.assert_refused(self.sign(addresses=["here"], roles=roles), sentence)


class PeopleTests(AddressTestCase):
    """People who sign for others."""

    def setUp(self) -> None:
        super().setUp()
        rules = (Rule(("user_cert",), ("create",)),)
        self.now(self.cluster.roles.shelf.create(Role("signer", allow=Conditions(("web",), EVERY_NODE, rules))))

    def signed_by(self, *addresses: str, own: str = "", role: str = "pinned") -> Answered:
        """By somebody whose own certificate is bound to ``own``, for somebody of a role."""
        names, end = ("signer", role), NOW + 3600
        signer = TLSIdentity("user", "sam", CLUSTER, names, 2, end, ("web",), not_before=NOW, source_address=own)
        body = {"user": "bob", "roles": [role], "addresses": addresses, "public_ssh_key": SSH_KEY}
        return self.call(self.peer_of(signer), "POST", "/v1/ca/user/certs", {**body, "public_tls_key": TLS_KEY})

    def test_unbound(self) -> None:
        """Who may use a certificate everywhere says where others use theirs."""
        self.assert_refused(self.signed_by(), NOBODY_SAYS)
        self.assertEqual(self.bound_to(self.signed_by(HERE)), HERE)

    def test_own(self) -> None:
        """With what is good at one address, nobody makes what is good at another."""
        for own in ("127.0.0.1", "10.0.0.0/8,127.0.0.0/24"):
            sentence = (
                f"Your own certificate is good from {own} only, and so is what you sign with it: name an address of"
                " these with --source-address."
            )
            for role in ("pinned", "free"):
                for addresses in ((), (HERE,), ("::1",), ("127.0.0.1", HERE)):
                    self.assert_refused(self.signed_by(*addresses, own=own, role=role), sentence)
                self.emitted.events.clear()
                self.assertEqual(self.bound_to(self.signed_by("127.0.0.1", own=own, role=role)), "127.0.0.1")
                self.emitted.events.clear()

    def test_own_networks(self) -> None:
        """What is bound to networks makes what is bound to parts of them."""
        own = "10.0.0.0/8,127.0.0.0/24"
        for addresses in ((own,), ("127.0.0.0/25", "10.1.2.3")):
            self.assertEqual(self.bound_to(self.signed_by(*addresses, own=own, role="free")), ",".join(addresses))
        self.emitted.events.clear()
        refused = self.signed_by("127.0.0.0/23", own=own, role="free")
        self.assertIn("Your own certificate is good from 10.0.0.0/8,127.0.0.0/24 only", refused.sentence)
