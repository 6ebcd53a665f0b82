"""How hosts renew what they got when they joined, and what is said to those that ask for more."""

from __future__ import annotations

from attrs import evolve

from teleport_conch.auth.hosts.presence import HostKey
from teleport_conch.certs import keys
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.errors import (
    AccessDenied,
    HostBarred,
    PrincipalForbidden,
    PrincipalTaken,
    TeleportError,
    TokenBinding,
)
from teleport_conch.resources.joining import JoinAnswer, JoinRequest
from tests.auth.fixture import ADDRESS, CLUSTER, GATEWAY, NOW, SSH_KEY, WEB1, WEB2
from tests.auth.hosts.test_joining import DAY_S, JoinTestCase, principals

ANOTHER_KEY = keys.public_line(keys.public_blob(keys.generate_ssh_key().public_key()))


class RenewalTests(JoinTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.caller = self.host(self.register(self.request(principals=("db.example.org", "10.0.0.5")))).identity
        self.join(WEB2, "web2")
        self.clock.advance(15 * DAY_S)

    def renew(self, *names: str, uuid: str = WEB1, name: str = "web1") -> JoinAnswer:
        request = self.request(uuid, name, principals=names)
        return self.now(self.cluster.renewing.renew(request, self.caller, ADDRESS))

    def not_renewed(self, kind: type[TeleportError], request: JoinRequest) -> TeleportError:
        return self.refused(self.cluster.renewing.renew(request, self.caller, ADDRESS), kind)

    def test_renewed(self) -> None:
        """New certificates for 30 days more, the same names, the same record of how the host came in."""
        answer = self.renew("10.0.0.5", "db.example.org")
        self.assertEqual(SSHCertificate.from_line(answer.ssh_certificate).valid_before, NOW + 45 * DAY_S)
        registration = self.registration()
        self.assertEqual((registration.expires_at, registration.join.joined_at), (NOW + 45 * DAY_S, NOW))
        [event] = self.emitted.named("cert.create")
        self.assertEqual((event.fields["name"], event.fields["method"]), (WEB1, "renewal"))

    def test_host_key(self) -> None:
        """Renewed is what is for the host key of the joining: who has the identity alone has no other certified."""
        self.assertEqual(SSHCertificate.from_line(self.renew().ssh_certificate).public_key, keys.blob_of_line(SSH_KEY))
        reason = self.not_renewed(HostBarred, self.request(ssh_key=ANOTHER_KEY))
        self.assertEqual(
            reason.sentence,
            f"The host {WEB1} joined with another host key, and no certificate is renewed for this one. Put the former"
            " key back, or give the host a new token in auth_token and restart it.",
        )
        event = self.emitted.named("cert.create")[-1]
        self.assertEqual((event.success, event.fields["error"]), (False, reason.sentence))
        self.assertEqual((event.fields["name"], event.fields["addr.remote"]), (WEB1, ADDRESS))
        self.open()
        self.not_renewed(HostBarred, self.request(ssh_key=ANOTHER_KEY))
        self.now(self.cluster.inventory.remove(HostKey("node", WEB1), "alice"))
        joined = self.register(self.request(ssh_key=ANOTHER_KEY))
        self.caller = self.host(joined).identity
        self.now(self.cluster.renewing.renew(self.request(ssh_key=ANOTHER_KEY), self.caller, ADDRESS))
        self.not_renewed(HostBarred, self.request())

    def test_host_key_of_before(self) -> None:
        """A host that joined when its key was not noted has the next one noted that it shows."""
        self.now(self.cluster.hosts.keep(evolve(self.registration(), host_key="")))
        self.now(self.cluster.renewing.renew(self.request(ssh_key=ANOTHER_KEY), self.caller, ADDRESS))
        self.not_renewed(HostBarred, self.request())

    def test_92_another_host(self) -> None:
        """A host renews for itself and its role only."""
        for request in (self.request(WEB2, "web2"), self.request(role="Proxy"), self.request(role="Admin")):
            reason = self.not_renewed(AccessDenied, request)
            self.assertEqual(reason.sentence, "A host renews its own certificates, for its own role, and no others.")

    def test_names_may_shrink_and_grow(self) -> None:
        """New names are looked at as at joining."""
        self.assertNotIn("db.example.org", principals(self.renew()))
        self.assertIn("new.example.org", principals(self.renew("new.example.org")))
        self.beat(WEB2, "web2")
        self.not_renewed(PrincipalTaken, self.request(principals=("web2",)))
        self.not_renewed(PrincipalForbidden, self.request(principals=(CLUSTER,)))
        self.not_renewed(PrincipalTaken, self.request(name="web2"))

    def test_new_name(self) -> None:
        """A host that was renamed renews under its new name, and holds the old one no longer."""
        self.assertIn("web9", principals(self.renew(name="web9")))
        self.assertEqual(self.cluster.hosts.holders("web1"), frozenset())

    def test_bound(self) -> None:
        """What the token bound stays bound."""
        token = self.token(node_name="gate", principals=("a.example.org",))
        self.caller = self.host(self.register(self.request(GATEWAY, "gate", token=token))).identity
        self.not_renewed(TokenBinding, self.request(GATEWAY, "other"))
        reason = self.not_renewed(TokenBinding, self.request(GATEWAY, "gate", principals=("b.example.org",)))
        self.assertIn("a.example.org, and this one also asks for b.example.org", reason.sentence)
        self.assertIn("a.example.org", principals(self.renew(uuid=GATEWAY, name="gate")))

    def test_barred(self) -> None:
        """A host that was removed has to join."""
        self.now(self.cluster.inventory.remove(HostKey("node", WEB1), "alice"))
        self.assertIn("it has to join again", self.not_renewed(HostBarred, self.request()).sentence)
