"""Tests for :mod:`teleport_conch.config.addresses`."""

from __future__ import annotations

import string
from collections.abc import Callable
from ipaddress import ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.config.addresses import (
    Address,
    parse_address,
    parse_advertised,
    parse_host,
    parse_listen_address,
    parse_network,
)

LABELS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=20)
HOSTS = st.one_of(
    st.ip_addresses().map(str),
    st.lists(LABELS, min_size=1, max_size=4).map(".".join).filter(lambda name: not name.split(".")[-1].isdigit()),
)


class AddressTests(SynchronousTestCase):
    def sentence(self, parse: Callable[..., object], *arguments: object) -> str:
        return str(self.assertRaises(ValueError, parse, *arguments))

    def test_forms(self) -> None:
        """Every form of reference: host, host and port, IPv6 with and without a port, URL."""
        cases = {
            "db1": Address("db1", 3025),
            "DB1.Example.com.": Address("db1.example.com", 3025),
            "10.0.0.5:22": Address("10.0.0.5", 22),
            "[::1]:3025": Address("::1", 3025),
            "[::1]": Address("::1", 3025),
            "::1": Address("::1", 3025),
            "2001:DB8:0::1": Address("2001:db8::1", 3025),
            "tcp://auth:99": Address("auth", 99),
            "https://auth.example.com/": Address("auth.example.com", 3025),
        }
        self.assertEqual({text: parse_address(text, 3025) for text in cases}, cases)

    def test_refused(self) -> None:
        """Each wrong form has a sentence that names what is wrong."""
        cases = {
            "": "'' is not a host name or an IP address",
            "a b": "'a b' is not a host name or an IP address",
            "-x": "'-x' is not a host name or an IP address",
            "a..b": "'a..b' is not a host name or an IP address",
            "https://auth/web": "'auth/web' is not a host name or an IP address",
            "a:b:c": "'a:b:c' is not a host name or an IP address",
            "300.1.1.1": "'300.1.1.1' is not an IP address",
            "münchen": "the host name 'münchen' is not ASCII: write its xn-- form",
            "a:": "'' is not a port: write a number from 1 to 65535",
            "a:0": "'0' is not a port: write a number from 1 to 65535",
            "a:65536": "'65536' is not a port: write a number from 1 to 65535",
            "a:²": "'²' is not a port: write a number from 1 to 65535",
            "[::1": "'[::1' is not an address: an IPv6 address with a port is [::1]:3025",
            "[db1]:22": "'[db1]:22' is not an address: an IPv6 address with a port is [::1]:3025",
            "[::1]22": "'[::1]22' is not an address: an IPv6 address with a port is [::1]:3025",
        }
        self.assertEqual({text: self.sentence(parse_address, text, 3025) for text in cases}, cases)

    @settings(deadline=None)
    @given(HOSTS, st.integers(1, 65535))
    def test_round_trip(self, host: str, port: int) -> None:
        """The text of an address is read as the same address."""
        address = Address(host, port)
        self.assertEqual(parse_address(str(address), 1), address)

    @settings(deadline=None)
    @given(st.text(max_size=40))
    def test_any_text(self, text: str) -> None:
        """Any text is an address whose text is stable, or a ValueError."""
        try:
            address = parse_address(text, 22)
        except ValueError:
            return
        self.assertEqual(parse_address(str(address), 1), address)

    def test_listen(self) -> None:
        """A service listens on IP addresses; no host means every IPv4 interface, and port 0 any free port."""
        self.assertEqual(parse_listen_address(":3022", 1), Address("0.0.0.0", 3022))
        self.assertEqual(parse_listen_address("127.0.0.1", 3022), Address("127.0.0.1", 3022))
        self.assertEqual(parse_listen_address("[::]:0", 3022), Address("::", 0))
        self.assertEqual(
            self.sentence(parse_listen_address, "localhost:3022", 1),
            "'localhost' is a name, and a service listens on an IP address: write 127.0.0.1, ::1 or 0.0.0.0",
        )

    def test_advertised(self) -> None:
        """An address that others are to connect to; without a port it has port 0."""
        self.assertEqual(parse_advertised("10.0.0.5"), Address("10.0.0.5", 0))
        self.assertEqual(parse_advertised("db1.example.com:2222"), Address("db1.example.com", 2222))
        for text in ("0.0.0.0", "[::]:22", "224.0.0.1", "ff02::1"):
            self.assertIn("nobody can connect to ", self.sentence(parse_advertised, text))

    def test_network(self) -> None:
        """A network, one address as a network of one, or a name."""
        self.assertEqual(parse_network("10.0.0.0/24"), ip_network("10.0.0.0/24"))
        self.assertEqual(parse_network("10.0.0.5"), ip_network("10.0.0.5/32"))
        self.assertEqual(parse_network("fd00::/8"), ip_network("fd00::/8"))
        self.assertEqual(parse_network("Old.Example.com"), "old.example.com")
        cases = {
            "10.0.0.5/24": "'10.0.0.5/24' has bits set beyond its mask: write 10.0.0.0/24",
            "10.0.0.0/99": "'10.0.0.0/99' is not a network: write it like 10.0.0.0/24 or fd00::/8",
            "*.example.com": "'*.example.com' is not a host name or an IP address",
        }
        self.assertEqual({text: self.sentence(parse_network, text) for text in cases}, cases)

    def test_host(self) -> None:
        """A host name keeps underscores, which machines have, and loses capitals."""
        self.assertEqual(parse_host("My_Host"), "my_host")
        self.assertIn("is not a host name", self.sentence(parse_host, "a." * 200 + "b"))


class EndpointTests(SynchronousTestCase):
    def listened(self, address: Address) -> tuple[object, ...]:
        reactor = MemoryReactor()
        self.successResultOf(serverFromString(reactor, address.endpoint()).listen(Factory()))
        port, _, _, interface = reactor.tcpServers[0]
        return port, interface

    def test_endpoint(self) -> None:
        """Twisted's parser understands the string, with IPv4 and IPv6."""
        for address in (Address("127.0.0.1", 3022), Address("::1", 3025), Address("fe80::1%eth0", 0)):
            self.assertEqual(self.listened(address), (address.port, address.host))
