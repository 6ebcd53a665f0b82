"""Certificates in words: ours, others', and such as nobody takes."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.certs.certificate import FOREVER, SSHCertificate, option
from teleport_conch.certs.explanation import Line, explain
from teleport_conch.certs.extensions import ROLES, write_roles
from tests.certs import samples

_TEXTS = st.text(max_size=20)


def lines(certificate: SSHCertificate, now: float = samples.NOW) -> dict[str, Line]:
    return {line.field: line for line in explain(certificate, now)}


class UserTests(SynchronousTestCase):
    def test_ours(self) -> None:
        """Every field of a certificate for a person, and who looks at it."""
        signed = samples.USER_CA.sign_user_ssh(
            samples.SSH_BLOB,
            name="alice",
            logins=["root", "alice"],
            roles=["dev", "ops"],
            traits={"team": ["db", "web"]},
            ttl_s=3600,
            now=samples.NOW,
            agent_forwarding=False,
            requests=["r-1", "r-2"],
        )
        found = lines(signed)
        for field, says, enforced in (
            ("kind", "a certificate for a person, who logs in with it", "refused where this one is due"),
            ("name", f"alice (key id), serial {signed.serial}", "nothing is decided by it alone"),
            ("authority", "signed by SHA256:", "a server trusts it (TrustedUserCAKeys); everywhere else it is refused"),
            ("valid", "(ends in 1h)", "Every server refuses a login outside of it"),
            ("logins", "it logs in as root, alice", "Any other account is refused."),
            ("permit-pty", "permits a terminal", ""),
            ("permit-port-forwarding", "permits forwarding of connections", "A node asks its roles beside it."),
            ("not permitted", "forwarding of the SSH agent (ssh -A)", "whatever roles say"),
            ("roles", "dev, ops", "Nodes decide by them, as the cluster has them at that moment"),
            ("access requests", "r-1, r-2", "count only while the request is approved and not over; sshd goes by the"),
            ("trait team", "db, web", "Fills the templates of roles."),
        ):
            self.assertIn(says, found[field].says)
            self.assertIn(enforced, found[field].enforced)
        self.assertNotIn("signature", found)
        self.assertEqual(found["permit-pty"].text(), "permit-pty: permits a terminal")
        self.assertTrue(found["logins"].text().endswith("alice\n    Any other account is refused."))

    def test_window(self) -> None:
        """Before, in, and after its time; without end, and without any time."""
        signed = samples.user_certificate()
        for now, says in (
            (signed.valid_after - 90.0, "not yet valid, for another 1m30s"),
            (signed.valid_before - 1.0, "ends in 1s"),
            (float(signed.valid_before), "expired 0s ago"),
            (signed.valid_before + 3 * 86_400.0, "expired 3 days ago"),
        ):
            self.assertIn(says, lines(signed, now)["valid"].says)
        self.assertIn("without end", lines(evolve(signed, valid_before=FOREVER))["valid"].says)
        self.assertIn("never", lines(evolve(signed, valid_before=signed.valid_after))["valid"].says)

    def test_limits(self) -> None:
        """Critical options, known and unknown."""
        limits = (
            option("force-command", "date"),
            option("source-address", "10.0.0.0/8"),
            option("verify-required"),
            option("emergency@teleport-conch"),
            option("teleport-unknown", "x"),
            option("source-address", "10.0.0.300"),
        )
        found = explain(evolve(samples.user_certificate(), critical_options=limits), samples.NOW)
        said = [f"{line.says} {line.enforced}" for line in found]
        for wanted in (
            "only this command: date The server runs it whatever is asked for",
            "only from 10.0.0.0/8 Nodes and proxies look at the client's own address",
            "only with the key's PIN or fingerprint",
            "for emergencies A node takes it only while it cannot reach the auth server.",
            "Every login is refused: The certificate has the critical option 'teleport-unknown',",
        ):
            self.assertTrue([line for line in said if wanted in line], wanted)
        self.assertEqual(len([line for line in said if "Every login is refused" in line]), 2)

    def test_of_others(self) -> None:
        """One that ssh-keygen made: no roles, no principals, extensions of others."""
        plain = evolve(
            samples.user_certificate(),
            principals=(),
            extensions=(option("permit-user-rc"), option("login@example.com", "eve\x1b[2J"), ("odd", b"\0")),
        )
        found = lines(plain)
        self.assertIn("Nodes and proxies refuse it.", found["logins"].enforced)
        self.assertEqual(found["roles"].says, "not named")
        self.assertIn("All count that the person has, and of somebody who is no user none.", found["roles"].enforced)
        said = evolve(plain, extensions=(option(ROLES, write_roles(())),))
        self.assertIn("Without a role nobody logs in to a node", lines(said)["roles"].enforced)
        self.assertEqual(found["login@example.com"].says, "eve\\x1b[2J")
        self.assertIn("permits nothing", found["login@example.com"].enforced)
        self.assertEqual(found["odd"].says, "1 bytes")
        self.assertIn("not good", found["signature"].says)

    def test_stars(self) -> None:
        self.assertIn(
            "ordinary character", lines(evolve(samples.user_certificate(), principals=("ro*",)))["logins"].enforced
        )

    def test_unreadable_roles(self) -> None:
        broken = evolve(samples.user_certificate(), extensions=(option("teleport-roles", "{"),))
        self.assertIn("Nodes and proxies refuse it: ", lines(broken)["roles"].enforced)

    def test_host(self) -> None:
        """A host's has names, a role and a cluster, and no permissions."""
        found = lines(samples.host_certificate())
        self.assertIn("a host, which shows it to clients", found["kind"].says)
        self.assertIn("known_hosts (@cert-authority)", found["authority"].enforced)
        self.assertIn("A client that dials another name refuses the host.", found["names"].enforced)
        self.assertNotIn("not permitted", found)
        self.assertIn("role", found)

    @given(_TEXTS, st.lists(_TEXTS, max_size=3), st.lists(st.tuples(_TEXTS, st.binary(max_size=8)), max_size=3))
    def test_anything(self, name: str, texts: list[str], values: list[tuple[str, bytes]]) -> None:
        """Whatever is in it, it can be explained, and nothing in the explanation does anything to a terminal."""
        texts = [text.encode("utf-8", "replace").decode() for text in texts]
        odd = evolve(
            samples.user_certificate(),
            key_id=name,
            principals=tuple(texts),
            critical_options=tuple(values),
            extensions=(*values, ("teleport-traits", wire.text("{}"))),
        )
        for line in explain(odd, samples.NOW):
            self.assertTrue(line.text().replace("\n    ", "").isprintable(), line)
