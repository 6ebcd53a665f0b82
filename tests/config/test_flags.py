"""Tests for :mod:`teleport_conch.config.flags`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.config.flags import parse_labels

NAMES = st.text("abcdefgh/.-_", min_size=1, max_size=10)
VALUES = st.text("abcdefgh 0123.:=", max_size=10).map(str.strip)


class LabelTests(SynchronousTestCase):
    def sentence(self, text: str) -> str:
        return str(self.assertRaises(ValueError, parse_labels, text))

    def test_static(self) -> None:
        """Keys and values; a value with a comma is quoted."""
        self.assertEqual(parse_labels("env=prod")[0], {"env": "prod"})
        self.assertEqual(parse_labels(' env = prod , "x"=')[0], {"env": "prod", '"x"': ""})
        self.assertEqual(parse_labels('a="1,2",b=3')[0], {"a": "1,2", "b": "3"})
        self.assertEqual(parse_labels(""), ({}, ()))

    def test_commands(self) -> None:
        """A period and a command between brackets, quoted as Teleport does it or not."""
        labels, commands = parse_labels('uptime=[1m:"uptime -p"],env=prod,os=[ 1h : uname -s ]')
        self.assertEqual(labels, {"env": "prod"})
        self.assertEqual(
            commands,
            (
                {"name": "uptime", "period": "1m", "command": ["uptime", "-p"]},
                {"name": "os", "period": "1h", "command": ["uname", "-s"]},
            ),
        )

    def test_quotes_inside(self) -> None:
        """Quotes, brackets and commas inside a command are its own."""
        cases = {
            """a=[1m:sh -c 'echo [x], y']""": ["sh", "-c", "echo [x], y"],
            """a=[1m:"sh -c 'echo x'"]""": ["sh", "-c", "echo x"],
            """a=[1m:"/opt/my tool" "two words"]""": ["/opt/my tool", "two words"],
        }
        self.assertEqual({text: parse_labels(text)[1][0]["command"] for text in cases}, cases)

    def test_refused(self) -> None:
        """What cannot be read is refused from where it cannot, with an example."""
        form = 'write them like env=prod,uptime=[1m:"uptime -p"]'
        cases = {
            "env": f"the labels cannot be read from 'env' on: {form}",
            "a=b,=c": f"the labels cannot be read from '=c' on: {form}",
            "a=[1m]": f"the labels cannot be read from 'a=[1m]' on: {form}",
            "a=[1m:x": f"the labels cannot be read from 'a=[1m:x' on: {form}",
            'a=[1m:""]': f"a label has no command: {form}",
            "a=b,a=c": "the label 'a' is given twice",
            "a=b,a=[1m:x]": "the label 'a' is given twice",
        }
        self.assertEqual({text: self.sentence(text) for text in cases}, cases)

    @settings(deadline=None)
    @given(st.dictionaries(NAMES, VALUES, max_size=5))
    def test_round_trip(self, labels: dict[str, str]) -> None:
        """Labels that are joined with commas are read as they were."""
        text = ",".join(f"{name}={value}" for name, value in labels.items())
        self.assertEqual(parse_labels(text), (labels, ()))
