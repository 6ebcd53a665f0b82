"""Threats 54 and 56: a person's certificates are as long and as wide as the roles say, and never wider when renewed."""

from __future__ import annotations

from attrs import evolve

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.options import Options
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import OWN_RECORDS, Rule
from teleport_conch.auth.rules.callers import Peer
from teleport_conch.certs import extensions
from teleport_conch.certs.tls import TLSIdentity
from teleport_conch.errors import AccessDenied
from teleport_conch.resources.user import User
from tests.auth.fixture import CLUSTER, NOW, SSH_KEY, TLS_KEY, Answered
from tests.auth.people.case import ALICE, CLIENT, PASSWORD, PeopleTestCase

RENEWS = (Rule(("user_cert",), ("create",), where=OWN_RECORDS),)


def role(name: str, *logins: str, deny: tuple[str, ...] = (), **options: object) -> Role:
    return Role(
        name,
        Options(**options),  # type: ignore[arg-type]  # options by their names
        Conditions(logins=logins, node_labels=EVERY_NODE, rules=RENEWS),
        Conditions(logins=deny),
    )


class CertificateTestCase(PeopleTestCase):
    def roles(self, *roles: Role) -> None:
        """Alice has these, and can log in."""
        for each in roles:
            self.now(self.cluster.roles.shelf.create(each))
        self.settle(evolve(ALICE, roles=tuple(each.name for each in roles)))

    def caller(self, answer: Answered) -> Peer:
        """Who calls with the certificate of an answer, as auth sees it now."""
        return self.peer_of(self.identity(answer))

    def renew(self, answer: Answered, **body: object) -> Answered:
        """Ask for another certificate with the one of an answer."""
        keys = {"public_ssh_key": SSH_KEY, "public_tls_key": TLS_KEY}
        return self.call(self.caller(answer), "POST", "/v1/ca/user/renew", {**keys, **body})


