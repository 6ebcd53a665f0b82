"""Answers: their three forms, and the files that go with them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.answer import Answer, said
from teleport_conch.errors import AlreadyExists

ITEMS = [{"name": "web1", "note": "\x1b]0;x\x07\u202e"}, {"name": "web2", "note": ""}]


class RenderingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.answer = Answer(lambda: "a table\n", ITEMS)

    def test_text(self) -> None:
        """People get the text."""
        self.assertEqual(self.answer.render("text"), "a table\n")

    def test_json(self) -> None:
        """Programs get one JSON text, which a terminal does not obey either."""
        self.assertEqual(json.loads(self.answer.render("json")), ITEMS)
        self.assertTrue(self.answer.render("json").isascii())
        self.assertNotIn("\x1b", self.answer.render("json"))

    def test_yaml(self) -> None:
        """Or one YAML document, or one for each resource."""
        self.assertEqual(yaml.safe_load(self.answer.render("yaml")), ITEMS)
        several = Answer(lambda: "", ITEMS, documents=True).render("yaml")
        self.assertEqual(list(yaml.safe_load_all(several)), ITEMS)
        self.assertNotIn("\x1b", several)

    def test_words(self) -> None:
        """Words are the same in each form."""
        for form in ("text", "json", "yaml"):
            self.assertEqual(said("It is done").render(form), "It is done\n")


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / "alice"
        self.addCleanup(os.umask, os.umask(0))

    def written(self, text: str, overwrite: bool = False) -> None:
        Answer(lambda: "", files={self.path: text}, overwrite=overwrite).write_files()

    def test_private(self) -> None:
        """A file with a key is its owner's, whatever the umask."""
        self.written("secret")
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.path.read_text(), "secret")

    def test_not_replaced(self) -> None:
        """What is there stays, unless it is to be replaced; then nobody else can read it afterwards."""
        self.path.write_text("old")
        with self.assertRaisesRegex(AlreadyExists, "alice exists already. Give --overwrite to replace it"):
            self.written("new")
        self.assertEqual(self.path.read_text(), "old")
        self.written("new", overwrite=True)
        self.assertEqual((self.path.read_text(), self.path.stat().st_mode & 0o777), ("new", 0o600))

    def test_secret_is_not_shown(self) -> None:
        """The texts of files are in no repr, and so in no log."""
        self.assertNotIn("5ec4e7", repr(Answer(str, files={self.path: "5ec4e7"})))
