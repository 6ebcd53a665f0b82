"""The resources of a cluster as a host keeps them: in memory, and on disk behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from twisted.logger import Logger

from teleport_conch.client.copy_on_disk import CopyOnDisk
from teleport_conch.client.kinds import GRANTING, REMOVABLE, SERVERS, Resource, lasting, read
from teleport_conch.errors import Compacted, ConnectionProblem, TeleportError

Kind = TypeVar("Kind", bound=Resource)


class Mirrored:
    """Resources of some kinds. What changes them answers the kinds of which something is another than before.

    :param kinds: some of :data:`~teleport_conch.client.kinds.READERS`; others are passed over.
    :ivar disk: keeps them over a restart.
    """

    _log = Logger()

    def __init__(self, kinds: Sequence[str], disk: CopyOnDisk) -> None:
        self.disk = disk
        self._known: dict[str, dict[str, Resource]] = {kind: {} for kind in kinds}
        self._listed: dict[str, tuple[Resource, ...]] = {}
        self._unconfirmed: set[tuple[str, str]] = set()

    def all(self, kind: str, type_: type[Kind]) -> tuple[Kind, ...]:
        """Those of a kind, by their names."""
        if kind not in self._listed:
            self._listed[kind] = tuple(value for _, value in sorted(self._known.get(kind, {}).items()))
        return tuple(each for each in self._listed[kind] if isinstance(each, type_))

    def begin(self, items: object) -> set[str]:
        """A snapshot: what it lacks is gone, at once or, of servers, once it is not :meth:`confirmed` soon.

        :raises ConnectionProblem: it is none.
        """
        if not isinstance(items, list):
            raise ConnectionProblem("The auth server sent a snapshot that is not a list.")
        self._unconfirmed = {(kind, name) for kind, names in self._known.items() for name in names}
        changed = {kind for item in items for kind in self.put(item)}
        return changed | self._drop([each for each in self._unconfirmed if each[0] not in SERVERS])

    def confirmed(self) -> set[str]:
        """All that there is has been said since the snapshot."""
        return self._drop(list(self._unconfirmed))

    def put(self, resource: object) -> set[str]:
        """A resource's JSON, new or changed."""
        try:
            kind, name, value = read(resource)
        except TeleportError as reason:
            self._log.error("Auth sent a resource that cannot be read: {reason}", reason=reason.sentence)
            return self._forget(resource)
        if kind not in self._known:
            return set()
        self._unconfirmed.discard((kind, name))
        before = self._known[kind].get(name)
        if before == value:
            return set()
        self._known[kind][name] = value
        if before is None or lasting(before) != lasting(value):
            self.disk.keep(kind, name, resource)
        return self._changed({kind})

    def delete(self, kind: str, name: str) -> set[str]:
        """:raises Compacted: it is of a kind of which none is removed while the cluster goes on."""
        if kind not in REMOVABLE:
            raise Compacted(f"A resource of the kind {kind} was deleted; a new snapshot tells what is left.")
        return self._drop([(kind, name)])

    async def load(self) -> tuple[float | None, set[str]]:
        """What the disk has of before: when auth was heard last, in POSIX seconds, and the kinds that there are."""
        heard_at, resources = await self.disk.load()
        for resource in resources:
            try:
                kind, name, value = read(resource)
            except TeleportError as reason:
                self._log.warn("The copy on disk holds what cannot be read: {reason}", reason=reason.sentence)
                continue
            if kind in self._known:
                self._known[kind][name] = lasting(value)
        return heard_at, self._changed({kind for kind, known in self._known.items() if known})

    def _forget(self, resource: object) -> set[str]:
        """What gives somebody something and cannot be read any more gives it no longer."""
        found = resource if isinstance(resource, Mapping) and resource.get("kind") in GRANTING else {}
        metadata = found.get("metadata")
        name = metadata.get("name") if isinstance(metadata, Mapping) else None
        return self._drop([(found["kind"], name)]) if isinstance(name, str) else set()

    def _drop(self, gone: Iterable[tuple[str, str]]) -> set[str]:
        changed = set()
        for kind, name in gone:
            self._unconfirmed.discard((kind, name))
            if self._known.get(kind, {}).pop(name, None) is not None:
                self.disk.drop(kind, name)
                changed.add(kind)
        return self._changed(changed)

    def _changed(self, kinds: set[str]) -> set[str]:
        for kind in kinds:
            self._listed.pop(kind, None)
        return kinds
