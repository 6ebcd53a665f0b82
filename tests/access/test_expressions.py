"""Conditions of rules: what holds, what does not, and what is not known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.expressions import parse_condition
from teleport_conch.access.rules import OWN_RECORDS
from teleport_conch.access.scene import Scene
from teleport_conch.errors import BadParameter

USER = {
    "id": "alice",
    "metadata": {"name": "alice"},
    "spec": {"roles": ("dev",), "traits": {"teams": ("db", "web"), "one": ("x",)}},
}
NODE = {
    "kind": "node",
    "metadata": {"name": "n1", "labels": {"env": "prod"}, "expires": None},
    "spec": {"port": 22, "tunnel": False, "addr": 'a"b', "type": "host", "list": ["a", 1]},
}
SCENE = Scene(USER, NODE, owner="alice", participants=("alice", "bob"))
_TRUE, _FALSE = 'equals("a", "a")', 'equals("a", "b")'
_UNKNOWN = 'equals(resource.spec.nothing, "a")'
_TREES = st.recursive(
    st.sampled_from([(_TRUE, True), (_FALSE, False), (_UNKNOWN, None)]),
    lambda inner: st.one_of(
        inner.map(lambda each: (f"!({each[0]})", None if each[1] is None else not each[1])),
        st.tuples(inner, inner).map(
            lambda pair: (
                f"({pair[0][0]}) && ({pair[1][0]})",
                min((pair[0][1], pair[1][1]), key={False: 0, None: 1, True: 2}.__getitem__),
            )
        ),
        st.tuples(inner, inner).map(
            lambda pair: (
                f"({pair[0][0]}) || ({pair[1][0]})",
                max((pair[0][1], pair[1][1]), key={False: 0, None: 1, True: 2}.__getitem__),
            )
        ),
    ),
    max_leaves=6,
)


class ConditionTests(SynchronousTestCase):
    def test_known(self) -> None:
        """Texts, numbers, paths by name and in brackets, and the two functions."""
        for text, expected in (
            ('equals(user.metadata.name, "alice")', True),
            ('contains(user.spec.roles, "dev")', True),
            ('contains(user.spec.traits["teams"], "web")', True),
            ('contains(user.spec.traits.one, "x")', True),
            ('contains(user.spec.traits["none"], "web")', False),
            ('!contains(user.spec.traits["none"], "web")', True),
            ('equals(resource.metadata.labels["env"], "prod")', True),
            ('equals(resource.metadata.labels["none"], "prod")', False),
            ("equals(resource.spec.port, 22)", True),
            ('equals(resource.spec.port, "22")', False),
            ("equals(resource.spec.tunnel, false)", True),
            ("equals(resource.spec.tunnel, 0)", False),
            ('equals(resource.spec.addr, "a\\"b")', True),
            ("contains(resource.spec.list, 1)", True),
            ('contains(resource.spec.list, "b")', False),
            ('equals(system.catype(), "host")', True),
            ("contains(resource.participants, user.metadata.name)", True),
            ('equals(resource.metadata.expires, "x")', False),
            (OWN_RECORDS, True),
            (f"{_FALSE} || {_TRUE} && {_FALSE}", False),
            (f"({_FALSE} || {_TRUE}) && !{_FALSE}", True),
        ):
            self.assertIs(parse_condition(text)(SCENE), expected, text)

    def test_not_known(self) -> None:
        """Without the resource, with a field that it does not have, and where kinds of values do not go together."""
        bare = Scene(USER)
        for text, scene in (
            ('equals(resource.metadata.name, "n1")', bare),
            ('contains(resource.participants, "alice")', bare),
            ('equals(system.catype(), "host")', bare),
            ('equals(resource.metdata.name, "n1")', SCENE),
            ('equals(resource.kind.name, "n1")', SCENE),
            ('contains(resource.kind, "o")', SCENE),
            ('equals(user.spec.roles, "dev")', SCENE),
        ):
            self.assertIsNone(parse_condition(text)(scene), text)
            self.assertIsNone(parse_condition(f"!{text}")(scene), text)
        self.assertFalse(parse_condition(OWN_RECORDS)(bare), "what belongs to nobody is not mine")

    @given(_TREES)
    def test_logic(self, tree: tuple[str, bool | None]) -> None:
        """What is not known decides nothing that the rest does not decide."""
        text, expected = tree
        self.assertIs(parse_condition(text)(SCENE), expected, text)

    def test_refusals(self) -> None:
        """The key, the column, and what is wrong there."""
        for text, sentence in (
            ("", "column 1: equals(...), contains(...), ! or ( is expected there."),
            ("true", "column 1: true is not known; the conditions are equals(a, b) and contains(list, x)."),
            ("equals(user.id)", "column 15: , is expected there."),
            ('equals(user.id, "a"', "column 20: ) is expected there."),
            ('equals(user.id, "a")) ', "column 21: ')' is not expected there."),
            ('equals(user.id, "a) ', "column 17: a quote is not closed."),
            ("equals(user.id, 'a')", 'column 17: "\'" is not expected there.'),
            ('equals(user.id, "a") & x', "column 22: '&' is not expected there."),
            ('user.id == "a"', "column 1: user is not known; the conditions are equals(a, b) and contains(list, x)."),
            ('equals(user.id == "a")', "column 16: '=' is not expected there."),
            (
                'equals(user.name, "a")',
                "column 8: user.name is not known; known are user.id, user.metadata.name, user.s",
            ),
            ('equals(resource, "a")', "column 8: resource is not known."),
            ('equals(env, "a")', "column 8: env is not known; a text stands in double quotes."),
            ("equals(system.time(), 1)", "column 8: system.time is not known; system.catype() is."),
            ('contains(resource["spec"]x, "a")', "column 26: , is expected there."),
            ("(" * 33, "column 34: parentheses are nested more than 32 deep."),
            ("!" * 40, "column 34: parentheses are nested more than 32 deep."),
        ):
            error = self.assertRaises(BadParameter, parse_condition, text, "rules[0].where")
            self.assertIn(f"rules[0].where, {sentence[:-1]}", error.sentence, text)
        error = self.assertRaises(BadParameter, parse_condition, " " * 1025)
        self.assertEqual(error.sentence, "where is longer than 1024 characters.")
