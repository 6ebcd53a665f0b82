"""Pages of the manual, carried out as they stand: what is typed where, what is written into which file, what is said.

In a block of kind ``console``, a line ``auth# tctl status`` is typed on that machine, and the lines below it, up to the
next such line, are what it says: each in this order, where ``...`` stands for anything, also for whole lines. A block
with a caption like ``/etc/teleport.yaml on web1`` is a file. Comments tell what a person does elsewhere, or in another
window:

``.. guide: accept alice``
    The link that was printed last is opened, and a password and a second factor are set.
``.. guide: refused``
    The last command of the next block does not end with 0.
``.. guide: again``
    The first command of the next block is typed until it says what stands there: it is about what takes a moment.
``.. guide: background``
    The commands of the next block go on while the page does.
"""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import select
import shlex
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from attrs import define, field, frozen

from tests.interop.failing import Failed
from tests.interop.programs import DEADLINE_S, Done, check, environment, eventually
from tests.interop.tsh import SecondFactor
from tests.interop.world import World

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"
PASSWORD = "a long password of the guide"

_BLOCK = re.compile(
    r"^\.\. guide: (?P<hook>.*)\n"
    r"|^\.\. code-block:: (?P<kind>\w+)\n(?:   :caption: (?P<caption>.*)\n)?\n(?P<text>(?:   .*\n|\n)+)",
    re.MULTILINE,
)
_TYPED = re.compile(r"(?P<machine>[a-z]+[0-9]?)(?:[#$]) (?P<line>.*)")
_LINK = re.compile(r"https://\S+/web/(?:invite|reset)/([0-9a-f]+)")
_PIN = re.compile(r"sha256:[0-9a-f]{64}")
_TOKEN = re.compile(r"--token=([0-9a-f]{32})|^ +([0-9a-f]{32})$", re.MULTILINE)
_REFERENCE = re.compile(r"reference ([0-9a-z]{8})")
_LOCK = re.compile(r"lock/([0-9a-f-]{36})")
_REQUEST = re.compile(r"^([0-9a-f-]{36})$", re.MULTILINE)
_SESSION = re.compile(r"^([0-9a-f-]{36}) +\S+ +\S+@", re.MULTILINE)
WIDTH = "200"
"""Columns of the terminal on which the pages are typed: no table is cut there."""
_STANDING_FOR = {
    "SESSION": _SESSION,
    "REQUEST": _REQUEST,
    "PIN": _PIN,
    "TOKEN": _TOKEN,
    "REF": _REFERENCE,
    "LOCK": _LOCK,
    "LINK": _LINK,
}
"""What words of a page stand for: what was printed last of this form."""


@frozen
class Typed:
    """A command and what it says."""

    machine: str
    line: str
    says: tuple[str, ...]


@frozen
class Written:
    """A file."""

    machine: str
    path: str
    text: str


@frozen
class Told:
    """What a person does elsewhere."""

    words: tuple[str, ...]


def steps(page: str) -> Iterator[Typed | Written | Told]:
    """What a page says, from top to bottom."""
    for found in _BLOCK.finditer((GUIDE / page).read_text("utf-8")):
        if found["hook"]:
            yield Told(tuple(found["hook"].split()))
            continue
        text = re.sub(r"^   ", "", found["text"], flags=re.MULTILINE)
        if found["caption"]:
            path, _, machine = found["caption"].partition(" on ")
            yield Written(machine.removeprefix("the "), path, text.strip("\n") + "\n")
        elif found["kind"] == "console":
            yield from _console(text)


def _console(text: str) -> Iterator[Typed]:
    machine, line, says = "", "", list[str]()
    for each in text.strip("\n").splitlines():
        found = _TYPED.fullmatch(each)
        if found is None and line.endswith("\\"):
            line = f"{line[:-1]}{each.strip()}"
        elif found is None:
            says.append(each)
        else:
            if line:
                yield Typed(machine, line, tuple(says))
            machine, line, says = found["machine"], found["line"], []
    yield Typed(machine, line, tuple(says))


def says(text: str, wanted: Sequence[str]) -> bool:
    """Whether a text says these lines in this order; ``...`` stands for anything."""
    pattern = ".*".join(_line(line) for line in wanted if line.strip() != "...")
    return re.search(pattern, text, re.DOTALL) is not None


def _line(line: str) -> str:
    return r"\s*".join(r"[^\n]*".join(map(re.escape, word.split("..."))) for word in line.split())


