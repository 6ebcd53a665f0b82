"""``tctl bots``: programs with certificates of their own."""

from __future__ import annotations

import shlex
from argparse import Namespace

from teleport_conch.cli.answer import Answer, said
from teleport_conch.cli.connection import Connection
from teleport_conch.cli.instants import rfc3339, span
from teleport_conch.cli.links import WebAddress
from teleport_conch.cli.table import inert
from teleport_conch.cli.views import bot_table
from teleport_conch.client.bots import NewBot


async def add(connection: Connection, arguments: Namespace) -> Answer:
    client = connection.client
    status, web = await client.status(), WebAddress.of(await client.proxies())  # the token is shown this once only
    made = await client.bots.create(arguments.bot, arguments.roles, arguments.logins, arguments.ttl)
    pin = [f"--ca-pin={status.ca_pins[0]}"] if status.ca_pins else []
    command = shlex.join(["tsh", "bot", f"--proxy={web.address}", "--token-file=token", *pin, "--out=bot"])
    value: dict[str, object] = {
        "token": made.token,
        "expires": rfc3339(made.expires_at),
        "command": command,
        "warning": web.warning(),
        "bot": made.bot.to_json(),
    }
    return Answer(lambda: _text(made, arguments.ttl, command, web), value)


def _text(made: NewBot, ttl_s: float, command: str, web: WebAddress) -> str:
    warning = f"  - WARNING: {web.warning()}\n" if web.warning() else ""
    return (
        f'Robot "{inert(made.bot.name)}" has been created. Its token is good once, for {span(ttl_s)}:\n\n'
        f"    {inert(made.token)}\n\nPut it into a file that only the robot can read, and run where it lives:\n\n"
        f"    {inert(command)}\n\nPlease note:\n\n{warning}"
        f"  - events and certificates call it {inert(made.bot.user)}\n"
        "  - it renews its certificates by itself; a copy of them that is renewed elsewhere locks it\n"
    )


async def listing(connection: Connection, arguments: Namespace) -> Answer:
    bots = await connection.client.bots.all()
    values = [bot.to_json() for bot in bots]
    return Answer(lambda: bot_table(bots, connection.now()) if bots else "No robots found\n", values)


async def remove(connection: Connection, arguments: Namespace) -> Answer:
    for name in arguments.bots:
        await connection.client.bots.remove(name)
    return said("\n".join(f'Robot "{inert(name)}" has been deleted' for name in arguments.bots))
