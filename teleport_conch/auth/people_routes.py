"""Routes about people: users, and what they need to log in."""

from __future__ import annotations

from teleport_conch.access.decision import Target
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.gate import Answer, Call, Gate, Needs
from teleport_conch.auth.resource_routes import Change, Kind, add_writing
from teleport_conch.auth.shelf import Stored
from teleport_conch.resources.user import User

USERS = "/v1/users"


def add(gate: Gate, cluster: Cluster, emit: Emit) -> None:
    """Register the routes."""
    _add_users(gate, cluster, emit)


def _add_users(gate: Gate, cluster: Cluster, emit: Emit) -> None:
    shelf = cluster.users.shelf

    @gate.route("GET", USERS, Needs("list", "user"))
    async def every(call: Call) -> Answer:
        found = shelf.all()
        if not call.may("read", "user", Target()):
            found = [Stored(stored.value.narrow(), stored.revision) for stored in found]
        return {"items": [stored.to_json() for stored in found]}

    @gate.route("GET", f"{USERS}/<name>", Needs("read", "user"))
    async def one(call: Call, name: str) -> Answer:
        return shelf.get(name).to_json()

    def read(call: Call, body: object) -> User:
        return cluster.users.checked(User.from_json(body), call.by)

    async def check(change: Change[User]) -> None:
        """What was sent has been checked."""

    def changed(change: Change[User]) -> None:
        _tell(emit, change)

    add_writing(gate, Kind("user", USERS, shelf, read, check, changed, cluster.rewriting))


def _tell(emit: Emit, change: Change[User]) -> None:
    if change.after is None:
        emit("user.delete", {"name": change.name, "user": change.call.by})
        return
    user = change.after
    about = {"name": user.name, "roles": user.roles, "logins": user.logins, "expires": user.expires_at}
    emit("user.create" if change.before is None else "user.update", {**about, "user": change.call.by})
