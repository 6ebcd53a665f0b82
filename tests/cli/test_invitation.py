"""What is said of a new join token."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.invitation import Invitation
from teleport_conch.resources.token import JoinToken

TOKEN = JoinToken("0" * 64, ("Node", "Proxy"), "alice", 0.0, 1800.0)
INVITATION = Invitation("5ec4e7", TOKEN, 1800.0, ("sha256:00", "sha256:11"), ("10.0.0.1:3025",))


class InvitationTests(SynchronousTestCase):
    def test_text(self) -> None:
        """The token, its life, a line that can be copied, and what to know."""
        self.assertEqual(
            INVITATION.text(),
            "The invite token: 5ec4e7\n"
            "This token will expire in 30 minutes\n\n"
            "Run this on the new host to join the cluster:\n\n"
            "> teleport start \\\n"
            "    --roles=node,proxy \\\n"
            "    --token=5ec4e7 \\\n"
            "    --ca-pin=sha256:00 \\\n"
            "    --auth-server=10.0.0.1:3025\n\n"
            "Please note:\n\n"
            "  - any number of hosts may use this token until it expires; 'tctl tokens rm' ends it sooner\n"
            "  - the new host has to reach 10.0.0.1:3025\n",
        )

    def test_proxy(self) -> None:
        """A proxy that passes calls on is named; not to a host that is to be a proxy, which needs auth itself."""
        node = evolve(TOKEN, roles=("Node",))
        through = evolve(INVITATION, token=node, web="proxy.example.com:3080")
        self.assertIn(
            "  - where it cannot, --auth-server=proxy.example.com:3080 goes through the proxy\n", through.text()
        )
        self.assertNotIn("goes through", evolve(through, token=TOKEN).text())

    def test_bound(self) -> None:
        """What the token binds is in the line, or in a note."""
        bound = evolve(TOKEN, node_name="web1", principals=("web1.example.com",), labels={"env": "prod"})
        text = evolve(INVITATION, token=bound).text()
        self.assertIn("    --nodename=web1 \\\n", text)
        self.assertIn("  - it may be called web1.example.com beside its nodename, and nothing else\n", text)
        self.assertIn("  - it gets the labels of the token, whatever its configuration says\n", text)

    def test_loopback(self) -> None:
        """An auth server that only its own host reaches is pointed out."""
        text = evolve(INVITATION, auth_servers=("[::1]:3025",)).text()
        self.assertIn("reach [::1]:3025, which is this very machine: auth listens on loopback\n", text)

    def test_life(self) -> None:
        """Whole minutes as Teleport says them."""
        for ttl_s, life in ((60.0, "1 minute\n"), (3600.0, "60 minutes\n"), (90.0, "1m30s\n")):
            self.assertTrue(evolve(INVITATION, ttl_s=ttl_s).short().endswith(f"expire in {life}"))

    def test_inert(self) -> None:
        """Whatever a server answers as a token, a terminal does not obey it."""
        self.assertNotIn("\x1b", evolve(INVITATION, secret="a\x1b[2J").text())

    def test_secret_is_not_shown(self) -> None:
        """The secret is in the text only."""
        self.assertNotIn("5ec4e7", repr(INVITATION))
