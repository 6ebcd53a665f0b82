"""Matches and captures are those of a backtracking engine, without its worst case."""

from __future__ import annotations

import re
from typing import SupportsIndex

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.replacing import MAX_TEXT_CHARS, MAX_WORK, Expression, compile_replacement
from teleport_conch.errors import BadParameter

_ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", "ab"])
_EXPRESSIONS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda options: f"({'|'.join(options)})"),
        st.tuples(_ATOMS, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "*?", "+?", "??"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=6,
).filter(lambda expression: len(expression) <= 40)  # and so within the steps that there may be
_EDGES = st.sampled_from(["{}", "^{}", "{}$", "^{}$", "^(?:{})$"])


class Counted(str):
    """A text that counts how often one looks at a character of it."""

    looked_at = 0

    def __getitem__(self, at: SupportsIndex | slice) -> str:
        self.looked_at += not isinstance(at, slice)
        return super().__getitem__(at)


class ReplacingTests(SynchronousTestCase):
    @given(_EXPRESSIONS, _EDGES, st.text("ab1\n", max_size=8))
    def test_as_python(self, expression: str, edges: str, text: str) -> None:
        """The first match, with its captures, is the one of Python's engine."""
        expression = edges.format(expression)
        found = Expression.compile(expression).find(text)
        expected = re.search(expression.replace("$", r"\Z"), text)
        slots = (
            None
            if expected is None
            else tuple(at for number in range(len(expected.regs)) for at in expected.span(number))
        )
        self.assertEqual(found, slots, (expression, text))

    def test_every_match(self) -> None:
        """All matches are replaced, also those of nothing; a text without any gives nothing."""
        for expression, replacement, text, expected in (
            ("a", "b", "banana", "bbnbnb"),
            ("a*", "-", "baac", "-b-c-"),
            ("", "-", "ab", "-a-b-"),
            ("(a)(x)?", "<$1$2>", "aax", "<a><ax>"),
            ("^a", "b", "aa", "ba"),
            ("x", "y", "abc", None),
            (r"^([^@]+)@example\.com$", "$1", "alice@example.com", "alice"),
            (r"^([^@]+)@example\.com$", "$1", "alice@example.org", None),
            ("(a)", "${1}1$$", "a", "a1$"),
            (".", "x" * 1000, "ab", None),
        ):
            self.assertEqual(compile_replacement(expression, replacement)(text), expected, (expression, text))

    def test_bounded(self) -> None:
        """What would keep a backtracking engine busy for ever ends; a longer text is not looked at."""
        replace = compile_replacement("(a|aa|a?)+(a*)*b", "x")
        self.assertIsNone(replace("a" * MAX_TEXT_CHARS))
        self.assertEqual(compile_replacement("a", "b")("a" * MAX_TEXT_CHARS), "b" * MAX_TEXT_CHARS)
        self.assertIsNone(compile_replacement("a", "b")("a" * (MAX_TEXT_CHARS + 1)))

    def test_too_much_work(self) -> None:
        """Each match of these looks at all that follows it; that is begun and given up, and usual ones are not."""
        for expression in ("a(a*b)?", "(a|aa)*b|a"):
            replace, counted = compile_replacement(expression, "x"), Counted("a" * MAX_TEXT_CHARS)
            self.assertIsNone(replace(counted), expression)
            self.assertLess(counted.looked_at, MAX_WORK, expression)
        dn = ",".join(f"ou=unit{number}" for number in range(20))
        self.assertEqual(compile_replacement("^cn=([a-z.]+),.*$", "$1")(f"cn=a.smith,{dn}"), "a.smith")

    def test_refusals(self) -> None:
        """What is not known is refused with a reason."""
        for expression, replacement, sentence in (
            ("a" * 257, "", "an expression is longer than 256 characters."),
            ("a{99}", "", "an expression has more than 64 steps; its {m,n} count too."),
            ("^*", "", "the expression ^* cannot be used: ^ and $ are not repeated."),
            ("(a)", "$2", "'$2': a $ begins $1 or ${1}, for one of the 1 groups of the expression, or is written $$."),
            ("(a)", "$1x", "'$1x': a $ begins"),
            ("(a)", "$", "'$': a $ begins"),
        ):
            error = self.assertRaises(BadParameter, compile_replacement, expression, replacement)
            self.assertIn(sentence, error.sentence)
