"""What of a certificate counts, by what is known of roles and people when it is shown."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.access.aged import Aged
from teleport_conch.access.builtin import USER_ROLES
from teleport_conch.access.conditions import Conditions
from teleport_conch.access.decision import Facts, Login, Target
from teleport_conch.access.directory import Directory
from teleport_conch.access.known import REMEMBERED_CALLERS, Known
from teleport_conch.access.labels import LabelSelector
from teleport_conch.access.options import Options
from teleport_conch.access.roles import Role
from teleport_conch.access.trace import explain
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.errors import AccessDenied
from teleport_conch.resources.user import User
from tests.certs import samples

NOW = samples.NOW


def signed(name: str = "alice", roles: tuple[str, ...] = ("access",), at: float = NOW) -> SSHCertificate:
    return samples.USER_CA.sign_user_ssh(
        samples.SSH_BLOB, name=name, logins=["root"], roles=roles, traits={"team": ["db"]}, ttl_s=600, now=at
    )


class KnownTests(SynchronousTestCase):
    def test_caller(self) -> None:
        """The caller has the certificate's roles, its principals as logins, and its traits."""
        caller = Known("example.com").caller(signed(), NOW)
        self.assertEqual(str(caller), "user alice@example.com")
        self.assertEqual([role.name for role in caller.roles], ["access"])
        self.assertEqual((caller.logins, caller.traits), (("root",), {"logins": ("root",), "team": ("db",)}))

    def test_remembered(self) -> None:
        """A certificate is read once; one with other roles is another person's, whatever its name."""
        known, certificate = Known("example.com"), signed()
        self.assertIs(known.caller(certificate, NOW), known.caller(certificate, NOW))
        self.assertEqual(known.caller(signed(roles=()), NOW).roles, ())

    def test_bounded(self) -> None:
        """The certificate that was asked for longest ago is read anew once others have been, and no other."""
        known, first = Known("example.com"), signed()
        caller, numbered = known.caller(first, NOW), [evolve(first, serial=n) for n in range(REMEMBERED_CALLERS)]
        for certificate in numbered[:-1]:
            known.caller(certificate, NOW)
        self.assertIs(known.caller(first, NOW), caller)
        for certificate in numbered:
            known.caller(certificate, NOW)
        self.assertIsNot(known.caller(first, NOW), caller)

    def test_expiry_is_not_remembered(self) -> None:
        """Somebody whose time is over is nobody from that second on, also where the certificate was read before."""
        users = {"alice": User("alice", ("access",), expires_at=NOW + 60)}
        known = Known("example.com", Directory(users=users))
        known.caller(signed(), NOW + 59)
        with self.assertRaisesRegex(Exception, "The user 'alice' has expired"):
            known.caller(signed(), NOW + 60)

    def test_signed_after(self) -> None:
        """A certificate that is signed in the second in which the user was made counts, one from before does not."""
        known = Known("example.com", Directory(users={"alice": User("alice", ("access",), created_at=NOW + 0.9)}))
        self.assertEqual(len(known.caller(signed(at=NOW + 0.95), NOW).roles), 1)
        with self.assertRaisesRegex(Exception, "The certificate is older than the user 'alice': log in again."):
            known.caller(signed(at=NOW - 1), NOW)

    def test_changes_after(self) -> None:
        """The next role or user to expire says when decisions may change by themselves."""
        self.assertEqual(Known("example.com").changes_after(NOW), float("inf"))
        roles = {**USER_ROLES, "dev": Role("dev", expires_at=NOW + 20), "old": Role("old", expires_at=NOW)}
        directory = Directory(roles, {"alice": User("alice", (), expires_at=NOW + 10)})
        known = Known("example.com", directory)
        self.assertEqual([known.changes_after(NOW + at) for at in (0, 10, 20)], [NOW + 10, NOW + 20, float("inf")])


