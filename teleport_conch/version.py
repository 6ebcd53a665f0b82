"""Which version of the program this is."""

from __future__ import annotations

from importlib import metadata

VERSION = metadata.version("teleport-conch")


def is_older(version: str, least: str) -> bool:
    """Whether a version comes before another one, both as ``1.2.3``; what is not of that form is older than nothing."""
    try:
        return _numbers(version) < _numbers(least)
    except ValueError:
        return False


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
