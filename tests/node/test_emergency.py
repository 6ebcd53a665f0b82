"""Certificates that were made in advance: good while auth cannot be reached, and at no other time."""

from __future__ import annotations

from collections.abc import Sequence

from teleport_conch.access.locks import Locks
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.errors import (
    AccessDenied,
    CertificateCriticalOption,
    CertificatePrincipal,
    CertificateSourceAddress,
    ConnectionProblem,
    EmergencyOnly,
)
from teleport_conch.resources.lock import Lock
from tests.certs import samples
from tests.node.guests import USER, NodeCase, certificate, claim

MARK = ("emergency@teleport-conch", "")
ADDRESSES = ("source-address", "192.0.2.0/24")


def sealed(options: Sequence[tuple[str, str]] = (MARK, ADDRESSES)) -> SSHCertificate:
    """A certificate of the form that auth signs."""
    return certificate(roles=(), options=options)


class EmergencyTests(NodeCase):
    def setUp(self) -> None:
        super().setUp()
        self.cluster.away = True
        self.cluster.too_old = ConnectionProblem("Auth was not heard for 21 hours.")

    async def test_taken(self) -> None:
        """It lets in as its logins, without a role and however old the copy of the cluster is; the event says how."""
        guest = await self.policy.login(claim(signed=sealed()))
        self.assertEqual(guest.account.name, USER)
        event = self.events.last("auth")
        self.assertEqual((event["code"], event["method"], event["user"]), ("T3007I", "break-glass", "alice"))

    async def test_session(self) -> None:
        """A command runs, though nothing else is known of the cluster."""
        await self.enter(sealed())
        self.assertEqual(await self.run_command(b"exec", "echo here"), ("here\n", "", 0))

    async def test_no_forwarding(self) -> None:
        """It is for a shell or a command, and leads nowhere else."""
        await self.enter(sealed())
        refusal = self.assertRaises(AccessDenied, self.guest._may_forward, "127.0.0.1", 22)
        self.assertIn("port forwarding denied", refusal.sentence)

    def test_another_day(self) -> None:
        self.cluster.away = False
        self.cluster.too_old = None
        refusal = self.assertRaises(EmergencyOnly, self.policy.check, claim(signed=sealed()))
        self.assertEqual(
            refusal.sentence,
            "This is an emergency certificate: a node takes it only while it cannot reach the auth server. Log in as on"
            " any other day.",
        )

    def test_addresses(self) -> None:
        """It is bound to addresses, and one that is not is worth nothing."""
        elsewhere = claim(signed=sealed(), client="198.51.100.1:1")
        refusal = self.assertRaises(CertificateSourceAddress, self.policy.check, elsewhere)
        self.assertEqual(refusal.sentence, "The certificate may not be used from the address 198.51.100.1.")
        refusal = self.assertRaises(CertificateSourceAddress, self.policy.check, claim(signed=sealed((MARK,))))
        self.assertEqual(refusal.sentence, "An emergency certificate has to say from which addresses it may be used.")

    def test_login(self) -> None:
        self.assertRaises(CertificatePrincipal, self.policy.check, claim("daemon", sealed()))

    def test_lock(self) -> None:
        """A lock that the node heard of shuts it out."""
        self.cluster.locks = Locks((Lock("1", user="alice", message="lost"),))
        refusal = self.assertRaises(AccessDenied, self.policy.check, claim(signed=sealed()))
        self.assertIn("lost", refusal.sentence)

    async def test_53_lock_afterwards(self) -> None:
        """Who is still here when auth is back stays, until a lock that is made then shuts them out."""
        await self.enter(sealed())
        self.cluster.away, self.cluster.too_old = False, None
        self.company.changed()
        await self.turns()
        self.assertEqual(self.transport.disconnects, [])
        self.cluster.locks = Locks((Lock("1", user="alice", message="it is over"),))
        self.company.changed()
        await self.turns()
        ((_, reason),) = self.transport.disconnects
        self.assertIn(b"locked by an administrator (it is over)", reason)

    def test_usual_certificates(self) -> None:
        """Everybody else goes on needing a copy that is believed."""
        self.assertRaises(ConnectionProblem, self.policy.check, claim())

    def test_T46_mark_with_data(self) -> None:
        """The mark has no data."""
        signed = samples.resigned(
            sealed(), critical_options=(("emergency@teleport-conch", b"\0\0\0\1x"), sealed().critical_options[1])
        )
        refusal = self.assertRaises(CertificateCriticalOption, self.policy.check, claim(signed=signed))
        self.assertIn("emergency@teleport-conch of the certificate is malformed", str(refusal))
