"""``docs/configuration.rst`` says what the code does: its tables are compared with the keys and paths there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.config.keys import Key, Section, as_yaml, walk
from teleport_conch.config.options import TeleportOptions
from teleport_conch.config.paths import PATHS
from teleport_conch.config.settings import SCHEMA

TEXT = (Path(__file__).parents[2] / "docs" / "configuration.rst").read_text()


def rows(title: str) -> list[list[str]]:
    """The rows of a list-table below its head, without the marks of literals."""
    table = TEXT.partition(f".. list-table:: {title}\n")[2]
    lines = table.partition("   * - ")[2].partition("\n\n")[0].splitlines()
    found: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("   * - "):
            found.append([])
        found[-1].append(line.removeprefix("   * - ").removeprefix("     - ").strip("`"))
    return found[1:]


def leaves() -> Iterator[tuple[str, Key]]:
    return ((path, key) for path, key in walk(SCHEMA) if not isinstance(key.kind, Section))


def is_built(key: Key) -> bool:
    return key.only is None


class DocumentationTests(SynchronousTestCase):
    maxDiff = None

    def test_built(self) -> None:
        """Each key that is built has a row in its section's table, and only those of Teleport's."""
        for section in ("teleport", "auth_service", "proxy_service", "ssh_service"):
            documented = {row[0] for row in rows(f"Section ``{section}``")}
            ignored = {row[0] for row in rows("Keys of Teleport's that make nothing happen")}
            known = {path for path, key in leaves() if path.startswith(section) and is_built(key) and not key.ours}
            self.assertEqual(documented, known - ignored)

    def test_defaults(self) -> None:
        """The default of a key is the one in the code, where it can be written in the file."""
        keys = dict(leaves())
        for section in ("teleport", "auth_service", "proxy_service", "ssh_service"):
            for path, _, default, _ in rows(f"Section ``{section}``"):
                given = keys[path].default
                if isinstance(given, bool | int | float):
                    self.assertEqual(default, as_yaml(given), path)

    def test_ours(self) -> None:
        """The table of keys that Teleport does not have is complete, with their defaults."""
        documented = {row[0]: row[2] for row in rows("Keys that Teleport does not have")}
        known = {path: key for path, key in leaves() if key.ours}
        self.assertEqual(documented.keys(), known.keys())
        for path, key in known.items():
            if not isinstance(key.default, tuple):
                self.assertEqual(documented[path], as_yaml(key.default), path)
            else:
                self.assertEqual(documented[path], ", ".join(key.default) or "none", path)

    def test_not_built(self) -> None:
        """Each key that is not built is listed with what is accepted and what is missing."""
        documented = {row[0]: row[1:] for row in rows("Keys of Teleport's that are not built")}
        known = {}
        for path, key in leaves():
            if not is_built(key):
                accepted = [as_yaml(value) for value in key.only or () if value not in ((), {})]
                lacks = f"{key.lacks[0].upper()}{key.lacks[1:]}."
                known[path] = ["``, ``".join(accepted) or "nothing", lacks]
        self.assertEqual(documented, known)

    def test_paths(self) -> None:
        """The table of paths, owners and modes is the one that is checked at start."""
        documented = [tuple(row) for row in rows("Paths, owners and modes")]
        self.assertEqual(documented, [(rule.path, rule.owner, f"{rule.mode:04o}", rule.purpose) for rule in PATHS])

    def test_flags(self) -> None:
        """Every flag is in the documentation."""
        flags = {flag for row in rows("Flags") for flag in re.findall(r"--([a-z-]+)", row[0])}
        options = TeleportOptions()
        known = {name.rstrip("=") for name in options.longOpt} - {"help", "version"}
        self.assertEqual({name.replace("_", "-") for name in known}, flags)
