"""Sockets at one address, for one worker or for several."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.config.addresses import Address
from teleport_conch.errors import PortInUse
from teleport_conch.supervisor.listening import Listener, bind

CONNECTIONS = 64


class BindTests(SynchronousTestCase):
    def bound(self, count: int, port: int = 0) -> list[socket.socket]:
        made = bind(Listener("node", "The node", Address("127.0.0.1", port)), count)
        for each in made:
            self.addCleanup(each.close)
        return made

    def port_of(self, made: list[socket.socket]) -> int:
        (port,) = {each.getsockname()[1] for each in made}
        return int(port)

    def test_spread(self) -> None:
        """The kernel gives each a part of the connections, whether or not it accepts them."""
        made = self.bound(2)
        clients = [socket.create_connection(("127.0.0.1", self.port_of(made))) for _ in range(CONNECTIONS)]
        for each in clients:
            self.addCleanup(each.close)
        waiting = [self.accepted(each) for each in made]
        self.assertEqual(sum(waiting), CONNECTIONS)
        self.assertGreater(min(waiting), 0)

    def accepted(self, listening: socket.socket) -> int:
        for count in range(CONNECTIONS + 1):
            try:
                listening.accept()[0].close()
            except BlockingIOError:
                return count
        raise AssertionError("there are more connections than were made")

    def test_in_use(self) -> None:
        """A port that others have is refused, also where they share theirs as we would."""
        for theirs in (1, 2):
            port = self.port_of(self.bound(theirs))
            for ours in (1, 2):
                refusal = self.assertRaises(PortInUse, self.bound, ours, port)
                self.assertIn(f"The node cannot listen on port {port} of 127.0.0.1: it is in use by ", refusal.sentence)
