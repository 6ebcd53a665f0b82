"""``tctl recordings verify``: what it says of a file, and which files it does not believe."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.recording import Kind, Record, digest
from teleport_conch.cli.connecting import carry_out
from teleport_conch.cli.recording_check import Check
from teleport_conch.cli.tctl import parse
from teleport_conch.errors import BadParameter
from tests.audit.reels import END, START, output, reel

RECORDS = (START, output(5_000_000, b"hello"), output(8_000_000, b"bye"), END)


class VerifyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.file = self.folder / "x.rec"
        self.slices = reel(*RECORDS, in_slice=1)

    def verify(self, *slices: bytes, words: tuple[str, ...] = (), form: str = "text") -> str:
        """What is printed, of a file with these slices; no configuration is there, and no cluster."""
        self.file.write_bytes(b"".join(slices))
        return carry_out(parse(["recordings", "verify", str(self.file), *words])).render(form)

    def refused(self, sentence: str, *slices: bytes, words: tuple[str, ...] = ()) -> None:
        self.assertEqual(self.assertRaises(BadParameter, self.verify, *slices, words=words).sentence, sentence)

    def test_good(self) -> None:
        """Whose session it was, the head, and that its end is there."""
        lines = dict(line.split(maxsplit=1) for line in self.verify(*self.slices).splitlines() if " " in line.strip())
        head = digest(self.slices[-1]).hex()
        self.assertEqual((lines["User"], lines["Shows"], lines["Head"]), ("alice", "9s", head))
        self.assertEqual(lines["Started"], "2020-09-13 12:26:40 UTC")
        size = sum(map(len, self.slices))
        self.assertEqual(lines["Slices"], f"4 ({size} B), each of which follows the one before it")
        self.assertEqual(lines["End"], "there, and nothing is missing, the session ended with 0")
        found = json.loads(self.verify(*self.slices, form="json"))
        self.assertEqual((found["slices"], found["head"], found["over"], found["seconds"]), (4, head, True, 9.0))
        self.assertEqual((found["start"]["session"]["user"], found["end"]["complete"]), ("alice", True))

    def test_head(self) -> None:
        """The head that auth has noted is compared, whatever its case."""
        head = digest(self.slices[-1]).hex()
        self.assertIn("each of which", self.verify(*self.slices, words=(f"--head={head.upper()}",)))
        sentence = f"The head of {self.file} is {head}, and not 00: it is another one."
        self.refused(sentence, *self.slices, words=("--head=00",))

    def test_cut(self) -> None:
        """Whole slices that are missing at the end show by the end, or by the head."""
        head = digest(self.slices[2]).hex()
        sentence = (
            f"{self.file} has no end. Its 3 slices follow one another, but whether others came after them, only the"
            f" head tells that auth knows. Here it is {head}; give auth's with --head."
        )
        self.refused(sentence, *self.slices[:3])
        self.assertIn("missing", self.verify(*self.slices[:3], words=(f"--head={head}",)))

    def test_broken(self) -> None:
        """Left out, changed, put in, torn: the slice is named."""
        first, second, third, fourth = self.slices
        changed = reel(START, output(5_000_000, b"jello"), *RECORDS[2:], in_slice=1)[1]
        does_not_follow = "does not follow the one before it: the recording was changed, or a part of it is missing."
        self.refused("Slice 1 of the recording is due, and this is slice 2.", first, third, fourth)
        self.refused(f"Slice 2 {does_not_follow}", first, changed, third, fourth)
        self.refused("The recording has ended; slice 0 comes after its end.", *self.slices, first)
        self.refused("The recording is torn in the middle of slice 3.", first, second, third, fourth[:-1])
        self.refused("This is not a slice of a recording, or it is one of another version.", b"x" * 100)

    def test_incomplete(self) -> None:
        """A recording may have an end that says that it is not whole."""
        end = Record.of(Kind.END, 1, {"complete": False, "exit": None, "reason": "the node stopped"})
        said = self.verify(*reel(START, end))
        self.assertIn("there, and the recording is incomplete: the node stopped", said)

    def test_T84_inert(self) -> None:
        """What a node has written is harmless on the terminal of who looks at it."""
        session = {"id": "\x1b[2J", "user": ["\x9b"], "login": "a\nb"}
        start = Record.of(Kind.START, 0, {"session": session, "cluster": "\x07", "started": float("nan")})
        end = Record.of(Kind.END, 1, {"complete": False, "exit": None, "reason": "\x1b]0;x\x07"})
        said = self.verify(*reel(start, end))
        self.assertTrue(said.replace("\n", "").isprintable(), said)
        self.assertIn("\\x1b[2J", said)

    def test_nothing(self) -> None:
        """An empty recording is no recording with an end."""
        self.assertRaises(BadParameter, self.verify)
        self.assertEqual(Check().of_session()[1], ("User", ""))

    def test_no_file(self) -> None:
        self.patch(sys, "stderr", io.StringIO())
        self.assertRaises(FileNotFoundError, carry_out, parse(["recordings", "verify", str(self.folder / "none")]))
