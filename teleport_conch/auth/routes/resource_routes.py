"""The routes that every kind of stored resource has: list, read, create, replace, remove, each with revisions.

A resource is answered with its revision as ``metadata.id``. Sent back with one, it replaces that revision only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from attrs import frozen
from twisted.internet.defer import DeferredLock

from teleport_conch.auth.routes.calls import Answer, Call, Needs
from teleport_conch.auth.routes.gate import Gate
from teleport_conch.auth.state.shelf import Named, Shelf
from teleport_conch.errors import BadParameter
from teleport_conch.resources.fields import Fields

MAX_REVISION_DIGITS = 18

_Value = TypeVar("_Value", bound=Named)


@frozen
class Change(Generic[_Value]):
    """A change that somebody wants to make.

    :ivar name: of the resource.
    :ivar before: None where there is nothing of that name yet. ``after``: None where it is to be removed.
    """

    call: Call
    name: str
    before: _Value | None
    after: _Value | None


@frozen
class Kind(Generic[_Value]):
    """One kind of resource.

    :ivar path: of the list of them.
    :ivar read: makes a resource of what a caller sent.
    :ivar check: raises what speaks against a change, while nobody else makes one.
    :ivar changed: is told of a change that was made.
    :ivar writing: held for each change.
    """

    name: str
    path: str
    shelf: Shelf[_Value]
    read: Callable[[Call, object], _Value]
    check: Callable[[Change[_Value]], Awaitable[None]]
    changed: Callable[[Change[_Value]], Awaitable[None]]
    writing: DeferredLock

    async def create(self, call: Call) -> Answer:
        """A resource that there must not be yet."""
        value = self.read(call, call.body())
        async with _held(self.writing):
            change = Change(call, value.name, None, value)
            await self.check(change)
            stored = await self.shelf.create(value)
        await self.changed(change)
        return stored.to_json()

    async def replace(self, call: Call, name: str) -> Answer:
        """A resource in place of one."""
        body = call.body()
        value, revision = self.read(call, body), revision_in(body, self.name)
        if value.name != name:
            raise BadParameter(f"The {self.name} is called {value.name!a} in the body, and {name[:255]!a} in the path.")
        async with _held(self.writing):
            change = Change(call, name, self._find(name), value)
            await self.check(change)
            stored = await self.shelf.replace(value, revision)
        await self.changed(change)
        return stored.to_json()

    async def remove(self, call: Call, name: str) -> Answer:
        """Take a resource away; with ``?id=``, only if it is still of that revision."""
        async with _held(self.writing):
            change = Change(call, name, self._find(name), None)
            await self.check(change)
            await self.shelf.remove(name, revision_of(call.query("id")))
        await self.changed(change)
        return None

    def found(self, parts: Mapping[str, str]) -> Mapping[str, object] | None:
        """What conditions of roles look at: the resource that a path names, as it is stored."""
        stored = self.shelf.find(parts["name"])
        return None if stored is None else stored.to_json()

    def _find(self, name: str) -> _Value | None:
        stored = self.shelf.find(name)
        return None if stored is None else stored.value


class _held:  # noqa: N801 - reads as what it does
    """``async with`` for Twisted's lock."""

    def __init__(self, lock: DeferredLock) -> None:
        self._lock = lock

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, *reason: object) -> None:
        self._lock.release()


def add_writing(gate: Gate, kind: Kind[_Value]) -> None:
    """The routes that change resources of a kind."""

    @gate.route("POST", kind.path, Needs("create", kind.name))
    async def create(call: Call) -> Answer:
        return await kind.create(call)

    @gate.route("PUT", f"{kind.path}/<name>", Needs("update", kind.name, resource=kind.found))
    async def replace(call: Call, name: str) -> Answer:
        return await kind.replace(call, name)

    @gate.route("DELETE", f"{kind.path}/<name>", Needs("delete", kind.name, resource=kind.found))
    async def remove(call: Call, name: str) -> Answer:
        return await kind.remove(call, name)


def add_reading(gate: Gate, kind: Kind[_Value]) -> None:
    """The routes that read them."""

    @gate.route("GET", kind.path, Needs("list", kind.name))
    async def every(call: Call) -> Answer:
        return {"items": [stored.to_json() for stored in kind.shelf.all()]}

    @gate.route("GET", f"{kind.path}/<name>", Needs("read", kind.name, resource=kind.found))
    async def one(call: Call, name: str) -> Answer:
        return kind.shelf.get(name).to_json()


def revision_in(document: object, kind: str) -> int | None:
    """The revision that a document says it is based on; None where it says nothing.

    :raises BadParameter: it is none.
    """
    return revision_of(Fields(document, kind).child("metadata").text("id", ""))


def revision_of(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > MAX_REVISION_DIGITS:
        raise BadParameter("metadata.id is the revision that the change is based on, as it was read; or leave it out.")
    return int(text)
