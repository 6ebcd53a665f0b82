"""The list of nodes and proxies: what they announce of themselves, apart from whether they are there.

A record is written, and watchers are told, only when it changes; a beat that says nothing new costs no write. What the
host's token bound wins over what the host announces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from attrs import define, evolve, field, frozen
from twisted.logger import Logger

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.hosts.hosts import Hosts, Registration
from teleport_conch.auth.hosts.labels import check_labels, check_printable
from teleport_conch.auth.hosts.node_index import NodeIndex
from teleport_conch.auth.hosts.presence import HostKey, PresenceTable
from teleport_conch.auth.state import storing
from teleport_conch.errors import AccessDenied, HostDuplicate, NotFound, PrincipalForbidden
from teleport_conch.resources.joining import Heartbeat, HeartbeatAnswer
from teleport_conch.resources.server import Server, State
from teleport_conch.storage.backend import IBackend

PREFIXES = {"node": "nodes/default/", "proxy": "proxies/"}
"""Where the records of each kind lie."""
PRESENCE = "presence/"
BATCH_ITEMS = 1000
MAX_ALARMS = 1000
"""Processes that were refused as duplicates and are remembered, so that each is reported once."""
_EVERYWHERE = ("0.0.0.0:", "[::]:")


@frozen
class _Known:
    """A record, and what it was made of, to see at once that a beat says nothing new."""

    announced: Server
    registration: Registration | None
    record: Server


@define(eq=False)
class Inventory:
    """All nodes and proxies.

    :ivar index: of the nodes, by label.
    :ivar _touched: told of each host whose presence changed.
    """

    _clocks: Clocks
    _backend: IBackend
    _hosts: Hosts
    _presence: PresenceTable
    _touched: Callable[[HostKey], None]
    _emit: Emit
    index: NodeIndex = field(init=False, factory=NodeIndex)
    _known: dict[HostKey, _Known] = field(init=False, factory=dict)
    _alarmed: dict[tuple[HostKey, str], None] = field(init=False, factory=dict)
    _log = Logger()

    async def load(self) -> None:
        """Read what the storage has; nothing is known of the presence of any of it yet."""
        seen = await self._load_presence()
        for kind, prefix in PREFIXES.items():
            for item in await storing.everything(self._backend, prefix):
                server = Server.from_json(storing.decode(item))
                key = HostKey(kind, server.name)
                self._list(key, _Known(server.announced(), None, server))
        for key in {*self._known, *(registration.key for registration in self._hosts)}:
            self._presence.expect(key, seen.get(key))

    async def _load_presence(self) -> dict[HostKey, float]:
        seen = {}
        for item in await storing.everything(self._backend, PRESENCE):
            kind, _, uuid = item.key.removeprefix(PRESENCE).partition("/")
            seen[HostKey(kind, uuid)] = float(item.value)
        return seen

    def all(self, kind: str) -> tuple[Server, ...]:
        """The servers of a kind with their presence, by nodename."""
        found = [self._present(key, known.record) for key, known in self._known.items() if key.kind == kind]
        return tuple(sorted(found, key=lambda server: (server.hostname, server.name)))

    def records(self) -> Iterable[Server]:
        """Of nodes and proxies alike, without their presence."""
        return (known.record for known in self._known.values())

    def find(self, key: HostKey) -> Server | None:
        known = self._known.get(key)
        return None if known is None else self._present(key, known.record)

    def get(self, key: HostKey) -> Server:
        """:raises NotFound: no such host is listed."""
        server = self.find(key)
        if server is None:
            raise NotFound(f"There is no {key.kind} {key.uuid[:64]!r}.")
        return server

    def _present(self, key: HostKey, record: Server) -> Server:
        return evolve(record, presence=self._presence.get(key))

    async def beat(self, registration: Registration, heartbeat: Heartbeat, address: str) -> HeartbeatAnswer:
        """A host announces itself.

        :param registration: the caller's own.
        :param address: where the beat came from, without the port.
        :raises AccessDenied: it announces another host.
        :raises HostDuplicate: another process beats for the same host; this is reported as an alarm.
        """
        key, server, known = registration.key, _placed(heartbeat.server, address), self._known.get(registration.key)
        news = known is None or known.announced != server or known.registration is not registration
        new = _Known(server, registration, _record(server, registration)) if news else known
        assert new is not None
        self._hear(registration, heartbeat.instance, address)
        if new is not known:
            await self._keep(key, known, new)
        return HeartbeatAnswer(self._clocks.wall(), registration.labels, self._presence.get(key).unreachable)

    async def _keep(self, key: HostKey, before: _Known | None, new: _Known) -> None:
        """Write a record. Memory is never behind the storage, so that a snapshot of it misses no change."""
        if before is not None and before.record == new.record:
            self._known[key] = new
            return
        self._list(key, new)
        try:
            await self._backend.put(PREFIXES[key.kind] + key.uuid, storing.encode(new.record.to_json()))
        except BaseException:
            self._strike(key)
            if before is not None:
                self._list(key, before)  # the next beat tries again
            raise
        if self._hosts.get(key) is None:
            await self._unlist(key)  # it was removed meanwhile

    def _hear(self, registration: Registration, instance: str, address: str) -> None:
        key = registration.key
        try:
            self._presence.beat(key, instance, address)
        except HostDuplicate as reason:
            if (key, instance) not in self._alarmed:
                self._alarm(registration, instance, address, reason)
            raise

    def _alarm(self, registration: Registration, instance: str, address: str, reason: HostDuplicate) -> None:
        if len(self._alarmed) >= MAX_ALARMS:
            self._alarmed.pop(next(iter(self._alarmed)))
        self._alarmed[registration.key, instance] = None
        fields = {**_named(registration.key, registration.node_name), "addr.remote": address, "error": reason.sentence}
        self._emit("node.duplicate", {**fields, "addr": self._presence.address(registration.key)})
        self._log.warn("Two machines use one identity: {sentence}", sentence=reason.sentence)

    def goodbye(self, key: HostKey, instance: str) -> None:
        """A host stops cleanly."""
        self._presence.goodbye(key, instance)

    def state_changed(self, key: HostKey, old: State, new: State) -> None:
        """Tell watchers, and keep an event of each host that came or went."""
        known = self._known.get(key)
        if known is None:
            return  # it joined and has not been heard of, so that nobody knows of it
        self._touched(key)
        if self._matters(key, old, new):
            fields = {**_named(key, known.record.hostname), "state": new.value}
            self._emit("node.state", {**fields, "last_seen": self._presence.get(key).last_seen_at})

    def _matters(self, key: HostKey, old: State, new: State) -> bool:
        """A restart of auth, after which nothing is known for a while, has brought and taken nobody."""
        if new is State.ONLINE:
            return old is State.OFFLINE
        if old is State.UNKNOWN:
            return (self._presence.get(key).last_seen_at or 0.0) > self._clocks.wall() - 2 * self._presence.window_s
        return new is State.OFFLINE

    def set_unreachable(self, key: HostKey, reason: str, by: str) -> None:
        """A proxy could not dial the host (``reason`` says why), or could (it is empty).

        :raises NotFound: no such host is listed.
        """
        server = self.get(key)
        if self._presence.set_unreachable(key, reason):
            self._touched(key)
            if reason:
                self._emit(
                    "node.unreachable",
                    {**_named(key, server.hostname), "addr": server.addr, "error": reason, "user": by},
                )

    async def remove(self, key: HostKey, by: str) -> None:
        """Take a host off the list and bar its identity until it joins again.

        :param by: who wants it, for the event.
        :raises NotFound: there is neither such a host nor a registration of it.
        """
        registration = self._hosts.get(key)
        if registration is None and key not in self._known:
            raise NotFound(f"There is no {key.kind} {key.uuid[:64]!r}.")
        name = registration.node_name if registration else self._known[key].record.hostname
        await self._hosts.remove(key)
        await self._unlist(key)
        self._emit("node.remove", {**_named(key, name), "user": by})

    async def remove_offline(self, kind: str, by: str) -> tuple[str, ...]:
        """Remove the hosts of a kind that are offline; the answer is their UUIDs."""
        offline = [key for key in self._presence if key.kind == kind and not self._presence.is_live(key)]
        for key in offline:
            with suppress(NotFound):
                await self.remove(key, by)
        return tuple(key.uuid for key in offline)

    async def drop_old(self, kept_s: float) -> None:
        """Take off the list what has been offline for so long; it is still registered, and can come back."""
        before = self._clocks.wall() - kept_s
        for key in self._presence.offline_since_before(before):
            registration = self._hosts.get(key)
            joined_at = registration.join.joined_at if registration else 0.0
            if (self._presence.get(key).last_seen_at or joined_at) < before:
                await self._unlist(key)

    async def _unlist(self, key: HostKey) -> None:
        self._presence.forget(key)
        self._strike(key)
        for path in (PREFIXES[key.kind] + key.uuid, _presence_path(key)):
            with suppress(NotFound):
                await self._backend.delete(path)

    async def flush(self) -> None:
        """Write when hosts were last seen, in few batches: a write for each beat would cost too much."""
        unsaved = self._presence.take_unsaved()
        items = [(_presence_path(key), f"{at:.3f}".encode(), None) for key, at in unsaved.items()]
        try:
            for start in range(0, len(items), BATCH_ITEMS):
                await self._backend.put_many(items[start : start + BATCH_ITEMS])
        except BaseException:
            self._presence.not_saved(unsaved)
            raise

    def _list(self, key: HostKey, known: _Known) -> None:
        self._known[key] = known
        self.index.put(key, known.record)

    def _strike(self, key: HostKey) -> None:
        if self._known.pop(key, None) is not None:
            self.index.drop(key)

    def record(self, key: HostKey) -> Server | None:
        """A host as it is listed, without its presence."""
        known = self._known.get(key)
        return None if known is None else known.record

    def keys(self, kind: str) -> list[HostKey]:
        """The listed hosts of a kind."""
        return [key for key in self._known if key.kind == kind]


def _placed(server: Server, address: str) -> Server:
    """What a host announces that listens on every interface and names no address: it is where it beats from."""
    addr, web_addr = _reachable(server.addr, address), _reachable(server.web_addr, address)
    if (addr, web_addr) == (server.addr, server.web_addr):
        return server
    return evolve(server, addr=addr, web_addr=web_addr)


def _reachable(announced: str, address: str) -> str:
    for everywhere in _EVERYWHERE:
        if announced.startswith(everywhere):
            host = f"[{address}]" if ":" in address else address
            return f"{host}:{announced.removeprefix(everywhere)}"
    return announced


def _record(server: Server, registration: Registration) -> Server:
    """What is kept of an announcement, once the host may say all that."""
    key = registration.key
    if (server.kind, server.name) != (key.kind, key.uuid):
        raise AccessDenied(f"The {key.kind} {key.uuid} may announce itself only.")
    if server.hostname != registration.node_name:
        raise PrincipalForbidden(
            f"The {key.kind} {key.uuid} joined as {registration.node_name!r} and announces itself as"
            f" {server.hostname[:64]!r}. It has to renew its certificates under the new name first."
        )
    check_labels({name: label.result for name, label in server.cmd_labels.items()})
    commands = (word for label in server.cmd_labels.values() for word in label.command)
    addresses = (server.addr, *server.public_addrs, server.web_addr, *server.web_public_addrs)
    check_printable("The record of a host", server.version, *addresses, *commands)
    labels = check_labels({**server.labels, **registration.labels})
    return evolve(server, labels=labels, join=registration.join)


def _named(key: HostKey, hostname: str) -> dict[str, object]:
    return {"node_id": key.uuid, "node_name": hostname}


def _presence_path(key: HostKey) -> str:
    return f"{PRESENCE}{key.kind}/{key.uuid}"
