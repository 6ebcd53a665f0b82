"""Each threat of the transport, the login, certificates, connections and files has a class of its own."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

FOLDER = Path(__file__).parent
GAPS = {37, 38, 39, 59}
"""Numbers that the list leaves out."""
NUMBERS = {*range(1, 74), *range(80, 86), 106} - GAPS


class CompleteTests(SynchronousTestCase):
    def test_every_number(self) -> None:
        """A class of tests begins with the letter T and the number."""
        found = {int(number) for path in FOLDER.glob("test_*.py") for number in _numbers(path)}
        self.assertEqual(sorted(NUMBERS - found), [])


def _numbers(path: Path) -> list[str]:
    return re.findall(r"^class T([0-9]{2,3})[A-Z]", path.read_text(), re.MULTILINE)
