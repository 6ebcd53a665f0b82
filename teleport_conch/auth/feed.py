"""What watchers are told: the snapshot of each kind, and then each change of it, without secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import define, field

from teleport_conch.access import builtin
from teleport_conch.auth import authorities, configuration, inventory, storing
from teleport_conch.auth.inventory import Inventory
from teleport_conch.auth.presence import HostKey
from teleport_conch.certs.public import PublicAuthority
from teleport_conch.errors import BadParameter
from teleport_conch.storage.backend import Change, IBackend, Watch

Resource = Mapping[str, object]

SERVER_KINDS = tuple(inventory.PREFIXES)
PREFIXES: Mapping[str, str] = {
    "cert_authority": authorities.PREFIX,
    "cluster_config": configuration.GENERAL,
    "cluster_name": configuration.NAME,
    "role": "roles/",
    **inventory.PREFIXES,
}
"""Where the resources of each kind lie; these are the kinds that can be watched."""


@define(eq=False)
class Feed:
    """Reads kinds of resources for watchers, and passes on to them whose presence changed."""

    _backend: IBackend
    _inventory: Inventory
    _listeners: dict[Callable[[HostKey], None], None] = field(init=False, factory=dict)

    def listen(self, listener: Callable[[HostKey], None]) -> None:
        """Have ``listener`` told of each host whose presence changed."""
        self._listeners[listener] = None

    def ignore(self, listener: Callable[[HostKey], None]) -> None:
        self._listeners.pop(listener, None)

    def touched(self, key: HostKey) -> None:
        """The presence of a host changed."""
        for listener in tuple(self._listeners):
            listener(key)

    def revision(self) -> int:
        return self._backend.revision()

    def changes(self, kinds: Sequence[str], after: int) -> Watch:
        """:raises Compacted: not all changes since are kept."""
        return self._backend.watch([PREFIXES[kind] for kind in kinds], after)

    async def snapshot(self, kinds: Sequence[str]) -> list[Resource]:
        """All resources of the kinds but servers, of which there may be too many for one answer."""
        found: list[Resource] = []
        for kind in kinds:
            if kind == "role":
                found += [role.to_json() for role in builtin.USER_ROLES.values()]
            elif kind not in SERVER_KINDS:
                items = await storing.everything(self._backend, PREFIXES[kind])
                found += [_without_secrets(kind, storing.decode(item)) for item in items]
        return found

    def servers(self, kinds: Sequence[str]) -> list[HostKey]:
        """The hosts that are listed under the kinds."""
        return [key for kind in kinds if kind in SERVER_KINDS for key in self._inventory.keys(kind)]

    def server(self, key: HostKey) -> Resource | None:
        """A node or proxy as it is now, None once it was removed."""
        found = self._inventory.find(key)
        return None if found is None else found.to_json()


def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """:raises BadParameter: there are none, or one that cannot be watched."""
    if not kinds or not set(kinds) <= PREFIXES.keys():
        raise BadParameter(f"A watch is for some of the kinds {', '.join(PREFIXES)}, separated by commas.")
    return tuple(dict.fromkeys(kinds))


def kind_of(change: Change) -> str:
    return next(kind for kind, prefix in PREFIXES.items() if change.key.startswith(prefix))


def host_of(change: Change) -> HostKey:
    """The host that a change of a node or proxy is about."""
    kind = kind_of(change)
    return HostKey(kind, change.key.removeprefix(PREFIXES[kind]))


def line_of(change: Change) -> dict[str, object]:
    """A change of any other kind, as a watcher reads it."""
    kind = kind_of(change)
    if change.item is None:
        return {"type": "delete", "kind": kind, "name": change.key.rpartition("/")[2]}
    return {"type": "put", "resource": _without_secrets(kind, storing.decode(change.item))}


def _without_secrets(kind: str, value: object) -> Resource:
    if kind == "cert_authority":
        return PublicAuthority.from_json(value).to_json()
    assert isinstance(value, Mapping)
    return value