class LoginTests(CertificateTestCase):
    def test_both(self) -> None:
        """SSH and TLS say the same, and end at the same second."""
        self.settle()
        answer = self.log_in()
        ssh, tls = self.ssh(answer), self.identity(answer)
        self.assertEqual((ssh.key_id, ssh.principals), ("alice", ("alice", "ubuntu")))
        self.assertEqual((tls.name, tls.principals, tls.roles), ("alice", ssh.principals, ("access",)))
        self.assertEqual((extensions.roles_of(ssh), extensions.traits_of(ssh)), (tls.roles, tls.traits))
        end = self.clock.seconds() + 12 * 3600
        self.assertEqual((float(ssh.valid_before), tls.not_after, answer.body["expires"]), (end, end, end))
        self.assertEqual((ssh.valid_after, tls.not_before), (self.clock.seconds() - 300, self.clock.seconds() - 300))
        self.assertEqual(len(answer.body["authorities"]), 2)  # type: ignore[arg-type]  # a list

    def test_event(self) -> None:
        """Who got what, how, and until when."""
        self.settle()
        self.log_in()
        [event] = self.emitted.named("cert.create")
        about = {"cert_type": "user", "name": "alice", "logins": ("alice", "ubuntu"), "roles": ["access"]}
        self.assertEqual(
            event.fields, {**about, "user": "alice", "method": "local", "expires": self.clock.seconds() + 43200}
        )

    def test_no_room_for_the_event(self) -> None:
        """A certificate of which no event can be kept is not given away."""
        self.settle()
        self.patch(self.cluster.people.certificates, "_emit", lambda name, fields, success=True: False)
        answer = self.log_in()
        self.assertEqual((answer.status, answer.code), (507, "STORAGE_FULL"))
        self.assertIn("No certificate is issued", answer.sentence)

    def test_56_ttl(self) -> None:
        """The shortest of what is asked for, what each role allows, and 30 hours; a minute at least."""
        self.roles(role("short", "root", max_session_ttl_s=7200.0), role("long", "root", max_session_ttl_s=360000.0))
        for asked, given in ((0, 7200), (3600, 3600), (60, 60), (7201, 7200), (10**9, 7200), (1e300, 7200)):
            answer = self.log_in(ttl=asked)
            self.assertEqual(self.ssh(answer).valid_before - self.clock.seconds(), given)
            self.clock.advance(30)
        for asked in (59, 1, -1, -(10**9)):
            answer = self.log_in(ttl=asked)
            self.assertEqual((answer.status, answer.sentence), (400, "A certificate lives for at least 1m."))
            self.assertEqual(self.errors("cert.create")[-1], answer.sentence)
            self.clock.advance(30)

    def test_56_cap(self) -> None:
        """No role makes it longer than 30 hours."""
        self.roles(role("long", "root", max_session_ttl_s=360000.0))
        self.assertEqual(self.ssh(self.log_in(ttl=10**6)).valid_before - self.clock.seconds(), 30 * 3600)

    def test_56_not_asked_for(self) -> None:
        """Whatever else a client asks for is not listened to."""
        self.settle()
        answer = self.log_in(
            roles=["admin"], logins=["root"], user="bob", principals=["root"], traits={"logins": ["root"]}
        )
        self.assertEqual((self.ssh(answer).principals, self.identity(answer).roles), (("alice", "ubuntu"), ("access",)))

    def test_user_expires(self) -> None:
        """A certificate does not outlive its user."""
        self.settle(evolve(ALICE, expires_at=self.clock.seconds() + 600))
        self.assertEqual(self.ssh(self.log_in()).valid_before - self.clock.seconds(), 540)

    def test_logins(self) -> None:
        """Of all roles, templates filled, less those that any role denies."""
        self.roles(
            role("one", "{{internal.logins}}", "root", "svc-{{external.team}}"), role("two", "deploy", deny=("root",))
        )
        self.assertEqual(self.ssh(self.log_in()).principals, ("alice", "deploy", "ubuntu"))

    def test_logins_of_long_roles(self) -> None:
        """The administrator may sign for longer than some role lasts; its logins are not among those then."""
        from teleport_conch.auth.people.people_certificates import logins_of

        roles = (role("short", "root", max_session_ttl_s=60.0), role("long", "deploy"))
        self.assertEqual(logins_of(roles, {}, 60.0), ("deploy", "root"))
        self.assertEqual(logins_of(roles, {}, 61.0), ("deploy",))
        self.assertEqual(logins_of(roles, {}, 60.0, ("root", "mallory")), ("root",))

    def test_no_logins(self) -> None:
        """A person without any has a certificate that is good for the API and for no account."""
        self.settle(evolve(ALICE, roles=("auditor",)))
        answer = self.log_in()
        [principal] = self.ssh(answer).principals
        self.assertRegex(principal, "^-teleport-nologin-[0-9a-f-]{36}$")
        self.assertEqual(self.identity(answer).principals, (principal,))

    def test_36_no_roles(self) -> None:
        """A user without roles gets nothing by logging in."""
        self.settle(evolve(ALICE, roles=()))
        answer = self.log_in()
        self.assertEqual(
            [option[0] for option in self.ssh(answer).extensions], ["permit-pty", "teleport-roles", "teleport-traits"]
        )
        self.assertRegex(self.ssh(answer).principals[0], "^-teleport-nologin-")

    def test_permits(self) -> None:
        """What any of the roles permits."""
        self.roles(
            role("one", "root", port_forwarding=False), role("two", "root", forward_agent=True, port_forwarding=False)
        )
        permits = [name for name, _ in self.ssh(self.log_in()).extensions if name.startswith("permit-")]
        self.assertEqual(permits, ["permit-agent-forwarding", "permit-pty"])

    def test_all_permits(self) -> None:
        self.roles(role("one", "root", forward_agent=True, permit_x11_forwarding=True))
        permits = [name for name, _ in self.ssh(self.log_in()).extensions if name.startswith("permit-")]
        wanted = ["X11-forwarding", "agent-forwarding", "port-forwarding", "pty"]
        self.assertEqual(permits, [f"permit-{name}" for name in wanted])

    def test_old_ssh(self) -> None:
        """For OpenSSH up to 7.1, which takes nothing that it does not know."""
        self.roles(role("one", "root"), role("old", "root", cert_format="oldssh"))
        answer = self.log_in()
        self.assertEqual([name for name, _ in self.ssh(answer).extensions], ["permit-port-forwarding", "permit-pty"])
        self.assertEqual(self.identity(answer).roles, ("old", "one"))

    def test_54_old_ssh_for_a_part(self) -> None:
        """One that names no roles counts for all of them, so that who has one for some gets no such form for these."""
        self.roles(role("old", "root", cert_format="oldssh"))
        answer = self.log_in()
        self.assertFalse(extensions.says_roles(self.ssh(self.renew(answer))))
        self.now(self.cluster.users.shelf.replace(evolve(ALICE, roles=("old", "admin"), created_at=0.0)))
        self.assertEqual(extensions.roles_of(self.ssh(self.renew(answer))), ("old",))
        for asked, named in ((["old"], ("old",)), ([], ()), (["old", "admin"], ())):
            body = {"user": "alice", "roles": asked, "logins": [], "ttl": 60, "public_ssh_key": SSH_KEY}
            signed = self.call(self.admin(), "POST", "/v1/ca/user/certs", body)
            self.assertEqual(extensions.roles_of(self.ssh(signed)), named)

    def test_pinned(self) -> None:
        """Bound to the address that the proxy vouches for, in both certificates, and held to it by the API."""
        self.roles(role("one", "root", pin_source_ip=True))
        answer = self.log_in()
        self.assertEqual(self.ssh(answer).critical_option("source-address"), CLIENT)
        self.assertEqual(self.identity(answer).source_address, CLIENT)
        refused = self.call(self.caller(answer), "GET", "/v1/status")
        self.assertEqual((refused.status, refused.code), (401, "CERT_SOURCE_ADDRESS"))

    def test_address_of_who_is_no_proxy(self) -> None:
        """A person may be given what proxies do; but where somebody else is, they are not believed."""
        self.roles(
            role("one", "root", pin_source_ip=True), Role("all", allow=Conditions(rules=(Rule(("*",), ("*",)),)))
        )
        self.add(User("zoe", ("all",)))
        zoe = self.peer_of(TLSIdentity("user", "zoe", CLUSTER, ("all",), 2, NOW + 3600, not_before=NOW + 60))
        body = {"password": PASSWORD, "otp_token": self.code(), "public_ssh_key": SSH_KEY, "public_tls_key": TLS_KEY}
        path = "/v1/users/alice/ssh/authenticate"
        answer = self.call(zoe, "POST", path, {**body, "client_address": CLIENT})
        self.assertNotEqual(self.identity(answer).source_address, CLIENT)
        [event] = self.emitted.named("user.login")
        self.assertEqual(event.fields["addr.remote"], self.identity(answer).source_address)

    def test_bad_keys(self) -> None:
        self.settle()
        for key in ("", "ssh-rsa AAAA", "x" * 100):
            self.assertEqual(self.log_in(public_ssh_key=key).status, 400, key)
            self.clock.advance(30)
            self.assertEqual(self.log_in(public_tls_key=key).status, 400, key)
            self.clock.advance(30)

    def test_unknown_role(self) -> None:
        """A role that is gone might have denied something: nobody logs in with what is left."""
        self.roles(role("one", "root"))
        self.now(self.cluster.roles.shelf.remove("one"))
        answer = self.log_in()
        self.assertEqual((answer.status, answer.code), (403, "ACCESS_DENIED"))


