"""Tests for :mod:`teleport_conch.config.document`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.config.document import (
    MAX_BYTES,
    MAX_DEPTH,
    Entry,
    Items,
    Map,
    Nothing,
    Text,
    Value,
    find,
    from_plain,
    override,
    read_document,
)
from teleport_conch.config.findings import Findings
from teleport_conch.errors import ConfigError


class ReadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.findings = Findings()

    def read(self, text: str) -> Map:
        return read_document(text, "f", self.findings)

    def refused(self, text: str) -> str:
        return str(self.assertRaises(ConfigError, self.read, text).sentence)

    def mistakes(self, text: str) -> list[str]:
        self.read(text)
        return [str(mistake) for mistake in self.findings.mistakes]

    def test_text_with_places(self) -> None:
        """Values keep their text, whatever YAML would take them for, and the line that they stand on."""
        tree = self.read("a: no\nb:\n  - 0755\n  - ~\nc: {d: '1'}\n")
        expected = Map(
            "f:1",
            (
                Entry("f:1", "a", Text("f:1", "no")),
                Entry("f:2", "b", Items("f:3", (Text("f:3", "0755"), Nothing("f:4")))),
                Entry("f:5", "c", Map("f:5", (Entry("f:5", "d", Text("f:5", "1")),))),
            ),
        )
        self.assertEqual(tree, expected)

    def test_empty(self) -> None:
        """An empty file, comments and a null are a configuration without keys."""
        for text in ("", "# nothing\n", "---\n", "~\n"):
            self.assertEqual(self.read(text).entries, ())

    def test_duplicate(self) -> None:
        """A key that is given twice is a mistake, at its second place."""
        self.assertEqual(self.mistakes("a: 1\nb: 2\na: 3\n"), ["f:3: the key 'a' is given twice, first in f:1"])

    def test_tags_and_merges(self) -> None:
        """Tags, merge keys and keys that are no words are mistakes; nothing is constructed."""
        text = "a: !!python/object/apply:os.system [id]\nb: !mine x\nc: {<<: {d: 1}}\n? [e]\n: f\n"
        self.assertEqual(
            self.mistakes(text),
            [
                "f:1: YAML tags (a value that begins with '!') are not supported",
                "f:2: YAML tags (a value that begins with '!') are not supported",
                "f:3: YAML merge keys (<<) are not supported: write the keys out",
                "f:4: a key is a word, not a list or a mapping",
            ],
        )

    def test_not_yaml(self) -> None:
        """A mistake in the YAML has its line, and quotes nothing of the file."""
        start = "failed to parse Teleport configuration: "
        self.assertEqual(self.refused("a: 1\nb: [SECRET\n"), f"f:3: {start}expected ',' or ']', but got '<stream end>'")
        self.assertEqual(
            self.refused("a: 1\n\tb: 2\n"), f"f:2: {start}found character '\\t' that cannot start any token"
        )
        self.assertEqual(self.refused("a: *x\n"), f"f:1: {start}found undefined alias 'x'")
        self.assertEqual(self.refused("a: 1\nb: \x00\n"), f"f:2: {start}special characters are not allowed")
        self.assertEqual(self.refused("a: 1\n---\nb: 2\n"), f"f:2: {start}but found another document")

    def test_not_sections(self) -> None:
        """The top of a configuration is a mapping."""
        for text in ("SECRET\n", "- a\n"):
            sentence = "f:1: a configuration is made of sections like 'teleport:' and 'ssh_service:'"
            self.assertEqual(self.refused(text), sentence)

    def test_bomb(self) -> None:
        """Aliases of aliases are counted as often as they are used, and stop at the bound."""
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
        self.assertIn(
            ": there are more than 10000 values (each use of an alias counts)", self.refused("\n".join(lines))
        )

    def test_circle(self) -> None:
        """An alias inside what it names is as deep as anything can be."""
        self.assertIn(f"are nested more than {MAX_DEPTH} deep", self.refused("a: &a [*a]\n"))

    def test_depth(self) -> None:
        """Deep nesting is refused, also where it is deeper than Python's stack."""
        for depth in (MAX_DEPTH + 1, 2000):
            self.assertIn(f"are nested more than {MAX_DEPTH} deep", self.refused("a: " + "[" * depth + "]" * depth))

    def test_size(self) -> None:
        """A configuration beyond the bound is not parsed at all."""
        self.assertEqual(
            self.refused("#" * (MAX_BYTES + 1)), f"f:1: the configuration is larger than {MAX_BYTES} bytes"
        )

    def test_long_value(self) -> None:
        """A single value has a bound, too."""
        self.assertEqual(self.mistakes("a: " + "x" * 5000), ["f:1: a value is longer than 4096 characters"])

    @settings(deadline=None)
    @given(st.text(max_size=200))
    def test_any_text(self, text: str) -> None:
        """Any text is a tree or a ConfigError."""
        try:
            self.assertIsInstance(self.read(text), Map)
        except ConfigError as error:
            self.assertTrue(error.sentence.startswith("f:"), error.sentence)


class OverrideTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """Python values become the texts that a file would have."""
        plain = {"a": True, "b": 5, "c": ["x", None], "d": False}
        expected: Value = Map(
            "p",
            (
                Entry("p", "a", Text("p", "yes")),
                Entry("p", "b", Text("p", "5")),
                Entry("p", "c", Items("p", (Text("p", "x"), Nothing("p")))),
                Entry("p", "d", Text("p", "no")),
            ),
        )
        self.assertEqual(from_plain(plain, "p"), expected)

    def test_override(self) -> None:
        """A dotted key replaces what stands there, and makes the sections on its way."""
        tree = read_document("a: {b: 1, c: 2}\n", "f", Findings())
        tree = override(tree, "a.b", Text("cli", "9"))
        tree = override(tree, "x.y", Text("cli", "8"))
        self.assertEqual(find(tree, "a.b"), Text("cli", "9"))
        self.assertEqual(find(tree, "a.c"), Text("f:1", "2"))
        self.assertEqual(find(tree, "x.y"), Text("cli", "8"))
        self.assertIsInstance(find(tree, "a.b.c"), Nothing)

    def test_wrong_section_stays(self) -> None:
        """What is no section is not replaced by one, so that it is still reported."""
        tree = read_document("a: 5\n", "f", Findings())
        self.assertEqual(override(tree, "a.b", Text("cli", "9")), tree)
