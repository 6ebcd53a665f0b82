"""Routes of the hosts: how they join, renew and say that they are there; and the lists of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from teleport_conch.audit.inert import inert
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.hosts.hosts import Registration
from teleport_conch.auth.hosts.presence import HostKey
from teleport_conch.auth.routes.calls import ANYBODY, Answer, Call, Encoded, Needs
from teleport_conch.auth.routes.gate import Gate
from teleport_conch.certs import names
from teleport_conch.errors import AccessDenied, BadParameter, NotFound
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.joining import Heartbeat, JoinRequest

NODES = "/v1/namespaces/<namespace>/nodes"
PRESENCE = "/v1/presence/<kind>/<uuid>"
MAX_REASON_CHARS = 300
MAX_SEARCHES = 16
"""Texts that nodes are searched for at a time."""


def add(gate: Gate, cluster: Cluster) -> None:
    """Register the routes."""
    _add_joining(gate, cluster)
    _add_presence(gate, cluster)
    _add_nodes(gate, cluster)
    _add_proxies(gate, cluster)


def _add_joining(gate: Gate, cluster: Cluster) -> None:
    @gate.route("POST", "/v1/tokens/register", ANYBODY)
    async def register(call: Call) -> Answer:
        answer = await cluster.joining.register(JoinRequest.from_json(call.body()), call.address)
        return answer.to_json()

    @gate.route("POST", "/v1/server/credentials", Needs("update", "credentials", owner="*"))
    async def renew(call: Call) -> Answer:
        request = JoinRequest.from_json(call.body(), with_token=False)
        answer = await cluster.renewing.renew(request, call.known.identity, call.address)
        return answer.to_json()


def _add_presence(gate: Gate, cluster: Cluster) -> None:
    @gate.route("POST", PRESENCE, Needs("update", "presence", owner="uuid"))
    async def beat(call: Call, kind: str, uuid: str) -> Answer:
        heartbeat = Heartbeat.from_json(call.body())
        answer = await cluster.inventory.beat(_own(call, kind, uuid), heartbeat, call.address)
        return answer.to_json()

    @gate.route("DELETE", PRESENCE, Needs("delete", "presence", owner="uuid"))
    async def goodbye(call: Call, kind: str, uuid: str) -> Answer:
        registration = _own(call, kind, uuid)
        instance = Fields(call.body(), "goodbye").text("instance", max_chars=64)
        cluster.inventory.goodbye(registration.key, instance)
        return None


def _add_nodes(gate: Gate, cluster: Cluster) -> None:
    inventory = cluster.inventory

    @gate.route("GET", NODES, Needs("list", "node", owner="*"))
    async def nodes(call: Call, namespace: str) -> Answer:
        check_namespace(namespace)
        asked = dict(map(_label, call.queries("labels")))
        keys = await cluster.nodes.of(call.known.caller, asked, _texts(call.queries("search")))
        servers = [server for key in keys if (server := cluster.feed.server(key)) is not None]
        return Encoded(b'{"items":[%b]}' % b",".join(servers))

    @gate.route("GET", f"{NODES}/<uuid>", Needs("read", "node", owner="*"))
    async def node(call: Call, namespace: str, uuid: str) -> Answer:
        check_namespace(namespace)
        key = _key("node", uuid)
        server = inventory.get(key)
        if not cluster.nodes.may_see(call.known.caller, key):
            raise NotFound(f"There is no node {uuid[:64]!r}.")
        return server.to_json()

    @gate.route("DELETE", NODES, Needs("delete", "node"))
    async def remove_offline(call: Call, namespace: str) -> Answer:
        check_namespace(namespace)
        if call.query("offline") != "1":
            raise BadParameter("All nodes at once are removed only if they are offline: say offline=1.")
        return {"items": list(await inventory.remove_offline("node", call.by))}

    @gate.route("DELETE", f"{NODES}/<uuid>", Needs("delete", "node"))
    async def remove(call: Call, namespace: str, uuid: str) -> Answer:
        check_namespace(namespace)
        await inventory.remove(_key("node", uuid), call.by)
        return None

    @gate.route("POST", f"{NODES}/<uuid>/reachability", Needs("update", "reachability"))
    async def reachability(call: Call, namespace: str, uuid: str) -> Answer:
        check_namespace(namespace)
        reason = Fields(call.body(), "report").text("error", default="", max_chars=MAX_REASON_CHARS)
        inventory.set_unreachable(_key("node", uuid), inert(reason), call.by)
        return None


def _add_proxies(gate: Gate, cluster: Cluster) -> None:
    @gate.route("GET", "/v1/proxies", Needs("list", "proxy"))
    async def proxies(call: Call) -> Answer:
        return _servers(cluster, "proxy")

    @gate.route("DELETE", "/v1/proxies/<uuid>", Needs("delete", "proxy"))
    async def remove_proxy(call: Call, uuid: str) -> Answer:
        await cluster.inventory.remove(_key("proxy", uuid), call.by)
        return None


def _own(call: Call, kind: str, uuid: str) -> Registration:
    """The registration of the caller, if that is what the path names.

    :raises AccessDenied: it is another's, or the caller did not join (the administrator has no presence).
    """
    registration = call.registration
    if registration is None or registration.key != HostKey(kind, uuid):
        raise AccessDenied("A host announces itself, under its own UUID and kind, and nobody else.")
    return registration


def _key(kind: str, uuid: str) -> HostKey:
    try:
        return HostKey(kind, names.host_uuid(uuid))
    except BadParameter:
        raise NotFound(f"There is no {kind} {uuid[:64]!r}; hosts are named by their UUID.") from None


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise BadParameter(
            "The parameter labels is a label and its value, such as env=prod; it may be there repeatedly."
        )
    return name, value


def _texts(queries: Sequence[str]) -> tuple[str, ...]:
    if len(queries) > MAX_SEARCHES:
        raise BadParameter(f"The parameter search may be there {MAX_SEARCHES} times.")
    return tuple(text for text in queries if text)


def _servers(cluster: Cluster, kind: str) -> Mapping[str, object]:
    return {"items": [server.to_json() for server in cluster.inventory.all(kind)]}


def check_namespace(namespace: str) -> None:
    """:raises NotFound: there is the namespace ``default`` only."""
    if namespace != "default":
        raise NotFound(f"There is no namespace {namespace[:64]!r}; there is default.")
