"""Tests for :mod:`teleport_conch.config.names`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.config.names import (
    name_from_host,
    parse_label_key,
    parse_label_value,
    parse_name,
    parse_variable,
)


class NameTests(SynchronousTestCase):
    def test_lower_case(self) -> None:
        """Names are compared without regard to case, and kept in lower case."""
        self.assertEqual(parse_name("Web1.Example.COM"), "web1.example.com")

    def test_uuid(self) -> None:
        """A name that looks like a host's number is refused."""
        uuid = "5de21b05-60cb-4f6c-9a50-8ec2b4a2a83c"
        error = self.assertRaises(ValueError, parse_name, uuid.upper())
        self.assertEqual(str(error), f"'{uuid}' has the form of a host UUID: choose a name")

    def test_from_host(self) -> None:
        """What the operating system says becomes a name; what cannot become one is localhost."""
        cases = {
            "Web1": "web1",
            "web1.example.com.": "web1.example.com",
            "Jörg's Mac": "j-rg-s-mac",
            "-": "localhost",
            "": "localhost",
            "10.999": "localhost",
            "a..b": "a.b",
            "5de21b05-60cb-4f6c-9a50-8ec2b4a2a83c": "localhost",
        }
        self.assertEqual({text: name_from_host(text) for text in cases}, cases)

    @settings(deadline=None)
    @given(st.text(max_size=300))
    def test_from_any_host(self, text: str) -> None:
        """The name made of any host name is a valid name."""
        name = name_from_host(text)
        self.assertEqual(parse_name(name), name)

    def test_labels(self) -> None:
        """Keys and values of labels, as far as Teleport and a terminal allow."""
        self.assertEqual(parse_label_key("aws/Env.1_*-"), "aws/Env.1_*-")
        self.assertEqual(parse_label_value("two words, ü"), "two words, ü")
        error = self.assertRaises(ValueError, parse_label_key, "a b")
        self.assertEqual(str(error), "the label 'a b' has other characters than letters, digits and /._*-")
        error = self.assertRaises(ValueError, parse_label_value, "red\x1b[31m")
        self.assertEqual(str(error), "the value of a label has at most 256 characters, all of them printable")

    def test_variables(self) -> None:
        """Names and beginnings of names; a star alone would let everything in."""
        self.assertEqual([parse_variable(text) for text in ("LANG", "LC_*")], ["LANG", "LC_*"])
        for text in ("*", "", "A B", "A=1", "L*C", "1A"):
            error = self.assertRaises(ValueError, parse_variable, text)
            self.assertEqual(str(error), f"'{text}' is not the name of an environment variable, like LANG or LC_*")
