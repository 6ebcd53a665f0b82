"""The clusters that several modules of tests share, each started when the first test asks for it."""

from __future__ import annotations

from functools import cache

from tests.interop.accounts import guest_account, is_root
from tests.interop.cluster import LOGIN, Cluster
from tests.interop.person import Person

LABELS = {"web1": {"env": "prod", "tier": "web"}, "web2": {"env": "test", "tier": "web"}}


@cache
def quiet_cluster() -> Cluster:
    """One with the nodes ``web1`` and ``web2``, that no test disturbs."""
    return Cluster(heartbeat="5s").start("web1", "web2", labels=LABELS)


@cache
def alice() -> Person:
    """Somebody who may log in to the nodes of the quiet cluster, as root and as a guest where there is one."""
    logins = (LOGIN, guest_account().pw_name) if is_root() else (LOGIN,)
    return quiet_cluster().person("alice", logins)


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
