"""The documentation of errors and limits says what the program does. (Routes: ``test_matrix``.)"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.auth import limits
from teleport_conch.https import limits as https

DOCS = Path(__file__).parents[2] / "docs"

# The classes that other tests define are not errors of ours, so the tables are made in a program of its own.
_PROGRAM = """
import pkgutil
from importlib import import_module

import teleport_conch
from teleport_conch.errors import TeleportError

for module in pkgutil.walk_packages(teleport_conch.__path__, "teleport_conch."):
    if not module.name.endswith("__main__"):
        import_module(module.name)


def tell(kind):
    if "code" in vars(kind):
        print(kind.__module__, kind.code, kind.http_status)
    for child in kind.__subclasses__():
        tell(child)


tell(TeleportError)
"""


class ErrorTests(SynchronousTestCase):
    def setUp(self) -> None:
        done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=60)
        self.classes = [line.split(" ") for line in done.stdout.splitlines()]

    def documented(self) -> tuple[list[list[str]], list[list[str]]]:
        """Codes and statuses of the two tables."""
        text = (DOCS / "errors.rst").read_text()
        tables = [
            re.findall(r"^``([A-Z_]+)``\s+([0-9]{3}) ", part, re.MULTILINE) for part in text.split("\nThe SSH engine")
        ]
        both, engine = ([list(row) for row in table] for table in tables)
        return both, engine

    def test_table(self) -> None:
        """Every code with its status, in the order of the source."""
        general = [row for module, *row in self.classes if module == "teleport_conch.errors"]
        self.assertEqual(self.documented()[0], general)

    def test_table_of_the_engine(self) -> None:
        """Likewise every code that is not in ``errors.py``, by the alphabet."""
        others = sorted(row for module, *row in self.classes if module != "teleport_conch.errors")
        self.assertEqual(self.documented()[1], others)

    def test_one_meaning(self) -> None:
        """No two classes have one code."""
        codes = [code for _, code, _ in self.classes]
        self.assertEqual(sorted(codes), sorted(set(codes)))


def _rows(text: str) -> list[list[str]]:
    return [list(row) for row in re.findall(r"^``([A-Z_]+)``\s+([0-9]{3}) ", text, re.MULTILINE)]


class LimitTests(SynchronousTestCase):
    def test_table(self) -> None:
        """The numbers of the table are those of the program."""
        table = (DOCS / "api.rst").read_text().partition("\nLimits\n")[2].partition("Routes for everybody")[0]
        for bound in (
            f"{limits.MAX_BODY_BYTES >> 20} MiB",
            f"{limits.MAX_ANONYMOUS_BODY_BYTES >> 10} KiB",
            f"{https.MAX_HEADER_BYTES >> 10} KiB, {https.MAX_HEADERS} headers",
            f"whole request           {https.ARRIVAL_S:g} s",
            f"handshake                        {https.HANDSHAKE_S:g} s",
            f"between requests             {https.IDLE_S:g} s",
            f"{limits.MAX_CONNECTIONS:,} ",
            f"{limits.MAX_CONNECTIONS_PER_ADDRESS:,} ",
            f"in progress            {limits.REGISTRATIONS_IN_PROGRESS} ",
            f"{limits.FAILED_TOKENS_PER_MINUTE} a minute",
            f"join tokens                          {limits.MAX_TOKENS:,}",
            f"1 minute to {limits.MAX_TOKEN_TTL_S / 3600:g} hours",
            f"registered hosts                     {limits.MAX_HOSTS:,}",
            f"{limits.MAX_LABELS} of {limits.MAX_LABEL_VALUE_BYTES >> 10} KiB",
            f"at one time       {limits.MAX_SESSIONS_PER_HOST:,}",
            f"in a request                  {limits.MAX_EVENTS_IN_REQUEST} ",
            f"{limits.MAX_EVENTS_IN_ANSWER:,} ({limits.EVENTS_IN_ANSWER} usual)",
            f"of one caller                {limits.WATCHES_PER_CALLER} ",
            f"of refusals                   {https.EVENTS_PER_MINUTE} a minute",
            f"{https.EVENTS_PER_MINUTE_IN_ALL} a minute from all",
            f"for a watcher        {limits.WATCH_QUEUE_LINES} ",
            f"reads nothing         {limits.WATCH_STALL_S:g} s",
        ):
            self.assertIn(bound, table)
