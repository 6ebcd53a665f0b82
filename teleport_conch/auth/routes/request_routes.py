"""Routes about access requests: asking for roles, seeing what became of it, deciding."""

from __future__ import annotations

from collections.abc import Mapping

from teleport_conch.access.decision import Target
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.people.access_requests import Resolution
from teleport_conch.auth.routes.calls import Answer, Call, FindResource, FindTarget, Needs
from teleport_conch.auth.routes.gate import Gate
from teleport_conch.auth.routes.guards import Guards
from teleport_conch.auth.state.shelf import Stored
from teleport_conch.auth.turns import in_turns
from teleport_conch.errors import AccessDenied, BadParameter
from teleport_conch.resources.access_request import (
    MAX_REASON_CHARS,
    MAX_ROLES,
    AccessRequest,
    RequestState,
    read_annotations,
)
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.plugin_data import MAX_NAME_CHARS, read_data

REQUESTS = "/v1/access_requests"
PLUGIN_DATA = "/v1/plugin_data/access_request/<name>"
KIND = "access_request"
MAX_DELEGATOR_CHARS = 255


def add(gate: Gate, cluster: Cluster, emit: Emit) -> None:
    """Register the routes."""
    _add_reading(gate, cluster)
    _add_asking(gate, cluster)
    _add_deciding(gate, cluster, Guards(cluster, emit))
    _add_plugin_data(gate, cluster)


def _add_reading(gate: Gate, cluster: Cluster) -> None:
    shelf = cluster.requests.shelf

    @gate.route("GET", REQUESTS, Needs("list", KIND, owner="*", lists_each=True))
    async def every(call: Call) -> Answer:
        shown = [_shown(call, each, "list") async for each in in_turns(cluster.clocks.timers, shelf.all())]
        return {"items": [each for each in shown if each is not None]}

    @gate.route("GET", f"{REQUESTS}/<name>", Needs("read", KIND, owner="*", resource=_finder(cluster)))
    async def one(call: Call, name: str) -> Answer:
        shown = _shown(call, cluster.requests.get(name), "read")
        if shown is None:
            raise AccessDenied(f"{call.known.caller} is not authorized to read {KIND}/{name[:64]}: access denied")
        return shown


def _shown(call: Call, stored: Stored[AccessRequest], verb: str) -> dict[str, object] | None:
    """A request as the caller may see it: reasons and annotations are for who may read it; None where it is hidden."""
    target = _about(stored.value)
    if stored.value.expires_at <= call.now or not call.may(verb, KIND, target):
        return None
    readable = stored if call.may("read", KIND, target) else Stored(stored.value.narrow(), stored.revision)
    return readable.to_json()


def _finder(cluster: Cluster) -> FindResource:
    """What conditions of roles look at."""

    def found(parts: Mapping[str, str]) -> Mapping[str, object] | None:
        stored = cluster.requests.shelf.find(parts["name"])
        return None if stored is None else stored.to_json()

    return found


def _owned(cluster: Cluster) -> FindTarget:
    """The same, and who asked."""

    async def found(parts: Mapping[str, str]) -> Target | None:
        stored = cluster.requests.shelf.find(parts["name"])
        return None if stored is None else Target(user=stored.value.user, resource=stored.to_json())

    return found


def _about(request: AccessRequest) -> Target:
    return Target(name=request.name, user=request.user, resource=request.to_json())


def _add_asking(gate: Gate, cluster: Cluster) -> None:
    requests = cluster.requests

    @gate.route("POST", REQUESTS, Needs("create", KIND, owner="*"))
    async def ask(call: Call) -> Answer:
        """For somebody else as well, by who may; what that person may ask for counts."""
        fields = Fields(call.body(), "request")
        person = call.known.caller.name if call.known.identity.kind == "user" else ""
        user = fields.text("user", default=person or None, max_chars=255) or person
        if user != person and not call.may("create", KIND, Target(user=user)):
            raise AccessDenied(f"{call.known.caller} is not authorized to create {KIND} for others: access denied")
        roles = fields.texts("roles", MAX_ROLES, max_chars=255)
        reason = fields.text("reason", default="", max_chars=MAX_REASON_CHARS)
        await cluster.rewriting.acquire()
        try:
            wanted = requests.wanted(user, roles, reason)
            dry = fields.boolean("dry_run", default=False)
            return (wanted if dry else await requests.create(wanted, call.by)).to_json()
        finally:
            cluster.rewriting.release()


def _add_deciding(gate: Gate, cluster: Cluster, guards: Guards) -> None:
    requests, found = cluster.requests, _owned(cluster)

    @gate.route("PUT", f"{REQUESTS}/<name>/state", Needs("update", KIND, target=found))
    async def decide(call: Call, name: str) -> Answer:
        how = _resolution(Fields(call.body(), "resolution"))
        await cluster.rewriting.acquire()
        try:
            before = requests.get(name).value
            after = requests.resolved(before, how)
            if after.state is RequestState.APPROVED:
                guards.lends(call, after)
            await requests.resolve(before, how, after, call.by)
            await cluster.plugin_data.last(name)
        finally:
            cluster.rewriting.release()
        return after.to_json()

    @gate.route("DELETE", f"{REQUESTS}/<name>", Needs("delete", KIND, target=found))
    async def remove(call: Call, name: str) -> Answer:
        await requests.remove(name, call.by)
        await cluster.plugin_data.forget(name)
        return None


def _add_plugin_data(gate: Gate, cluster: Cluster) -> None:
    kept, found = cluster.plugin_data, _finder(cluster)  # without the owner: it is not for who asked

    @gate.route("GET", PLUGIN_DATA, Needs("read", KIND, resource=found))
    async def of_one(call: Call, name: str) -> Answer:
        return kept.get(name).to_json()

    @gate.route("PUT", PLUGIN_DATA, Needs("update", KIND, resource=found))
    async def update(call: Call, name: str) -> Answer:
        fields = Fields(call.body(), "plugin_data")
        plugin = fields.text("plugin", max_chars=MAX_NAME_CHARS)
        after = await kept.update(name, plugin, read_data(fields, "expect"), read_data(fields, "set"))
        return after.to_json()


def _resolution(fields: Fields) -> Resolution:
    states = {state.name: state for state in (RequestState.APPROVED, RequestState.DENIED)}
    state = fields.text("state", max_chars=16)
    if state not in states:
        raise BadParameter(f"{fields.where}.state has to be {' or '.join(states)}.")
    return Resolution(
        states[state],
        fields.text("reason", default="", max_chars=MAX_REASON_CHARS),
        read_annotations(fields, "annotations"),
        fields.texts("roles", MAX_ROLES, max_chars=255),
        fields.text("delegator", default="", max_chars=MAX_DELEGATOR_CHARS),
    )
