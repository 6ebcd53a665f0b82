"""What a proxy is called: by what its configuration says, and where it says nothing, by what it listens on."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.config.loading import parse
from teleport_conch.proxy.public import PublicAddresses


def addresses(proxy: str, teleport: str = "{}") -> PublicAddresses:
    settings = parse(f"{{proxy_service: {proxy}, teleport: {teleport}}}", "f", {}, "door1")
    return PublicAddresses(settings, 13023, 13080)


class PublicTests(SynchronousTestCase):
    def test_nothing(self) -> None:
        """Where it listens, with the ports that it really has."""
        found = addresses("{listen_addr: 10.0.0.1:0, web_listen_addr: 10.0.0.2:0}")
        self.assertEqual((str(found.ssh), str(found.web)), ("10.0.0.1:13023", "10.0.0.2:13080"))
        self.assertEqual((found.hosts(), found.web_hosts()), ([], ("10.0.0.2", "door1")))

    def test_advertised(self) -> None:
        found = addresses("{}", "{advertise_ip: 192.0.2.1}")
        self.assertEqual((str(found.ssh), str(found.web)), ("192.0.2.1:13023", "192.0.2.1:13080"))
        self.assertEqual(found.hosts(), ["192.0.2.1"])

    def test_public(self) -> None:
        """The first of each; SSH goes by the web port's name where it has none of its own."""
        found = addresses("{public_addr: [a.example.com, b.example.com:443]}")
        self.assertEqual((str(found.ssh), str(found.web)), ("a.example.com:13023", "a.example.com:3080"))
        self.assertEqual(found.web_hosts(), ("a.example.com", "b.example.com", "door1"))
        both = "{public_addr: a.example.com, ssh_public_addr: ssh.example.com, tunnel_public_addr: t.example.com}"
        found = addresses(both)
        self.assertEqual(str(found.ssh), "ssh.example.com:3023")
        self.assertEqual(found.hosts(), ["ssh.example.com", "a.example.com", "t.example.com"])
