"""Names that no host gets, whoever else is there."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.auth.hosts.principals import NameRules, is_loopback
from teleport_conch.errors import PrincipalForbidden
from tests.auth.fixture import ADDRESS, CLUSTER, WEB1, WEB2

RULES = NameRules(CLUSTER, other_clusters=("leaf.example.org",))


class NameTests(SynchronousTestCase):
    def test_allowed(self) -> None:
        """Host names and addresses, in their usual form, each once."""
        wanted = ("DB.Example.org.", "10.0.0.7", "2001:DB8:0::1", "db.example.org")
        self.assertEqual(RULES.usual(wanted, WEB1, ADDRESS), ("db.example.org", "10.0.0.7", "2001:db8::1"))

    def test_92_forbidden(self) -> None:
        """Wildcards, lists, what is the cluster's or another cluster's, loopback, other hosts' UUIDs."""
        for name, sentence in (
            ("*", "is not a host name"),
            ("*.example.com", "is not a host name"),
            ("db?", "is not a host name"),
            ("root,admin", "is not a host name"),
            ("db\x00", "is not a host name"),
            ("db\n", "is not a host name"),
            ("$(id)", "is not a host name"),
            ('"><script>', "is not a host name"),
            ("", "is not a host name"),
            ("a" * 64, "is not a host name"),
            ("fe80::1%eth0", "is not one that a host has for itself"),
            ("224.0.0.1", "is not one that a host has for itself"),
            ("example.com", "is that of the cluster"),
            ("EXAMPLE.com.", "is that of the cluster"),
            ("teleport.cluster.local", "is reserved for the auth servers"),
            ("x.teleport.cluster.local", "is reserved for the auth servers"),
            ("leaf.example.org", "belongs to the cluster leaf.example.org"),
            ("db.leaf.example.org", "belongs to the cluster leaf.example.org"),
            ("localhost", "means every machine to itself"),
            ("db.localhost", "means every machine to itself"),
            ("127.0.0.1", "means every machine to itself"),
            ("127.8.8.8", "means every machine to itself"),
            ("::1", "means every machine to itself"),
            (WEB2, "has the form of another host's UUID"),
            (WEB2.upper(), "has the form of another host's UUID"),
            (f"{WEB2}.{CLUSTER}", "has the form of another host's UUID"),
        ):
            with self.subTest(name):
                reason = self.assertRaises(PrincipalForbidden, RULES.usual, [name], WEB1, ADDRESS)
                self.assertIn(sentence, reason.sentence)
                self.assertTrue(reason.sentence.isprintable())

    def test_the_name_of_the_cluster(self) -> None:
        """It is the door's, and that of the machine where auth runs; no other node may be called so."""
        self.assertEqual(RULES.usual([CLUSTER], WEB1, ADDRESS, "Proxy"), (CLUSTER,))
        self.assertEqual(RULES.usual([CLUSTER], WEB1, "127.0.0.1", "Node"), (CLUSTER,))
        reason = self.assertRaises(PrincipalForbidden, RULES.check, CLUSTER, WEB1, ADDRESS, "Node")
        self.assertEqual(
            reason.sentence,
            "The name 'example.com' is that of the cluster; no node on another machine may have it."
            " Set another nodename.",
        )

    def test_own_uuid(self) -> None:
        """A host's own UUID is its own name."""
        self.assertEqual(RULES.usual([WEB1], WEB1, ADDRESS), (WEB1,))

    def test_unspecified_means_mine(self) -> None:
        """0.0.0.0 and :: stand for the address that the host comes from."""
        for name in ("0.0.0.0", "::"):
            self.assertEqual(RULES.usual([name], WEB1, ADDRESS), (ADDRESS,))

    def test_loopback_of_a_demo(self) -> None:
        """Where auth itself is on loopback, hosts may be."""
        rules = NameRules(CLUSTER, allow_loopback=True)
        self.assertEqual(rules.usual(["localhost", "::1"], WEB1, "127.0.0.1"), ("localhost", "::1"))

    def test_is_loopback(self) -> None:
        """What means "this machine", and what only begins like it."""
        for name in ("localhost", "a.localhost", "127.0.0.1", "::1"):
            self.assertTrue(is_loopback(name), name)
        for name in ("localhost.example.com", "128.0.0.1", "mylocalhost"):
            self.assertFalse(is_loopback(name), name)
