"""Which ports the demo takes."""

from __future__ import annotations

import socket
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli import demo_ports
from teleport_conch.cli.demo_plan import Plan
from teleport_conch.cli.demo_ports import STANDARD, Ports, bound, choose, loopback, of_last_start
from teleport_conch.errors import StartError

HOST = "127.0.0.1"


class ChoiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.taken: set[int] = set()
        self.patch(demo_ports, "bound", self.bound)
        self.next_free = 40_000

    def bound(self, host: str, port: int) -> int | None:
        if port == 0:
            self.next_free += 1
            return self.next_free
        return None if port in self.taken else port

    def test_standard(self) -> None:
        """The standard ports, where they are free."""
        self.assertEqual(choose(HOST, None), STANDARD)

    def test_others(self) -> None:
        """Another one in the place of each that is taken."""
        self.taken = {3022, 3025}
        self.assertEqual(choose(HOST, None), Ports(auth=40_001, proxy=3023, web=3080, node=40_002, second_node=3122))

    def test_last(self) -> None:
        """Those of the last start come first, as other nodes know them; then the standard ones."""
        last = Ports(auth=41_001, proxy=41_002, web=41_003, node=3022, second_node=3122)
        self.assertEqual(choose(HOST, last), last)
        self.taken = {41_002}
        self.assertEqual(choose(HOST, last), evolve(last, proxy=3023))

    def test_each_once(self) -> None:
        """Two services do not get one port."""
        last = evolve(STANDARD, auth=3023)
        self.assertEqual(choose(HOST, last), Ports(auth=3023, proxy=40_001, web=3080, node=3022, second_node=3122))

    def test_no_loopback(self) -> None:
        """::1 is taken where there is no 127.0.0.1; without either there is a sentence."""
        self.patch(demo_ports, "bound", lambda host, port: 1 if host == "::1" else None)
        self.assertEqual(loopback(), "::1")
        self.patch(demo_ports, "bound", lambda host, port: None)
        with self.assertRaisesRegex(StartError, "neither 127.0.0.1 nor ::1"):
            loopback()


class BoundTests(SynchronousTestCase):
    def test_in_use(self) -> None:
        """A port that somebody listens on is not free, on whichever address."""
        for address in (HOST, "0.0.0.0"):
            with socket.socket() as other:
                other.bind((address, 0))
                other.listen()
                port = other.getsockname()[1]
                self.assertIs(bound(HOST, port), None)
            self.assertEqual(bound(HOST, port), port)


class LastStartTests(SynchronousTestCase):
    def test_read_back(self) -> None:
        """The ports are in the configurations that the last start wrote."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        plan = Plan(folder, "laptop", "alice", HOST, 1, 2, 3, 4, 5)
        first, second = folder / "teleport.yaml", folder / "second-node.yaml"
        self.assertIs(of_last_start(first, second), None)
        first.write_text(plan.configuration())
        second.write_text(plan.second_configuration("sha256:" + "0" * 64))
        self.assertEqual(of_last_start(first, second), Ports(1, 2, 3, 4, 5))
        first.write_text("rubbish: [")
        self.assertIs(of_last_start(first, second), None)
