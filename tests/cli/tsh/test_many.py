"""One command on many nodes."""

from __future__ import annotations

import io
from typing import cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import TestCase

from teleport_conch.cli.tsh.many import MAX_LINE_BYTES, Run, run_on_all


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


class ManyTests(TestCase):
    def setUp(self) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()

    def run_all(self, *runs: Run) -> Deferred[int]:
        work = run_on_all(cast(IReactorTime, reactor), runs, self.out, self.err)
        return Deferred.fromCoroutine(work)

    async def test_prefixed(self) -> None:
        """Each line says where it comes from, also the last one without an end, and the highest status counts."""
        script = "echo one; echo two >&2; printf rest; exit "
        runs = [Run(name, ["/bin/sh", "-c", f"{script}{status}"]) for name, status in (("a", 3), ("web1", 0))]
        self.assertEqual(await self.run_all(*runs), 3)
        expected = ["a    | one", "a    | rest", "web1 | one", "web1 | rest"]
        self.assertEqual(sorted(self.out.getvalue().splitlines()), expected)
        self.assertEqual(sorted(self.err.getvalue().splitlines()), ["a    | two", "web1 | two"])

    async def test_T111_output(self) -> None:
        """No node writes on a terminal in the name of another, or what it would obey; files get what there is."""
        run = Run("a", ["sh", "-c", r"printf 'ok\tso\033[2J\rweb1 | owned\n'"])
        await self.run_all(run)
        self.assertEqual(self.out.getvalue(), "a | ok\tso\x1b[2J\rweb1 | owned\n")
        self.out = Screen()
        await self.run_all(run)
        self.assertEqual(self.out.getvalue(), "a | ok\tso\\x1b[2J\\rweb1 | owned\n")

    async def test_input(self) -> None:
        """Nobody shares the input: a program that reads finds its end."""
        self.assertEqual(await self.run_all(Run("a", ["/bin/sh", "-c", "cat; exit 0"])), 0)

    async def test_killed(self) -> None:
        self.assertEqual(await self.run_all(Run("a", ["/bin/sh", "-c", "kill -9 $$"])), 255)

    async def test_long_line(self) -> None:
        """A line without an end is not kept for ever."""
        size = MAX_LINE_BYTES * 4
        await self.run_all(Run("a", ["/bin/sh", "-c", f"head -c {size} /dev/zero | tr '\\0' x"]))
        lines = self.out.getvalue().splitlines()
        self.assertGreater(len(lines), 1)
        self.assertEqual(sum(line.count("x") for line in lines), size)
