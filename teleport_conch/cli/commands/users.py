"""``tctl users``: people of the cluster, and the links by which they set password and second factor."""

from __future__ import annotations

from argparse import Namespace

from attrs import evolve

from teleport_conch.cli.answer import Answer, said
from teleport_conch.cli.connection import Connection
from teleport_conch.cli.links import PersonsLink, WebAddress
from teleport_conch.cli.table import inert
from teleport_conch.cli.views import user_table
from teleport_conch.client.people import Invite
from teleport_conch.resources.user import User


async def add(connection: Connection, arguments: Namespace) -> Answer:
    logins = arguments.logins or arguments.account_logins or (arguments.user,)
    people = connection.client.people
    kubernetes = {"kubernetes_users": arguments.k8s_users, "kubernetes_groups": arguments.k8s_groups}
    traits = {**arguments.traits, **{name: tuple(values) for name, values in kubernetes.items() if values}}
    user = User(arguments.user, tuple(arguments.roles), {**traits, "logins": tuple(logins)})
    where = await _where(connection)
    await people.create_user(user)
    return _answer(arguments, await people.invite(user.name, "invite", arguments.ttl), *where)


async def reset(connection: Connection, arguments: Namespace) -> Answer:
    where = await _where(connection)
    invite = await connection.client.people.invite(arguments.user, "reset", arguments.ttl)
    return _answer(arguments, invite, *where)


async def _where(connection: Connection) -> tuple[WebAddress, str]:
    """Where people reach the proxy, and the pin. Asked for first: a link that is made is shown this once only."""
    status, proxies = await connection.client.status(), await connection.client.proxies()
    return WebAddress.of(proxies), status.ca_pins[0] if status.ca_pins else ""


def _answer(arguments: Namespace, invite: Invite, web: WebAddress, pin: str) -> Answer:
    link = PersonsLink(arguments.user, invite, arguments.ttl, web, pin)
    return Answer(link.text, link.to_json())


async def listing(connection: Connection, arguments: Namespace) -> Answer:
    users = await connection.client.people.users()
    values = [user.to_json() for user in users]
    return Answer(lambda: user_table(users, connection.now()) if users else "No users found\n", values)


async def update(connection: Connection, arguments: Namespace) -> Answer:
    people = connection.client.people
    before = await people.user(arguments.user)
    traits = dict(before.traits if arguments.set_traits is None else arguments.set_traits)
    logins = before.logins if arguments.set_logins is None else tuple(arguments.set_logins)
    roles = before.roles if arguments.set_roles is None else tuple(arguments.set_roles)
    changed = evolve(before, roles=roles, traits={**traits, "logins": logins}, lock=None)
    after = await people.update_user(changed, force=arguments.force)
    having = f"roles {','.join(after.roles)} and logins {','.join(after.logins)}"
    return said(f"User {_quoted(after.name)} has been updated with {inert(having)}")


async def unlock(connection: Connection, arguments: Namespace) -> Answer:
    await connection.client.people.unlock_user(arguments.user)
    return said(f"User {_quoted(arguments.user)} can log in again")


async def remove(connection: Connection, arguments: Namespace) -> Answer:
    people = connection.client.people
    for name in arguments.users if len(arguments.users) > 1 else ():
        await people.user(name)  # a name that is mistyped removes none of the others
    for name in arguments.users:
        await people.remove_user(name, force=arguments.force)
    return said("\n".join(f"User {_quoted(name)} has been deleted" for name in arguments.users))


def _quoted(name: str) -> str:
    return f'"{inert(name)}"'
