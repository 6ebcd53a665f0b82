"""Where tctl finds the auth service, by its flags and by the configuration of the host."""

from __future__ import annotations

from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.reach import Reach, find
from teleport_conch.config.loading import parse
from teleport_conch.errors import ConfigError, StartError, UnsafePath


class LocalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def found(self, *auth_servers: str, **auth_service: object) -> Reach:
        path = self.folder / "teleport.yaml"
        settings = {"teleport": {"data_dir": str(self.folder / "data")}, "auth_service": auth_service}
        path.write_text(yaml.safe_dump(settings))
        return find(path, auth_servers, None)

    def test_own_service(self) -> None:
        """On an auth host it is the service of the host, dialled where it listens."""
        for listening, dialled in (
            ("0.0.0.0:4025", "127.0.0.1:4025"),
            ("10.0.0.1:3025", "10.0.0.1:3025"),
            ("[::]:3025", "[::1]:3025"),
        ):
            self.assertEqual(self.found(listen_addr=listening).addresses, (dialled,))

    def test_named(self) -> None:
        """An address that is given counts."""
        self.assertEqual(self.found("10.0.0.9:3025").addresses, ("10.0.0.9:3025",))

    def test_not_an_auth_host(self) -> None:
        """On any other host, tctl says what it needs."""
        with self.assertRaisesRegex(StartError, "This host runs no auth service .* give --identity and --auth-server."):
            self.found(enabled="no")

    def test_missing_configuration(self) -> None:
        """A file that was named has to be there."""
        with self.assertRaisesRegex(ConfigError, "file not found: /nowhere/teleport.yaml"):
            find(Path("/nowhere/teleport.yaml"), (), None)

    def test_unreadable_identity(self) -> None:
        """An identity that others can read is refused, and whoever is not the service's account is told."""
        identities = self.folder / "data" / "identities"
        identities.mkdir(parents=True)
        (identities / "admin.json").write_text("{}")
        (identities / "admin.json").chmod(0o644)
        with self.assertRaisesRegex(UnsafePath, "tctl runs as the account that the auth service has, or as root."):
            self.found()


class AdvertisedTests(SynchronousTestCase):
    def advertised(self, text: str) -> tuple[str, ...]:
        return Reach((), None, parse(text, "teleport.yaml", {}, "auth1")).advertised()

    def test_order(self) -> None:
        """What hosts are told: the public address, what is advertised, what is listened on."""
        listening = "auth_service: {listen_addr: '10.0.0.1:4025'}"
        for text, address in (
            ("auth_service: {public_addr: auth.example.com, listen_addr: '10.0.0.1:4025'}", "auth.example.com:3025"),
            (f"teleport: {{advertise_ip: 192.0.2.7}}\n{listening}", "192.0.2.7:4025"),
            (listening, "10.0.0.1:4025"),
            ("auth_service: {listen_addr: '[::1]:3025'}", "[::1]:3025"),
        ):
            self.assertEqual(self.advertised(text), (address,))

    def test_every_interface(self) -> None:
        """Where auth listens everywhere, an address of this host stands for it, never 0.0.0.0."""
        (address,) = self.advertised("auth_service: {listen_addr: '0.0.0.0:3025'}")
        self.assertTrue(address.endswith(":3025"))
        self.assertFalse(address.startswith("0.0.0.0"))

    def test_elsewhere(self) -> None:
        """From elsewhere, it is the address by which this tctl gets there."""
        self.assertEqual(Reach(("auth.example.com:3025",), None).advertised(), ("auth.example.com:3025",))
