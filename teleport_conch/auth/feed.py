"""What watchers are told: the snapshot of each kind, and then each change of it, without secrets.

The storage is watched once, for all of them, and what it says is written as JSON once, so that a watcher more costs
little. A change of a server, in the storage or of its presence, is passed on as the name of the server: whoever sends
it sends what holds at that moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred

from teleport_conch.access import builtin
from teleport_conch.auth.hosts import inventory
from teleport_conch.auth.hosts.inventory import Inventory
from teleport_conch.auth.hosts.presence import HostKey
from teleport_conch.auth.people import access_requests, users
from teleport_conch.auth.rules import locks, roles
from teleport_conch.auth.state import authorities, configuration, storing
from teleport_conch.certs.public import PublicAuthority
from teleport_conch.errors import BadParameter, Compacted, TeleportError
from teleport_conch.resources.access_request import AccessRequest
from teleport_conch.resources.user import User
from teleport_conch.storage.backend import Change, IBackend, Watch

SERVER_KINDS = tuple(inventory.PREFIXES)
PREFIXES: Mapping[str, str] = {
    "cert_authority": authorities.PREFIX,
    "cluster_auth_preference": configuration.AUTHENTICATION,
    "cluster_config": configuration.GENERAL,
    "cluster_name": configuration.NAME,
    "role": roles.PREFIX,
    "user": users.PREFIX,
    "lock": locks.PREFIX,
    "access_request": access_requests.PREFIX,
    **inventory.PREFIXES,
}
"""Where the resources of each kind lie; these are the kinds that can be watched."""
KEPT_CHANGES = 1024
"""Changes that are kept for watchers that come back."""


@frozen
class News:
    """One change.

    :ivar name: of the resource: what follows the last slash of its key.
    :ivar resource: its JSON; None where it was deleted, and of servers.
    """

    revision: int
    kind: str
    name: str
    resource: bytes | None

    @property
    def host(self) -> HostKey | None:
        """The server that it is about, None where it is about something else."""
        return HostKey(self.kind, self.name) if self.kind in SERVER_KINDS else None


class Watcher(Protocol):
    """Who is told."""

    def changed(self, news: News) -> None:
        """Something was stored."""

    def touched(self, key: HostKey) -> None:
        """The presence of a server changed."""

    def broken(self, reason: Exception) -> None:
        """Changes were missed, or there will be none any more."""


@define(eq=False)
class Feed:
    """Follows the storage for all watchers, between :meth:`start` and :meth:`stop`."""

    _backend: IBackend
    _inventory: Inventory
    _watchers: dict[str, dict[Watcher, None]] = field(init=False)
    _recent: deque[News] = field(init=False)
    _oldest: int = field(init=False, default=0)  # all changes after this revision are in _recent
    _servers: dict[HostKey, bytes] = field(init=False, factory=dict)  # as JSON, for a moment
    _changes: Watch | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._watchers = {kind: {} for kind in PREFIXES}
        self._recent = deque(maxlen=KEPT_CHANGES)

    def start(self) -> None:
        """Begin to follow; once is enough."""
        if self._changes is not None:
            return
        self._oldest = self._backend.revision()
        self._changes = self._backend.watch(tuple(PREFIXES.values()), self._oldest)
        Deferred.fromCoroutine(self._follow(self._changes))

    def stop(self) -> None:
        """Follow no longer; whoever watches is told."""
        if self._changes is not None:
            self._changes.close()

    async def _follow(self, changes: Watch) -> None:
        reason: Exception = Compacted("The auth server stops.")
        try:
            while True:
                self._tell(_news(await changes.next()))
        except CancelledError:
            pass  # it was stopped
        except (TeleportError, ValueError) as problem:
            reason = problem
        for watcher in {watcher for watchers in self._watchers.values() for watcher in watchers}:
            watcher.broken(reason)

    def _tell(self, news: News) -> None:
        if len(self._recent) == KEPT_CHANGES:
            self._oldest = self._recent[0].revision
        self._recent.append(news)
        if news.host is not None:
            self._servers.pop(news.host, None)
        for watcher in tuple(self._watchers[news.kind]):
            watcher.changed(news)

    def touched(self, key: HostKey) -> None:
        """The presence of a server changed."""
        self._servers.pop(key, None)
        for watcher in tuple(self._watchers[key.kind]):
            watcher.touched(key)

    def age(self) -> None:
        """Write servers anew from now on: in what was written, the time they were last seen gets old."""
        self._servers.clear()

    def listen(self, watcher: Watcher, kinds: Sequence[str]) -> int:
        """Have ``watcher`` told of everything from now on, that is after the revision which this answers."""
        for kind in kinds:
            self._watchers[kind][watcher] = None
        return self._backend.revision()

    def ignore(self, watcher: Watcher) -> None:
        """Tell ``watcher`` nothing any more."""
        for watchers in self._watchers.values():
            watchers.pop(watcher, None)

    def since(self, revision: int, kinds: Sequence[str]) -> list[News]:
        """The changes of some kinds after a revision.

        :raises Compacted: not all of them are kept.
        """
        if not self._oldest <= revision <= self._backend.revision():
            raise Compacted(f"Changes since revision {revision} are not kept; take a snapshot again.")
        return [news for news in self._recent if news.revision > revision and news.kind in kinds]

    async def snapshot(self, kinds: Sequence[str]) -> list[bytes]:
        """The JSON of all resources of the kinds but servers, of which there may be too many for one answer."""
        found: list[bytes] = []
        for kind in kinds:
            if kind == "role":
                found += [storing.encode(role.to_json()) for role in builtin.USER_ROLES.values()]
            if kind not in SERVER_KINDS:
                items = await storing.everything(self._backend, PREFIXES[kind])
                found += [_without_secrets(kind, item.value) for item in items]
        return found

    def servers(self, kinds: Sequence[str]) -> list[HostKey]:
        """The hosts that are listed under the kinds."""
        return [key for kind in kinds if kind in SERVER_KINDS for key in self._inventory.keys(kind)]

    def server(self, key: HostKey) -> bytes | None:
        """The JSON of a server as it is now, None once it was removed."""
        known = self._servers.get(key)
        if known is None:
            server = self._inventory.find(key)
            if server is None:
                return None
            known = self._servers[key] = storing.encode(server.to_json())
        return known


def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """:raises BadParameter: there are none, or one that cannot be watched."""
    if not kinds or not set(kinds) <= PREFIXES.keys():
        raise BadParameter(f"A watch is for some of the kinds {', '.join(PREFIXES)}, separated by commas.")
    return tuple(dict.fromkeys(kinds))


def _news(change: Change) -> News:
    kind = next(kind for kind, prefix in PREFIXES.items() if change.key.startswith(prefix))
    told = change.item is not None and kind not in SERVER_KINDS
    resource = _without_secrets(kind, change.item.value) if told and change.item is not None else None
    return News(change.revision, kind, change.key.rpartition("/")[2], resource)


def _without_secrets(kind: str, value: bytes) -> bytes:
    if kind == "cert_authority":
        return storing.encode(PublicAuthority.from_json(storing.parse(value)).to_json())
    if kind == "user":
        return storing.encode(User.from_json(storing.parse(value)).narrow().to_json())
    if kind == "access_request":
        return storing.encode(AccessRequest.from_json(storing.parse(value)).narrow().to_json())
    return value
