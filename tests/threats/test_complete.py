"""Each threat of the transport, the login, certificates, connections and files has a class of its own.

Those of joining, the API, the web and the clients have tests of their own beside the other tests of these.
"""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

FOLDER = Path(__file__).parent
GAPS = {37, 38, 39, 59}
"""Numbers that the list leaves out."""
NUMBERS = {*range(1, 74), *range(80, 86), 106} - GAPS
ELSEWHERE = {*range(90, 99), 100, 102, 103, 104, 105, *range(110, 114)}


class CompleteTests(SynchronousTestCase):
    def test_every_number(self) -> None:
        """A class of tests begins with the letter T and the number."""
        found = {int(number) for path in FOLDER.glob("test_*.py") for number in _numbers(path)}
        self.assertEqual(sorted(NUMBERS - found), [])

    def test_every_number_elsewhere(self) -> None:
        """The name of a test begins with the number, or its class says which threats it is about."""
        texts = [path.read_text() for path in FOLDER.parent.rglob("test_*.py")]
        found = {int(number) for text in texts for number in re.findall(r"def test_T?([0-9]{2,3})_", text)}
        found |= {int(number) for text in texts for number in re.findall(r"[Tt]hreats? ([0-9]{2,3})\b", text)}
        self.assertEqual(sorted(ELSEWHERE - found), [])


def _numbers(path: Path) -> list[str]:
    return re.findall(r"^class T([0-9]{2,3})[A-Z]", path.read_text(), re.MULTILINE)
