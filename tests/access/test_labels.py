"""Which nodes a selector wants."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.labels import EVERY_NODE, NO_NODE, LabelSelector, match
from teleport_conch.errors import BadParameter

_LABELS = st.dictionaries(st.sampled_from(["env", "team", "os"]), st.text("ab-", max_size=4), max_size=3)


class LabelTests(SynchronousTestCase):
    def test_match(self) -> None:
        """Keys are ANDed, values ORed; literals, globs and expressions; a missing label never matches."""
        web = {"env": "prod", "region": "us-east-1", "empty": ""}
        for selector, expected in (
            ({}, False),
            ({"*": ("*",)}, True),
            ({"env": ("prod",)}, True),
            ({"env": ("test", "prod")}, True),
            ({"env": ("pro",)}, False),
            ({"env": ("Prod",)}, False),
            ({"env": ()}, False),
            ({"env": ("prod",), "region": ("eu-*",)}, False),
            ({"env": ("prod",), "region": ("us-*",)}, True),
            ({"region": ("*-east-*",)}, True),
            ({"region": ("us*us-east-1",)}, False),
            ({"region": ("^us-(east|west)-[0-9]$",)}, True),
            ({"region": ("^us-$",)}, False),
            ({"region": ("^us-",)}, False),
            ({"env": ("*",)}, True),
            ({"empty": ("*",)}, True),
            ({"empty": ("",)}, True),
            ({"team": ("*",)}, False),
            ({"team": ("",)}, False),
        ):
            self.assertEqual(match(selector, web), expected, selector)

    def test_nothing_and_everything(self) -> None:
        """Only ``'*': '*'`` matches a node without labels."""
        self.assertTrue(EVERY_NODE.matches({}))
        self.assertFalse(NO_NODE.matches({}))
        self.assertFalse(LabelSelector({"env": ("*",)}).matches({}))

    def test_failed(self) -> None:
        """The keys that do not match are named, for the trace."""
        selector = LabelSelector({"env": ("prod",), "team": ("db",), "os": ("linux",)})
        self.assertEqual(selector.failed({"env": "test", "os": "linux"}), ("env", "team"))
        self.assertEqual(selector.values("env"), ("prod",))
        self.assertEqual(EVERY_NODE.failed({}), ())

    @given(_LABELS, _LABELS)
    def test_failed_agrees(self, wanted: dict[str, str], labels: dict[str, str]) -> None:
        """A selector with keys matches exactly when none has failed."""
        selector = LabelSelector({key: (value,) for key, value in wanted.items()})
        self.assertEqual(selector.matches(labels), bool(wanted) and not selector.failed(labels))

    @given(st.lists(st.text("ab", max_size=2), min_size=2, max_size=4), st.text("ab", max_size=6))
    def test_globs(self, parts: list[str], text: str) -> None:
        """A glob is the expression with ``.*`` for each star."""
        expression = f"^{'.*'.join(parts)}$"
        expected = match({"key": (expression,)}, {"key": text})
        self.assertEqual(match({"key": ("*".join(parts),)}, {"key": text}), expected)

    def test_refusals(self) -> None:
        """A star beside other keys, templates, and more than the bounds."""
        alone = "node_labels: the key '*' stands alone and has the value '*', which means every node."
        many = "node_labels.env has more than 64 values, or one of more than 1024 characters."
        for selector, sentence in (
            ({"*": ("prod",)}, alone),
            ({"*": ("*",), "env": ("prod",)}, alone),
            ({"env": ("x",) * 65}, many),
            ({"env": ("x" * 1025,)}, many),
            ({str(key): ("x",) for key in range(65)}, "node_labels has more than 64 keys."),
            (
                {key: tuple(f"^{key}{number}$" for number in range(43)) for key in "abc"},
                "node_labels has more than 128 regular expressions.",
            ),
            (
                {"env": ("^(a$",)},
                "node_labels.env[0]: the expression ^(a$ cannot be used: a parenthesis is not closed.",
            ),
        ):
            error = self.assertRaises(BadParameter, LabelSelector, selector)
            self.assertEqual(error.sentence, sentence)

    def test_templates(self) -> None:
        """A value may be filled in from traits, whose values are literal; what stands around it may be a glob."""
        traits = {"team": ("db", "a*"), "email": ("alice@example.com",)}
        for value, label, expected in (
            ("{{external.team}}", "db", True),
            ("{{external.team}}", "a*", True),
            ("{{external.team}}", "ab", False),
            ("{{external.none}}", "", False),
            ("*-{{external.team}}-*", "eu-db-7", True),
            ("*-{{external.team}}-*", "eu-ab-7", False),
            ("{{email.local(external.email)}}", "alice", True),
            ('{{regexp.replace(external.team, "^(.)b$", "${1}c")}}', "dc", True),
        ):
            selector = LabelSelector({"team": (value,)})
            self.assertEqual(selector.filled(traits).matches({"team": label}), expected, (value, label))
            self.assertFalse(selector.matches({"team": label}), "not filled in")
        self.assertIs(EVERY_NODE.filled(traits), EVERY_NODE)
        filled = LabelSelector({"team": ("x", "{{external.team}}")}).filled(traits)
        self.assertEqual(filled.values("team"), ("x", "db", "a*"))
        error = self.assertRaises(BadParameter, LabelSelector, {"env": ("a", "^{{external.x}}$")})
        self.assertEqual(error.sentence, "node_labels.env[1]: a template cannot stand in a regular expression.")

    def test_json(self) -> None:
        """One value is a string, several are a list; equal selectors compare equal in any order."""
        selector = LabelSelector.from_json({"team": ["a", "b"], "env": "prod"}, "labels")
        self.assertEqual(selector.to_json(), {"env": "prod", "team": ["a", "b"]})
        self.assertEqual(selector, LabelSelector({"env": ("prod",), "team": ("a", "b")}))
        self.assertEqual(hash(selector), hash(LabelSelector({"team": ("a", "b"), "env": ("prod",)})))
        for value in (1, [], [1], {"a": "b"}, None):
            error = self.assertRaises(BadParameter, LabelSelector.from_json, {"env": value}, "labels")
            self.assertEqual(error.sentence, "labels.env has to be a string or a list of strings.")
