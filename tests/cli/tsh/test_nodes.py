"""The list of nodes."""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh import places, recordings
from teleport_conch.cli.tsh.destination import parse_labels
from teleport_conch.cli.tsh.main import parse
from teleport_conch.cli.tsh.nodes import listing, shown
from teleport_conch.client.profiles import Home
from teleport_conch.errors import BadParameter
from teleport_conch.resources.server import Server
from tests.cli.tsh.logins import login, saved

UUID = "3c5e9d60-6a1f-4d24-8f9f-0d6a5c1c2b11"
NODES = (
    Server("node", UUID, "web1", "10.0.0.1:3022", labels={"env": "prod", "role": "web", "zone": "a"}),
    Server("node", UUID[:-1] + "2", "web\x1b[31m2", "10.0.0.2:3022"),
)


class ListTests(SynchronousTestCase):
    def test_text(self) -> None:
        """Two labels stand in a line, and nothing that a terminal obeys in any."""
        self.assertEqual(
            shown(NODES, "text", verbose=False, width=None).splitlines(),
            [
                "Node Name    Address       Labels",
                "------------ ------------- ------------------",
                "web1         10.0.0.1:3022 env=prod, role=web",
                "                           zone=a",
                "web\\x1b[31m2 10.0.0.2:3022",
            ],
        )

    def test_verbose(self) -> None:
        lines = shown(NODES[:1], "text", verbose=True, width=None).splitlines()
        self.assertEqual(lines[0].split(), ["Node", "Name", "Node", "ID", "Address", "Labels"])
        self.assertIn(UUID, lines[2])
        self.assertTrue(lines[2].endswith("env=prod, role=web, zone=a"))

    def test_fits_the_terminal(self) -> None:
        """Labels are cut, with a mark, where the line would be longer than the terminal is wide."""
        lines = shown(NODES[:1], "text", verbose=True, width=80).splitlines()
        self.assertLessEqual(max(map(len, lines)), 80)
        self.assertTrue(lines[2].endswith("…"))

    def test_names(self) -> None:
        self.assertEqual(shown(NODES, "names", verbose=False, width=None), "web1\nweb\\x1b[31m2\n")

    def test_json(self) -> None:
        found = json.loads(shown(NODES, "json", verbose=False, width=None))
        self.assertEqual(found[0]["metadata"]["name"], UUID)

    def test_labels(self) -> None:
        self.assertEqual(parse_labels("env=prod,role=a=b"), {"env": "prod", "role": "a=b"})
        self.assertEqual(parse_labels(""), {})
        for text in ("env", "=x", "-env=x", "a b=c"):
            problem = self.assertRaises(BadParameter, parse_labels, text)
            self.assertIn("is not a label: write label=value", problem.sentence)


class NoLoginTests(SynchronousTestCase):
    def listed(self, folder: Path) -> str:
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(places, "home", lambda: Home(folder))
        listing(parse(["ls", "--no-login", "-f", "names"]))
        recordings.listing(parse(["recordings", "ls", "--no-login", "-f", "names"]))
        return out.getvalue()

    def test_expired(self) -> None:
        """Nobody is asked anything, and nothing is listed: it is TAB that was pressed."""
        folder = Path(self.mktemp()).absolute()
        self.assertEqual(self.listed(folder), "")
        saved(folder, login(ttl_s=1.0))
        late = time.time() + 600.0
        self.patch(time, "time", lambda: late)
        self.assertEqual(self.listed(folder), "")
