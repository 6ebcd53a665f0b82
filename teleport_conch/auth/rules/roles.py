"""The roles of the cluster: those that every cluster has, which nobody changes, and those that are stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import define

from teleport_conch.access.builtin import USER_ROLES
from teleport_conch.access.roles import Role
from teleport_conch.auth.limits import MAX_ROLES
from teleport_conch.auth.state.shelf import Shelf
from teleport_conch.errors import BadParameter
from teleport_conch.storage.backend import IBackend

PREFIX = "roles/"


def open_shelf(backend: IBackend) -> Shelf[Role]:
    """Where the stored roles are."""
    return Shelf("role", PREFIX, backend, Role.from_json, MAX_ROLES)


def check_not_built_in(name: str) -> None:
    """:raises BadParameter: the name is that of a built-in role."""
    if name in USER_ROLES:
        raise BadParameter(
            f"The role {name} is built in, and can be neither changed nor removed. Copy it under another name, and"
            " change the copy."
        )


@define(eq=False)
class Roles(Mapping[str, Role]):
    """All of them by name, as they are at each moment."""

    shelf: Shelf[Role]

    def __getitem__(self, name: str) -> Role:
        return USER_ROLES[name] if name in USER_ROLES else self.shelf.values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*USER_ROLES, *self.shelf.values}))

    def __len__(self) -> int:
        return len({*USER_ROLES, *self.shelf.values})