class RenewalTests(CertificateTestCase):
    def test_54_never_longer(self) -> None:
        """It ends when the one ends with which it was asked for, or before."""
        self.settle()
        first = self.log_in(ttl=3600)
        self.clock.advance(1800)
        for asked, left in ((0, 1800), (10**6, 1800), (600, 600)):
            again = self.renew(first, ttl=asked)
            self.assertEqual(self.ssh(again).valid_before - self.clock.seconds(), left)
            self.assertEqual(again.body["expires"], self.identity(again).not_after)

    def test_54_never_wider(self) -> None:
        """What the person gained since needs a login; what they lost is gone."""
        self.roles(role("one", "root", "deploy"))
        first = self.log_in()
        self.now(self.cluster.roles.shelf.replace(role("one", "deploy", "admin")))
        self.now(self.cluster.roles.shelf.create(role("two", "postgres")))
        user = evolve(ALICE, roles=("one", "two"), traits={"logins": ("backup",)}, created_at=0.0)
        self.now(self.cluster.users.shelf.replace(user))
        again = self.renew(first)
        self.assertEqual((self.ssh(again).principals, self.identity(again).roles), (("deploy",), ("one",)))
        self.assertEqual(self.identity(again).traits, self.identity(first).traits)

    def test_54_role_taken_away(self) -> None:
        self.roles(role("one", "root"), role("two", "deploy"))
        first = self.log_in()
        self.now(self.cluster.users.shelf.replace(evolve(ALICE, roles=("two",), created_at=0.0)))
        again = self.renew(first)
        self.assertEqual((self.ssh(again).principals, self.identity(again).roles), (("deploy",), ("two",)))

    def test_54_limits_are_copied(self) -> None:
        """Bound to an address once, bound to it for good, also when the role asks for that no more."""
        self.roles(role("one", "root", pin_source_ip=True))
        first = self.log_in(address="127.0.0.1")
        self.now(self.cluster.roles.shelf.replace(role("one", "root")))
        again = self.renew(first)
        self.assertEqual(self.ssh(again).critical_option("source-address"), "127.0.0.1")
        self.assertEqual(self.identity(again).source_address, "127.0.0.1")

    def test_54_nothing_left(self) -> None:
        self.settle()
        first = self.log_in(ttl=60)
        self.clock.advance(59.5)
        answer = self.renew(first)
        self.assertEqual((answer.status, answer.code), (401, "CERT_EXPIRED"))
        self.assertIn("Nothing is left of the time", answer.sentence)

    def test_of_hosts(self) -> None:
        """A host has another way, and whose certificate is signed by hand can use this one."""
        keys = {"public_ssh_key": SSH_KEY, "public_tls_key": TLS_KEY}
        self.assertEqual(self.call(self.admin(), "POST", "/v1/ca/user/renew", keys).status, 400)
        self.assertEqual(self.call(self.proxy, "POST", "/v1/ca/user/renew", keys).status, 403)
        answer = self.call(self.user("access"), "POST", "/v1/ca/user/renew", keys)
        self.assertEqual((answer.status, answer.body["user"]), (200, "alice"))

    def test_other_key(self) -> None:
        """It is for the key that is sent, and the event says that it was a renewal."""
        self.settle()
        self.renew(self.log_in())
        self.assertEqual([event.fields["method"] for event in self.emitted.named("cert.create")], ["local", "renew"])