class AgedTests(SynchronousTestCase):
    """What was given and taken since a certificate was signed is in the trace, as otherwise nobody would find it."""

    def lines(self, certificate: SSHCertificate, *roles: str) -> tuple[str, ...]:
        users = {"alice": User("alice", roles, created_at=NOW - 1000)}
        known = Known("example.com", Directory(USER_ROLES, users))
        return explain(known.caller(certificate, NOW), Login("root"), Target({}, "web1"), Facts(), NOW).lines()[1:]

    def test_role_given_since(self) -> None:
        self.assertEqual(
            self.lines(signed(), "admin"),
            (
                "certificate: it names access, which the person does not have any more",
                "certificate: it does not name admin, which the person has by now",
                "to allow it: log in again, for a certificate with admin",
            ),
        )

    def test_role_taken(self) -> None:
        """Nothing was given for it: somebody has to."""
        self.assertEqual(
            self.lines(signed()),
            (
                "certificate: it names access, which the person does not have any more",
                "to allow it: give user alice@example.com a role that allows it",
            ),
        )

    def test_nothing_has_changed(self) -> None:
        self.assertEqual(self.lines(signed(), "access"), ("role access: allows it",))

    def test_silent(self) -> None:
        """One for old servers of OpenSSH leaves roles out: those that the person has count, and it lacks none."""
        certificate = samples.USER_CA.sign_user_ssh(
            samples.SSH_BLOB, name="alice", logins=["root"], roles=[], traits={}, ttl_s=600, now=NOW, for_old_ssh=True
        )
        self.assertEqual(self.lines(certificate, "access"), ("role access: allows it",))
        self.assertEqual(self.lines(certificate), ("to allow it: give user alice@example.com a role that allows it",))
        self.assertEqual(Known("example.com").caller(certificate, NOW).roles, ())

    def test_silent_about_traits(self) -> None:
        """It leaves traits out as well, so that what is denied by these could not be told: nothing is allowed."""
        certificate = samples.USER_CA.sign_user_ssh(
            samples.SSH_BLOB, name="alice", logins=["root"], roles=[], traits={}, ttl_s=600, now=NOW, for_old_ssh=True
        )
        labels = LabelSelector({"team": ("{{external.barred}}",)})
        for denied in (Conditions(("{{external.barred}}",)), Conditions(node_labels=labels)):
            roles = {**USER_ROLES, "careful": Role("careful", deny=denied), "plain": Role("plain", allow=denied)}
            users = {"alice": User("alice", ("access", "careful")), "bob": User("bob", ("access", "plain"))}
            known = Known("example.com", Directory(roles, users))
            with self.assertRaisesRegex(AccessDenied, "role 'careful' denies by traits, and the certificate says none"):
                known.caller(certificate, NOW)
            self.assertEqual(len(known.caller(signed(roles=("access", "careful")), NOW).roles), 2)
            self.assertEqual(len(known.caller(evolve(certificate, key_id="bob"), NOW).roles), 2)

    def test_silent_and_not_bound(self) -> None:
        """A role that binds to addresses, and was given since, does not come by a certificate that is bound to none."""
        certificate = samples.USER_CA.sign_user_ssh(
            samples.SSH_BLOB, name="alice", logins=["root"], roles=[], traits={}, ttl_s=600, now=NOW, for_old_ssh=True
        )
        bound = evolve(certificate, critical_options=(("source-address", wire.string(b"192.0.2.7")),))
        for end, refused in ((None, True), (NOW + 60, True), (NOW, False)):
            roles = {**USER_ROLES, "pinned": Role("pinned", Options(pin_source_ip=True), expires_at=end)}
            known = Known("example.com", Directory(roles, {"alice": User("alice", ("access", "pinned"))}))
            self.assertEqual(len(known.caller(bound, NOW).roles), 2)
            if refused:
                with self.assertRaisesRegex(
                    AccessDenied, "role 'pinned' is for certificates that are bound to an address"
                ):
                    known.caller(certificate, NOW)
            else:
                self.assertEqual(len(known.caller(certificate, NOW).roles), 2)

    def test_no_roles(self) -> None:
        """One that says that there are none is not silent: what was given since takes a new one."""
        change = "to allow it: log in again, for a certificate with access"
        self.assertEqual(self.lines(signed(roles=()), "access")[-1], change)

    def test_not_stored(self) -> None:
        """Who is not stored has what the certificate says, and nothing else could be said."""
        known = Known("example.com")
        self.assertEqual(known.caller(signed(), NOW).aged, Aged())
