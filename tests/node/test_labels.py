"""Labels whose values commands print: real programs, on the real reactor."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

from teleport_conch.auth.hosts.labels import check_labels, check_printable
from teleport_conch.node.labels import MAX_OUTPUT_BYTES, CommandLabels, LabelCommand
from teleport_conch.resources.joining import Heartbeat
from teleport_conch.resources.server import CommandLabel, Server
from teleport_conch.ssh.gathering import REST_S
from teleport_conch.starting import Reactor
from tests.certs.samples import HOST_UUID
from tests.ssh.streams import StreamCase

LONG_S = 3600.0


def steady(seconds: float) -> float:
    return seconds


class StoppedTime:
    """The installed reactor, but for its clock, which the test turns."""

    def __init__(self) -> None:
        self.clock = Clock()

    def callLater(self, delay: float, call: Callable[..., object], *args: object) -> IDelayedCall:
        return self.clock.callLater(delay, call, *args)

    def __getattr__(self, name: str) -> object:
        return getattr(installed_reactor, name)


class CommandLabelsTests(StreamCase):
    """Each test starts the loopers that it needs, and they are stopped behind it."""

    timeout = 30

    def start_labels(self, *commands: LabelCommand) -> CommandLabels:
        self.changes = 0
        self.time = StoppedTime()
        labels = CommandLabels(cast(Reactor, self.time), commands, steady, self.changed)
        labels.startService()
        self.time.clock.advance(0)
        self.addCleanup(self.stopped, labels)
        return labels

    def changed(self) -> None:
        self.changes += 1

    async def result_of(self, *argv: str) -> str:
        """What the label says once its command has run."""
        labels = self.start_labels(LabelCommand("label", argv, LONG_S, LONG_S))
        self.assertEqual(labels.labels, {"label": CommandLabel(argv, LONG_S, "")})

        def ended() -> bool:
            self.time.clock.advance(REST_S)  # for which the output of a program gathers
            return self.changes > 0

        await self.until(ended)
        return labels.labels["label"].result

    async def test_output(self) -> None:
        """The value is what the command prints, trimmed and on one line; it is run as the service's own account."""
        self.assertEqual(await self.result_of("/bin/sh", "-c", "echo; echo '  a value  '; echo more"), "a value more")
        self.assertEqual(await self.result_of("id", "-u"), str(os.geteuid()))

    async def test_failure(self) -> None:
        """How it failed, and what it said."""
        self.assertEqual(await self.result_of("/bin/sh", "-c", "echo no luck >&2; exit 3"), "exit status 3 no luck")
        self.assertEqual(await self.result_of("/bin/sh", "-c", "kill -TERM $$"), "signal TERM")
        self.assertEqual(await self.result_of("false"), "exit status 1")

    async def test_no_such_program(self) -> None:
        """A program that is not there is a value that says so, and no end of the looper."""
        result = await self.result_of("/nonexistent/program")
        self.assertIn("/nonexistent/program", result)
        self.assertIn("exit status 12", result)

    async def test_output_is_cut(self) -> None:
        """However much it prints, the value has its limit, and the command comes to its end."""
        result = await self.result_of("/bin/sh", "-c", "head -c 8000000 /dev/zero | tr '\\0' x")
        self.assertEqual(result, "x" * MAX_OUTPUT_BYTES)

    async def test_output_that_nobody_should_see(self) -> None:
        """What a terminal would obey is left out, and what is no text does no harm."""
        self.assertEqual(await self.result_of("printf", "\\033[2Ja\\377b\\tc\\n"), "[2Ja\ufffdb c")

    async def test_auth_takes_it(self) -> None:
        """Whatever a command is and prints, the heartbeat that says so is one that auth takes."""
        for argv in (
            ("/bin/sh", "-c", "head -c 9000 /dev/zero | tr '\\0' x; exit 3"),
            ("/bin/sh", "-c", "head -c 9000 /dev/zero | tr '\\0' '\\377'"),
            ("/bin/sh", "-c", "head -c 9000 /dev/zero | tr '\\0' '\\377'; kill -KILL $$"),
            ("/bin/sh", "-c", "echo one\necho two # \x1b[2J"),
            ("/bin/sh", "-c", "echo much" + " # and more" * 500),
            ("echo", *("word" for _ in range(100))),
        ):
            labels = self.start_labels(LabelCommand("label", argv, LONG_S, LONG_S))
            await self.until(lambda: self.changes > 0)
            server = Server(kind="node", name=HOST_UUID, hostname="web1", cmd_labels=labels.labels)
            sent = json.loads(json.dumps(Heartbeat("instance", server).to_json()))
            heard = Heartbeat.from_json(sent).server.cmd_labels["label"]
            self.assertEqual(heard, labels.labels["label"])
            check_labels({"label": heard.result})
            check_printable("The command", *heard.command)

    async def test_command_is_shown(self) -> None:
        """A command of several lines is shown on one."""
        labels = self.start_labels(LabelCommand("label", ("/bin/sh", "-c", "echo one\necho two"), LONG_S, LONG_S))
        self.assertEqual(labels.labels["label"].command, ("/bin/sh", "-c", "echo one\\necho two"))
        await self.until(lambda: self.changes > 0)
        self.assertEqual(labels.labels["label"].result, "one two")

    async def test_time_limit(self) -> None:
        """A command that does not end is ended, with all that it has started."""
        path = Path(self.mktemp()).absolute()
        script = f"echo soon; sleep 3600 & echo $! > {path}; wait"
        labels = self.start_labels(LabelCommand("label", ("/bin/sh", "-c", script), 100, 10))
        await self.until(lambda: path.exists() and path.read_text().endswith("\n"))
        await self.turns()
        self.time.clock.advance(10)
        await self.until(lambda: self.changes > 0)
        self.assertEqual(labels.labels["label"].result, "timed out soon")
        child = int(path.read_text())
        await self.until(lambda: not Path(f"/proc/{child}").exists() or self.is_dead(child))

    def is_dead(self, pid: int) -> bool:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"

    async def test_each_for_itself(self) -> None:
        """A slow command holds up no other, and has an empty value meanwhile."""
        labels = self.start_labels(
            LabelCommand("slow", ("sleep", "3600"), LONG_S, LONG_S),
            LabelCommand("quick", ("echo", "now"), LONG_S, LONG_S),
        )
        await self.until(lambda: self.changes > 0)
        found = {name: label.result for name, label in labels.labels.items()}
        self.assertEqual(found, {"slow": "", "quick": "now"})

    async def test_again_and_again(self) -> None:
        """It runs in its period, and only another value is news."""
        counter = Path(self.mktemp()).absolute()
        script = f"echo x >> {counter}; test $(wc -l < {counter}) -gt 3 && echo many || echo few"
        labels = self.start_labels(LabelCommand("label", ("/bin/sh", "-c", script), 10, LONG_S))
        await self.until(lambda: self.later(10) and labels.labels["label"].result == "many")
        await self.until(lambda: self.later(10) and len(counter.read_text().split()) > 6)
        self.assertEqual(self.changes, 2)

    def later(self, seconds: float) -> bool:
        """Time passes while no command runs."""
        if not self.children():
            self.time.clock.advance(seconds)
        return True

    async def test_stopped(self) -> None:
        """A node that stops leaves no command behind."""
        path = Path(self.mktemp()).absolute()
        labels = self.start_labels(LabelCommand("slow", ("/bin/sh", "-c", f"echo $$ > {path}; sleep 3600"), 1, LONG_S))
        await self.until(lambda: path.exists() and path.read_text() != "")
        await self.stopped(labels)
        pid = int(path.read_text())
        await self.until(lambda: not Path(f"/proc/{pid}").exists())

    async def stopped(self, labels: CommandLabels) -> None:
        """Stops the loopers, and gives a command in flight no time to end by itself; nothing of it is left."""
        if not labels.running:
            return
        in_flight = [getattr(looper, "_in_flight", None) for looper in labels]
        stopping = maybeDeferred(labels.stopService)
        for each in in_flight:
            if isinstance(each, Deferred):
                each.cancel()
        await stopping
        await self.until(lambda: not self.children())

    def children(self) -> list[str]:
        """The processes that this one has started and not reaped."""
        own = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
        return Path(own).read_text().split()
