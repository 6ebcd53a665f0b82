"""Routes about who may do what: roles, locks, and leases of what is counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from teleport_conch.access.builtin import USER_ROLES
from teleport_conch.access.resource_kinds import check_kinds
from teleport_conch.access.roles import Role
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.routes.calls import Answer, Call, Needs
from teleport_conch.auth.routes.gate import Gate
from teleport_conch.auth.routes.guards import Guards
from teleport_conch.auth.routes.resource_routes import Change, Kind, add_reading, add_writing
from teleport_conch.auth.rules.locks import checked
from teleport_conch.auth.rules.roles import check_not_built_in
from teleport_conch.auth.state.shelf import Named
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.lock import Lock

ROLES = "/v1/roles"
LOCKS = "/v1/locks"
LEASES = "/v1/leases"

_Value = TypeVar("_Value", bound=Named)


def add(gate: Gate, cluster: Cluster, emit: Emit) -> None:
    """Register the routes."""
    guards = Guards(cluster, emit)
    _add_roles(gate, cluster, emit, guards)
    _add_locks(gate, cluster, emit, guards)
    _add_leases(gate, cluster)


def _add_roles(gate: Gate, cluster: Cluster, emit: Emit, guards: Guards) -> None:
    roles = cluster.roles

    @gate.route("GET", ROLES, Needs("list", "role"))
    async def every(call: Call) -> Answer:
        built_in = [role.to_json() for role in USER_ROLES.values()]
        return {"items": built_in + [stored.to_json() for stored in roles.shelf.all()]}

    async def check(change: Change[Role]) -> None:
        check_not_built_in(change.name)
        if change.after is not None:
            check_kinds(change.after)
        guards.role(change)

    async def changed(change: Change[Role]) -> None:
        _tell(emit, "role", change, {})

    kind = Kind("role", ROLES, roles.shelf, _role, check, changed, cluster.rewriting)

    def found(parts: Mapping[str, str]) -> Mapping[str, object] | None:
        name = parts["name"]
        return USER_ROLES[name].to_json() if name in USER_ROLES else kind.found(parts)

    @gate.route("GET", f"{ROLES}/<name>", Needs("read", "role", resource=found))
    async def one(call: Call, name: str) -> Answer:
        return found({"name": name}) or roles.shelf.get(name).to_json()

    add_writing(gate, kind)


def _role(call: Call, body: object) -> Role:
    return Role.from_json(body)


def _add_locks(gate: Gate, cluster: Cluster, emit: Emit, guards: Guards) -> None:
    shelf = cluster.locks.shelf

    def read(call: Call, body: object) -> Lock:
        lock = Lock.from_json(body)
        return checked(lock, shelf.values.get(lock.name), call.by, call.now)

    async def check(change: Change[Lock]) -> None:
        guards.lock(change)

    async def changed(change: Change[Lock]) -> None:
        lock = change.after or change.before
        assert lock is not None
        about = {"target": _target(lock), "reason": lock.message, "expires": lock.expires_at}
        _tell(emit, "lock", change, {key: value for key, value in about.items() if value})

    kind = Kind("lock", LOCKS, shelf, read, check, changed, cluster.rewriting)
    add_reading(gate, kind)
    add_writing(gate, kind)


def _add_leases(gate: Gate, cluster: Cluster) -> None:
    leases = cluster.leases

    @gate.route("POST", LEASES, Needs("create", "semaphore", owner="*"))
    async def take(call: Call) -> Answer:
        fields = Fields(call.body(), "request")
        user, most = fields.text("user", max_chars=255), int(fields.number("max"))
        ttl_s, holder = fields.number("ttl"), call.known.caller.host_uuid
        return (await leases.take(fields.text("kind"), user, most, ttl_s, holder)).to_json()

    @gate.route("PUT", f"{LEASES}/<lease>", Needs("update", "semaphore", owner="*"))
    async def renew(call: Call, lease: str) -> Answer:
        ttl_s = Fields(call.body(), "request").number("ttl")
        return (await leases.renew(lease, ttl_s, call.known.caller.host_uuid)).to_json()

    @gate.route("DELETE", f"{LEASES}/<lease>", Needs("delete", "semaphore", owner="*"))
    async def give_back(call: Call, lease: str) -> Answer:
        await leases.give_back(lease, call.known.caller.host_uuid)
        return None


def _target(lock: Lock) -> str:
    return " ".join(f"{target}={value}" for target, value in lock.targets().items())


def _tell(emit: Emit, kind: str, change: Change[_Value], about: Mapping[str, object]) -> None:
    done = "deleted" if change.after is None else "created" if change.before is None else "updated"
    emit(f"{kind}.{done}", {"name": change.name, "user": change.call.by, **about})
