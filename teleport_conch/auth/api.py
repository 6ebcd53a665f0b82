"""The API of the cluster: what the cluster offers, behind one gate, as HTTPS and JSON.

The routes are in :mod:`~teleport_conch.auth.host_routes`, :mod:`~teleport_conch.auth.cluster_routes`,
:mod:`~teleport_conch.auth.admin_routes`, :mod:`~teleport_conch.auth.rule_routes`,
:mod:`~teleport_conch.auth.people_routes`, :mod:`~teleport_conch.auth.login_routes`,
:mod:`~teleport_conch.auth.bot_routes` and :mod:`~teleport_conch.auth.why_routes`; ``docs/api.rst`` describes each.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.web.server import Request

from teleport_conch.auth import (
    admin_routes,
    bot_routes,
    cluster_routes,
    host_routes,
    login_routes,
    people_routes,
    rule_routes,
    why_routes,
)
from teleport_conch.auth.callers import Peer
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.events import Events
from teleport_conch.auth.gate import Gate
from teleport_conch.auth.site import APISite, certified_peer


def open_gate(
    cluster: Cluster,
    events: Events,
    emit: Emit,
    version: str,
    peer_of: Callable[[Request], Peer | None] = certified_peer,
) -> Gate:
    """All routes.

    :param version: of this program, for clients.
    :param peer_of: who calls; a test, which has no TLS, says so in another way.
    """
    gate = Gate(cluster.clocks, cluster.hosts, cluster.locks, emit, peer_of)
    cluster_routes.add(gate, cluster, version, emit)
    host_routes.add(gate, cluster)
    admin_routes.add(gate, cluster, events, emit)
    rule_routes.add(gate, cluster, emit)
    people_routes.add(gate, cluster, emit)
    login_routes.add(gate, cluster, emit)
    why_routes.add(gate, cluster, events)
    bot_routes.add(gate, cluster, emit)
    return gate


def site_of(cluster: Cluster, gate: Gate) -> APISite:
    """What listens: the routes behind the limits of HTTP."""
    return APISite(cluster.clocks, gate.resource(), cluster.judge())
