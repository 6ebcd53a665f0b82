"""Logins that are filled in from traits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.templates import Template, parse_login
from teleport_conch.errors import BadParameter, NotBuilt

_PIECES = st.text("ab-", max_size=3)


class TemplateTests(SynchronousTestCase):
    def test_parse(self) -> None:
        """A name stays a name; a template has a prefix, a trait and a suffix."""
        for text, expected in (
            ("root", "root"),
            ("EXAMPLE\\alice", "EXAMPLE\\alice"),
            ("{{internal.logins}}", Template("", "logins", "")),
            ("svc-{{external.unix}}-x", Template("svc-", "unix", "-x")),
            ('{{ external["x y"] }}', Template("", "x y", "")),
        ):
            self.assertEqual(parse_login(text), expected)

    def test_refusals(self) -> None:
        """Neither a star, nor a list, nor braces that are no template, nor what is not built."""
        for text in ("*", "ro*", "", "root,admin", "a b", "a\x1b[2J", "a\u202eb"):
            error = self.assertRaises(BadParameter, parse_login, text)
            self.assertEqual(
                error.sentence, f"{text!a} cannot be a login of a role; '*' does not stand for all logins."
            )
        for text in ("{{internal.logins", "{x}", "{{other.x}}", "{{external.a}}{{external.b}}", "{{}}"):
            error = self.assertRaises(BadParameter, parse_login, text)
            self.assertEqual(
                error.sentence, f"{text!a} is not a template like {{{{internal.logins}}}} or {{{{external.name}}}}."
            )
        error = self.assertRaises(NotBuilt, parse_login, "{{internal.kubernetes_users}}")
        self.assertIn("of the internal variables only internal.logins is built", error.sentence)
        error = self.assertRaises(NotBuilt, parse_login, "{{email.local(external.email)}}")
        self.assertIn("functions in templates are not built yet", error.sentence)

    def test_values(self) -> None:
        """One login for each value; what makes no Unix login is left out, and so is an unknown trait."""
        template = Template("svc-", "unix", "")
        traits = {"unix": ("a", "b;c", "", "-d", "x\ny", "e" * 80)}
        self.assertEqual(template.values(traits), ("svc-a", "svc--d"))
        self.assertEqual(Template("", "unix", "").values({"unix": ("-oProxyCommand=x", "ok")}), ("ok",))
        self.assertEqual(template.values({}), ())

    @given(_PIECES, _PIECES, st.lists(_PIECES, max_size=3), st.text("ab-", max_size=8))
    def test_matches_is_values(self, prefix: str, suffix: str, values: list[str], login: str) -> None:
        """To match is to be one of the values."""
        template, traits = Template(prefix, "x", suffix), {"x": tuple(values)}
        self.assertEqual(template.matches(login, traits), login in template.values(traits))
        for value in template.values(traits):
            self.assertTrue(template.matches(value, traits))
