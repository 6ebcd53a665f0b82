"""``docs/tctl.rst`` knows every command and every flag."""

from __future__ import annotations

from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.demo_plan import Plan
from teleport_conch.cli.references import KINDS
from teleport_conch.cli.tctl_auth import UNBUILT_OF_AUTH
from teleport_conch.cli.tctl_line import UNBUILT, tctl_parser
from tests.cli.test_demo import FILES

DOCS = Path(__file__).parents[2] / "docs"
#: Whose meaning is explained for a group of flags, or which are no flags of ours.
UNNAMED = {"--help", "--insecure", "--format"}


def leaves(parser: ArgumentParser, words: tuple[str, ...] = ("tctl",)) -> Iterator[tuple[str, ArgumentParser]]:
    """Each command by its words, aliases left out."""
    groups = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
    if not groups:
        yield " ".join(words), parser
    for group in groups:
        for name, child in group.choices.items():
            if name not in ("del", "request") and not child.get_default("unbuilt"):
                yield from leaves(child, (*words, name))


class DocumentationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.page = (DOCS / "tctl.rst").read_text("utf-8")

    def test_commands_and_flags(self) -> None:
        """Each command has its paragraph, each flag is named."""
        for command, parser in leaves(tctl_parser()):
            self.assertIn(f"``{command}", self.page)
            for action in parser._actions:
                for flag in (option for option in action.option_strings if option.startswith("--")):
                    self.assertTrue(flag in UNNAMED or f"{flag}" in self.page, f"{command} {flag}")

    def test_not_built_yet(self) -> None:
        """What Teleport has and is missing here is said."""
        paragraph = self.page.split("Not built yet")[1].split("\n\n")[1]
        for words in (*(f"tctl {name}" for name in UNBUILT), *(f"tctl auth {name}" for name in UNBUILT_OF_AUTH)):
            self.assertIn(f"``{words}``", paragraph)

    def test_kinds(self) -> None:
        """All kinds of resources are listed."""
        for kind in KINDS:
            self.assertIn(f"``{kind}``", self.page)

    def test_files_of_the_demo(self) -> None:
        """What the demo writes is explained, and its lines are those that it prints."""
        page = (DOCS / "demo.rst").read_text("utf-8")
        for name in FILES:
            self.assertIn(f"``{name}``", page)
        plan = Plan(Path(".demo"), "<nodename>", "alice", "127.0.0.1", 3025, 3023, 3080, 3022, 3122)
        programs = {"tctl": "tctl", "tsh": "tsh", "teleport": "teleport"}
        for line in plan.lines(programs, "", "SECRET", "PIN").splitlines():
            if line.strip().startswith(("ssh ", "tsh ", "teleport ")) or "nodes add" in line:
                self.assertIn(line.strip(), page)
