"""What holds for the whole cluster: its name, fixed at the first start, and its configuration, renewed at each."""

from __future__ import annotations

from uuid import UUID

from attrs import frozen
from twisted.logger import Logger

from teleport_conch.auth import storing
from teleport_conch.certs import names
from teleport_conch.errors import AlreadyExists, NotFound
from teleport_conch.resources.cluster import ClusterConfig, ClusterName
from teleport_conch.storage.backend import IBackend

PREFIX = "cluster_configuration/"
NAME = PREFIX + "name"
GENERAL = PREFIX + "general"

_log = Logger()


@frozen
class Configuration:
    """The cluster as the database knows it."""

    name: ClusterName
    general: ClusterConfig


async def open_configuration(
    backend: IBackend, cluster_name: str, cluster_id: UUID, general: ClusterConfig
) -> Configuration:
    """The cluster's name and configuration.

    :param cluster_name: what the file says; it counts at the first start, and later differs with a warning.
    :param cluster_id: for the first start.
    :param general: what the file says; it counts at each start.
    """
    wanted = ClusterName(names.cluster_name(cluster_name), str(cluster_id))
    try:
        await backend.create(NAME, storing.encode(wanted.to_json()))
        name = wanted
    except AlreadyExists:
        name = ClusterName.from_json(storing.decode(await backend.get(NAME)))
    if name.cluster_name != wanted.cluster_name:
        _log.warn(
            "The cluster is called {name}, as its first start fixed it; cluster_name: {wanted} is ignored.",
            name=name.cluster_name,
            wanted=wanted.cluster_name,
        )
    await _keep_general(backend, general)
    return Configuration(name, general)


async def _keep_general(backend: IBackend, general: ClusterConfig) -> None:
    value = storing.encode(general.to_json())
    try:
        if (await backend.get(GENERAL)).value == value:
            return
    except NotFound:
        pass  # the first start
    await backend.put(GENERAL, value)
