"""What holds for the whole cluster: its name, fixed at the first start, its configuration, and how people log in.

What the auth server's file says wins, at each start and over every change; the rest is kept in the storage, and can be
changed while the cluster runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from attrs import define, field, frozen
from twisted.logger import Logger

from teleport_conch.auth.state import storing
from teleport_conch.auth.state.shelf import with_revision
from teleport_conch.certs import names
from teleport_conch.errors import AlreadyExists, BadParameter, CompareFailed, NotBuilt, NotFound
from teleport_conch.resources.cluster import ClusterConfig, ClusterName
from teleport_conch.resources.preference import AuthPreference
from teleport_conch.storage.backend import IBackend

PREFIX = "cluster_configuration/"
NAME = PREFIX + "name"
GENERAL = PREFIX + "general"
AUTHENTICATION = PREFIX + "authentication"

_BOUNDS: Mapping[str, tuple[float, float]] = {
    "heartbeat_interval": (1.0, 3600.0),
    "offline_nodes_kept": (60.0, 10 * 365 * 86_400.0),
    "keep_alive_interval": (1.0, 86_400.0),
    "keep_alive_count_max": (1, 1000),
    "client_idle_timeout": (0.0, 365 * 86_400.0),
    "session_control_timeout": (10.0, 3600.0),
}

RECORDING_MODES = ("node", "node-sync", "off")
_BY_PROXIES = ("proxy", "proxy-sync")

_log = Logger()


class Settled(Protocol):
    """A resource of which there is one."""

    def to_json(self) -> dict[str, object]:
        """As it is stored."""


_Value = TypeVar("_Value", bound=Settled)


@define(eq=False)
class Dynamic(Generic[_Value]):
    """One resource of which there is always one.

    :ivar kind: of the resource.
    :ivar fixed: the keys of its ``spec`` that the auth server's file sets, and how the file calls them.
    :ivar check: raises what is wrong with a value as such.
    """

    kind: str
    fixed: Mapping[str, str]
    value: _Value
    revision: int
    _key: str
    _backend: IBackend
    _check: Callable[[_Value], None]
    _listeners: list[Callable[[_Value], None]] = field(init=False, factory=list)

    def to_json(self) -> dict[str, object]:
        return with_revision(self.value.to_json(), self.revision)

    def on_change(self, callback: Callable[[_Value], None]) -> None:
        """Have ``callback`` called with each later value."""
        self._listeners.append(callback)

    async def replace(self, value: _Value, revision: int | None) -> None:
        """:param revision: on which the change is based; None for whatever there is.

        :raises BadParameter: the file sets what would change, or the value is wrong.
        :raises CompareFailed: it was changed meanwhile.
        """
        self._check(value)
        self._check_not_fixed(value)
        with_check = self.revision if revision is None else revision
        try:
            item = await self._backend.compare_and_swap(self._key, with_check, storing.encode(value.to_json()))
        except CompareFailed:
            raise CompareFailed(
                f"The {self.kind} was changed meanwhile. Read it again, and make your change to what it is now."
            ) from None
        self.value, self.revision = value, item.revision
        for listener in tuple(self._listeners):
            listener(value)

    def check_keys(self, names: Iterable[str]) -> None:
        """:raises BadParameter: a key of ``spec`` that is not known; a misspelt one would change nothing, silently."""
        for name in names:
            if name not in _spec(self.value):
                raise BadParameter(f"{self.kind}.spec.{name[:64]!a} is not known.")

    def _check_not_fixed(self, value: _Value) -> None:
        before, after = _spec(self.value), _spec(value)
        for name, called in self.fixed.items():
            if before.get(name) != after.get(name):
                raise BadParameter(
                    f"{self.kind}.spec.{name} is set in the file of the auth server ({called}), which wins. Change it"
                    " there and start auth again, or take it out of the file."
                )


def _spec(value: Settled) -> Mapping[str, object]:
    spec = value.to_json()["spec"]
    assert isinstance(spec, Mapping)
    return spec


@frozen
class Configuration:
    """The cluster as the database knows it."""

    name: ClusterName
    shared: Dynamic[ClusterConfig]
    authentication: Dynamic[AuthPreference]

    @property
    def general(self) -> ClusterConfig:
        """As it is at this moment."""
        return self.shared.value

    @property
    def preference(self) -> AuthPreference:
        """How people log in, at this moment."""
        return self.authentication.value


@frozen
class FromFile:
    """What the auth server's file says.

    :ivar general: with the usual value for each key that is not ``given``.
    :ivar given: the keys of the section ``auth_service`` that are there.
    """

    general: ClusterConfig
    preference: AuthPreference = field(factory=AuthPreference)
    given: frozenset[str] = frozenset()

    @property
    def fixed_general(self) -> Mapping[str, str]:
        """The keys of ``cluster_config`` that it sets."""
        return {key: f"auth_service.{key}" for key in _spec(self.general) if key in self.given}

    @property
    def fixed_preference(self) -> Mapping[str, str]:
        """The keys of ``cluster_auth_preference`` that it sets: all of them, where the section is there."""
        section = "authentication"
        return dict.fromkeys(_spec(self.preference), f"auth_service.{section}") if section in self.given else {}


async def open_configuration(
    backend: IBackend, cluster_name: str, cluster_id: UUID, from_file: FromFile
) -> Configuration:
    """The cluster's name and configuration.

    :param cluster_name: what the file says; it counts at the first start, and later differs with a warning.
    :param cluster_id: for the first start.
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
    general = await _settled(backend, GENERAL, ClusterConfig.from_json, from_file.general, from_file.fixed_general)
    preference = await _settled(
        backend, AUTHENTICATION, AuthPreference.from_json, from_file.preference, from_file.fixed_preference
    )
    return Configuration(
        name,
        Dynamic("cluster_config", from_file.fixed_general, *general, GENERAL, backend, check_general),
        Dynamic(
            "cluster_auth_preference",
            from_file.fixed_preference,
            *preference,
            AUTHENTICATION,
            backend,
            lambda preference: None,
        ),
    )


async def _settled(
    backend: IBackend, key: str, read: Callable[[object], _Value], wanted: _Value, fixed: Iterable[str]
) -> tuple[_Value, int]:
    """What is stored, with the keys that the file sets as the file has them; and its revision."""
    try:
        item = await backend.get(key)
    except NotFound:
        return wanted, (await backend.put(key, storing.encode(wanted.to_json()))).revision
    stored = read(storing.decode(item))
    kept = {name: value for name, value in _spec(stored).items() if name not in fixed}
    value = read({**wanted.to_json(), "spec": {**_spec(wanted), **kept}})
    if value == stored:
        return stored, item.revision
    return value, (await backend.put(key, storing.encode(value.to_json()))).revision


def check_general(general: ClusterConfig) -> None:
    """:raises BadParameter: a value that no cluster could go by. :raises NotBuilt: proxies are to record."""
    spec = _spec(general)
    for name, (lowest, highest) in _BOUNDS.items():
        value = spec[name]
        assert isinstance(value, int | float)
        if not lowest <= value <= highest:
            raise BadParameter(
                f"cluster_config.spec.{name} has to be from {lowest:g} to {highest:g}, and not {value:g}."
            )
    mode, key = general.session_recording, "cluster_config.spec.session_recording"
    if mode in _BY_PROXIES:
        raise NotBuilt(f"{key}: {mode} is not built; there are {', '.join(RECORDING_MODES)}.")
    if mode not in RECORDING_MODES:
        raise BadParameter(f"{key} is {mode[:64]!a}; it has to be one of {', '.join(RECORDING_MODES)}.")
