"""Routes about the cluster as a whole: its time, its authorities, its configuration, and the watch of all that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred

from teleport_conch.access.decision import Target
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.feed import check_kinds
from teleport_conch.auth.limits import WATCHES_PER_CALLER
from teleport_conch.auth.recordings.recordings import Recordings
from teleport_conch.auth.routes.calls import ANYBODY, Answer, Call, Needs, Streamed, address_of
from teleport_conch.auth.routes.gate import Gate
from teleport_conch.auth.routes.resource_routes import revision_in
from teleport_conch.auth.state.configuration import Dynamic, Settled
from teleport_conch.auth.watching import WatchStream
from teleport_conch.errors import AccessDenied, BadParameter
from teleport_conch.https.throttle import InProgressOfEach
from teleport_conch.periodic import Rounds
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.preference import AuthPreference

PREFERENCE = "/v1/authentication/preference"
_Value = TypeVar("_Value", bound=Settled)
MIN_CLIENT_VERSION = "0.1.0"


def add(gate: Gate, cluster: Cluster, recordings: Recordings, version: str, emit: Emit) -> None:
    """Register the routes.

    :param version: of this program.
    """
    _add_public(gate, cluster, version)
    _add_configuration(gate, cluster, emit)
    _add_status(gate, cluster, recordings, version)
    _add_watch(gate, cluster)


def _add_public(gate: Gate, cluster: Cluster, version: str) -> None:
    @gate.route("GET", "/v1/ping", ANYBODY)
    async def ping(call: Call) -> Answer:
        return {
            "server_time": call.now,
            "cluster_name": cluster.name,
            "server_version": version,
            "min_client_version": MIN_CLIENT_VERSION,
        }

    @gate.route("GET", "/v1/cacert", ANYBODY)
    async def cacert(call: Call) -> Answer:
        return {"items": list(cluster.authorities.public("host").tls_certificates)}


def _add_configuration(gate: Gate, cluster: Cluster, emit: Emit) -> None:
    @gate.route("GET", "/v1/authorities/<kind>", Needs("readnosecrets", "cert_authority"))
    async def authority(call: Call, kind: str) -> Answer:
        return cluster.authorities.public(kind).to_json()

    @gate.route("GET", "/v1/configuration", Needs("read", "cluster_config"))
    async def configuration(call: Call) -> Answer:
        return cluster.configuration.shared.to_json()

    @gate.route("PUT", "/v1/configuration", Needs("update", "cluster_config"))
    async def configure(call: Call) -> Answer:
        return await _replace(call, cluster.configuration.shared, ClusterConfig.from_json, cluster, emit)

    @gate.route("GET", PREFERENCE, Needs("read", "cluster_auth_preference"))
    async def preference(call: Call) -> Answer:
        return cluster.configuration.authentication.to_json()

    @gate.route("PUT", PREFERENCE, Needs("update", "cluster_auth_preference"))
    async def prefer(call: Call) -> Answer:
        return await _replace(call, cluster.configuration.authentication, AuthPreference.from_json, cluster, emit)

    @gate.route("GET", "/v1/configuration/name", Needs("read", "cluster_name"))
    async def name(call: Call) -> Answer:
        return cluster.configuration.name.to_json()


def _add_status(gate: Gate, cluster: Cluster, recordings: Recordings, version: str) -> None:
    @gate.route("GET", "/v1/status", Needs("read", "cluster_name"))
    async def status(call: Call) -> Answer:
        return {
            "cluster_name": cluster.name,
            "version": version,
            "ca_pins": list(cluster.authorities.pins()),
            "session_recording": cluster.configuration.general.session_recording,
            "recordings_refused": await recordings.why_none(),
            "user_ca": list(cluster.authorities.fingerprints("user")),
            "host_ca": list(cluster.authorities.fingerprints("host")),
        }


async def _replace(
    call: Call, dynamic: Dynamic[_Value], read: Callable[[object], _Value], cluster: Cluster, emit: Emit
) -> Answer:
    """What somebody sent in place of what there is."""
    body = call.body()
    dynamic.check_keys(Fields(body, dynamic.kind).child("spec").raw())
    await cluster.rewriting.run(_written, dynamic, read(body), revision_in(body, dynamic.kind))
    emit("config.updated", {"name": dynamic.kind, "user": call.by})
    return dynamic.to_json()


def _written(dynamic: Dynamic[_Value], value: _Value, revision: int | None) -> Deferred[None]:
    return Deferred.fromCoroutine(dynamic.replace(value, revision))


def _add_watch(gate: Gate, cluster: Cluster) -> None:
    watching = InProgressOfEach(WATCHES_PER_CALLER, "watches of this caller")
    streams: dict[WatchStream, None] = {}
    rounds = Rounds(cluster.clocks.timers, lambda: streams, WatchStream.look_again)
    cluster.on_rules(rounds.begin)

    @gate.route("GET", "/v1/watch", Needs("read", "watch"), streams=True)
    async def watch(call: Call) -> Answer:
        kinds = check_kinds([kind for kind in call.query("kinds").split(",") if kind])
        _check_may_list(call, kinds)
        after = _revision(call.query("after", "0"))
        stream = WatchStream(
            cluster.clocks, cluster.feed, kinds, call.request.write, lambda: _still_welcome(gate, cluster, call, kinds)
        )
        with watching.one(str(call.known.caller)):
            streams[stream] = None
            try:
                await _send(gate, call, stream, after)
            finally:
                del streams[stream]
        return Streamed()


async def _send(gate: Gate, call: Call, stream: WatchStream, after: int) -> None:
    gate.begin(call.request)
    call.request.registerProducer(stream, True)
    try:
        await stream.run(after)
    finally:
        if call.request.channel is not None:
            call.request.unregisterProducer()


def _still_welcome(gate: Gate, cluster: Cluster, call: Call, kinds: Sequence[str]) -> None:
    """A watch outlives changes of who its caller is, and of what that may see: the certificate ends, the host is
    removed, or it is locked, or what an access request lent is over.
    """
    peer, address = gate.peer(call.request), address_of(call.request)
    registration = gate.registered(peer)
    gate.decide(peer, Needs("read", "watch"), {}, address)
    _check_may_list(Call(call.request, peer, registration, address, cluster.clocks.wall()), kinds)


def _check_may_list(call: Call, kinds: Sequence[str]) -> None:
    """:raises AccessDenied: one of the kinds is not for the caller."""
    for kind in kinds:
        if not call.may("list", kind, Target()):
            raise AccessDenied(f"{call.known.caller} is not authorized to list {kind}: access denied")


def _revision(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise BadParameter("The parameter after is the revision after which the watch goes on, a whole number.")
    return int(text)
