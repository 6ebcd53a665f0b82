"""``tctl tokens``: secrets that let hosts in."""

from __future__ import annotations

from argparse import Namespace

from teleport_conch.cli.answer import Answer, said
from teleport_conch.cli.connection import Connection
from teleport_conch.cli.invitation import Invitation
from teleport_conch.cli.table import inert
from teleport_conch.cli.views import token_table

_ID_LENGTH = 12


async def add(connection: Connection, arguments: Namespace) -> Answer:
    status = await connection.client.status()
    secret, token = await connection.client.create_token(arguments.type, arguments.ttl, secret=arguments.value)
    invitation = Invitation(secret, token, arguments.ttl, status.ca_pins, connection.reach.advertised())
    return Answer(invitation.text, [secret])


async def listing(connection: Connection, arguments: Namespace) -> Answer:
    tokens = await connection.client.tokens()
    values = [token.to_json() for token in tokens]
    return Answer(lambda: token_table(tokens, connection.now()) if tokens else "No active tokens found.\n", values)


async def remove(connection: Connection, arguments: Namespace) -> Answer:
    await connection.client.remove_token(arguments.token)
    # A secret is not repeated: what is printed ends in logs and screenshots.
    shown = f" {inert(arguments.token)}" if len(arguments.token) == _ID_LENGTH else ""
    return said(f"The token{shown} has been deleted")
