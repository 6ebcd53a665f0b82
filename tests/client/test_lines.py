"""The stream of JSON lines: whole lines only, bounded, and never silent for long."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone

from teleport_conch.client.lines import MAX_LINE_BYTES, MAX_SILENCE_S, LineReader
from teleport_conch.errors import Compacted, ConnectionProblem

LINES = st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3), max_size=8)


class Stream:
    """A reader on a wire."""

    def __init__(self, fail_on: str = "") -> None:
        self.clock = Clock()
        self.lines: list[dict[str, object]] = []
        self.fail_on = fail_on
        self.transport = StringTransport()
        self.reader = LineReader(self.clock, self.on_line)
        self.reader.makeConnection(self.transport)

    def on_line(self, line: dict[str, object]) -> None:
        self.lines.append(line)
        if self.fail_on and line.get("type") == self.fail_on:
            raise Compacted("Take a snapshot again.")


class LineTests(SynchronousTestCase):
    @given(LINES, st.lists(st.integers(1, 20), max_size=30))
    def test_however_it_is_cut(self, sent: list[dict[str, object]], cuts: list[int]) -> None:
        """The lines are the same whatever pieces they arrive in."""
        stream = Stream()
        data = b"".join(json.dumps(line).encode() + b"\n" for line in sent)
        for cut in cuts:
            stream.reader.dataReceived(data[:cut])
            data = data[cut:]
        stream.reader.dataReceived(data)
        self.assertEqual(stream.lines, sent)

    def test_ends_with_the_answer(self) -> None:
        """The server may end the stream, and half a line at its end is nothing."""
        stream = Stream()
        stream.reader.dataReceived(b'{"a": 1}\n{"b"')
        stream.reader.connectionLost(Failure(ResponseDone()))
        self.assertIsNone(self.successResultOf(stream.reader.ended))
        self.assertEqual(stream.lines, [{"a": 1}])
        self.assertEqual(stream.clock.getDelayedCalls(), [])

    def test_lost(self) -> None:
        """A connection that is lost is no end of the stream."""
        stream = Stream()
        stream.reader.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(stream.reader.ended, ConnectionLost)

    def test_too_long(self) -> None:
        """A line beyond the bound ends the stream while it arrives, and is not kept."""
        stream = Stream()
        stream.reader.dataReceived(b"x" * (MAX_LINE_BYTES + 1))
        error = self.failureResultOf(stream.reader.ended, ConnectionProblem).value
        self.assertEqual(str(error), "The auth server sent a line of more than 4 MiB in a watch.")
        self.assertTrue(stream.transport.disconnecting)
        stream.reader.dataReceived(b'x\n{"a": 1}\n')
        self.assertEqual(stream.lines, [])

    def test_too_long_in_one_piece(self) -> None:
        """The bound holds for a line that arrives at once, too."""
        stream = Stream()
        stream.reader.dataReceived(b'{"a": "' + b"x" * MAX_LINE_BYTES + b'"}\n')
        self.failureResultOf(stream.reader.ended, ConnectionProblem)
        self.assertEqual(stream.lines, [])

    def test_longest(self) -> None:
        """A line of exactly the bound passes."""
        stream = Stream()
        line = b'{"a": "' + b"x" * (MAX_LINE_BYTES - 9) + b'"}'
        self.assertEqual(len(line), MAX_LINE_BYTES)
        stream.reader.dataReceived(line + b"\n")
        self.assertEqual(len(stream.lines), 1)

    def test_no_json(self) -> None:
        """What is no JSON object ends the stream with a sentence."""
        for line in (b"nonsense", b"[1]", b"\xff", b"[" * 100_000, b'"text"'):
            stream = Stream()
            stream.reader.dataReceived(line + b"\n")
            error = self.failureResultOf(stream.reader.ended, ConnectionProblem).value
            self.assertEqual(str(error), "The auth server sent a line that is not a JSON object in a watch.")

    def test_silence(self) -> None:
        """Three missed heartbeats end the stream; a byte now and then keeps it."""
        stream = Stream()
        for _ in range(5):
            stream.clock.advance(MAX_SILENCE_S - 1)
            stream.reader.dataReceived(b" ")
        self.assertNoResult(stream.reader.ended)
        stream.clock.advance(MAX_SILENCE_S)
        error = self.failureResultOf(stream.reader.ended, ConnectionProblem).value
        self.assertEqual(str(error), "The auth server was silent for 30 s in a watch.")
        self.assertTrue(stream.transport.disconnecting)

    def test_error_of_the_listener(self) -> None:
        """What the listener raises is how the stream ends, and no further line reaches it."""
        stream = Stream(fail_on="compacted")
        stream.reader.dataReceived(b'{"type": "compacted"}\n{"type": "put"}\n')
        self.failureResultOf(stream.reader.ended, Compacted)
        self.assertEqual(len(stream.lines), 1)

    def test_cancelled(self) -> None:
        """Who does not want to listen any more ends the connection."""
        stream = Stream()
        stream.reader.ended.cancel()
        self.failureResultOf(stream.reader.ended, CancelledError)
        self.assertTrue(stream.transport.disconnecting)
        stream.reader.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(stream.clock.getDelayedCalls(), [])
