"""``docs/protocol/limits.rst`` says the bounds of SFTP that the code has, and what the decision says is announced."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.sftp import messages

DOCS = Path(__file__).parents[3] / "docs"
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20}
ROW = re.compile(r"   \* - ``(\w+)``\n     - ([\d,]+)\n     - (\w+)\n     - ``(sftp\.\w+)``(.*)\n     - (.+)\n")


class LimitsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.section = (DOCS / "protocol" / "limits.rst").read_text("utf-8").partition("\nSFTP\n----\n")[2]

    def test_numbers(self) -> None:
        """Each row has the number of the code, in bytes where it says so in another unit."""
        rows = ROW.findall(self.section)
        self.assertGreater(len(rows), 14)
        for name, number, unit, module, _, _ in rows:
            value = getattr(import_module(f"teleport_conch.ssh.{module}"), name)
            expected = int(number.replace(",", "")) * UNITS.get(unit, 1)
            self.assertEqual(value, 261_120 if name == "MAX_DATA_BYTES" else expected, name)

    def test_extensions(self) -> None:
        """The page of extensions names every one that the server announces."""
        page = (DOCS / "protocol" / "extensions.rst").read_text("utf-8")
        for name, _ in messages.EXTENSIONS:
            self.assertIn(f"``{name.decode()}``", page)
