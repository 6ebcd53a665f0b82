"""Playing: what is shown when, and what keys change about it."""

from __future__ import annotations

import io

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.playback import CLEAR
from teleport_conch.audit.recording import Record
from teleport_conch.audit.tape import Tape
from teleport_conch.cli.tsh.player import BREATH, POLL_S, Key, Keys, Player
from teleport_conch.errors import BadParameter, ConnectionProblem
from tests.audit.reels import END, START, output, reel

S = 1_000_000
WORDS = tuple(output(at * S, b"<%d>" % at) for at in range(1, 5))


class PlayerTests(SynchronousTestCase):
    def begin(self, *records: Record, speed: float = 1.0, follow: bool = False, last: bool = True) -> None:
        """Plays; the clock stands still."""
        self.clock, self.screen = Clock(), bytearray()
        self.source = b"".join(reel(*records, last=last))
        self.fetched: Deferred[bytes] | None = None
        tape = Tape(self.fetch, io.BytesIO())
        self.is_growing = True
        self.player = Player(self.clock, tape, self.screen.extend, lambda: 120, speed, self.grows if follow else None)
        self.played = Deferred.fromCoroutine(self.player.play())
        self.clock.advance(0)

    async def fetch(self, offset: int) -> bytes:
        return self.source[offset:] if self.fetched is None else await self.fetched

    async def grows(self) -> bool:
        return self.is_growing

    def passes(self, *seconds: float) -> None:
        for each in seconds:
            self.clock.advance(each)
            self.clock.advance(0)

    def press(self, *keys: Key) -> None:
        for key in keys:
            self.player.press(key)
            self.passes(0, 0)

    @property
    def seen(self) -> str:
        """The words that are on the screen."""
        text = bytes(self.screen.rpartition(CLEAR)[2]).decode()
        return "".join(f"<{part.partition('>')[0]}>" for part in text.split("<")[1:])

    def test_times(self) -> None:
        """Each after its wait, which is a second at most; then the end."""
        self.begin(START, output(3000, b"<0>"), output(203_000, b"<1>"), output(100 * S, b"<2>"), END)
        self.passes(0, 0)
        self.assertEqual(self.seen, "<0>")
        self.passes(0.19)
        self.assertEqual(self.seen, "<0>")
        self.passes(0.01)
        self.assertEqual(self.seen, "<0><1>")
        self.passes(0.99)
        self.assertEqual(self.seen, "<0><1>")
        self.passes(0.01)
        self.assertEqual(self.seen, "<0><1><2>")
        self.assertTrue(self.successResultOf(self.played))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_screen(self) -> None:
        """It is cleared, takes the size of the session, and has the time in its corner."""
        self.begin(START, *WORDS[:1])
        self.passes(1)
        stamps = [b"\x1b7\x1b[1;94H\x1b[0;7m 00:0%d \x1b8" % second for second in (0, 1)]
        self.assertEqual(bytes(self.screen), CLEAR + b"\x1b[8;30;100t" + stamps[0] + b"<1>" + stamps[1])

    def test_speed(self) -> None:
        self.begin(*WORDS, speed=4.0)
        self.passes(0.25, 0.25)
        self.assertEqual(self.seen, "<1><2>")

    def test_pause(self) -> None:
        """Nothing is shown until the key is pressed again; what was due meanwhile then is at once."""
        self.begin(*WORDS)
        self.passes(1)
        self.press(Key.PAUSE)
        self.passes(100)
        self.assertEqual(self.seen, "<1>")
        self.press(Key.PAUSE)
        self.assertEqual(self.seen, "<1><2>")
        self.passes(1)
        self.assertEqual(self.seen, "<1><2><3>")

    def test_forward(self) -> None:
        """The next one comes at once, also in a pause, which goes on."""
        self.begin(*WORDS)
        self.press(Key.FORWARD)
        self.assertEqual(self.seen, "<1>")
        self.press(Key.PAUSE, Key.FORWARD)
        self.passes(100)
        self.assertEqual(self.seen, "<1><2>")

    def test_back(self) -> None:
        """All but the last are shown again, and that is looked at until the pause is over."""
        self.begin(START, *WORDS)
        self.passes(1, 1, 1)
        self.assertEqual(self.seen, "<1><2><3>")
        self.press(Key.BACK)
        self.assertEqual(self.seen, "<1><2>")
        self.passes(100)
        self.assertEqual(self.seen, "<1><2>")
        self.press(Key.FORWARD)
        self.assertEqual(self.seen, "<1><2><3>")
        self.press(Key.BACK, Key.BACK, Key.PAUSE)
        self.passes(1)
        self.assertEqual(self.seen, "<1><2>")

    def test_back_beyond_the_start(self) -> None:
        """An empty screen, and then everything from the start."""
        self.begin(*WORDS)
        self.passes(1)
        self.press(Key.BACK, Key.BACK, Key.BACK)
        self.assertEqual(self.seen, "")
        self.press(Key.PAUSE)
        self.passes(1, 1)
        self.assertEqual(self.seen, "<1><2>")

    def test_back_far(self) -> None:
        """Keys are looked at while much is shown again."""
        self.begin(*(output(0, b"<x>") for _ in range(2 * BREATH)), output(S, b"<end>"))
        self.passes(*(0,) * 2 * BREATH)
        self.player.press(Key.BACK)
        self.assertEqual(self.seen, "<x>" * BREATH)
        self.press(Key.QUIT)
        self.assertFalse(self.successResultOf(self.played))

    def test_quit(self) -> None:
        """Also in a pause, and while the recording is waited for: nothing is left to happen."""
        for keys in ((), (Key.PAUSE,), (Key.BACK,)):
            self.begin(*WORDS)
            self.passes(1)
            self.press(*keys, Key.QUIT)
            self.assertFalse(self.successResultOf(self.played))
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_quit_while_auth_is_waited_for(self) -> None:
        self.begin(*WORDS[:2], follow=True, last=False)
        self.passes(1)
        self.fetched = Deferred(lambda it: it.errback(ConnectionProblem("The server does not answer.")))
        self.passes(1)
        self.assertNoResult(self.played)
        self.press(Key.QUIT)
        self.assertFalse(self.successResultOf(self.played))

    def test_cancelled(self) -> None:
        """A signal is another end than a key."""
        self.begin(*WORDS)
        self.played.cancel()
        self.failureResultOf(self.played, CancelledError)

    def test_growing(self) -> None:
        """Of a recording that is being made there is what there is."""
        self.begin(*WORDS[:2], last=False)
        self.passes(1, 1)
        self.assertEqual(self.seen, "<1><2>")
        self.assertTrue(self.successResultOf(self.played))

    def test_follow(self) -> None:
        """Who follows it gets what comes, to the end."""
        self.begin(*WORDS[:2], follow=True, last=False)
        self.passes(1, 1, 100)
        self.assertNoResult(self.played)
        self.source = b"".join(reel(*WORDS))
        self.passes(POLL_S, 1)
        self.assertEqual(self.seen, "<1><2><3>")
        self.passes(1)
        self.assertEqual(self.seen, "<1><2><3><4>")
        self.assertTrue(self.successResultOf(self.played))

    def test_follow_to_nowhere(self) -> None:
        """Where nothing more will come, what came last is looked at, and that is the end."""
        self.begin(*WORDS[:2], follow=True, last=False)
        self.passes(1, 1)
        self.source, self.is_growing = b"".join(reel(*WORDS, last=False)), False
        self.passes(POLL_S, 1, 1)
        self.assertEqual(self.seen, "<1><2><3><4>")
        self.assertNoResult(self.played)
        self.passes(POLL_S)
        self.assertTrue(self.successResultOf(self.played))

    def test_back_while_following(self) -> None:
        self.begin(*WORDS[:2], follow=True, last=False)
        self.passes(1, 1)
        self.press(Key.BACK)
        self.assertEqual(self.seen, "<1>")
        self.press(Key.PAUSE)
        self.passes(1)
        self.assertEqual(self.seen, "<1><2>")

    def test_broken(self) -> None:
        """What comes before the break is shown, and nothing behind it."""
        self.begin(*WORDS)
        pieces = reel(*WORDS, in_slice=1)
        self.source = b"".join((pieces[0], pieces[2]))
        self.player = Player(self.clock, Tape(self.fetch, io.BytesIO()), self.screen.extend, lambda: 120)
        self.played.cancel()
        self.failureResultOf(self.played, CancelledError)
        self.played = Deferred.fromCoroutine(self.player.play())
        self.passes(0, 1)
        problem = self.failureResultOf(self.played, BadParameter)
        self.assertEqual(problem.value.sentence, "Slice 1 of the recording is due, and this is slice 2.")
        self.assertEqual(self.seen, "<1>")


