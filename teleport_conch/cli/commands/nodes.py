"""``tctl nodes``: let hosts in, list them, remove them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from teleport_conch.cli.answer import Answer, said
from teleport_conch.cli.connection import Connection
from teleport_conch.cli.invitation import Invitation
from teleport_conch.cli.table import inert
from teleport_conch.cli.views import node_table
from teleport_conch.errors import AmbiguousName, NotFound
from teleport_conch.resources.server import Server


async def invite(connection: Connection, arguments: Namespace) -> Answer:
    status = await connection.client.status()
    secret, token = await connection.client.create_token(
        arguments.roles,
        arguments.ttl,
        secret=arguments.token,
        node_name=arguments.name,
        principals=arguments.principals,
        labels=arguments.labels,
    )
    invitation = Invitation(secret, token, arguments.ttl, status.ca_pins, connection.reach.advertised())
    return Answer(invitation.text, [secret])


async def listing(connection: Connection, arguments: Namespace) -> Answer:
    nodes = sorted(await connection.client.nodes(), key=lambda node: (node.hostname, node.name))
    return Answer(lambda: node_table(nodes, connection.now()), [node.to_json() for node in nodes])


async def remove(connection: Connection, arguments: Namespace) -> Answer:
    if arguments.all_offline:
        removed = await connection.client.remove_offline_nodes()
        return said("\n".join(f"node {inert(uuid)} has been deleted" for uuid in removed) or "No node is offline.")
    node = named(await connection.client.nodes(), arguments.node, "node")
    await connection.client.remove_node(node.name)
    return said(
        f"node {inert(node.hostname)} ({inert(node.name)}) has been deleted; it is refused until it joins again"
    )


def named(servers: Sequence[Server], name: str, kind: str) -> Server:
    """The one server with this host UUID or nodename.

    :raises NotFound: there is none.
    :raises AmbiguousName: several hosts have the nodename.
    """
    wanted = name.lower()
    found = [each for each in servers if each.name == wanted] or [
        each for each in servers if each.hostname.lower() == wanted
    ]
    if not found:
        raise NotFound(f"There is no {kind} '{inert(name)}'; 'tctl get {kind}' lists them.")
    if len(found) > 1:
        raise AmbiguousName(
            f"{len(found)} hosts are called '{inert(name)}'; give the UUID of one of them: "
            f"{', '.join(sorted(each.name for each in found))}",
            candidates=sorted(each.name for each in found),
        )
    return found[0]
