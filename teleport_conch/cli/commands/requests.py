"""``tctl requests``: roles that people ask for, for a while."""

from __future__ import annotations

from argparse import Namespace

from teleport_conch.cli.answer import Answer, said
from teleport_conch.cli.connection import Connection
from teleport_conch.cli.table import inert
from teleport_conch.cli.views import request_table
from teleport_conch.resources.access_request import RequestState


async def listing(connection: Connection, arguments: Namespace) -> Answer:
    found = sorted(await connection.client.requests.all(), key=lambda each: (each.created_at, each.name))
    values = [request.to_json() for request in found]
    return Answer(lambda: request_table(found) if found else "No access requests found\n", values)


async def approve(connection: Connection, arguments: Namespace) -> Answer:
    return await _resolve(connection, arguments, RequestState.APPROVED)


async def deny(connection: Connection, arguments: Namespace) -> Answer:
    return await _resolve(connection, arguments, RequestState.DENIED)


async def _resolve(connection: Connection, arguments: Namespace, state: RequestState) -> Answer:
    lines = []
    for request_id in arguments.ids:
        done = await connection.client.requests.resolve(
            request_id,
            state,
            reason=arguments.reason,
            annotations=arguments.annotations,
            roles=getattr(arguments, "roles", ()),
            delegator=arguments.delegator,
        )
        lines.append(f"Request {inert(done.name)} of {inert(done.user)} has been {state.name.lower()}")
    return said("\n".join(lines))


async def create(connection: Connection, arguments: Namespace) -> Answer:
    """The id of the new request; of a dry run, the request as it would be."""
    made = await connection.client.requests.create(
        arguments.roles, arguments.reason, user=arguments.user, dry_run=arguments.dry_run
    )
    return Answer(lambda: request_table([made]) if arguments.dry_run else f"{made.name}\n", made.to_json())


async def remove(connection: Connection, arguments: Namespace) -> Answer:
    for request_id in arguments.ids:
        await connection.client.requests.remove(request_id)
    return said("\n".join(f"Request {inert(each)} has been deleted" for each in arguments.ids))
