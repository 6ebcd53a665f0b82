"""Several nodes where one was meant: which is taken, and what is said where none can be."""

from __future__ import annotations

import io
import sys

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh.candidates import only
from teleport_conch.errors import AmbiguousName
from teleport_conch.resources.server import Presence, Server, State
from tests.cli.tsh.test_nodes import UUID


def node(number: int, state: State = State.ONLINE, **labels: str) -> Server:
    made = Server("node", f"{UUID[:-1]}{number}", f"web{number}", "10.0.0.1:3022", labels=labels)
    return evolve(made, presence=Presence(state))


class OnlyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.err = io.StringIO()
        self.patch(sys, "stderr", self.err)

    def refused(self, *nodes: Server) -> str:
        return str(self.assertRaises(AmbiguousName, only, nodes, "10.0.0.1").sentence)

    def test_most_present(self) -> None:
        """A host that was built anew wins over the record of its past."""
        there = node(2)
        self.assertIs(only([there], "10.0.0.1"), there)
        self.assertIs(only([node(1, State.OFFLINE), there, node(3, State.LATE)], "10.0.0.1"), there)
        self.assertEqual(self.err.getvalue(), "")

    def test_several(self) -> None:
        """The table with IDs and labels, and the two ways in which one of them is named."""
        nodes = [node(1, env="prod", role="web"), node(2, env="test", role="web")]
        self.assertEqual(
            self.refused(*nodes),
            f"10.0.0.1 may be any of these nodes: say which by its ID (tsh ssh {nodes[0].name}), or by a label that it"
            " alone has (tsh ssh env=prod).",
        )
        lines = self.err.getvalue().splitlines()
        self.assertEqual(lines[0].split(), ["Node", "Name", "Node", "ID", "Address", "Labels"])
        self.assertEqual([line.split()[1] for line in lines[2:4]], [each.name for each in nodes])

    def test_no_label_of_its_own(self) -> None:
        self.assertIn("(tsh ssh label=value)", self.refused(node(1, env="prod"), node(2, env="prod")))
