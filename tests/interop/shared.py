"""The clusters that several modules of tests share, each started when the first test asks for it."""

from __future__ import annotations

import shlex
import sys
from functools import cache

from tests.interop import eager
from tests.interop.accounts import guest_account, is_root
from tests.interop.cluster import LOGIN, Cluster
from tests.interop.person import Person

FIRST_DISPLAY = 200
"""Of sessions on the node that forwards X11; no screen of this host has such a number."""
LABELS = {"web1": {"env": "prod", "tier": "web"}, "web2": {"env": "test", "tier": "web"}}


@cache
def quiet_cluster() -> Cluster:
    """One with the nodes ``web1`` and ``web2``, that no test disturbs."""
    return Cluster(heartbeat="5s").start("web1", "web2", labels=LABELS)


@cache
def alice() -> Person:
    """Somebody who may log in to the nodes of the quiet cluster, as root and as a guest where there is one."""
    return quiet_cluster().person("alice", _logins())


def _logins() -> tuple[str, ...]:
    return (LOGIN, guest_account().pw_name) if is_root() else (LOGIN,)


@cache
def open_cluster() -> Cluster:
    """One whose node ``web1`` forwards X11, and lets clients listen on every interface."""
    cluster = Cluster(heartbeat="5s")
    cluster.node("web1", settings={"x11": {"enabled": True, "display_offset": FIRST_DISPLAY}, "gateway_ports": True})
    for service in (cluster.auth, cluster.proxy, cluster.nodes["web1"]):
        service.start()
    cluster.know("web1")
    return cluster


@cache
def open_alice() -> Person:
    """Somebody who may log in there."""
    return open_cluster().person("alice", _logins())


@cache
def eager_cluster() -> Cluster:
    """One whose proxy and node ``web1`` exchange keys all the time."""
    cluster = Cluster(heartbeat="5s")
    x11 = {"enabled": True, "display_offset": FIRST_DISPLAY}
    node = cluster.node("web1", labels=LABELS["web1"], settings={"x11": x11})
    for service in (cluster.proxy, node):
        service.line = shlex.join([sys.executable, eager.__file__, "--log-format=text", service.plugin])
    cluster.auth.start()
    cluster.proxy.start()
    node.start()
    cluster.know("web1")
    return cluster


@cache
def eager_alice() -> Person:
    """Somebody there whose ``ssh`` wants new keys, too."""
    person = eager_cluster().person("alice", _logins())
    for config in (person.config, person.jump_config, person.command_config):
        config.write_text(f"{config.read_text()}    RekeyLimit 256K\n")
    return person


@cache
def machines() -> Cluster:
    """One that beats every second, whose hosts tests stop and kill; :func:`healthy` repairs it."""
    return Cluster(heartbeat="1s").start("web1")


def healthy() -> Cluster:
    """The cluster of machines, with everything that belongs to it running."""
    cluster = machines()
    for service in (cluster.auth, cluster.proxy, cluster.nodes["web1"]):
        if service.process is None or service.process.poll() is not None:
            service.process = None
            service.start()
    cluster.know("web1")
    return cluster
