"""``docs/protocol/limits.rst`` knows every bound of the engine, and the number that it has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

import teleport_conch
from teleport_conch.ssh.login.admission import Bounds, Startups
from teleport_conch.ssh.transport.keepalive import KeepAliveRhythm

PACKAGE = Path(teleport_conch.__file__).parent
PAGE = PACKAGE.parent / "docs" / "protocol" / "limits.rst"
ROW = re.compile(r"   \* - ``([A-Z][A-Z0-9_]+)``\n     - ([0-9.,]+)\n     - (.*)\n     - ``([\w.]+)``.*\n     - (.+)\n")
CONSTANT = re.compile(r"^([A-Z][A-Z0-9_]+)(?:: \w+)? = ", re.MULTILINE)
NO_BOUNDS = {
    "account": {"NAME_LENGTH"},
    "login.admission": {"IPV6_PREFIX"},
    "client.agent_offer": {"EXTENSION"},
    "client.agent_client": {"FAILURE", "REQUEST_IDENTITIES", "IDENTITIES_ANSWER", "SIGN_REQUEST", "SIGN_RESPONSE"},
    "connection.channel": {"EXTENDED_STDERR"},
    "transport.ciphers": {"MAC_ERROR", "LENGTH_BYTES", "AES_BLOCK_BYTES", "TAG_BYTES"},
    "client.session": {"OUT", "ERR"},
    "transport.compression": {"COMPRESSION_ERROR", "LEVEL"},
    "processes.exit_status": {"UNKNOWN_CODE"},
    "transport.greeting": {"PROTOCOL_VERSION_NOT_SUPPORTED"},
    "client.host_offer": {"DEFAULT_PORT"},
    "transport.kex": {"X25519_BYTES", "MLKEM768_PUBLIC_BYTES", "MLKEM768_CIPHERTEXT_BYTES"},
    "monitor.anchors": {"ANCHORS"},
    "monitor.cookies": {"COOKIE_KEY_BYTES"},
    "monitor.orders": {"HOLD", "SIGN", "TRUST", "LOGIN", "LEAVE", "PUBLIC", "PROVE", "START", "SIGNAL", "CHECK",
                       "BROKER", "DONE", "REFUSED", "EXITED", "TRACED"},
    "monitor.pam": {"PAM_TTY", "PAM_RHOST"},
    "transport.negotiation": {"COOKIE_BYTES"},
    "transport.packets": {"MIN_PADDING_BYTES", "MIN_PACKET_BYTES", "SEQUENCE_MASK"},
    "server": {"SERVICE_NOT_AVAILABLE", "CONNECTION_LOST", "BY_APPLICATION", "TOO_MANY_CONNECTIONS"},
    "tracing.layout": {"AFTER_HEAD", "AFTER_TEXTS", "LOST_THREADS", "NAME_BYTES", "SCRATCH_BYTES"},
    "tracing.ring": {"PAGE"},
    "tracing.routine": {"OUTPUT"},
    "sftp.listing": {"HALF_A_YEAR_S"},
    "sftp.messages": {"VERSION"},
    "processes.terminal": {"DEFAULT_ROWS", "DEFAULT_COLS"},
    "transport.violation": {"PROTOCOL_ERROR", "KEY_EXCHANGE_FAILED", "HOST_KEY_NOT_VERIFIABLE"},
    "connection.window": {"MAX_WINDOW_BYTES"},
    "forwarding.x11": {"COOKIE_BYTES", "FIRST_DISPLAY"},
}  # fmt: skip
"""Codes, sizes of formats, and what is assumed where nothing is said; so with names that begin with MSG or OPEN."""


@frozen
class Row:
    """One row of the page."""

    name: str
    value: float
    unit: str
    at_the_bound: str


def module_of(name: str) -> str:
    """The module that a row means: one of the engine, unless the whole name is given."""
    outside = name.startswith("teleport_conch.")
    return f"teleport_conch.{name.removeprefix('teleport_conch.')}" if outside else f"teleport_conch.ssh.{name}"


def rows() -> dict[tuple[str, str], Row]:
    """What the page says, by module and name."""
    return {
        (module_of(module), name): Row(name, float(value.replace(",", "")), unit, at_the_bound)
        for name, value, unit, module, at_the_bound in ROW.findall(PAGE.read_text("utf-8"))
    }


def bounds() -> Iterator[tuple[str, str]]:
    """Every number of the engine with a name in capitals, by module and name."""
    for path in sorted((PACKAGE / "ssh").rglob("*.py")):
        short = ".".join(path.relative_to(PACKAGE / "ssh").with_suffix("").parts)
        for name in () if path.stem == "__main__" else CONSTANT.findall(path.read_text("utf-8")):
            value = getattr(import_module(f"teleport_conch.ssh.{short}"), name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number and not name.startswith(("MSG_", "OPEN_")) and name not in NO_BOUNDS.get(short, ()):
                yield f"teleport_conch.ssh.{short}", name


class LimitsTests(SynchronousTestCase):
    def test_every_bound(self) -> None:
        """Each has a row."""
        self.assertEqual([bound for bound in bounds() if bound not in rows()], [])

    def test_numbers(self) -> None:
        """A row is about a constant that there is, has its number, its unit, and what happens at it."""
        for (module, name), row in rows().items():
            self.assertEqual(row.value, getattr(import_module(module), name, None), f"{module}.{name}")
            self.assertTrue(row.unit and row.at_the_bound, name)

    def test_whole(self) -> None:
        """Every row is understood: what no test reads may be wrong."""
        text = PAGE.read_text("utf-8")
        self.assertEqual(len(re.findall(r"^   \* - ``[A-Z]", text, re.MULTILINE)), len(ROW.findall(text)) + 2)
        self.assertEqual(len(re.findall(r"^   \* - ``KeepAliveRhythm", text, re.MULTILINE)), 2)

    def test_settings(self) -> None:
        """The bounds of new connections, by their names in the configuration, and the rhythm of questions."""
        self.assertEqual(Bounds(), Bounds(15_000, Startups(300, 30, 1000), 200, True))
        self.assertEqual(KeepAliveRhythm(), KeepAliveRhythm(300, 3))
        text = PAGE.read_text("utf-8")
        for name, value in (
            ("max_connections", "15,000"),
            ("max_startups", "``300:30:1000``"),
            ("per_source_max_startups", "200"),
            ("per_source_penalties", "yes"),
            ("KeepAliveRhythm.interval_s", "300"),
            ("KeepAliveRhythm.count_max", "3"),
        ):
            self.assertIn(f"   * - ``{name}``\n     - {value}\n", text)
