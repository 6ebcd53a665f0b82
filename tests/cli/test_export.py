"""The hosts for which the exported line of known_hosts vouches."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.commands.export import patterns
from teleport_conch.resources.server import Server

UUID = "11111111-1111-4111-8111-111111111111"


class PatternTests(SynchronousTestCase):
    def test_nodes_and_proxies(self) -> None:
        """The cluster's own names, nodenames, UUIDs, addresses, and public addresses; with the port where it is odd."""
        node = Server("node", UUID, "web1", "10.0.0.5:3022", ("web1.example.com:22",))
        proxy = Server("proxy", "2222", "gate", "[fd00::1]:3023", ("proxy.example.com:3023",))
        self.assertEqual(
            patterns("main.example", [proxy, node]),
            (
                *("*.main.example", "gate", "2222", "fd00::1", "[fd00::1]:3023"),
                *("proxy.example.com", "[proxy.example.com]:3023"),
                *("web1", UUID, "10.0.0.5", "[10.0.0.5]:3022", "web1.example.com"),
            ),
        )

    def test_each_once(self) -> None:
        """A name that several have is there once; what is no address is passed over."""
        nodes = [Server("node", "1", "web1", "10.0.0.5:3022"), Server("node", "2", "web1", "not an address")]
        self.assertEqual(patterns("c", nodes), ("*.c", "web1", "1", "10.0.0.5", "[10.0.0.5]:3022", "2"))
