"""``tctl nodes``: let hosts in, list them, remove them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from uuid import UUID

from teleport_conch.cli.answer import Answer, said
from teleport_conch.cli.connection import Connection
from teleport_conch.cli.invitation import Invitation
from teleport_conch.cli.links import WebAddress
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
    web = WebAddress.of(await connection.client.proxies())
    servers = connection.reach.advertised()
    invitation = Invitation(secret, token, arguments.ttl, status.ca_pins, servers, web.address if web.public else "")
    return Answer(invitation.text, [secret])


async def listing(connection: Connection, arguments: Namespace) -> Answer:
    nodes = sorted(await connection.client.nodes(), key=lambda node: (node.hostname, node.name))
    return Answer(lambda: node_table(nodes, connection.now()), [node.to_json() for node in nodes])


async def remove(connection: Connection, arguments: Namespace) -> Answer:
    if arguments.all_offline:
        removed = await connection.client.remove_offline_nodes()
        return said("\n".join(f"node {inert(uuid)} has been deleted" for uuid in removed) or "No node is offline.")
    removed_one = await remove_named(connection, "node", arguments.node)
    return said(f"node {inert(removed_one)} has been deleted; it is refused until it joins again")


async def remove_named(connection: Connection, kind: str, name: str) -> str:
    """Remove a node or a proxy, and answer how it is called.

    A host UUID need not be in the list: a host may have joined, and never have announced itself.
    """
    client = connection.client
    servers = await (client.nodes() if kind == "node" else client.proxies())
    remove = client.remove_node if kind == "node" else client.remove_proxy
    if _is_uuid(name) and not any(each.name == name.lower() for each in servers):
        await remove(name.lower())
        return name.lower()
    found = named(servers, name, kind)
    await remove(found.name)
    return f"{found.hostname} ({found.name})"


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


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
            f"{', '.join(sorted(f'{each.name} ({each.presence.state.value})' for each in found))}",
            candidates=sorted(each.name for each in found),
        )
    return found[0]
