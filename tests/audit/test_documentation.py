"""``docs/events.rst`` says what the catalogue says."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.catalogue import COMMON, EVENTS, FIELDS

PAGE = Path(__file__).parents[2] / "docs" / "events.rst"


def rows(text: str, header: str) -> Iterator[list[str]]:
    """The rows of all tables with this header."""
    for block in text.split(".. csv-table:: ")[1:]:
        head, body, *_ = block.split("\n\n")
        if head.endswith(f":header: {header}"):
            for row in csv.reader(body.splitlines(), skipinitialspace=True):
                yield [cell.strip().strip("`") for cell in row]


class DocumentationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.page = PAGE.read_text(encoding="utf-8")

    def test_events(self) -> None:
        """Every event with its codes and fields, and no other, in the order of the catalogue."""
        found = [row[:4] for row in rows(self.page, "Event, Codes, Always has, May have, When")]
        expected = [[kind.name, " ".join(kind.codes), kind.required, kind.optional] for kind in EVENTS.values()]
        self.assertEqual(
            [[name, codes, set(always.split()), set(may.split())] for name, codes, always, may in found], expected
        )

    def test_every_row_says_when(self) -> None:
        """A comma too many or too few would shift the columns."""
        for row in rows(self.page, "Event, Codes, Always has, May have, When"):
            self.assertEqual(len(row), 5, row)
            self.assertTrue(row[4], row)

    def test_fields(self) -> None:
        """Every field with its shape."""
        found = {name: holds for name, holds, _ in rows(self.page, "Field, Holds, Meaning")}
        self.assertEqual(found, {name: shape.value for name, shape in FIELDS.items()})

    def test_common(self) -> None:
        """The fields that any event may carry are all named in one paragraph (``ei`` in the one before)."""
        paragraph = self.page.split("Any event may carry")[1].split("\n\n")[0]
        self.assertEqual({name for name in FIELDS if f"``{name}``" in paragraph}, COMMON - {"ei"})
