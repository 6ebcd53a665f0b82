"""Routes about people: users, and what they need to log in."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from attrs import evolve

from teleport_conch.access.decision import Target
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.people.users import check_no_robot
from teleport_conch.auth.routes.calls import Answer, Call, Needs
from teleport_conch.auth.routes.gate import Gate
from teleport_conch.auth.routes.guards import Guards
from teleport_conch.auth.routes.resource_routes import Change, Kind, add_writing
from teleport_conch.auth.state.shelf import Stored
from teleport_conch.errors import AlreadyExists, NotFound
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.user import LoginLock, User, check_written

USERS = "/v1/users"


def add(gate: Gate, cluster: Cluster, emit: Emit) -> None:
    """Register the routes."""
    _add_reading(gate, cluster)
    _add_writing(gate, cluster, emit)


def _add_reading(gate: Gate, cluster: Cluster) -> None:
    shelf = cluster.users.shelf

    @gate.route("GET", USERS, Needs("list", "user"))
    async def every(call: Call) -> Answer:
        if not call.may("read", "user", Target()):
            return {"items": [Stored(each.value.narrow(), each.revision).to_json() for each in shelf.all()]}
        locks = await cluster.people.attempts.locks()
        return {"items": [_with_lock(each, locks).to_json() for each in shelf.all()]}

    @gate.route("GET", f"{USERS}/<name>", Needs("read", "user"))
    async def one(call: Call, name: str) -> Answer:
        return _with_lock(shelf.get(name), await cluster.people.attempts.locks()).to_json()


def _add_writing(gate: Gate, cluster: Cluster, emit: Emit) -> None:
    shelf, guards = cluster.users.shelf, Guards(cluster, emit)

    def read(call: Call, body: object) -> User:
        check_written(body)
        return cluster.users.checked(User.from_json(body), call.by)

    async def check(change: Change[User]) -> None:
        """Before a user is removed their certificates are locked; to a new one belongs nothing of a former one."""
        guards.user(change)
        if change.after is None:
            shelf.get(change.name)
            check_no_robot(change.name)
            await _lock(cluster, change.name, change.call)
        elif shelf.find(change.name) is None:
            await cluster.people.forget(change.name)

    async def changed(change: Change[User]) -> None:
        if change.after is None:
            await cluster.people.forget(change.name)
            await cluster.requests.forget(change.name)
        elif change.before is None:
            with suppress(NotFound):
                await cluster.locks.shelf.remove(_lock_of(change.name))
        _tell(emit, change)

    add_writing(gate, Kind("user", USERS, shelf, read, check, changed, cluster.rewriting))


async def _lock(cluster: Cluster, user: str, call: Call) -> None:
    """Shut out who has a certificate of a user who is removed, for as long as one can be good."""
    until = await cluster.people.certified_until(user)
    lock = Lock(
        _lock_of(user),
        user=user,
        message="This user was removed from the cluster.",
        expires_at=until,
        created_at=call.now,
        created_by=call.by,
    )
    try:
        await cluster.locks.shelf.create(lock)
    except AlreadyExists:
        await cluster.locks.shelf.replace(lock)


def _lock_of(user: str) -> str:
    return f"removed-user-{user}"


def _with_lock(stored: Stored[User], locks: Mapping[str, LoginLock]) -> Stored[User]:
    lock = locks.get(stored.value.name)
    return Stored(evolve(stored.value, lock=lock), stored.revision) if lock else stored


def _tell(emit: Emit, change: Change[User]) -> None:
    if change.after is None:
        emit("user.delete", {"name": change.name, "user": change.call.by})
        return
    user = change.after
    about = {"name": user.name, "roles": user.roles, "logins": user.logins, "expires": user.expires_at}
    emit("user.create" if change.before is None else "user.update", {**about, "user": change.call.by})
