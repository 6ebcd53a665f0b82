"""``docs/tsh.rst`` knows every command, flag and variable."""

from __future__ import annotations

import re
from inspect import getsource

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh import bot_folder, flags, line
from teleport_conch.client import profiles
from tests.cli.test_documentation import DOCS, leaves


class DocumentationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.page = (DOCS / "tsh.rst").read_text("utf-8")

    def test_commands_and_flags(self) -> None:
        """Each command has its paragraph, each flag is named."""
        for command, parser in leaves(line.tsh_parser({}), ("tsh",)):
            self.assertIn(f"``{command}", self.page)
            for action in parser._actions:
                flags = [option for option in action.option_strings if option not in ("-h", "--help")]
                self.assertTrue(not flags or any(f"``{flag}" in self.page for flag in flags), f"{command} {flags}")

    def test_no_flags_that_are_not_there(self) -> None:
        """What the page calls a flag is one, of ``tsh`` or of a command that is shown."""
        known = {
            option
            for _, parser in leaves(line.tsh_parser({}), ("tsh",))
            for action in parser._actions
            for option in action.option_strings
        }
        for flag in set(re.findall(r"``(--[a-z][a-z-]*)", self.page)):
            self.assertIn(flag, known)

    def test_variables(self) -> None:
        """The variables are those that are read."""
        source = "".join(getsource(module) for module in (line, flags))
        for variable in set(re.findall(r"TELEPORT_[A-Z_]+", source)):
            self.assertIn(f"``{variable}``", self.page)

    def test_not_built(self) -> None:
        """What Teleport has and is missing here is said."""
        for name in flags.UNBUILT:
            self.assertIn(f"``tsh {name}``", self.page)

    def test_files(self) -> None:
        """So are the files."""
        for name in (profiles.CURRENT, profiles.KNOWN_HOSTS, *bot_folder.FILES):
            self.assertIn(f"``{name}``", self.page)
        self.assertIn(f"/{profiles.AUTHORITIES}``", self.page)
