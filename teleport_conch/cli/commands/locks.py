"""``tctl lock``: shuts somebody, an account, a node or a role out at once, and cuts what is open."""

from __future__ import annotations

from argparse import Namespace
from uuid import uuid4

from teleport_conch.cli.answer import Answer
from teleport_conch.cli.connection import Connection
from teleport_conch.cli.instants import moment
from teleport_conch.cli.table import inert, pairs
from teleport_conch.resources.lock import TARGETS, Lock


async def lock(connection: Connection, arguments: Namespace) -> Answer:
    """The command."""
    expires_at = connection.now() + arguments.ttl if arguments.ttl else None
    targets = {target: getattr(arguments, target) for target in TARGETS}
    wanted = Lock(str(uuid4()), **targets, message=arguments.message, expires_at=expires_at)
    made = Lock.from_json(await connection.client.rules.locks.create(wanted.to_json()))
    until = "until it is removed" if made.expires_at is None else f"until {moment(made.expires_at)}"
    text = f"Locked {inert(pairs(made.targets()))} {until}. To unlock: tctl rm lock/{made.name}\n"
    return Answer(lambda: text, made.to_json())
