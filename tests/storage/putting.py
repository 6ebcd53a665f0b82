"""A program that puts one key after the other and prints each that was answered, until somebody kills it."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path
from typing import cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from teleport_conch.storage.sqlite import SQLiteBackend
from teleport_conch.storage.writer import ThreadedReactor


async def main(path: str, begin: str) -> None:
    store = await SQLiteBackend.open(cast(ThreadedReactor, reactor), Path(path))
    for number in count(int(begin)):
        key = f"k/{number}"
        await store.put(key, key.encode() * 100)
        sys.stdout.write(f"{key}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    react(lambda _, *arguments: Deferred.fromCoroutine(main(*arguments)), sys.argv[1:])
