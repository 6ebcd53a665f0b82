"""Bytes that are nearly right: seeds with something flipped, cut, doubled, or counted wrongly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

MAX_BYTES = 1 << 16
MAX_STEPS = 4

_COUNTS = (0, 1, 3, 4, 5, 255, 256, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFC, 0xFFFF_FFFF)


def mutated(seeds: Sequence[bytes], random: Random) -> bytes:
    """A seed after one to four steps, and MAX_BYTES of it at most."""
    data = bytearray(random.choice(seeds))
    for _ in range(random.randint(1, MAX_STEPS)):
        random.choice(_STEPS)(data, random)
        if random.random() < 0.1:
            data += random.choice(seeds)
    return bytes(data[:MAX_BYTES])


def _place(data: bytearray, random: Random) -> int:
    return random.randrange(len(data)) if data else 0


def _flip(data: bytearray, random: Random) -> None:
    if data:
        data[_place(data, random)] ^= 1 << random.randrange(8)


def _replace(data: bytearray, random: Random) -> None:
    if data:
        data[_place(data, random)] = random.randrange(256)


def _cut(data: bytearray, random: Random) -> None:
    del data[_place(data, random) :]


def _remove(data: bytearray, random: Random) -> None:
    at = _place(data, random)
    del data[at : at + random.randint(1, 16)]


def _insert(data: bytearray, random: Random) -> None:
    at = _place(data, random)
    data[at:at] = random.randbytes(random.randint(1, 16))


def _double(data: bytearray, random: Random) -> None:
    at = _place(data, random)
    data[at:at] = data[at : at + random.randint(1, 64)]


def _count(data: bytearray, random: Random) -> None:
    """Four bytes become a number that lengths and counts should fear."""
    at = _place(data, random)
    data[at : at + 4] = random.choice(_COUNTS).to_bytes(4, "big")


_STEPS: tuple[Callable[[bytearray, Random], None], ...] = (_flip, _replace, _cut, _remove, _insert, _double, _count)
