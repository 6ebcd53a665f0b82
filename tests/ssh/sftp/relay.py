"""A program between a client and a server: passes on both directions, and keeps them in the order in which they came.

``python relay.py FILE SERVER...``; what is kept are records of ``c`` or ``s``, a uint32 length, and data.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator


def relay(path: str, argv: list[str]) -> None:
    with open(path, "wb") as kept, subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None and server.stdout is not None
        ways = {0: (b"c", server.stdin.fileno()), server.stdout.fileno(): (b"s", 1)}
        while server.stdout.fileno() in ways:
            for source in select.select(list(ways), [], [])[0]:
                side, target = ways[source]
                data = os.read(source, 1 << 16)
                kept.write(side + len(data).to_bytes(4, "big") + data)
                if not data:
                    del ways[source]
                    if side == b"c":
                        server.stdin.close()
                while data:
                    data = data[os.write(target, data) :]


def records(kept: bytes) -> Iterator[tuple[bool, bytes]]:
    """Whether it came from the client, and what came."""
    at = 0
    while at < len(kept):
        end = at + 5 + int.from_bytes(kept[at + 1 : at + 5], "big")
        yield kept[at : at + 1] == b"c", kept[at + 5 : end]
        at = end


if __name__ == "__main__":
    relay(sys.argv[1], sys.argv[2:])
