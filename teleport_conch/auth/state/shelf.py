"""Resources of one kind, in memory as they are stored, so that a decision about a call waits for nothing.

Whoever writes the storage, this program or another one, what is known here follows it. A write that was answered can be
read here already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from teleport_conch.auth.state import storing
from teleport_conch.errors import (
    AlreadyExists,
    BadParameter,
    Compacted,
    CompareFailed,
    LimitExceeded,
    NotFound,
    StorageCorrupt,
    StorageError,
    TeleportError,
)
from teleport_conch.storage.backend import IBackend, Item, Watch

MAX_NAME_CHARS = 255


class Named(Protocol):
    """What can be kept here."""

    @property
    def name(self) -> str:
        """Unique among those of its kind."""

    def to_json(self) -> dict[str, object]:
        """What is stored, secrets included."""


_Value = TypeVar("_Value", bound=Named)


def _never(value: object) -> float | None:
    return None


@frozen
class Stored(Generic[_Value]):
    """A resource, and the revision of the storage that wrote it."""

    value: _Value
    revision: int

    def to_json(self) -> dict[str, object]:
        """The resource with its revision as ``metadata.id``, by which an update says what it is based on."""
        return with_revision(self.value.to_json(), self.revision)


def with_revision(resource: Mapping[str, object], revision: int) -> dict[str, object]:
    """The JSON of a resource, with its revision as ``metadata.id``."""
    metadata = resource.get("metadata")
    return {**resource, "metadata": {**(metadata if isinstance(metadata, Mapping) else {}), "id": str(revision)}}


@define(eq=False)
class Shelf(Generic[_Value]):
    """All stored resources of one kind. :meth:`load` is awaited first; :meth:`close` ends the following.

    :ivar kind: how sentences call one of them.
    :ivar prefix: where they lie.
    :ivar limit: how many there may be.
    :ivar generation: grows with each change, so that what was made of the former ones can be made again.
    """

    kind: str
    prefix: str
    _backend: IBackend
    _read: Callable[[object], _Value]
    limit: int
    _expiry: Callable[[_Value], float | None] = _never
    generation: int = field(init=False, default=0)
    _known: dict[str, Stored[_Value]] = field(init=False, factory=dict)
    _values: dict[str, _Value] = field(init=False, factory=dict)
    _listeners: dict[Callable[[], None], None] = field(init=False, factory=dict)
    _changes: Watch | None = field(init=False, default=None)
    _log = Logger()

    # What is known.

    @property
    def values(self) -> Mapping[str, _Value]:
        """All of them by name, as they are at each moment."""
        return self._values

    def all(self) -> list[Stored[_Value]]:
        """Sorted by name."""
        return [self._known[name] for name in sorted(self._known)]

    def find(self, name: str) -> Stored[_Value] | None:
        return self._known.get(name)

    def get(self, name: str) -> Stored[_Value]:
        """:raises NotFound: there is none of that name."""
        found = self._known.get(name)
        if found is None:
            raise NotFound(f"There is no {self.kind} {name[:MAX_NAME_CHARS]!a}.")
        return found

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called after each change; the answer, called, ends that."""
        self._listeners[callback] = None
        return lambda: self._listeners.pop(callback, None)

    # What is written.

    async def create(self, value: _Value) -> Stored[_Value]:
        """:raises AlreadyExists: there is one of that name. :raises LimitExceeded: there are too many."""
        key, body = self._key(value.name), storing.encode(value.to_json())
        if len(self._known) >= self.limit:
            raise LimitExceeded(f"There are {self.limit} resources of the kind {self.kind}; remove some first.")
        try:
            item = await self._backend.create(key, body, self._expiry(value))
        except AlreadyExists:
            raise AlreadyExists(f"The {self.kind} {value.name!a} exists already.") from None
        return Stored(value, item.revision)

    async def replace(self, value: _Value, revision: int | None = None) -> Stored[_Value]:
        """:param revision: on which the change is based; None for whatever there is.

        :raises NotFound: there is none of that name. :raises CompareFailed: it is of another revision by now.
        """
        current = self.get(value.name)
        key, body, expires_at = self._key(value.name), storing.encode(value.to_json()), self._expiry(value)
        with_check = current.revision if revision is None else revision
        try:
            item = await self._backend.compare_and_swap(key, with_check, body, expires_at)
        except CompareFailed:
            raise self._changed_meanwhile(value.name) from None
        return Stored(value, item.revision)

    async def remove(self, name: str, revision: int | None = None) -> _Value:
        """Remove one and answer what it was. It raises what :meth:`replace` raises."""
        current = self.get(name)
        try:
            await self._backend.delete(self._key(name), revision)
        except CompareFailed:
            raise self._changed_meanwhile(name) from None
        return current.value

    def _changed_meanwhile(self, name: str) -> CompareFailed:
        return CompareFailed(
            f"The {self.kind} {name!a} was changed meanwhile. Read it again, and make your change to what it is now."
        )

    def _key(self, name: str) -> str:
        if not 0 < len(name) <= MAX_NAME_CHARS or "/" in name or name in (".", "..") or not name.isprintable():
            raise BadParameter(
                f"{name[:MAX_NAME_CHARS]!a} cannot be the name of a {self.kind}: it has 1 to {MAX_NAME_CHARS}"
                " characters, none of them a slash or a control character."
            )
        return self.prefix + name

    # How it follows the storage.

    async def load(self) -> None:
        """Read what there is, and follow it from then on.

        :raises StorageCorrupt: something stored cannot be read.
        """
        changes = self._changes = self._backend.watch([self.prefix], self._backend.revision())
        await self._read_all()
        Deferred.fromCoroutine(self._follow(changes)).addErrback(self._failed)

    def close(self) -> None:
        """Follow no longer."""
        if self._changes is not None:
            self._changes.close()

    async def _read_all(self) -> None:
        items = await storing.everything(self._backend, self.prefix)
        self._known = {item.key.removeprefix(self.prefix): self._stored(item) for item in items}
        self._values = {name: stored.value for name, stored in self._known.items()}
        self._changed()

    def _stored(self, item: Item) -> Stored[_Value]:
        try:
            return Stored(self._read(storing.decode(item)), item.revision)
        except (TeleportError, ValueError) as reason:
            raise StorageCorrupt(f"The {self.kind} under {item.key!a} cannot be read: {reason}") from reason

    async def _follow(self, changes: Watch) -> None:
        while True:
            try:
                change = await changes.next()
            except (Compacted, LimitExceeded):
                self._changes = changes = self._backend.watch([self.prefix], self._backend.revision())
                await self._read_all()
                continue
            self._take(change.key.removeprefix(self.prefix), change.item)

    def _take(self, name: str, item: Item | None) -> None:
        self._known.pop(name, None)
        self._values.pop(name, None)
        if item is not None:
            try:
                stored = self._known[name] = self._stored(item)
                self._values[name] = stored.value
            except StorageCorrupt as reason:
                self._log.error("{reason}", reason=reason.sentence)
        self._changed()

    def _changed(self) -> None:
        self.generation += 1
        for listener in tuple(self._listeners):
            try:
                listener()
            except Exception:  # noqa: BLE001 - one who listens is not to cut the others off
                self._log.failure("A listener for changes of the kind {kind} failed.", kind=self.kind)

    def _failed(self, failure: object) -> None:
        reason = getattr(failure, "value", None)
        if not isinstance(reason, CancelledError | StorageError):  # which are what the end of the service looks like
            self._log.error("Changes of the kind {kind} are not followed any more: {why}", kind=self.kind, why=failure)
