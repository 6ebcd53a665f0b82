"""``python -m bench.registered DATA_DIR COUNT``: a store that holds so many nodes which joined earlier.

They are written as auth writes them, into the store of an auth service that is not running yet, which joining them
one by one would take minutes for.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from bench.cluster import CLUSTER, announced
from teleport_conch.auth.hosts.hosts import PREFIX, Registration
from teleport_conch.auth.hosts.inventory import PREFIXES
from teleport_conch.resources.server import JoinRecord
from teleport_conch.storage.sqlite import SQLiteBackend
from teleport_conch.storage.writer import ThreadedReactor

BATCH_NODES = 1000
FIRST_WAVE = 20
"""Nodes with a label that the others do not have."""
DAY_S = 86_400.0

Stored = tuple[str, bytes, float | None]


def items(number: int, now: float) -> Iterator[Stored]:
    """What auth keeps of one node: its registration and its record."""
    host_uuid, name = str(uuid.uuid4()), f"web{number:05}"
    registration = Registration(
        host_uuid=host_uuid,
        role="Node",
        node_name=name,
        cluster_name=CLUSTER,
        principals=(),
        dns_names=(),
        labels={},
        name_bound=False,
        principals_bound=False,
        join=JoinRecord("bench", "bench", "127.0.0.1", now - DAY_S),
        batch="",
        expires_at=now + 29 * DAY_S,
    )
    yield f"{PREFIX}{host_uuid}/node", json.dumps(registration.to_json()).encode(), registration.expires_at
    record = announced(host_uuid, name, number)
    record = evolve(record, labels={**record.labels, "wave": "first" if number < FIRST_WAVE else "later"})
    yield PREFIXES["node"] + host_uuid, json.dumps(record.to_json()).encode(), None


async def fill(reactor: ThreadedReactor, data_dir: Path, count: int) -> None:
    folder = data_dir / "backend"
    folder.mkdir(mode=0o700, parents=True)
    data_dir.chmod(0o700)
    backend = await SQLiteBackend.open(reactor, folder / "sqlite.db")
    now = time.time()
    for start in range(0, count, BATCH_NODES):
        numbers = range(start, min(start + BATCH_NODES, count))
        await backend.put_many([item for number in numbers for item in items(number, now)])
    await backend.close()


def main(reactor: object) -> Deferred[None]:
    data_dir, count = sys.argv[1:]
    return Deferred.fromCoroutine(fill(cast(ThreadedReactor, reactor), Path(data_dir), int(count)))


if __name__ == "__main__":
    react(main)
