"""``docs/limits.rst`` knows every bound of the cluster's rooms, and the number that it has."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import teleport_conch

DOCS = Path(__file__).parents[1] / "docs"
PACKAGE = Path(teleport_conch.__file__).parent
ROOMS = ("auth", "proxy", "node", "client", "https", "web", "audit", "storage", "supervisor")
MODULES = ("cache", "company", "member", "periodic", "proxy_protocol", "starting", "steady")
TIMES = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "days": 86_400}
UNITS = {**TIMES, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "beats": 1, "": 1}
NO_BOUNDS = {
    *("auth.backup.VERSION_OF_CONTENTS", "storage.opening.SCHEMA_VERSION", "storage.opening.OLDEST_READER"),
    *("storage.opening.APPLICATION_ID", "storage.opening.REVISIONS_AHEAD", "storage.writer.WRITE_BYTES"),
    *(
        "auth.state.sealing.SALT_BYTES",
        "auth.state.sealing.PREFIX_BYTES",
        "auth.state.sealing.HEAD_BYTES",
        "auth.state.sealing.TAG_BYTES",
    ),
    *("auth.people.passwords.SALT_BYTES", "auth.people.passwords.HASH_BYTES", "auth.people.invites.TOKEN_BYTES"),
    "auth.people.hashing_threads.NICENESS",
    *("client.ssh.running.NO_STATUS", "client.ssh.agent.SUCCESS", "client.ssh.agent.REQUEST_IDENTITIES"),
    *("client.ssh.agent.IDENTITIES_ANSWER", "client.ssh.agent.REMOVE_IDENTITY", "client.ssh.agent.ADD_ID_CONSTRAINED"),
    *("auth.people.bot_tokens.TOKEN_BYTES", "auth.people.credentials.GENERATION_BYTES"),
    *(
        "auth.limits.SCRYPT_LOG2_N",
        "auth.limits.SCRYPT_R",
        "auth.limits.SCRYPT_P",
        "auth.people.web_sessions.SECRET_BYTES",
    ),
    *(
        "auth.people.second_factor.DIGITS",
        "auth.people.second_factor.SECRET_BYTES",
        "auth.people.second_factor.RECOVERY_CODES",
    ),
    "auth.people.second_factor.RECOVERY_BYTES",
    *("audit.recording.DIGEST_BYTES", "audit.recording.HEADER_BYTES", "audit.recording.RECORD_BYTES"),
    *("auth.hosts.tokens.GENERATED_BYTES", "https.site.MAX_HEAD_LINES", "audit.log.FILE_MODE", "audit.log.FOLDER_MODE"),
    *("proxy.dialing.DEFAULT_NODE_PORT", "proxy_protocol.FIELD_TYPE", "proxy_protocol.FIELD_VERSION"),
    *("proxy_protocol.NONCE_BYTES", "web.qr.BORDER", "web.qr.PIXELS"),
    "auth.rules.leases.ID_BYTES",
}
"""Versions, sizes of formats, modes and ports; and what follows from another bound."""


def bounds() -> Iterator[tuple[str, float]]:
    """Every number with a name in capitals, with the module that defines it."""
    paths = [path for room in ROOMS for path in (PACKAGE / room).rglob("*.py")]
    for path in (*paths, *(PACKAGE / f"{module}.py" for module in MODULES)):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for name in re.findall(r"^([A-Z][A-Z0-9_]+)(?:: \w+)? = ", path.read_text("utf-8"), re.MULTILINE):
            value = getattr(import_module(f"teleport_conch.{module}"), name)
            if isinstance(value, int | float) and f"{module}.{name}" not in NO_BOUNDS:
                yield f"{module}.{name}", value


def rows() -> Iterator[list[str]]:
    """The rows of all tables of the page."""
    for block in (DOCS / "limits.rst").read_text("utf-8").split(".. csv-table:: ")[1:]:
        _, body, *_ = block.split("\n\n")
        yield from csv.reader((line.strip() for line in body.splitlines()), skipinitialspace=True)


def number(text: str) -> float:
    """What the page says, in bytes or seconds."""
    figure, _, unit = text.partition(" ")
    return float(figure.replace(",", "")) * UNITS[unit]


class LimitsTests(SynchronousTestCase):
    def test_every_bound(self) -> None:
        """Each bound has a row (those that belong to what SSH does have one in the pages on the protocol)."""
        documented = {row[0].strip("`") for row in rows()}
        protocol = "".join(path.read_text("utf-8") for path in (DOCS / "protocol").glob("*.rst"))
        missing = [name for name, _ in bounds() if name not in documented and name.rpartition(".")[2] not in protocol]
        self.assertEqual(missing, [], "each needs a row in docs/limits.rst, or one in docs/protocol")

    def test_numbers(self) -> None:
        """A row is about a bound that there is, and says its number, what it bounds, and what happens at it."""
        known = dict(bounds())
        for cell, default, what, _ in rows():
            name = cell.strip("`")
            self.assertIn(name, known)
            scale = 1024 if name.endswith("_KIB") else 1
            self.assertEqual(number(default), known[name] * scale, name)
            self.assertTrue(what)
