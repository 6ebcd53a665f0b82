"""The API of the cluster: what the cluster offers, behind one gate, as HTTPS and JSON.

The routes are in :mod:`~teleport_conch.auth.routes.host_routes`, :mod:`~teleport_conch.auth.routes.cluster_routes`,
:mod:`~teleport_conch.auth.routes.admin_routes`, :mod:`~teleport_conch.auth.routes.rule_routes`,
:mod:`~teleport_conch.auth.routes.people_routes`, :mod:`~teleport_conch.auth.routes.login_routes`,
:mod:`~teleport_conch.auth.routes.bot_routes`, :mod:`~teleport_conch.auth.routes.request_routes`,
:mod:`~teleport_conch.auth.routes.recording_routes` and :mod:`~teleport_conch.auth.routes.why_routes`; ``docs/api.rst``
describes each.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.web.server import Request

from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.events import Events
from teleport_conch.auth.recordings.recordings import Recordings
from teleport_conch.auth.routes import (
    admin_routes,
    bot_routes,
    cluster_routes,
    host_routes,
    login_routes,
    people_routes,
    recording_routes,
    request_routes,
    rule_routes,
    why_routes,
)
from teleport_conch.auth.routes.gate import Gate
from teleport_conch.auth.routes.site import APISite, certified_peer
from teleport_conch.auth.rules.callers import Peer


def open_gate(
    cluster: Cluster,
    events: Events,
    recordings: Recordings,
    emit: Emit,
    version: str,
    peer_of: Callable[[Request], Peer | None] = certified_peer,
) -> Gate:
    """All routes.

    :param version: of this program, for clients.
    :param peer_of: who calls; a test, which has no TLS, says so in another way.
    """
    gate = Gate(cluster.clocks, cluster.hosts, cluster.locks, emit, peer_of)
    cluster_routes.add(gate, cluster, recordings, version, emit)
    host_routes.add(gate, cluster)
    admin_routes.add(gate, cluster, events, emit)
    recording_routes.add(gate, cluster.clocks, recordings, emit)
    rule_routes.add(gate, cluster, emit)
    people_routes.add(gate, cluster, emit)
    login_routes.add(gate, cluster, emit)
    why_routes.add(gate, cluster, events)
    bot_routes.add(gate, cluster, emit)
    request_routes.add(gate, cluster, emit)
    return gate


def site_of(cluster: Cluster, gate: Gate) -> APISite:
    """What listens: the routes behind the limits of HTTP."""
    return APISite(cluster.clocks, gate.resource(), cluster.judge())
