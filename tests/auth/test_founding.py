"""What the configuration file says of a cluster."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.auth.founding import database_of, events_of, founding_of
from teleport_conch.config.loading import parse
from teleport_conch.config.settings import Settings
from teleport_conch.errors import ConfigError, UnsafePath
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.token import token_digest
from tests.auth.fixture import NOW


def settings(**auth: object) -> Settings:
    return parse(json.dumps({"auth_service": {"cluster_name": "example.com", **auth}}), "test", {}, "auth1")


class FoundingTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """What a file without a word gives: "never" is 0 in the resource."""
        founding = founding_of(settings(), NOW)
        self.assertEqual((founding.cluster_name, founding.general), ("example.com", ClusterConfig()))
        self.assertEqual((founding.static_tokens, founding.allow_loopback), ((), False))

    def test_values(self) -> None:
        """What nodes and proxies are told."""
        founding = founding_of(
            settings(
                heartbeat_interval="2s", offline_nodes_kept="1h", keep_alive_interval="1m", keep_alive_count_max=5
            ),
            NOW,
        )
        self.assertEqual(founding.general, ClusterConfig("node", 2.0, 3600.0, 60.0, 5))

    def test_own_names(self) -> None:
        """What auth is called and where it is reached; an address that means every interface is nobody's."""
        self.assertEqual(founding_of(settings(), NOW).own_names, frozenset({"auth1"}))
        given = settings(public_addr="Auth.example.org:3025", listen_addr="[2001:DB8::1]:3025")
        self.assertEqual(founding_of(given, NOW).own_names, frozenset({"auth1", "auth.example.org", "2001:db8::1"}))

    def test_static_tokens(self) -> None:
        """By value or from a file; each with its roles."""
        path = Path(self.mktemp()).absolute()
        path.write_text("from-a-file-of-its-own\n")
        path.chmod(0o600)
        tokens = founding_of(settings(tokens=["node:by-value-in-the-file", f"proxy,node:{path}"]), NOW).static_tokens
        self.assertEqual([token.roles for token in tokens], [("Node",), ("Proxy", "Node")])
        self.assertEqual(
            [token.digest for token in tokens],
            [token_digest("by-value-in-the-file"), token_digest("from-a-file-of-its-own")],
        )

    def test_short_token_file(self) -> None:
        """A short token in a file is warned of; what it is is not said."""
        path = Path(self.mktemp()).absolute()
        path.touch(0o600)
        with capturedLogs() as said:
            for secret in ("fifteen-charact", "sixteen-characte"):
                path.write_text(f"{secret}\n")
                founding_of(settings(tokens=[f"node:{path}"]), NOW)
        sentence = f"The token in {path} has fewer than 16 characters, never expires, and can be guessed."
        self.assertEqual([formatEvent(event) for event in said], [sentence])

    def test_token_files(self) -> None:
        """One that is missing, or that others can read, stops the start."""
        path = Path(self.mktemp()).absolute()
        configured = settings(tokens=[f"node:{path}"])
        self.assertRaises(ConfigError, founding_of, configured, NOW)
        path.write_text("from-a-file-of-its-own")
        path.chmod(0o644)
        self.assertRaises(UnsafePath, founding_of, configured, NOW)

    def test_loopback(self) -> None:
        """Hosts may be called localhost where auth listens on loopback only."""
        for address, allowed in (("127.0.0.1:3025", True), ("[::1]:0", True), ("0.0.0.0:3025", False)):
            self.assertIs(founding_of(settings(listen_addr=address), NOW).allow_loopback, allowed)

    def test_places(self) -> None:
        """Below data_dir, unless the file says otherwise."""
        usual = settings()
        self.assertEqual(database_of(usual), Path("/var/lib/teleport/backend/sqlite.db"))
        self.assertEqual(events_of(usual, "uuid"), Path("/var/lib/teleport/log/uuid"))
