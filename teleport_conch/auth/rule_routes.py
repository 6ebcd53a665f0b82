"""Routes about who may do what: roles."""

from __future__ import annotations

from teleport_conch.access.builtin import USER_ROLES
from teleport_conch.access.roles import Role
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.gate import Answer, Call, Gate, Needs
from teleport_conch.auth.resource_routes import Change, Kind, add_writing
from teleport_conch.auth.roles import check_not_built_in

ROLES = "/v1/roles"


def add(gate: Gate, cluster: Cluster, emit: Emit) -> None:
    """Register the routes."""
    _add_roles(gate, cluster, emit)


def _add_roles(gate: Gate, cluster: Cluster, emit: Emit) -> None:
    roles = cluster.roles

    @gate.route("GET", ROLES, Needs("list", "role"))
    async def every(call: Call) -> Answer:
        built_in = [role.to_json() for role in USER_ROLES.values()]
        return {"items": built_in + [stored.to_json() for stored in roles.shelf.all()]}

    @gate.route("GET", f"{ROLES}/<name>", Needs("read", "role"))
    async def one(call: Call, name: str) -> Answer:
        return USER_ROLES[name].to_json() if name in USER_ROLES else roles.shelf.get(name).to_json()

    async def check(change: Change[Role]) -> None:
        check_not_built_in(change.name)

    def changed(change: Change[Role]) -> None:
        _tell(emit, "role", change.name, change)

    add_writing(gate, Kind("role", ROLES, roles.shelf, _role, check, changed, cluster.rewriting))


def _role(call: Call, body: object) -> Role:
    return Role.from_json(body)


def _tell(emit: Emit, kind: str, name: str, change: Change[Role]) -> None:
    done = "deleted" if change.after is None else "created" if change.before is None else "updated"
    emit(f"{kind}.{done}", {"name": name, "user": change.call.by})
