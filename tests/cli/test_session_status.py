"""``teleport status`` inside a session."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.teleport import session_status
from teleport_conch.errors import StartError

ENVIRONMENT = {
    "SSH_TELEPORT_USER": "alice",
    "SSH_TELEPORT_CLUSTER_NAME": "main.example",
    "SSH_TELEPORT_HOST_UUID": "1111",
    "SSH_SESSION_ID": "5e55",
    "USER": "root",
    "SSH_CLIENT": "73.2.2.1 42146 3022",
}


class StatusTests(SynchronousTestCase):
    def test_inside(self) -> None:
        """Five aligned lines."""
        self.assertEqual(
            session_status(ENVIRONMENT),
            "User ID     : alice, logged in as root from 73.2.2.1 42146 3022\n"
            "Cluster Name: main.example\n"
            "Host UUID   : 1111\n"
            "Session ID  : 5e55\n"
            "Session URL : none: there is no web proxy\n",
        )

    def test_url(self) -> None:
        """Where a web proxy is known, so is the page of the session."""
        text = session_status({**ENVIRONMENT, "SSH_SESSION_WEBPROXY_ADDR": "proxy.example.com:3080"})
        url = "https://proxy.example.com:3080/web/cluster/main.example/node/1111/root/5e55"
        self.assertEqual(text.splitlines()[4], f"Session URL : {url}")

    def test_outside(self) -> None:
        """An environment with less is not that of a session."""
        for missing in ("SSH_TELEPORT_USER", "SSH_TELEPORT_HOST_UUID", "SSH_SESSION_ID"):
            rest = {name: value for name, value in ENVIRONMENT.items() if name != missing}
            with self.assertRaisesRegex(StartError, "You are not inside of a Teleport SSH session"):
                session_status(rest)

    def test_inert(self) -> None:
        """A client may have set some of it; a terminal does not obey it."""
        self.assertNotIn("\x1b", session_status({**ENVIRONMENT, "SSH_CLIENT": "\x1b[2J"}))
