"""What locks shut out beside what a decision is about: whole nodes, and people at a door where nobody logs in yet."""

from __future__ import annotations

from collections.abc import Collection

from teleport_conch.access.decision import Denial
from teleport_conch.access.findings import Finding, Trace
from teleport_conch.access.locks import Locks, because, failure_of
from teleport_conch.access.question import Caller
from teleport_conch.access.shown import shown
from teleport_conch.errors import HostLocked


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

    :raises Denial: a lock in force shuts the caller out, whatever the login would be.
    """
    roles = [role.name for role in caller.roles]
    found = locks.against(caller.name, roles, "", names, now) if locks else ()
    if found:
        what = f"connect to {shown(list(names)[-1])}" if names else "connect"
        asked = tuple(Finding(role.name) for role in caller.roles)
        raise Denial.of(Trace(str(caller), what, tuple(map(failure_of, found)), asked), because(found), "")
