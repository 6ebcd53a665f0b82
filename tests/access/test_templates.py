"""Logins that are filled in from traits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.templates import MAX_FILLED, Template, Traits, parse_login
from teleport_conch.errors import BadParameter

_PIECES = st.text("ab-", max_size=3)
PEOPLE: Traits = {
    "email": ("alice@example.com", "Bob Smith <bob@example.com>", "nobody", "@example.com", "a@b@example.com"),
    "x y": ("web",),
    "groups": ("cn=dba,ou=groups", "cn=dev,ou=groups", "ou=people"),
    "unix": ("ab", "xabcab"),
}


def filled(text: str, traits: Traits = PEOPLE) -> tuple[str, ...]:
    template = parse_login(text)
    assert isinstance(template, Template)
    return template.logins(traits)


class TemplateTests(SynchronousTestCase):
    def test_parse(self) -> None:
        """A name stays a name; a template has a prefix, a trait and a suffix."""
        for text, expected in (
            ("root", "root"),
            ("EXAMPLE\\alice", "EXAMPLE\\alice"),
            ("{{internal.logins}}", Template("", "logins", "")),
            ("svc-{{external.unix}}-x", Template("svc-", "unix", "-x")),
            ('{{ external["x y"] }}', Template("", "x y", "")),
            ("{{internal.kubernetes_users}}", Template("", "kubernetes_users", "")),
        ):
            self.assertEqual(parse_login(text), expected)

    def test_refusals(self) -> None:
        """Neither a star, nor a list, nor braces that are no template."""
        for text in ("*", "ro*", "", "root,admin", "a b", "a\x1b[2J", "a\u202eb"):
            error = self.assertRaises(BadParameter, parse_login, text)
            self.assertEqual(
                error.sentence, f"logins: {text!a} cannot be a login of a role; '*' does not stand for all logins."
            )
        for text in ("{{internal.logins", "{x}", "a}}", "{{}}x{{"):
            error = self.assertRaises(BadParameter, parse_login, text)
            self.assertEqual(
                error.sentence,
                f"logins: {text!a} is not a template like {{{{internal.logins}}}} or {{{{external.name}}}}.",
            )

    def test_refusals_in_braces(self) -> None:
        """What is wrong in the braces is named with its column in the whole text."""
        for text, sentence in (
            ("{{}}", "logins, column 3: internal, external, email.local or regexp.replace is expected there."),
            ("{{other.x}}", "column 3: other.x is not known; the functions are email.local and regexp.replace."),
            ("{{external.a}}{{external.b}}", "column 13: '}' is not expected there."),
            ("svc-{{external.a b}}", "column 18: 'b' is not expected there."),
            ("{{external}}", "column 11: . is expected there."),
            ('{{external["x}}', "column 12: a quote is not closed."),
            ("{{external[x]}}", "column 12: a text in double quotes is expected there."),
            ('{{external[""]}}', "column 11: the name of a trait has 1 to 64 characters."),
            (
                "{{internal.login}}",
                "column 11: internal.login is not known; internal.logins is, and any external.<trait>.",
            ),
            ("{{email.local(external.x}}", "column 25: ) is expected there."),
            ("{{email.local()}}", "column 15: internal, external, email.local or regexp.replace is expected there."),
            ('{{regexp.replace(external.x, "a")}}', "column 33: , is expected there."),
            (
                '{{regexp.replace(external.x, "(", "")}}',
                "column 30: the expression ( cannot be used: a parenthesis is not",
            ),
            (
                '{{regexp.replace(external.x, "(a)", "$2")}}',
                "column 30: '$2': a $ begins $1 or ${1}, for one of the 1 gr",
            ),
            ("{{" + "email.local(" * 33 + "external.x" + ")" * 33 + "}}", "parentheses are nested more than 32 deep."),
            ("{{external.x" + " " * 1024 + "}}", "logins is longer than 1024 characters."),
        ):
            error = self.assertRaises(BadParameter, parse_login, text)
            self.assertIn(sentence, error.sentence)

    def test_values(self) -> None:
        """One login for each value; what makes no Unix login is left out, and so is an unknown trait."""
        template = Template("svc-", "unix", "")
        traits = {"unix": ("a", "b;c", "", "-d", "x\ny", "e" * 80)}
        self.assertEqual(template.logins(traits), ("svc-a", "svc--d"))
        self.assertEqual(Template("", "unix", "").logins({"unix": ("-oProxyCommand=x", "ok")}), ("ok",))
        self.assertEqual(template.logins({}), ())

    def test_functions(self) -> None:
        """The part of an address before the @, and what a regular expression makes of a value, or nothing."""
        self.assertEqual(filled("{{email.local(external.email)}}"), ("alice", "a@b"))
        self.assertEqual(filled('svc-{{external["x y"]}}'), ("svc-web",))
        replace = '{{regexp.replace(external.groups, "^cn=([a-z]+),.*$", "${1}s")}}'
        self.assertEqual(filled(f"team-{replace}"), ("team-dbas", "team-devs"))
        self.assertEqual(filled('{{regexp.replace(external.unix, "a(b)", "$1$1")}}'), ("bb", "xbbcbb"))
        nested = '{{regexp.replace(email.local(external.email), "^al", "$0$$")}}'
        self.assertEqual(filled(nested, {"email": ("alice@x",)}), ())
        self.assertEqual(filled('{{regexp.replace(external.unix, "[{]2[}]", "x")}}', {"unix": ("a{2}",)}), ("ax",))

    def test_bounded(self) -> None:
        """Of more values than one template gives, the first ones count."""
        many = {"unix": tuple(f"u{number}" for number in range(MAX_FILLED + 1))}
        self.assertEqual(len(filled("{{external.unix}}", many)), MAX_FILLED)

    @given(_PIECES, _PIECES, st.lists(_PIECES, max_size=3))
    def test_around(self, prefix: str, suffix: str, values: list[str]) -> None:
        """Each login is a value between prefix and suffix, and no value that makes a login is lost."""
        logins = Template(prefix, "x", suffix).logins({"x": tuple(values)})
        expected = [f"{prefix}{value}{suffix}" for value in values if value]
        self.assertEqual(list(logins), [login for login in expected if not login.startswith("-")])
