"""``tsh play`` where there is no terminal: forms, files, and what is refused; and ``tsh recordings ls``."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.recording import digest
from teleport_conch.audit.tape import Tape
from teleport_conch.cli import recordings as naming
from teleport_conch.cli.tsh import play as playing
from teleport_conch.cli.tsh.main import parse
from teleport_conch.cli.tsh.play import Source
from teleport_conch.cli.tsh.player import POLL_S
from teleport_conch.cli.tsh.recordings import shown
from teleport_conch.errors import AlreadyExists, BadParameter
from teleport_conch.resources.recording import Recording, RecordingState
from tests.audit.reels import END, START, output, reel, slices

SID = "0b5c9f1e-5c0a-4f0e-9a63-6d1a54f6a001"
RECORDS = (START, output(0, b"\x1b[1m$ "), output(3_000_000, b"ls\r\n"), END)
RECORDING = Recording(
    *(SID, "alice", "root", "3c5e9d60", "web1", 1_600_000_000.0, 1_600_000_200.0),
    state=RecordingState.COMPLETE,
    head=digest(reel(*RECORDS)[-1]).hex(),
)


class RenderingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.err = Clock(), io.StringIO()
        self.patch(sys, "stderr", self.err)
        self.out = Path(self.mktemp()).absolute()
        self.source = b"".join(reel(*RECORDS))

    async def fetch(self, offset: int) -> bytes:
        return self.source[offset:]

    def play(self, *flags: str, recording: Recording | None = RECORDING, grows: bool | None = None) -> Deferred[None]:
        arguments = parse(["play", *flags, f"--output={self.out}", SID])

        async def is_growing() -> bool:
            return bool(grows)

        source = Source(self.fetch, False, recording, None if grows is None else is_growing)
        return Deferred.fromCoroutine(playing._play(self.clock, arguments, source))

    def test_forms(self) -> None:
        """Each form is written at once, whatever the times."""
        for form, content in (
            ("pty", "\x1b[1m$ ls\r\n"),
            ("text", "$ ls\n"),
            ("asciicast", None),
            ("json", None),
        ):
            self.successResultOf(self.play(f"--format={form}"))
            written = self.out.read_bytes().decode()
            self.assertEqual(written, written if content is None else content)
            self.assertTrue(content is not None or all(json.loads(line) for line in written.splitlines()))
            self.assertEqual(self.out.stat().st_mode & 0o777, 0o600)
            self.out.unlink()
        self.assertEqual(self.err.getvalue(), "")

    def test_in_the_way(self) -> None:
        """No file is replaced."""
        self.out.write_bytes(b"mine")
        problem = self.failureResultOf(self.play(), AlreadyExists)
        self.assertEqual(problem.value.sentence, f"{self.out} exists already. Give another name, or remove it first.")
        self.assertEqual(self.out.read_bytes(), b"mine")

    def test_follow(self) -> None:
        """What goes on is written as it comes."""
        whole, self.source = self.source, reel(*RECORDS)[0]
        played = self.play("--format=text", "--follow", grows=True)
        self.assertNoResult(played)
        self.assertEqual(self.out.read_text(), "$ ")
        self.source = whole
        self.clock.advance(POLL_S)
        self.successResultOf(played)
        self.assertEqual(self.out.read_text(), "$ ls\n")

    def test_very_much(self) -> None:
        """Signals have their turn, however much is shown at once."""
        records = (START, *(output(at, bytes(32 << 10)) for at in range(64)), END)
        self.source = b"".join(reel(*records))
        played = self.play("--format=pty", recording=None)
        self.assertNoResult(played)
        self.assertLess(self.out.stat().st_size, 3 * playing.BREATH_BYTES // 2)
        self.clock.pump([0.0, 0.0])
        self.successResultOf(played)
        self.assertEqual(self.out.stat().st_size, 64 * (32 << 10))

    def test_notes(self) -> None:
        """What is missing is said: on stderr, so that it is no part of the output."""
        self.source = reel(*RECORDS, last=False)[0]
        running = evolve(RECORDING, state=RecordingState.RECORDING)
        lost = evolve(RECORDING, state=RecordingState.INCOMPLETE, reason="nothing came for\x1b[2J a day")
        for recording, sentence in (
            (running, "The session is still being recorded; this is what there is so far."),
            (lost, "The recording is incomplete: nothing came for\\x1b[2J a day."),
            (None, "The recording is incomplete: its end is missing."),
        ):
            self.out.unlink(missing_ok=True)
            self.err.truncate(0)
            self.err.seek(0)
            self.successResultOf(self.play(recording=recording))
            self.assertEqual(self.err.getvalue(), f"{sentence}\n")

    def test_cut(self) -> None:
        """Auth had noted another end than there is."""
        self.source = reel(*RECORDS)[0]
        problem = self.failureResultOf(self.play(), BadParameter)
        self.assertIn(f"auth had noted {RECORDING.head}: its end was changed", problem.value.sentence)

    def test_broken(self) -> None:
        """What is before the break is written, and the break is an error."""
        first, second = reel(*RECORDS)
        self.source = first + second[:-1]
        problem = self.failureResultOf(self.play(), BadParameter)
        self.assertEqual(problem.value.sentence, "The recording is torn in the middle of slice 1.")
        self.assertEqual(self.out.read_bytes(), b"\x1b[1m$ ")


class FileTests(SynchronousTestCase):
    def test_nothing_to_show(self) -> None:
        """Signals have their turn, however many slices there are without anything in them."""
        clock, path = Clock(), Path(self.mktemp())
        path.write_bytes(b"".join(slices([()] * 3)))
        with path.open("rb") as file:
            found = Deferred.fromCoroutine(Tape(naming.from_file(clock, file)).next())
            self.assertNoResult(found)
            clock.advance(0)
            self.assertIsNone(self.successResultOf(found))


class NameTests(SynchronousTestCase):
    def test_ids(self) -> None:
        """A GUID as it is written, and nothing that may be a path."""
        self.assertEqual(naming.session_id(SID.upper()), SID)
        for text in ("", "x", SID[:-1], SID + "0", SID.replace("-", ""), f"{{{SID}}}", "\x1b[2J"):
            problem = self.assertRaises(BadParameter, naming.session_id, text)
            self.assertIn("' is not a valid session ID (must be GUID).", problem.sentence)
            self.assertNotIn("\x1b", problem.sentence)

    def test_files(self) -> None:
        for text, is_file in ((SID, False), ("x.rec", True), ("./x", True), ("x", False), (f"{SID}.rec", True)):
            self.assertIs(naming.is_file(text), is_file, text)

    def test_refused(self) -> None:
        """Before anybody is asked to log in."""
        for words, sentence in (
            (("x",), "'x' is not a valid session ID (must be GUID)."),
            (("x.rec", "--follow"), "A file does not grow: leave --follow out."),
        ):
            problem = self.assertRaises(BadParameter, playing.play, parse(["play", *words]))
            self.assertEqual(problem.sentence, sentence)

    def test_speed(self) -> None:
        self.assertEqual(parse(["play", "--speed=2.5", SID]).speed, 2.5)
        for text in ("0", "-1", "nan", "inf", "x", "101", "0.09"):
            err = io.StringIO()
            self.patch(sys, "stderr", err)
            self.assertRaises(SystemExit, parse, ["play", f"--speed={text}", SID])
            self.assertIn("is no speed: 0.1 is a tenth, 100 a hundred times as fast", err.getvalue())


class TapeTests(SynchronousTestCase):
    def test_missing(self) -> None:
        """Nothing, of a recording that was read to an end that says so."""

        async def fetch(offset: int) -> bytes:
            return b"".join(reel(*RECORDS))[offset:]

        tape = Tape(fetch)
        while self.successResultOf(Deferred.fromCoroutine(tape.next())) is not None:
            pass
        self.assertEqual(naming.missing(tape, RECORDING), "")


class ListTests(SynchronousTestCase):
    FOUND = (
        RECORDING,
        evolve(RECORDING, id=SID[:-1] + "2", user="b\x1b[31mob", state=RecordingState.INCOMPLETE),
        evolve(RECORDING, id=SID[:-1] + "3", ended_at=None, state=RecordingState.RECORDING),
    )

    def test_table(self) -> None:
        self.assertEqual(
            shown(self.FOUND, "table").splitlines(),
            [
                "Session                              User        Account   Started (UTC)    Lasted",
                "------------------------------------ ----------- --------- ---------------- ----------",
                f"{SID} alice       root@web1 2020-09-13 12:26 3m20s",
                f"{SID[:-1]}2 b\\x1b[31mob root@web1 2020-09-13 12:26 incomplete",
                f"{SID[:-1]}3 alice       root@web1 2020-09-13 12:26 recording",
            ],
        )
        self.assertEqual(shown((), "table"), "No recordings found.\n")

    def test_names(self) -> None:
        """For ``tsh play``, and for shells."""
        self.assertEqual(shown(self.FOUND[:2], "names"), f"{SID}\n{SID[:-1]}2\n")

    def test_json(self) -> None:
        found = json.loads(shown(self.FOUND, "json"))
        self.assertEqual([each["spec"]["state"] for each in found], ["complete", "incomplete", "recording"])

    def test_flags(self) -> None:
        """--user is whose sessions behind the command, and who one is before it."""
        found = parse(["--user=carol", "recordings", "ls", "--user=alice", "--node=web1", "--limit=7"])
        self.assertEqual((found.user, found.of, found.node, found.limit), ("carol", "alice", "web1", 7))
