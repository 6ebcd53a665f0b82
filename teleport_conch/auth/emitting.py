"""How the parts of the service say that something happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Emit(Protocol):
    """Writes one event of :mod:`teleport_conch.audit.catalogue`. Never fails: what cannot be written is logged.

    The answer is False then, for whoever has nothing to give away without its event.
    """

    def __call__(self, name: str, fields: Mapping[str, object], success: bool = True) -> bool: ...
