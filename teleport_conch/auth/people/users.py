"""The people of the cluster. Passwords and what else is secret of them lie elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, evolve

from teleport_conch.access.roles import Role
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.limits import MAX_LOGINS, MAX_USERS
from teleport_conch.auth.state.shelf import Shelf
from teleport_conch.certs import names
from teleport_conch.errors import BadParameter, NotFound
from teleport_conch.resources.bot import PREFIX_OF_USERS as ROBOTS
from teleport_conch.resources.user import User
from teleport_conch.storage.backend import IBackend

PREFIX = "users/"


def open_shelf(backend: IBackend) -> Shelf[User]:
    """Where the users are."""
    return Shelf("user", PREFIX, backend, User.from_json, MAX_USERS)


def check_no_robot(name: str) -> None:
    """:raises BadParameter: it is the user of a robot."""
    if name.startswith(ROBOTS):
        raise BadParameter("This is the user of a robot; 'tctl bots' makes and removes those.")


@define(eq=False)
class Users:
    """All users.

    :ivar _roles: the roles that there are.
    """

    shelf: Shelf[User]
    _clocks: Clocks
    _roles: Mapping[str, Role]

    def get(self, name: str) -> User:
        """:raises NotFound: there is none."""
        found = self.shelf.values.get(name)
        if found is None:
            raise NotFound(f"There is no user {name[:64]!a}; 'tctl users ls' lists them.")
        return found

    def usable(self, name: str) -> User | None:
        """The user of this name, None where there is none, or none any more."""
        found = self.shelf.values.get(name)
        return found if found is not None and found.in_force_at(self._clocks.wall()) else None

    def checked(self, user: User, by: str) -> User:
        """The user as it may be stored in place of one of its name, or as a new one made by ``by``.

        :raises BadParameter: a role that there is not, or a name that a robot may have.
        :raises PrincipalForbidden: a name or login that no certificate may carry.
        """
        if user.name.startswith(ROBOTS):
            raise BadParameter(f"The names of robots begin with {ROBOTS!r}; choose another for a person.")
        self._check(user)
        before = self.shelf.values.get(user.name)
        made = (self._clocks.wall(), by) if before is None else (before.created_at, before.created_by)
        roles = tuple(dict.fromkeys(user.roles))
        return evolve(user, roles=roles, created_at=made[0], created_by=made[1], lock=None, revision="")

    def checked_robot(self, user: User) -> User:
        """The same for the user of a robot; a former one of its name does not count."""
        self._check(user)
        return user

    def _check(self, user: User) -> None:
        names.user_name(user.name)
        for role in user.roles:
            if role not in self._roles:
                raise BadParameter(f"There is no role {role[:64]!a}; 'tctl get roles' lists those that there are.")
        names.traits(user.traits)
        if len(user.logins) > MAX_LOGINS:
            raise BadParameter(f"A user has at most {MAX_LOGINS} logins.")
        for login in user.logins:
            names.login(login)
