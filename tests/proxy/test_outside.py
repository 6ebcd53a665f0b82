"""Hosts that are no nodes: nothing is dialled that the configuration does not name, whatever a name leads to.

The number in the names of tests is that of the project's list of attacks.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import AccessDenied
from teleport_conch.proxy.outside import OutsideHosts

NETWORK = "10.20.0.0/16"
NEAR = (
    *("127.0.0.1", "127.9.9.9", "169.254.169.254", "0.0.0.0", "224.0.0.1"),
    *("::1", "::", "fe80::1%eth0", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254"),
)
"""Addresses that lead to the proxy's own host or link, or to what a cloud tells its machines."""


class Names:
    """A resolver with a table; what it does not know it takes for an address, as real ones do."""

    def __init__(self, **answers: Sequence[str]) -> None:
        self.answers = {name.replace("_", "."): list(found) for name, found in answers.items()}
        self.asked: list[str] = []

    async def addresses(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.get(host, [host])


class OutsideCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.names = Names(
            old_example=["10.20.0.1"],
            two_example=["198.51.100.1", "10.20.0.2"],
            far_example=["198.51.100.1"],
            gone_example=[],
        )

    def resolved(self, host: str, *rules: str) -> str:
        outside = OutsideHosts(rules, self.names)
        address: str = self.successResultOf(Deferred.fromCoroutine(outside.resolve(host)))
        return address

    def assert_denied(self, host: str, *rules: str, sentence: str = "") -> None:
        outside = OutsideHosts(rules, self.names)
        refusal = self.failureResultOf(Deferred.fromCoroutine(outside.resolve(host)), AccessDenied).value
        usual = f'"{host}" is no node, and proxy_service.unregistered_hosts does not allow it.'
        self.assertEqual(refusal.sentence, sentence or usual)


class AllowedTests(OutsideCase):
    def test_network(self) -> None:
        """An address in a network, or a name that leads there; it is looked up once, and the address is dialled."""
        self.assertEqual(self.resolved("10.20.30.40", NETWORK), "10.20.30.40")
        self.assertEqual(self.resolved("old.example", NETWORK), "10.20.0.1")
        self.assertEqual(self.names.asked, ["10.20.30.40", "old.example"])

    def test_networks_of_both_families(self) -> None:
        rules = ("2001:db8::/32", "192.0.2.1", "10.20.0.1/16")
        for address in ("2001:db8::1", "192.0.2.1", "10.20.255.255"):
            self.assertEqual(self.resolved(address, *rules), address)
        for address in ("2001:db9::1", "192.0.2.2", "10.21.0.0"):
            self.assert_denied(address, *rules)

    def test_one_of_several(self) -> None:
        """Of a host with several addresses the one that is allowed."""
        self.assertEqual(self.resolved("two.example", NETWORK), "10.20.0.2")

    def test_name(self) -> None:
        """A name that is allowed is so in any case and with a dot at its end, wherever it leads."""
        for host, rule in (("far.example", "FAR.example."), ("far.example", "far.example")):
            self.assertEqual(self.resolved(host, rule), "198.51.100.1")
        self.names.answers["Far.Example."] = ["198.51.100.1"]
        self.assertEqual(self.resolved("Far.Example.", "far.example"), "198.51.100.1")

    def test_any_allowed(self) -> None:
        """Without rules nothing is allowed, and nobody has to be asked."""
        self.assertFalse(OutsideHosts((), self.names).any_allowed)
        self.assertTrue(OutsideHosts((NETWORK,), self.names).any_allowed)

    def test_unknown(self) -> None:
        """A name without an address leads nowhere, whether or not it is allowed."""
        for rules in ((), ("gone.example",), (NETWORK,)):
            self.assertEqual(self.resolved("gone.example", *rules), "")


class DeniedTests(OutsideCase):
    def test_66_no_rules(self) -> None:
        for host in ("10.20.0.1", "old.example", "127.0.0.1", "169.254.169.254"):
            self.assert_denied(host)

    def test_66_the_proxy_itself(self) -> None:
        """The proxy's own host, and what a cloud tells its machines, in every form of their addresses."""
        for address in NEAR:
            self.assert_denied(address, NETWORK, "far.example", "2001:db8::/32")
        for spelled in ("2130706433", "0x7f.1", "127.1", "017700000001"):
            self.names.answers[spelled] = ["127.0.0.1"]
            self.assert_denied(spelled, NETWORK)

    def test_66_mapped(self) -> None:
        """IPv4 in IPv6 is the IPv4 address that it is."""
        for address in ("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "::ffff:198.51.100.1"):
            self.assert_denied(address, NETWORK, "::/128")
        self.assertEqual(self.resolved("::ffff:10.20.0.1", NETWORK), "10.20.0.1")

    def test_66_names_that_lead_there(self) -> None:
        """A name of somebody else's that leads to the proxy's own host, or to the cloud."""
        for address in ("127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"):
            self.names.answers["evil.example"] = [address]
            self.assert_denied("evil.example", NETWORK)

    def test_66_a_name_that_flips(self) -> None:
        """The answer that was checked is the one that is dialled: there is no second question."""
        outside, answers = OutsideHosts((NETWORK,), self.names), [["10.20.0.1"], ["127.0.0.1"]]
        self.names.answers["flip.example"] = answers[0]
        found = self.successResultOf(Deferred.fromCoroutine(outside.resolve("flip.example")))
        self.names.answers["flip.example"] = answers[1]
        self.assertEqual((found, self.names.asked), ("10.20.0.1", ["flip.example"]))

    def test_66_an_allowed_name_that_flips(self) -> None:
        """Whoever may say where an allowed name leads cannot make it lead to the proxy's own host."""
        rule = "which takes a network in proxy_service.unregistered_hosts to be allowed"
        for address in NEAR:
            self.names.answers["far.example"] = [address]
            sentence = f'"far.example" leads to {address}, {rule}.'
            self.assert_denied("far.example", "far.example", sentence=sentence)
        self.names.answers["far.example"] = ["127.0.0.1", "198.51.100.1"]
        self.assertEqual(self.resolved("far.example", "far.example"), "198.51.100.1")
        self.names.answers["far.example"] = ["127.0.0.1"]
        self.assertEqual(self.resolved("far.example", "far.example", "127.0.0.0/8"), "127.0.0.1")

    def test_66_parts_of_names(self) -> None:
        """A name allows itself, and neither what is in front of it nor what is behind it."""
        for host in ("a.far.example", "far.example.org", "ar.example", "example", "*", "far.exampl"):
            self.names.answers[host] = ["198.51.100.1"]
            self.assert_denied(host, "far.example", "*.far.example", NETWORK)

    @settings(deadline=None)
    @given(address=st.ip_addresses(v=4).map(str))
    def test_66_any_address(self, address: str) -> None:
        """Nothing outside of the networks is allowed."""
        if address.startswith("10.20."):
            self.assertEqual(self.resolved(address, NETWORK), address)
        else:
            self.assert_denied(address, NETWORK)
