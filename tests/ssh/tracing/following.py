"""Programs that are followed in this machine's own kernel, and what was recorded of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from itertools import count
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.tracing import layout, records
from teleport_conch.ssh.tracing.joining import Followed
from teleport_conch.ssh.tracing.kernel import Untraceable
from teleport_conch.ssh.tracing.records import Command, Connected, Opened
from teleport_conch.ssh.tracing.tracer import Sizes, Tracer, Unseen

EVERYTHING = layout.COMMAND | layout.DISK | layout.NETWORK
PLAIN = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


def make_tracer(sizes: Sizes | None = None) -> Tracer:
    """Skips the test where this kernel does not allow it."""
    try:
        return Tracer(sizes or Sizes())
    except Untraceable as reason:
        raise SkipTest(str(reason)) from None


shared_tracer = cache(make_tracer)
"""One for all tests of this process: it takes a second to take one out of the kernel."""


class FollowingCase(SynchronousTestCase):
    """Tests with sessions in the kernel."""

    numbers = count(1)

    def setUp(self) -> None:
        self.tracer = shared_tracer()

    def follow(self, kinds: int) -> int:
        number = next(self.numbers)
        self.tracer.follow(number, kinds)
        self.addCleanup(self.tracer.forget, number)
        return number

    def run_in(self, number: int, words: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        """Runs a program in a session, to its end."""
        process = self.start_in(number, words)
        output, error = process.communicate()
        return subprocess.CompletedProcess(words, process.returncode, output, error)

    def start_in(self, number: int, words: Sequence[str]) -> subprocess.Popen[bytes]:
        """Starts a program in a session, with pipes."""
        join = Followed(self.tracer.threads, number).join
        pipe = subprocess.PIPE
        return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, env=PLAIN, preexec_fn=join)  # noqa: PLW1509  # what is tested

    def followed(self, kinds: int, *words: str) -> tuple[list[bytes], Unseen]:
        """Runs a program in a session of its own: what was recorded, and what was counted."""
        number = self.follow(kinds)
        self.run_in(number, words)
        return self.recorded(number), self.tracer.unseen(number)

    def python(self, kinds: int, program: str) -> tuple[list[bytes], Unseen]:
        return self.followed(kinds, sys.executable, "-I", "-S", "-c", program)

    def recorded(self, number: int) -> list[bytes]:
        """All records of a session; those of others are gone."""
        everything = [record for ring in self.tracer.rings.values() for record in ring.records(1 << 30)]
        return [record for record in everything if records.read_head(record).session == number]


def commands(found: Sequence[bytes]) -> list[Command]:
    joined = records.Commands()
    heads = [(records.read_head(record), record) for record in found]
    read = [joined.read(head, record) for head, record in heads if head.sort <= layout.NOT_STARTED]
    return [command for command in read if command is not None]


def opened(found: Sequence[bytes]) -> list[Opened]:
    heads = [(records.read_head(record), record) for record in found]
    return [records.read_opened(head, record) for head, record in heads if head.sort == layout.OPENED]


def connected(found: Sequence[bytes]) -> list[Connected]:
    heads = [(records.read_head(record), record) for record in found]
    return [records.read_connected(head, record) for head, record in heads if head.sort == layout.CONNECTED]
