"""``tctl lock``: shuts somebody, an account, a node or a role out at once, and cuts what is open."""

from __future__ import annotations

from argparse import Namespace
from uuid import uuid4

from teleport_conch.cli.answer import Answer
from teleport_conch.cli.commands.nodes import named
from teleport_conch.cli.connection import Connection
from teleport_conch.cli.instants import moment
from teleport_conch.cli.table import inert, pairs
from teleport_conch.errors import NotFound, TeleportError
from teleport_conch.resources.lock import TARGETS, Lock

EMERGENCY_PREFIX = "break-glass:"
"""What keys for emergencies are called, which are no users."""


async def lock(connection: Connection, arguments: Namespace) -> Answer:
    """The command."""
    expires_at = connection.now() + arguments.ttl if arguments.ttl else None
    targets = {target: getattr(arguments, target) for target in TARGETS}
    wanted = Lock(str(uuid4()), **targets, message=arguments.message, expires_at=expires_at)
    locks = connection.client.rules.locks
    made = Lock.from_json(await locks.create(wanted.to_json(), force=arguments.force))
    until = "until it is removed" if made.expires_at is None else f"until {moment(made.expires_at)}"
    text = f"Locked {inert(pairs(made.targets()))} {until}. To unlock: tctl rm lock/{made.name}\n"
    notes = [await _note(connection, target, name) for target, name in made.targets().items()]
    return Answer(lambda: text + "".join(notes), made.to_json())


async def _note(connection: Connection, target: str, name: str) -> str:
    """What there is to say of a name that nobody has: in a hurry it is mistyped, and the lock looks as good.

    The lock is there already, so that whoever may not look the name up only hears less.
    """
    client = connection.client
    try:
        if target == "user" and not name.startswith(EMERGENCY_PREFIX):
            await client.people.user(name)
        elif target == "role":
            await client.rules.roles.get(name)
        elif target == "node":
            named(await client.nodes(), name, "node")
    except NotFound:
        return f"NOTE: no {target} '{inert(name)}' is known. If the name is mistyped, nobody is locked out.\n"
    except TeleportError:
        pass
    return ""
