"""``tsh play`` of a file, on a terminal: what it draws, what its keys do, and what the terminal is afterwards."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from teleport_conch.audit.playback import CLEAR, RESET
from tests.audit.reels import END, START, output, reel, resize
from tests.interop.case import InteropTests
from tests.interop.programs import check, installed, run
from tests.interop.terminals import Terminal

S = 1_000_000
HIDES_THE_CURSOR = b"\x1b[?25l\x1b[?1049h"
RECORDS = (
    START,
    output(S // 10, HIDES_THE_CURSOR + b"first "),
    output(2 * S, b"second "),
    resize(3 * S, 90, 20),
    output(3600 * S, b"third "),
    END,
)
LINE = "stty -g; sh -c 'echo pid=$$; exec tsh play {} {}'; echo code=$?; stty -g"


class PlayingTests(InteropTests):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.file = self.folder / "session.rec"
        self.slices = reel(*RECORDS, in_slice=3)
        self.file.write_bytes(b"".join(self.slices))

    def shell(self, *flags: str) -> Terminal:
        return Terminal("/bin/sh", "-c", LINE.format(" ".join(flags), self.file))

    def check_restored(self, shown: bytes, code: int) -> bytes:
        """The settings of the terminal are those from before, and its modes were taken back; what is between them."""
        before, pid, rest = shown.split(b"\r\n", 2)
        self.assertIn(b"pid=", pid)
        played, _, after = rest.partition(f"code={code}\r\n".encode())
        self.assertEqual(after.strip(), before.strip(), shown)
        self.assertIn(RESET, played)
        return played

    def test_whole(self) -> None:
        """Cleared, played with its sizes and the time, and the end is said."""
        with self.shell("--speed=100") as terminal:
            self.assertEqual(terminal.ended(), 0)
            played = self.check_restored(terminal.seen, 0)
        self.assertTrue(played.startswith(CLEAR + b"\x1b[8;30;100t"), played)
        for part in (b"first ", b"second ", b"\x1b[8;20;90t", b" 1:00:00 ", b"third "):
            self.assertIn(part, played)
        self.assertTrue(played.endswith(b"end of session playback\r\n"), played)

    def test_quit(self) -> None:
        """By a key, in the middle of what hides the cursor and has another screen."""
        for key in ("q", "\x03", "\x04"):
            with self.shell("--speed=0.1") as terminal:
                shown = terminal.read_until(b"first ")
                terminal.type(key)
                self.assertEqual(terminal.ended(), 0)
                played = self.check_restored(shown + terminal.seen, 0)
            self.assertNotIn(b"second", played)
            self.assertNotIn(b"end of session", played)

    def test_keys(self) -> None:
        """On in a pause, and back."""
        with self.shell("--speed=0.1") as terminal:
            terminal.read_until(b"first ")
            terminal.type(" \x1b[C")
            terminal.read_until(b"second ")
            terminal.type("\x1b[D")
            terminal.read_until(CLEAR)
            self.assertNotIn(b"second", terminal.read_until(b"first "))
            terminal.type("q")
            self.assertEqual(terminal.ended(), 0)

    def test_signals(self) -> None:
        """The terminal is given back also where something else ends the program."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.shell("--speed=0.1") as terminal:
                shown = terminal.read_until(b"first ")
                os.kill(int(shown.partition(b"pid=")[2].split()[0]), number)
                terminal.ended()
                played = self.check_restored(shown + terminal.seen, 1)
            self.assertIn(b"Interrupted.", played)

    def test_broken(self) -> None:
        """What is before the break is played; then the terminal is given back, and one is told where it is."""
        self.file.write_bytes(self.slices[0] + self.slices[1][:-1])
        with self.shell("--speed=100") as terminal:
            terminal.ended()
            played = self.check_restored(terminal.seen, 1)
        self.assertIn(b"second ", played)
        self.assertIn(b"error: The recording is torn in the middle of slice 1.", played)

    def test_no_keyboard(self) -> None:
        """Where the input is something else, it is left alone."""
        with Terminal("/bin/sh", "-c", f"exec {installed('tsh')} play --speed=100 {self.file} </dev/null") as terminal:
            self.assertEqual(terminal.ended(), 0)
        self.assertIn(b"third ", terminal.seen)

    def test_no_terminal(self) -> None:
        """What was shown, at once, and as it is."""
        done = check(run(installed("tsh"), "play", str(self.file)))
        self.assertEqual(done.out, HIDES_THE_CURSOR + b"first second third ")
