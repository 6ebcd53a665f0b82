"""``tctl get`` and ``tctl rm``: resources as they are, by kind and name."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from attrs import frozen

from teleport_conch.access.builtin import USER_ROLES
from teleport_conch.certs import keys
from teleport_conch.certs.public import PublicAuthority
from teleport_conch.cli.answer import Answer, said
from teleport_conch.cli.commands.nodes import named, remove_named
from teleport_conch.cli.connection import Connection
from teleport_conch.cli.documents import written
from teleport_conch.cli.recordings import session_id
from teleport_conch.cli.references import ALL, IN_ALL, Reference
from teleport_conch.cli.table import inert, table
from teleport_conch.cli.views import (
    lock_table,
    node_table,
    proxy_table,
    recording_table,
    request_table,
    role_table,
    session_table,
    token_table,
    user_table,
)
from teleport_conch.client.rules import Collection
from teleport_conch.errors import NotFound
from teleport_conch.resources.bot import PREFIX_OF_USERS

_Value = TypeVar("_Value")
Documents = Sequence[Mapping[str, object]]


@frozen
class Found:
    """Resources of one kind: their JSON, and the table of them."""

    values: Sequence[dict[str, object]]
    text: Callable[[], str]


async def get(connection: Connection, arguments: Namespace) -> Answer:
    found = [each for wanted in arguments.resources for each in await _found(connection, wanted)]
    values = [value for each in found for value in each.values]
    return Answer(lambda: "\n".join(each.text() for each in found), values, documents=True)


async def _found(connection: Connection, wanted: Reference) -> Sequence[Found]:
    if wanted.kind != ALL:
        return [await READERS[wanted.kind](connection, wanted.name)]
    return [_elsewhere(await READERS[kind](connection, "")) for kind in IN_ALL]


def _elsewhere(found: Found) -> Found:
    """What can be made in another cluster, and without revisions."""
    return Found([_without_revision(value) for value in found.values if not _makes_itself(value)], found.text)


def _makes_itself(value: Mapping[str, object]) -> bool:
    """Roles that every cluster has, and users of robots, which are made with the robot."""
    kind, name = value["kind"], str(_name_of(value))
    return (kind == "role" and name in USER_ROLES) or (kind == "user" and name.startswith(PREFIX_OF_USERS))


def _without_revision(value: Mapping[str, object]) -> dict[str, object]:
    metadata = value.get("metadata")
    kept = {key: each for key, each in metadata.items() if key != "id"} if isinstance(metadata, Mapping) else {}
    return {**value, "metadata": kept}


async def _nodes(connection: Connection, name: str) -> Found:
    nodes = await connection.client.nodes()
    chosen = (named(nodes, name, "node"),) if name else nodes
    return Found([node.to_json() for node in chosen], lambda: node_table(chosen, connection.now()))


async def _proxies(connection: Connection, name: str) -> Found:
    proxies = await connection.client.proxies()
    chosen = (named(proxies, name, "proxy"),) if name else proxies
    return Found([proxy.to_json() for proxy in chosen], lambda: proxy_table(chosen, connection.now()))


async def _roles(connection: Connection, name: str) -> Found:
    roles = connection.client.rules.roles
    return await _stored(roles, name, "role", lambda found: role_table([roles.read(each) for each in found]))


async def _users(connection: Connection, name: str) -> Found:
    users, now = connection.client.rules.users, connection.now()
    return await _stored(users, name, "user", lambda found: user_table([users.read(each) for each in found], now))


async def _locks(connection: Connection, name: str) -> Found:
    locks, now = connection.client.rules.locks, connection.now()
    return await _stored(locks, name, "lock", lambda found: lock_table([locks.read(each) for each in found], now))


async def _stored(collection: Collection[_Value], name: str, kind: str, text: Callable[[Documents], str]) -> Found:
    """What is stored, with its revision."""
    everything = await collection.documents()
    chosen = [each for each in everything if name in ("", _name_of(each))]
    _check_found(chosen, kind, name)
    return Found([written(each) for each in chosen], lambda: text(chosen))


def _name_of(document: Mapping[str, object]) -> object:
    metadata = document.get("metadata")
    return metadata.get("name") if isinstance(metadata, Mapping) else None


async def _requests(connection: Connection, name: str) -> Found:
    asking = connection.client.requests
    found = [await asking.get(name)] if name else list(await asking.all())
    return Found([written(each.to_json()) for each in found], lambda: request_table(found))


async def _tokens(connection: Connection, name: str) -> Found:
    tokens = [token for token in await connection.client.tokens() if name in ("", token.id)]
    _check_found(tokens, "token", name)
    return Found([written(token.to_json()) for token in tokens], lambda: token_table(tokens, connection.now()))


async def _authorities(connection: Connection, name: str) -> Found:
    """By type (user, host); the name of the cluster means both."""
    both = [await connection.client.authority(kind) for kind in ("user", "host")]
    chosen = [authority for authority in both if name in ("", authority.kind, authority.cluster_name)]
    _check_found(chosen, "cert_authority", name)
    return Found([authority.to_json() for authority in chosen], lambda: _authority_table(chosen))


def _authority_table(authorities: Sequence[PublicAuthority]) -> str:
    rows = [(each.cluster_name, each.kind, keys.fingerprint(blob)) for each in authorities for blob in each.ssh_keys]
    return table(("Cluster Name", "CA Type", "Fingerprint"), rows)


async def _configuration(connection: Connection, name: str) -> Found:
    return _settings(await connection.client.rules.configuration.document())


async def _preference(connection: Connection, name: str) -> Found:
    return _settings(await connection.client.rules.preference.document())


def _settings(value: Mapping[str, object]) -> Found:
    spec = value.get("spec")
    rows = [(str(key), str(each)) for key, each in (spec if isinstance(spec, Mapping) else {}).items()]
    return Found([dict(value)], lambda: table(("Setting", "Value"), rows))


async def _cluster_name(connection: Connection, name: str) -> Found:
    found = await connection.client.cluster_name()
    row = (found.cluster_name, found.cluster_id)
    return Found([found.to_json()], lambda: table(("Cluster Name", "ID"), [row]))


async def _recordings(connection: Connection, name: str) -> Found:
    calls = connection.client.recordings
    found = [await calls.get(session_id(name))] if name else await calls.all()
    return Found([each.to_json() for each in found], lambda: recording_table(found))


async def _sessions(connection: Connection, name: str) -> Found:
    sessions = [session for session in await connection.client.sessions() if name in ("", session.id)]
    _check_found(sessions, "ssh_session", name)
    return Found([session.to_json() for session in sessions], lambda: session_table(sessions, connection.now()))


def _check_found(found: Sequence[object], kind: str, name: str) -> None:
    if name and not found:
        raise NotFound(f"There is no {kind} '{inert(name)}'; 'tctl get {kind}' lists them.")


READERS: Mapping[str, Callable[[Connection, str], Awaitable[Found]]] = {
    "user": _users,
    "role": _roles,
    "lock": _locks,
    "access_request": _requests,
    "node": _nodes,
    "proxy": _proxies,
    "token": _tokens,
    "cert_authority": _authorities,
    "cluster_config": _configuration,
    "cluster_auth_preference": _preference,
    "cluster_name": _cluster_name,
    "session": _recordings,
    "ssh_session": _sessions,
}


async def remove(connection: Connection, arguments: Namespace) -> Answer:
    reference: Reference = arguments.resource
    forced = {"force": True} if arguments.force and reference.kind == "user" else {}
    removed = await _REMOVERS[reference.kind](connection, name=reference.name, **forced)
    return said(f"{reference.kind} {inert(removed)} has been deleted")


async def _remove_user(connection: Connection, name: str, force: bool = False) -> str:
    await connection.client.rules.users.remove(name, force=force)
    return name


async def _remove_role(connection: Connection, name: str) -> str:
    await connection.client.rules.roles.remove(name)
    return name


async def _remove_lock(connection: Connection, name: str) -> str:
    await connection.client.rules.locks.remove(name)
    return name


async def _remove_request(connection: Connection, name: str) -> str:
    await connection.client.requests.remove(name)
    return name


async def _remove_recording(connection: Connection, name: str) -> str:
    await connection.client.recordings.remove(session_id(name))
    return name


async def _remove_token(connection: Connection, name: str) -> str:
    found = [token for token in await connection.client.tokens() if token.id == name]
    await connection.client.remove_token(name)
    return found[0].id if found else "with this value"


_REMOVERS: Mapping[str, Callable[..., Awaitable[str]]] = {
    "user": _remove_user,
    "role": _remove_role,
    "lock": _remove_lock,
    "access_request": _remove_request,
    "token": _remove_token,
    "session": _remove_recording,
    "node": partial(remove_named, kind="node"),
    "proxy": partial(remove_named, kind="proxy"),
}
