"""What ``twist`` lists: names, descriptions and the modules to load once one of them is asked for.

Twisted imports this file whenever a program looks for plugins, so it holds strings only. Each module named here offers
``Options`` and ``makeService`` (:class:`twisted.application.service.IServiceMaker`).
"""

from __future__ import annotations

from twisted.application.service import ServiceMaker

teleport = ServiceMaker(
    "Teleport: every service that the configuration enables",
    "teleport_conch.process",
    "Every service that the configuration enables (auth, proxy, node), in one process.",
    "teleport",
)

teleport_auth = ServiceMaker(
    "Teleport: auth",
    "teleport_conch.auth.service",
    "The certificate authorities, the state of the cluster, and the API.",
    "teleport-auth",
)

teleport_proxy = ServiceMaker(
    "Teleport: proxy",
    "teleport_conch.proxy.service",
    "The door that people's SSH clients come through to reach the nodes.",
    "teleport-proxy",
)

teleport_node = ServiceMaker(
    "Teleport: node",
    "teleport_conch.node.service",
    "An SSH server for this host that takes certificates of the cluster only.",
    "teleport-node",
)
