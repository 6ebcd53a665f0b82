"""Where plugins keep what they have to find again about access requests, for as long as these last."""

from __future__ import annotations

from contextlib import suppress

from attrs import define

from teleport_conch.auth.limits import MAX_ACCESS_REQUESTS
from teleport_conch.auth.people.access_requests import AccessRequests
from teleport_conch.auth.state.shelf import Shelf
from teleport_conch.errors import CompareFailed, NotFound
from teleport_conch.resources.plugin_data import Data, PluginData
from teleport_conch.storage.backend import IBackend

PREFIX = "plugin_data/access_request/"


def open_shelf(backend: IBackend) -> Shelf[PluginData]:
    """Where it is."""
    read = PluginData.from_json
    return Shelf("plugin data", PREFIX, backend, read, MAX_ACCESS_REQUESTS, lambda data: data.expires_at)


@define(eq=False)
class PluginDataOfRequests:
    """That of all requests."""

    shelf: Shelf[PluginData]
    _requests: AccessRequests

    def get(self, name: str) -> PluginData:
        """What is kept about a request, which may be nothing. :raises NotFound: there is no such request."""
        request = self._requests.get(name).value
        found = self.shelf.find(name)
        kept = {} if found is None else found.value.entries
        return PluginData(name, kept, request.expires_at)

    async def update(self, name: str, plugin: str, expect: Data, put: Data) -> PluginData:
        """Put something there.

        :raises NotFound: there is no such request.
        :raises CompareFailed: something else is there than is expected.
        :raises BadParameter: there would be too much.
        """
        before, stored = self.get(name), self.shelf.find(name)
        after = before.updated(plugin, expect, put)
        if stored is None:
            await self.shelf.create(after)
        else:
            await self.shelf.replace(after, stored.revision)
        return after

    async def last(self, name: str) -> None:
        """The request was decided, and ends at another time now; that it was does not depend on what is kept."""
        stored = self.shelf.find(name)
        if stored is not None:
            # A plugin that writes at this moment was first; its next update has the new time.
            with suppress(CompareFailed, NotFound):
                await self.shelf.replace(self.get(name), stored.revision)

    async def forget(self, name: str) -> None:
        """The request was removed."""
        with suppress(NotFound):
            await self.shelf.remove(name)
