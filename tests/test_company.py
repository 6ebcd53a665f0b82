"""Whoever is connected is looked at again at each change, and when a role or a user expires."""

from __future__ import annotations

from attrs import define
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.builtin import USER_ROLES
from teleport_conch.access.directory import Directory
from teleport_conch.access.known import Known
from teleport_conch.access.roles import Role
from teleport_conch.company import LONGEST_WAIT_S, Company
from teleport_conch.errors import ConnectionProblem


@define(eq=False)
class Guest:
    looks: int = 0

    def look_again(self) -> None:
        self.looks += 1


class CompanyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.problem: Exception | None = None
        self.roles: dict[str, Role] = dict(USER_ROLES)
        self.company = Company(self.clock, self.known)
        self.guest = Guest()

    def known(self) -> Known:
        if self.problem is not None:
            raise self.problem
        return Known("example.com", Directory(self.roles))

    def test_changed(self) -> None:
        """Each change is a look at each who is there, and at nobody who has left."""
        other = Guest()
        self.company.came(self.guest)
        self.company.came(other)
        self.company.left(other)
        self.company.changed()
        self.clock.advance(0)
        self.assertEqual((self.guest.looks, other.looks, len(self.company)), (1, 0, 1))

    def test_expiry(self) -> None:
        """So is the moment at which a role expires."""
        self.roles["dev"] = Role("dev", expires_at=60.0)
        self.company.came(self.guest)
        self.clock.advance(59)
        self.assertEqual(self.guest.looks, 0)
        self.clock.advance(1)
        self.assertEqual(self.guest.looks, 1)
        self.clock.advance(LONGEST_WAIT_S - 1)
        self.assertEqual(self.guest.looks, 1)

    def test_new_expiry(self) -> None:
        """A change may bring a nearer end."""
        self.company.came(self.guest)
        self.roles["dev"] = Role("dev", expires_at=60.0)
        self.company.changed()
        self.clock.advance(59)
        self.assertEqual(self.guest.looks, 1)
        self.clock.advance(1)
        self.assertEqual(self.guest.looks, 2)

    def test_nobody(self) -> None:
        """Where nobody is, nothing waits; nor where nothing is known, nor after the end."""
        self.company.came(self.guest)
        self.company.left(self.guest)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.problem = ConnectionProblem("nothing is known")
        self.company.came(self.guest)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.problem = None
        self.company.changed()
        self.company.stop()
        self.clock.advance(LONGEST_WAIT_S)
        self.assertEqual(self.guest.looks, 0)