@define(eq=False)
class Reader:
    """Somebody who works through pages, on the machines that they speak of."""

    world: World
    people: dict[str, SecondFactor] = field(factory=dict)
    seen: dict[str, str] = field(factory=dict)
    opened: ExitStack = field(factory=ExitStack)

    def follow(self, page: str) -> None:
        """Does all that a page says.

        :raises Failed: something else happened than it says.
        """
        mode = ""
        for step in steps(page):
            if isinstance(step, Told):
                mode = self.told(step)
            elif isinstance(step, Written):
                self.world[step.machine].write(step.path, self.filled(step.text))
            else:
                self.typed(step, mode)
                mode = ""

    def told(self, step: Told) -> str:
        if step.words[0] == "accept":
            self.accept(step.words[1])
            return ""
        if step.words[0] == "sleep":
            time.sleep(float(step.words[1]))
            return ""
        return step.words[0]

    def filled(self, text: str) -> str:
        """A text of the page, with what was printed in place of what it stands for."""
        for name, value in self.seen.items():
            text = text.replace(name, value)
        return text

    def typed(self, step: Typed, mode: str) -> None:
        line = self.filled(step.line)
        if line.startswith(("teleport start", "twist ")) or mode == "background":
            self.start(step.machine, line, step.says)
            return
        done = self.again(step, line) if mode == "again" else self.on_terminal(step.machine, line)
        self.look(done.text)
        if (done.code != 0) != (mode == "refused"):
            raise Failed(f"{step.machine}: {line} ended with {done.code}: {done.text}")
        if not says(done.text, step.says):
            raise Failed(f"{step.machine}: {line} says something else than the page.\n{done.text}\n-- the page --\n"
                         + "\n".join(step.says))  # fmt: skip

    def again(self, step: Typed, line: str) -> Done:
        tried: list[Done] = []

        def has_said() -> bool:
            tried.append(self.on_terminal(step.machine, line))
            return says(tried[-1].text, step.says)

        eventually(has_said, f"{step.machine}: {line} says {step.says}")
        return tried[-1]

    def look(self, text: str) -> None:
        """Notes what later lines of the page stand for."""
        for name, pattern in _STANDING_FOR.items():
            found = pattern.search(text)
            if found:
                self.seen[name] = found[found.lastindex or 0]

    def start(self, machine: str, line: str, wanted: Sequence[str]) -> None:
        """A command that goes on; it has said what it should before the page goes on."""
        before = len(self.world[machine].log())
        self.opened.enter_context(self.world[machine].background("/bin/sh", "-c", f"exec {line}"))
        expected = wanted or ["serves"]
        eventually(lambda: says(self.world[machine].log()[before:], expected), f"{machine}: {line} says {expected}")

    def accept(self, name: str) -> None:
        """Opens the last link as a program of the person's would, and sets password and second factor."""
        token = self.seen["LINK"]
        address = "https://proxy.example.com:3080/webapi/users/password/token"
        opened = json.loads(check(self.world["laptop"].shell(f"curl -sSk {address}/{token}")).text)
        person = self.people[name] = SecondFactor(opened["otp_secret"])
        body = {"token": token, "password": _base64(PASSWORD), "second_factor_token": person.code()}
        ask = f"curl -sSk -X PUT -H 'content-type: application/json' -d {shlex.quote(json.dumps(body))} {address}"
        done = check(self.world["laptop"].shell(ask))
        if "error" in done.text:
            raise Failed(f"The link of {name} was not taken: {done.text}")

    def on_terminal(self, machine: str, line: str) -> Done:
        """Types a line on a terminal, and answers what is asked."""
        words = self.world[machine].words(("/bin/bash", "-c", line))
        pid, terminal = pty.fork()
        if pid == 0:
            variables = {"HOME": self.world[machine].home, "TERM": "dumb", "COLUMNS": WIDTH}
            os.execvpe(words[0], words, environment(**variables))  # noqa: S606 - words, and no shell
        said, last, answered = b"", time.monotonic() + DEADLINE_S * 2, 0
        with suppress(OSError):  # which is how a terminal ends
            while time.monotonic() < last:
                if select.select([terminal], [], [], 1.0)[0]:
                    said += os.read(terminal, 1 << 16)
                    answered = self.answer(terminal, said, answered)
        status = _status(pid, last)
        os.close(terminal)  # not before, as the program would be hung up on in its last moment
        text = said.decode("utf-8", "replace").replace("\r\n", "\n")
        return Done((machine, line), os.waitstatus_to_exitcode(status), text.encode(), b"")

    def answer(self, terminal: int, said: bytes, answered: int) -> int:
        """Types a password or a code where one was asked for behind so many bytes; answers how many there are now."""
        asked = re.compile(rb"Enter password for Teleport user (\S+): |(Enter your OTP token: )")
        for found in asked.finditer(said, answered):
            answered = found.end()
            if found[1]:
                self.seen["USER"] = found[1].decode()
            text = self.people[self.seen["USER"]].code() if found[2] else PASSWORD
            os.write(terminal, text.encode() + b"\n")
        return answered

    def close(self) -> None:
        """Ends what goes on."""
        self.opened.close()


def _status(pid: int, last: float) -> int:
    """How a program ended, that is killed if it has not by then."""
    while time.monotonic() < last:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
