"""Between resources and the bytes under a key."""

from __future__ import annotations

import json
from collections.abc import Mapping

from teleport_conch.storage.backend import IBackend, Item

PAGE_ITEMS = 1000


_compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def encode(value: Mapping[str, object]) -> bytes:
    """JSON in its shortest form, as it is stored and answered."""
    return _compact(value).encode()


def encode_with(value: Mapping[str, object], name: str, text: bytes) -> bytes:
    """The same for ``value``, which is not empty, with one more member whose JSON is known."""
    return b'%s,"%s":%s}' % (encode(value)[:-1], name.encode("ascii"), text)


def parse(value: bytes) -> object:
    """What :func:`encode` was given."""
    parsed: object = json.loads(value)
    return parsed


def decode(item: Item) -> object:
    return parse(item.value)


async def everything(backend: IBackend, prefix: str) -> list[Item]:
    """All items below a prefix, read page by page."""
    found, last = list[Item](), ""
    while True:
        page = await backend.range(prefix, start_after=last, limit=PAGE_ITEMS)
        found.extend(page)
        if len(page) < PAGE_ITEMS:
            return found
        last = page[-1].key
