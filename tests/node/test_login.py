"""Who may log in to a node: certificate, role and account, in this order."""

from __future__ import annotations

import time
from typing import cast

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.decision import Target
from teleport_conch.access.directory import Directory
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.locks import Locks
from teleport_conch.access.roles import Role
from teleport_conch.errors import (
    AccessDenied,
    CertificateAuthorityUnknown,
    CertificateExpired,
    CertificateMalformed,
    CertificatePrincipal,
    CertificateSourceAddress,
    CertificateType,
    TeleportError,
)
from teleport_conch.node.guest import Guest
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.user import User
from teleport_conch.ssh.login.policy import Attempt, Claim
from tests.certs import samples
from tests.node.guests import USER, NodeCase, certificate, claim

NO_ACCOUNT = "There is no account nosuchaccount on this host."


class AcceptedTests(NodeCase):
    async def test_login(self) -> None:
        """A certificate, a role that fits the node, and an account: a guest, and an event."""
        self.policy.check(claim())
        self.assertEqual(self.events.kept, [])
        guest = await self.policy.login(claim())
        self.assertIsInstance(guest, Guest)
        self.assertEqual(guest.account.name, USER)
        event = self.events.last("auth")
        self.assertEqual((event["user"], event["login"], event["code"]), ("alice", USER, "T3007I"))
        self.assertEqual(event["addr.remote"], "192.0.2.7:50000")

    async def test_client_address(self) -> None:
        """A limit on addresses is about the client's own, as the proxy says it, over IPv6 too."""
        for networks, client in (("192.0.2.0/24", "192.0.2.7:50000"), ("2001:db8::/32", "[2001:db8::7]:50000")):
            signed = certificate(options=[("source-address", networks)])
            self.policy.check(claim(signed=signed, client=client))
            refusal = self.assertRaises(
                CertificateSourceAddress, self.policy.check, claim(signed=signed, client="198.51.100.1:1")
            )
            self.assertEqual(str(refusal), "The certificate may not be used from the address 198.51.100.1.")

    async def test_stored_role(self) -> None:
        """A role that is stored lets in like one that is built in, as soon as it is known."""
        signed = certificate(roles=["dev"])
        self.assertRaises(AccessDenied, self.policy.check, claim(signed=signed))
        dev = Role("dev", allow=Conditions(logins=(USER,), node_labels=EVERY_NODE))
        self.cluster.directory = Directory({"dev": dev})
        self.policy.check(claim(signed=signed))


