"""``tsh version``."""

from __future__ import annotations

from argparse import Namespace
from importlib.metadata import version as version_of


def version(arguments: Namespace) -> None:
    """The command."""
    print(f"Teleport v{version_of('teleport-conch')}")
