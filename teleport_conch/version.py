"""Which version of the program this is."""

from __future__ import annotations

from importlib import metadata

VERSION = metadata.version("teleport-conch")
