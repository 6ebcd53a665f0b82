"""Keys for every cipher and MAC."""

from __future__ import annotations

from collections.abc import Iterator

from teleport_conch.ssh.transport.ciphers import CIPHERS, MACS, Keys, key_sizes


def combinations() -> Iterator[tuple[bytes, bytes]]:
    """Every cipher, with every MAC where it needs one."""
    for cipher, kind in CIPHERS.items():
        for mac in MACS if kind.family == "CTR" else (b"",):
            yield cipher, mac


def some_keys(cipher: bytes, mac: bytes, first: int = 1) -> Keys:
    """Keys for a combination; others for another ``first``."""
    sizes = key_sizes(cipher, mac)
    return Keys(cipher, mac, *(bytes((first + 7 * each + at) % 256 for at in range(each)) for each in sizes))
