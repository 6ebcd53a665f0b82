"""Expressions in linear time say what Python's engine says, and refuse what they do not know."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.pattern import compile_expression
from teleport_conch.access.pattern_syntax import MAX_EXPRESSION_CHARS
from teleport_conch.errors import BadParameter

_ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\.", "[0-9-]"])
_EXPRESSIONS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda options: f"({'|'.join(options)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=8,
)


class PatternTests(SynchronousTestCase):
    @given(_EXPRESSIONS, st.text("ab1.-", max_size=6))
    def test_as_python(self, expression: str, text: str) -> None:
        """On what both know, the answers are those of Python's engine."""
        expected = re.fullmatch(expression, text) is not None
        self.assertEqual(compile_expression(expression)(text), expected, (expression, text))

    def test_what_people_write(self) -> None:
        """The expressions of Teleport's documentation and the like."""
        for expression, yes, no in (
            ("db-.*", "db-1", "web-1"),
            ("(prod|stage)", "stage", "stages"),
            ("web-[0-9]{2,3}", "web-01", "web-1"),
            (r"\w+\.example\.com", "a_b.example.com", "a.exampleXcom"),
            ("a.*?b", "axxb", "axx"),
            ("", "", "a"),
            ("[]]", "]", "["),
            (r"\$[\]x]+", "$]x", "$"),
        ):
            matches = compile_expression(expression)
            self.assertTrue(matches(yes), expression)
            self.assertFalse(matches(no), expression)

    def test_linear(self) -> None:
        """What would keep a backtracking engine busy for ever ends, and so do nested counts of nothing."""
        self.assertFalse(compile_expression("(a|aa|a?)+(a*)*")("a" * 200 + "b"))
        self.assertTrue(compile_expression("(((){999}){999}){999}")(""))

    def test_refusals(self) -> None:
        """What is not known is refused with a reason, never taken for something else."""
        for expression, why in (
            ("a(b", "a parenthesis is not closed"),
            ("a)b", "a closing parenthesis without an opening one"),
            ("[a", "a [ is not closed"),
            ("[b-a]", "[b-a]: bad character range b-a"),
            ("[[:alpha:]]", "a [ inside [...] is written \\["),
            ("*a", "* is not expected there; a literal one is written \\*"),
            ("a**", "* is not expected there"),
            ("a^b", "^ is not expected there"),
            ("a{,3}", "a { begins {m}, {m,} or {m,n}, or is written \\{"),
            ("a{3,2}", "{3,2} counts backwards"),
            ("(?i)a", "of the forms that begin with (? only (?:...) is known"),
            ("(?P<x>a)", "of the forms that begin with (? only (?:...) is known"),
            (r"(a)\1", "\\1 is not known"),
            (r"\bx", "\\b is not known"),
            ("a\\", "\\ is not known"),
            ("(" * 17 + ")" * 17, "groups are nested more than 16 deep"),
        ):
            error = self.assertRaises(BadParameter, compile_expression, expression)
            self.assertIn(f"the expression ^{expression}$ cannot be used: {why}", error.sentence)

    def test_bounds(self) -> None:
        """Long expressions, and short ones that unfold to long ones, are refused."""
        error = self.assertRaises(BadParameter, compile_expression, "a" * (MAX_EXPRESSION_CHARS + 1))
        self.assertEqual(error.sentence, "an expression is longer than 256 characters.")
        error = self.assertRaises(BadParameter, compile_expression, "((a{99}){99}){99}")
        self.assertEqual(error.sentence, "an expression has more than 512 steps; its {m,n} count too.")
