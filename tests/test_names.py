"""Names of ours are PEP 8; what overrides Twisted keeps Twisted's name.

Ruff cannot tell one from the other, so its rules for this are off, and a name in another style is looked up here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import twisted
import zope.interface
from twisted.trial.unittest import SynchronousTestCase

import teleport_conch

PACKAGE = Path(teleport_conch.__file__).parent
_MIXED = re.compile(r"[a-z].*[A-Z]")
_DEFINED = re.compile(r"^\s+(?:async )?def (\w+)|^\s+(\w+)\s*[:=]|self\.(\w+) *[:=]", re.MULTILINE)


def mixed_names(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of each function, argument and attribute of a class that mixes small and capital letters."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from ((node.lineno, name) for name in (node.name, *_arguments(node.args)) if _MIXED.match(name))
        elif isinstance(node, ast.ClassDef):
            yield from ((line, name) for line, name in _attributes(node) if _MIXED.match(name))


def _arguments(arguments: ast.arguments) -> list[str]:
    return [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def _attributes(class_: ast.ClassDef) -> Iterator[tuple[int, str]]:
    for statement in class_.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        yield from ((target.lineno, target.id) for target in targets if isinstance(target, ast.Name))


def framework_names() -> set[str]:
    """Every name of a method, argument or attribute that Twisted and zope.interface define."""
    names: set[str] = set()
    for package in (Path(twisted.__file__).parent, Path(zope.interface.__file__).parent):
        for path in package.rglob("*.py"):
            if "test" in path.parts:
                continue
            source = path.read_text(encoding="utf-8")
            for groups in _DEFINED.findall(source):
                names.update(groups)
            for signature in re.findall(r"def \w+\(([^)]*)\)", source):
                names.update(re.findall(r"\w+", signature))
    return names


class NameTests(SynchronousTestCase):
    def test_mixed_names(self) -> None:
        """The search sees methods, arguments and attributes, and leaves PEP 8 and classes alone."""
        source = "class SSHThing:\n    wantReply = 1\n    def channelOpen(self, specificData): ...\n    MAX_A = 2\n"
        self.assertEqual(list(mixed_names(source)), [(2, "wantReply"), (3, "channelOpen"), (3, "specificData")])

    def test_only_names_of_twisted(self) -> None:
        """Each name of ours that is not PEP 8 is one that Twisted or zope.interface has."""
        allowed = framework_names()
        self.assertIn("dataReceived", allowed)
        self.assertNotIn("ourOwnName", allowed)
        strange = [
            f"{path.relative_to(PACKAGE)}:{line}: {name}"
            for path in sorted(PACKAGE.rglob("*.py"))
            for line, name in mixed_names(path.read_text(encoding="utf-8"))
            if name not in allowed
        ]
        self.assertEqual(strange, [])