class RemovedUserTests(CertificateTestCase):
    def test_removed(self) -> None:
        """Certificates of a removed user are shut out by a lock, until none can be good; then the name is free."""
        self.settle()
        answer = self.log_in()
        peer = self.caller(answer)
        self.assertEqual(self.call(peer, "GET", "/v1/status").status, 200)
        self.call(self.admin(), "DELETE", "/v1/users/alice")
        refused = self.call(peer, "GET", "/v1/status")
        self.assertEqual((refused.status, refused.code), (403, "ACCESS_DENIED"))
        self.assertIn("This user was removed from the cluster.", refused.sentence)
        [lock] = self.cluster.locks.shelf.all()
        self.assertEqual((lock.value.user, lock.value.expires_at), ("alice", self.clock.seconds() + 30 * 3600))

    def test_made_again(self) -> None:
        """A new user of the name can log in; the certificates of the former one stay refused."""
        self.settle()
        old = self.log_in()
        self.call(self.admin(), "DELETE", "/v1/users/alice")
        self.clock.advance(120)
        self.settle()
        self.assertEqual(self.cluster.locks.shelf.all(), [])
        self.assertEqual(self.call(self.caller(self.log_in()), "GET", "/v1/status").status, 200)
        self.assertRaises(AccessDenied, self.caller, old)

    def test_signed_for_long(self) -> None:
        """The lock lasts as long as a certificate that the administrator signed by hand."""
        self.add(User("bob", ("access",), {"logins": ("bob",)}))
        body = {"user": "bob", "logins": ["bob"], "ttl": 100 * 24 * 3600, "public_ssh_key": SSH_KEY}
        self.assertEqual(self.call(self.admin(), "POST", "/v1/ca/user/certs", body).status, 200)
        self.call(self.admin(), "DELETE", "/v1/users/bob")
        [lock] = self.cluster.locks.shelf.all()
        self.assertEqual(lock.value.expires_at, self.clock.seconds() + 100 * 24 * 3600)
