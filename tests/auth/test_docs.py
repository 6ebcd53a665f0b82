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

# The classes that other tests define are not errors of ours, so the table is made in a program of its own.
_PROGRAM = """
from teleport_conch.errors import by_code
for code, kind in by_code().items():
    print(code, kind.http_status)
"""


class ErrorTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Every code with its status, in the order of the source."""
        done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=60)
        rows = re.findall(r"^``([A-Z_]+)``\s+([0-9]{3}) ", (DOCS / "errors.rst").read_text(), re.MULTILINE)
        self.assertEqual([" ".join(row) for row in rows], done.stdout.splitlines())


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
            f"of refusals                   {limits.EVENTS_PER_MINUTE} a minute",
            f"{limits.EVENTS_PER_MINUTE_IN_ALL} a minute from all",
            f"for a watcher        {limits.WATCH_QUEUE_LINES} ",
            f"reads nothing         {limits.WATCH_STALL_S:g} s",
        ):
            self.assertIn(bound, table)
