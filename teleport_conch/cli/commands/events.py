"""``tctl events`` and ``tctl sessions``: what happened, and what is going on."""

from __future__ import annotations

from argparse import Namespace

from teleport_conch.cli.answer import Answer
from teleport_conch.cli.connection import Connection
from teleport_conch.cli.views import event_table, session_table


async def events(connection: Connection, arguments: Namespace) -> Answer:
    found = await connection.client.events(arguments.start, arguments.end, arguments.type, arguments.limit)
    return Answer(lambda: event_table(found) if found else "No events found.\n", [dict(event) for event in found])


async def sessions(connection: Connection, arguments: Namespace) -> Answer:
    found = sorted(await connection.client.sessions(), key=lambda session: session.created_at)
    values = [session.to_json() for session in found]
    return Answer(lambda: session_table(found, connection.now()) if found else "No session runs.\n", values)
