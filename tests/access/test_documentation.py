"""The tables of ``docs/access.rst`` say what the built-in roles say."""

from __future__ import annotations

import csv
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.builtin import SYSTEM_ROLES, USER_ROLES
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import OWN_RECORDS, OWN_SESSIONS, READ_ONLY, READ_WRITE, WITHOUT_SECRETS, Rule

PAGE = Path(__file__).parents[2] / "docs" / "access.rst"
_SHORT = {"RO": READ_ONLY, "RW": READ_WRITE, "list without secrets": WITHOUT_SECRETS}
_LIMITS = {"": "", "own)": OWN_RECORDS, "took part)": OWN_SESSIONS}

Permissions = dict[str, set[tuple[str, str]]]


def documented(cell: str) -> set[tuple[str, str]]:
    """The verbs of one cell, each with the condition that limits it."""
    found: set[tuple[str, str]] = set()
    for part in filter(None, map(str.strip, cell.split(";"))):
        verbs, _, limit = part.partition("(")
        verbs, where = verbs.strip(), _LIMITS[limit]
        found |= {(verb, where) for verb in _SHORT.get(verbs, verbs.split())}
    return found


def tables(text: str) -> dict[str, Permissions]:
    """For each role of the tables, what it may do with each kind."""
    roles: dict[str, Permissions] = {}
    for block in text.split(".. csv-table:: ")[1:]:
        head, rows, *_ = block.split("\n\n")
        _, *names = head.partition(":header:")[2].split(",")
        for kind, *cells in csv.reader(rows.splitlines(), skipinitialspace=True):
            for name, cell in zip(map(str.strip, names), cells, strict=True):
                roles.setdefault(name, {})[kind.strip()] = documented(cell)
    return roles


def built_in(role: Role) -> Permissions:
    found: Permissions = {}
    for rule in role.allow.rules:
        for kind in rule.resources:
            found.setdefault(kind, set()).update(_written(rule))
    return found


def _written(rule: Rule) -> set[tuple[str, str]]:
    return {(verb, rule.where) for verb in rule.verbs}


class DocumentationTests(SynchronousTestCase):
    def test_tables(self) -> None:
        """Every cell of the page is what the role has, and the role has nothing else."""
        roles = {**USER_ROLES, **SYSTEM_ROLES}
        found = tables(PAGE.read_text(encoding="utf-8"))
        self.assertEqual(roles.keys() - found.keys(), {"Admin", "Nop"})
        for name, permissions in found.items():
            written = {kind: verbs for kind, verbs in permissions.items() if verbs}
            self.assertEqual(written, built_in(roles[name]), name)
