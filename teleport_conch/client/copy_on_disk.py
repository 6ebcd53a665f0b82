"""The copy of a cluster's resources that outlives a restart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice
from urllib.parse import quote

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from teleport_conch.errors import NotFound, TeleportError
from teleport_conch.resources.fields import Fields
from teleport_conch.storage.backend import IBackend

#: Resources that are written, or read, at once.
BATCH_ITEMS = 500

_PREFIX = "cache/"
_HEARD = "cache/heard"


@define(eq=False)
class CopyOnDisk:
    """Resources as JSON below ``cache/`` in a storage, written in batches, behind the back of whoever changes them.

    :param cluster_name: a copy of another cluster is thrown away when it is loaded; empty for any.
    """

    _backend: IBackend
    _cluster_name: str
    _dirty: dict[str, bytes | None] = field(init=False, factory=dict)
    _lock: DeferredLock = field(init=False, factory=DeferredLock)
    _log = Logger()

    def heard(self, at: float) -> None:
        """Note when auth was heard last, in POSIX seconds."""
        self._change(_HEARD, _encoded(at))

    def keep(self, kind: str, name: str, resource: object) -> None:
        """Write a resource's JSON, soon."""
        self._change(_path(kind, name), _encoded(resource))

    def drop(self, kind: str, name: str) -> None:
        """Delete a resource, soon."""
        self._change(_path(kind, name), None)

    def _change(self, key: str, value: bytes | None) -> None:
        self._dirty[key] = value
        if not self._lock.locked:  # or else the one who holds it goes on with this
            Deferred.fromCoroutine(self.flush()).addErrback(
                lambda reason: self._log.failure("The copy of the cluster was not written.", failure=reason)
            )

    async def flush(self) -> None:
        """Write what has changed. A failure is logged, and the next change tries again."""
        await self._lock.acquire()
        try:
            while self._dirty:
                batch = dict(islice(self._dirty.items(), BATCH_ITEMS))
                self._dirty = {key: value for key, value in self._dirty.items() if key not in batch}
                if not await self._written(batch):
                    self._dirty = {**batch, **self._dirty}
                    return
        finally:
            self._lock.release()

    async def _written(self, batch: Mapping[str, bytes | None]) -> bool:
        try:
            changed = [(key, value, None) for key, value in batch.items() if value is not None]
            if changed:
                await self._backend.put_many(changed)
            for key in [key for key, value in batch.items() if value is None]:
                with suppress(NotFound):
                    await self._backend.delete(key)
        except TeleportError as reason:
            self._log.error("The copy of the cluster cannot be written: {reason}", reason=reason.sentence)
            return False
        return True

    async def load(self) -> tuple[float | None, list[object]]:
        """When auth was heard last, in POSIX seconds, and the resources that were kept then."""
        try:
            stored = await self._read()
        except (TeleportError, ValueError, RecursionError) as reason:
            self._log.error("The copy of the cluster cannot be read: {reason}", reason=str(reason))
            return None, []
        heard_at = stored.pop(_HEARD, None)
        if self._is_foreign(stored.values()):
            for key in (_HEARD, *stored):
                self._change(key, None)
            return None, []
        return (float(heard_at) if isinstance(heard_at, int | float) else None), list(stored.values())

    async def _read(self) -> dict[str, object]:
        stored: dict[str, object] = {}
        last, page_items = "", 1
        while page_items:
            page = await self._backend.range(_PREFIX, start_after=last, limit=BATCH_ITEMS)
            stored.update((item.key, json.loads(item.value)) for item in page)
            page_items = len(page)
            last = page[-1].key if page else last
        return stored

    def _is_foreign(self, resources: Iterable[object]) -> bool:
        """Whether the authorities that are kept are those of another cluster."""
        found = [each for each in resources if isinstance(each, Mapping) and each.get("kind") == "cert_authority"]
        clusters = {Fields(each, "cert_authority").child("metadata").text("name", default="") for each in found}
        return bool(self._cluster_name) and not clusters <= {self._cluster_name}


def _path(kind: str, name: str) -> str:
    return f"{_PREFIX}{kind}/{quote(name, safe='')}.json"


def _encoded(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
