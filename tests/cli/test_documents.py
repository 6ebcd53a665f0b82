"""Files of resources."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import yaml
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.roles import Role
from teleport_conch.cli.documents import Document, check, read, written
from teleport_conch.errors import BadParameter, TeleportError
from teleport_conch.resources.user import User

READERS = {"role": Role.from_json, "user": User.from_json}
TWO = """\
# a comment
kind: user
metadata: {name: alice}
spec:
  roles: [dev]
---
kind: role
version: v3
metadata:
  name: dev
  expires: 2030-01-01T00:00:00Z
spec:
  options:
    max_session_ttl: 8h
  allow:
    logins: [ubuntu]
    node_labels:
      env: dev
"""


class ReadingTests(SynchronousTestCase):
    def sentence(self, text: str) -> str:
        def read_and_check() -> None:
            check(read(text), READERS)

        return str(self.assertRaises(BadParameter, read_and_check).sentence)

    def test_several(self) -> None:
        user, role = read(TWO)
        self.assertEqual((user.kind, user.name, user.number), ("user", "alice", 1))
        self.assertEqual((role.kind, role.name, role.number), ("role", "dev", 2))
        check([user, role], READERS)

    def test_empty_documents(self) -> None:
        """What people leave between two lines of hyphens is no resource."""
        self.assertEqual(len(read(f"---\n---\n{TWO}---\n")), 2)
        self.assertEqual(self.sentence(""), "no resources found, empty input?")
        self.assertEqual(self.sentence("# nothing\n---\n"), "no resources found, empty input?")

    def test_dates(self) -> None:
        """Dates may be written as people write them; the API has POSIX seconds."""
        for text in ("2030-01-01T00:00:00Z", '"2030-01-01T00:00:00Z"', "2030-01-01", "2030-01-01 01:00:00+01:00"):
            (document,) = read(f"kind: user\nmetadata:\n  name: a\n  expires: {text}\n")
            self.assertEqual(User.from_json({**document.value, "spec": {}}).expires_at, 1893456000.0)
        self.assertEqual(
            self.sentence("kind: user\nmetadata:\n  name: a\n  expires: soon\n"),
            "Document 1, line 4: user.metadata.expires is no instant: write it like 2030-01-01T00:00:00Z.",
        )

    def test_line_and_key(self) -> None:
        """A refusal names the document, the line of the key, and the key."""
        for old, new, line, key in (
            ("    logins: [ubuntu]", "    login: [ubuntu]", 16, "role.spec.allow.'login'"),
            ("    max_session_ttl: 8h", "    max_session_ttl: soon", 14, "role.spec.options.max_session_ttl"),
            ("      env: dev", "      env: {a: b}", 18, "role.spec.allow.node_labels.env"),
            ("    logins: [ubuntu]", "    logins: [ubuntu, 7]", 16, "role.spec.allow.logins"),
        ):
            sentence = self.sentence(TWO.replace(old, new))
            self.assertTrue(sentence.startswith(f"Document 2, line {line}: ") and key in sentence, sentence)

    def test_not_yaml(self) -> None:
        self.assertRegex(self.sentence("kind: [\n"), r"^This cannot be read as YAML: line \d+, ")
        self.assertIn("a resource is a mapping with kind, metadata and spec", self.sentence("- a\n"))
        self.assertIn("a resource is a mapping", self.sentence("kind\n"))
        self.assertEqual(self.sentence("metadata: {}\n"), "Document 1, line 1: missing parameter kind.")

    def test_key_twice(self) -> None:
        """The second deny would silently win over the first."""
        text = TWO.replace("      env: dev", "      env: dev\n      env: prod")
        self.assertEqual(self.sentence(text), "Document 2, line 19: the key 'env' stands there twice.")

    def test_resource_twice(self) -> None:
        """One of them would be lost, or refused when the other is there already."""
        text = "kind: role\nversion: v3\nmetadata: {name: dev}\nspec: {}\n"
        same = "Document 2, line 6: Document 1 is about the same role; keep one of them."
        self.assertEqual(self.sentence(f"{text}---\n{text}"), same)
        self.assertEqual(len(read(f"{text}---\n{text.replace('dev', 'ops')}")), 2)

    def test_unknown_kind(self) -> None:
        self.assertEqual(
            self.sentence("\nkind: banana\n"),
            'Document 1, line 2: creating resources of type "banana" is not supported; there are role, user',
        )

    def test_bounds(self) -> None:
        self.assertIn("nested too deeply", self.sentence("kind: user\nspec: " + "[" * 40 + "]" * 40 + "\n"))
        self.assertIn("at most 1000 documents", self.sentence("kind: user\n---\n" * 1001))
        self.assertIn("characters", self.sentence("#" * (5 << 20)))
        nine = ((name, ", ".join([f"*{before}"] * 9)) for before, name in pairwise("abcdefghij"))
        levels = "".join(f"{name}: &{name} [{names}]\n" for name, names in nine)
        laughs = f"kind: user\na: &a [x, x, x, x, x, x, x, x, x]\n{levels}"
        self.assertIn("it has more than 200000 values", self.sentence(laughs))

    def test_no_objects_of_python(self) -> None:
        """YAML makes plain values here and runs nothing."""
        self.assertRegex(self.sentence("kind: user\nspec: !!python/object/apply:os.system [id]\n"), "line 2")

    @given(st.text(alphabet="ab:[]{}-#&*!|>'\"%\n ,?", max_size=80))
    def test_anything(self, text: str) -> None:
        """Whatever is in a file, it is read or refused."""
        with contextlib.suppress(TeleportError):
            check(read(text), READERS)


class WritingTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        """What is printed can be created again."""
        _, document = read(TWO)
        role = Role.from_json(document.value)
        text = yaml.safe_dump(written(role.to_json()), sort_keys=False)
        self.assertIn("expires: '2030-01-01T00:00:00Z'", text)
        (again,) = read(text)
        self.assertEqual(Role.from_json(again.value), role)

    def test_without_metadata(self) -> None:
        self.assertEqual(written({"kind": "x"}), {"kind": "x"})

    def test_reason_about_no_key(self) -> None:
        """What is said of a document as a whole is said of its first line."""
        document = Document(3, {}, {"": 9})
        self.assertEqual(document.explained(BadParameter("No.")).sentence, "Document 3, line 9: No.")
