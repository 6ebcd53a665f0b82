"""The options of ``teleport start``, with its own help."""

from __future__ import annotations

import sys
from typing import NoReturn

from teleport_conch.cli.edge import guarded
from teleport_conch.config.options import TeleportOptions


class StartOptions(TeleportOptions):
    """Those of ``twist teleport``."""

    synopsis = "Usage: teleport start [options]"
    longdesc = "Start the services that the configuration enables, until a signal stops them."

    def opt_help(self) -> NoReturn:
        """Display this help and exit."""
        sys.exit(guarded(lambda: print(self), debug=False))

    def opt_version(self) -> NoReturn:
        """Show the version, and exit."""
        from importlib.metadata import version

        print(f"Teleport v{version('teleport-conch')}")
        sys.exit(0)
