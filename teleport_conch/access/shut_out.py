"""What locks shut out beside what a decision is about: whole nodes, and people at a door where nobody logs in yet."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from teleport_conch.access.locks import Locks
from teleport_conch.access.question import Caller
from teleport_conch.access.shown import shown
from teleport_conch.errors import AccessDenied, HostLocked
from teleport_conch.resources.lock import Lock


def because(locks: Sequence[Lock]) -> str:
    """What the person hears of locks: the first message that there is."""
    message = next((lock.message for lock in locks if lock.message), "")
    return f"locked by an administrator ({shown(message)})" if message else "locked by an administrator"


def check_node(locks: Locks, names: Collection[str], now: float) -> None:
    """:param names: UUID and name of a node.

    :raises HostLocked: a lock in force is on all that happens there.
    """
    found = locks.against("", (), "", names, now) if locks else ()
    if found:
        name = shown(list(names)[-1])
        raise HostLocked(f"The node {name} is {because(found)}.")


def check_caller(caller: Caller, locks: Locks, names: Collection[str], now: float) -> None:
    """:param names: of the node that the caller wants to be connected to; none at a door before any node.

    :raises AccessDenied: a lock in force shuts the caller out, whatever the login would be.
    """
    roles = [role.name for role in caller.roles]
    found = locks.against(caller.name, roles, "", names, now) if locks else ()
    if found:
        what = f"connect to {shown(list(names)[-1])}" if names else "connect"
        raise AccessDenied(f"{caller} is not authorized to {what}: {because(found)}")
