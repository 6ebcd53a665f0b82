"""``docs/protocol/limits.rst`` says the numbers that the code of transports, logins and new connections has."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.admission import Bounds, Startups

PAGE = Path(__file__).parents[2] / "docs" / "protocol" / "limits.rst"
LOGIN = ("counts", "userauth", "interactive", "factory", "penalties", "admission")
TRANSPORT = ("greeting", "packets", "transport_messages", "receiving", "rekeying", "transport", "unsent", "goodbye")
MODULES = (*LOGIN, *TRANSPORT)
ROW = re.compile(r"   \* - ``([A-Z_]+)``\n     - ([0-9.,]+)\n     - .*\n     - ``(\w+)``")


class LimitsTests(SynchronousTestCase):
    def test_constants(self) -> None:
        """Each row of these modules has the number of the code, and each bound of them has a row."""
        rows = [(module, name, value) for name, value, module in ROW.findall(PAGE.read_text()) if module in MODULES]
        for module, name, value in rows:
            found = getattr(import_module(f"teleport_conch.ssh.{module}"), name)
            self.assertEqual(float(value.replace(",", "")), found, f"{module}.{name}")
        told = {(module, name) for module, name, _ in rows}
        for module in MODULES:
            source = Path(str(import_module(f"teleport_conch.ssh.{module}").__file__)).read_text()
            for name in re.findall(r"^(MAX_[A-Z_]+|[A-Z_]+_S) = ", source, re.MULTILINE):
                self.assertIn((module, name), told)

    def test_defaults(self) -> None:
        """The bounds of new connections, by their names in the configuration."""
        self.assertEqual(Bounds(), Bounds(15_000, Startups(300, 30, 1000), 200, True))
        text = PAGE.read_text()
        for name, value in (
            ("max_connections", "15,000"),
            ("max_startups", "``300:30:1000``"),
            ("per_source_max_startups", "200"),
            ("per_source_penalties", "yes"),
        ):
            self.assertIn(f"   * - ``{name}``\n     - {value}\n", text)