class RefusedTests(NodeCase):
    def assert_refused(self, refused: Claim, kind: type[TeleportError], sentence: str) -> None:
        refusal = self.assertRaises(kind, self.policy.check, refused)
        self.assertEqual(str(refusal), sentence)
        self.failureResultOf(self.start(self.policy.login(refused)), kind)

    def test_certificates(self) -> None:
        """Each reason not to believe a certificate is a reason to refuse the login."""
        foreign = samples.OTHER_USER_CA.sign_user_ssh(
            samples.SSH_BLOB, name="eve", logins=[USER], roles=[], traits={}, ttl_s=60, now=time.time()
        )
        self.assert_refused(
            claim(signed=foreign),
            CertificateAuthorityUnknown,
            "The certificate of 'eve' is signed by an authority that is not trusted here.",
        )
        self.assert_refused(claim("daemon"), CertificatePrincipal, "The certificate is not for 'daemon'.")
        self.assert_refused(
            claim(signed=samples.host_certificate()),
            CertificateType,
            "A user certificate is due, and this is a host certificate.",
        )
        old = certificate(valid_before=int(time.time()) - 100)
        self.assertIn("get a new one", str(self.assertRaises(CertificateExpired, self.policy.check, claim(signed=old))))

    def test_roles(self) -> None:
        """No role, a role that logs in nowhere, one that nobody knows: a certificate is not enough (threats 36, 67)."""
        sentence = f"user alice@{samples.CLUSTER} is not authorized to login as {USER}@web1: access to server denied"
        for roles in ((), ("auditor",)):
            self.assert_refused(claim(signed=certificate(roles=roles)), AccessDenied, sentence)
        self.assert_refused(
            claim(signed=certificate(roles=["nosuchrole"])),
            AccessDenied,
            "role 'nosuchrole' does not exist in this cluster; ask for a certificate with one of its roles.",
        )

    def test_lost_roles(self) -> None:
        """A role that the stored user has lost counts no more, whatever the certificate says."""
        self.cluster.directory = Directory(users={"alice": User("alice", ("auditor",))})
        sentence = f"user alice@{samples.CLUSTER} is not authorized to login as {USER}@web1: access to server denied"
        self.assert_refused(claim(), AccessDenied, sentence)
        self.cluster.directory = Directory(users={"alice": User("alice", ("auditor", "access"))})
        self.policy.check(claim())

    def test_another_user(self) -> None:
        """Certificates of a user who was there before, or whose time is over, are nobody's."""
        self.cluster.directory = Directory(users={"alice": User("alice", ("access",), created_at=time.time() + 2)})
        self.assert_refused(claim(), AccessDenied, "The certificate is older than the user 'alice': log in again.")
        self.cluster.directory = Directory(users={"alice": User("alice", ("access",), expires_at=time.time())})
        self.assert_refused(claim(), AccessDenied, "The user 'alice' has expired; ask an administrator.")

    def test_locked(self) -> None:
        """A lock refuses, and says what its maker had to say."""
        self.cluster.locks = Locks((Lock("x", user="alice", message="ask the desk"),))
        self.assert_refused(
            claim(),
            AccessDenied,
            f"user alice@{samples.CLUSTER} is not authorized to login as {USER}@web1: locked by an administrator"
            " (ask the desk)",
        )

    def test_role_of_a_host(self) -> None:
        """A user certificate that names a system role has no role of that name."""
        signed = certificate(roles=["admin"])
        changed = tuple(
            (name, data.replace(b'"admin"', b'"Admin"') if name == "teleport-roles" else data)
            for name, data in signed.extensions
        )
        forged = samples.resigned(signed, extensions=changed)
        self.assertRaises(AccessDenied, self.policy.check, claim(signed=forged))

    def test_accounts(self) -> None:
        """An account that is not there is no login, also where the certificate and the role would allow it."""
        self.assert_refused(claim("nosuchaccount", certificate(logins=["nosuchaccount"])), AccessDenied, NO_ACCOUNT)

    def test_names_that_no_account_has(self) -> None:
        """They are refused before anything is looked up, and not repeated (threat 33)."""
        for name in ("../x", "-oProxyCommand=x", "%u", "a b", "r\u00f6\u00f6t", ".", "x" * 33):
            signed = samples.resigned(
                samples.user_certificate(),
                principals=(name,),
                valid_before=int(time.time()) + 60,
                extensions=certificate(logins=["anything"]).extensions,
            )
            refusal = self.assertRaises(AccessDenied, self.policy.check, claim(name, signed))
            if "not authorized" not in str(refusal):
                self.assertTrue(str(refusal).startswith("There is no such account on this host"), refusal)
                self.assertNotIn(name, str(refusal))

    def test_order(self) -> None:
        """Who has no good certificate learns nothing of roles, and who has no role nothing of accounts."""
        self.assert_refused(claim("nosuchaccount"), CertificatePrincipal, "The certificate is not for 'nosuchaccount'.")
        refusal = self.assertRaises(
            AccessDenied, self.policy.check, claim("nosuchaccount", certificate(["nosuchaccount"], roles=["auditor"]))
        )
        self.assertNotEqual(str(refusal), NO_ACCOUNT)

    def test_labels_of_the_moment(self) -> None:
        """The node's labels are looked at when somebody logs in."""
        asked: list[Target] = []

        def target() -> Target:
            asked.append(self.target)
            return self.target

        policy = type(self.policy)(self.policy.clock, self.cluster, target, self.room, self.events.emit)
        policy.check(claim())
        policy.check(claim())
        self.assertEqual(len(asked), 2)

    def test_event(self) -> None:
        """A refusal is an event that says who, as whom, from where and why."""
        self.policy.refused(claim("daemon"), AccessDenied("because"))
        event = self.events.last("auth")
        self.assertEqual(
            [event[key] for key in ("code", "user", "login", "error", "addr.remote")],
            ["T3007W", "alice", "daemon", "because", "192.0.2.7:50000"],
        )
        self.assertRegex(str(event["reference"]), "^[0-9a-z]{8}$")
        self.assertNotIn("trace", event)

    def test_event_of_a_stranger(self) -> None:
        """Whose certificate cannot be read has no name; the login that was wanted, and the address, are known."""
        self.policy.refused(Attempt("daemon", "192.0.2.7:50000"), CertificateMalformed("The certificate is torn."))
        event = self.events.last("auth")
        self.assertEqual(
            [event[key] for key in ("code", "user", "login", "error", "addr.remote")],
            ["T3007W", "", "daemon", "The certificate is torn.", "192.0.2.7:50000"],
        )

    def test_checks(self) -> None:
        """Where a certificate was refused, the event says which check did that, and what it looked at."""
        signed = certificate(valid_before=int(time.time()) - 100)
        refusal = self.assertRaises(CertificateExpired, self.policy.check, claim(signed=signed))
        self.policy.refused(claim(signed=signed), refusal)
        trace = cast(list[str], self.events.last("auth")["trace"])
        self.assertEqual(trace[0], f"certificate of alice, serial {signed.serial}: refused")
        self.assertTrue(trace[4].startswith("time: from "), trace)
        self.assertTrue(trace[4].endswith(": refused, CERT_EXPIRED"), trace)
        refusal = self.assertRaises(CertificatePrincipal, self.policy.check, claim("daemon"))
        self.policy.refused(claim("daemon"), refusal)
        trace = cast(list[str], self.events.last("auth")["trace"])
        self.assertIn("asked for daemon: refused, CERT_PRINCIPAL", trace[5])

    def test_trace(self) -> None:
        """Where roles refused it, the event says role by role why; the person hears less."""
        refused = claim(signed=certificate(roles=["auditor"]))
        denial = self.assertRaises(AccessDenied, self.policy.check, refused)
        self.assertNotIn("auditor", denial.sentence)
        self.policy.refused(refused, denial)
        event = self.events.last("auth")
        self.assertEqual(denial.sentence, f"{event['error']} (reference {event['reference']})")
        self.assertIn("role auditor: label: ", "\n".join(cast(list[str], event["trace"])))