class KeyTests(SynchronousTestCase):
    def test_table(self) -> None:
        for typed, keys in (
            (b" ", [Key.PAUSE]),
            (b"q", [Key.QUIT]),
            (b"\x03", [Key.QUIT]),
            (b"\x04", [Key.QUIT]),
            (b"\x1b[D", [Key.BACK]),
            (b"\x1b[B", [Key.BACK]),
            (b"\x1b[C", [Key.FORWARD]),
            (b"\x1bOA", [Key.FORWARD]),
            (b"\x1bOD\x1bOD ", [Key.BACK, Key.BACK, Key.PAUSE]),
            (b"xyz\r", []),
        ):
            self.assertEqual(list(Keys().feed(typed)), keys, typed)

    def test_cut(self) -> None:
        """A key may come in pieces."""
        keys = Keys()
        self.assertEqual([key for part in (b"\x1b", b"[", b"C") for key in keys.feed(part)], [Key.FORWARD])

    def test_answers_of_a_terminal(self) -> None:
        """What a terminal answers to what a recording asks presses nothing."""
        for answer in (b"\x1b[?64;1;2c", b"\x1b[24;80R", b"\x1b]11;rgb:q q\x07", b"\x1bP1$r0 q\x1b\\", b"\x1b[<0;3;4M"):
            self.assertEqual(list(Keys().feed(answer)), [], answer)
