"""The store in memory keeps the contract."""

from __future__ import annotations

from twisted.internet.task import Clock

from teleport_conch.storage.backend import IBackend
from teleport_conch.storage.memory import MemoryBackend
from tests.storage import contract, following


class MemoryStore(contract.StoreTestCase):
    async def make_store(self) -> IBackend:
        self.clock = Clock()
        return MemoryBackend(self.clock)


class ItemTests(MemoryStore, contract.ItemContract):
    """Reading, writing, races."""


class ExpiryTests(MemoryStore, contract.ExpiryContract):
    """Items that end by themselves."""


class RangeTests(MemoryStore, contract.RangeContract):
    """Lists of items."""


class BoundsTests(MemoryStore, contract.BoundsContract):
    """What a store refuses to hold."""


class WatchTests(MemoryStore, following.WatchContract):
    """Following changes."""


class CloseTests(MemoryStore, following.CloseContract):
    """The end of a store."""
