"""Requests whose answers may come later and leave in order, and the replies of a peer that nobody asked for."""

from __future__ import annotations

from twisted.conch.ssh import connection as conch
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import AccessDenied
from teleport_conch.ssh.connection.channel import ChannelRefused
from teleport_conch.ssh.connection.requests import (
    MAX_REQUEST_BYTES,
    MAX_UNANSWERED,
    MAX_WAITING_BYTES,
    MAX_WAITING_REQUESTS,
    RequestQueue,
    RequestRefused,
)
from teleport_conch.ssh.transport.violation import ProtocolViolation
from teleport_conch.wire import WireError
from tests.ssh import messages
from tests.ssh.connections import ConnectionCase
from tests.ssh.recording import RecordingChannel

SUCCESS = (conch.MSG_CHANNEL_SUCCESS, b"\0\0\0\x28")
FAILURE = (conch.MSG_CHANNEL_FAILURE, b"\0\0\0\x28")


class RequestQueueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.failures: list[Failure] = []
        self.queue = RequestQueue(self.failures.append)
        self.done: list[str] = []

    def put(self, name: str, wait: Deferred[None] | None = None, size: int = 0) -> None:
        async def request() -> None:
            if wait is not None:
                await wait
            self.done.append(name)

        self.queue.put(request, size)

    def test_one_at_a_time(self) -> None:
        """A request begins when the one before it has ended, and at once where none is there."""
        wait: Deferred[None] = Deferred()
        self.put("first")
        self.put("second", wait)
        self.put("third")
        self.assertEqual(self.done, ["first"])
        wait.callback(None)
        self.assertEqual(self.done, ["first", "second", "third"])
        self.put("fourth")
        self.assertEqual(self.done[-1], "fourth")

    def test_many(self) -> None:
        """A queue that never waits works off any number, one after the other."""
        for number in range(10_000):
            self.put(str(number))
        self.assertEqual(len(self.done), 10_000)

    def test_limit(self) -> None:
        """Behind one that does not end, a limited number wait."""
        self.put("runs", Deferred())
        for _ in range(MAX_WAITING_REQUESTS):
            self.put("waits")
        violation = self.assertRaises(ProtocolViolation, self.put, "one too many")
        self.assertEqual(str(violation), "too many requests wait for their answers")

    def test_limit_of_their_size(self) -> None:
        """What those that wait hold is limited, too; what has been worked off counts no more."""
        wait: Deferred[None] = Deferred()
        self.put("runs", wait, size=MAX_WAITING_BYTES)
        self.put("waits", size=MAX_WAITING_BYTES)
        self.assertRaises(ProtocolViolation, self.put, "one byte too much", None, 1)
        wait.callback(None)
        self.put("next", size=MAX_WAITING_BYTES)
        self.assertEqual(self.done, ["runs", "waits", "next"])

    def test_failure(self) -> None:
        """A failure is told, and does not stop the queue for those that come later."""
        wait: Deferred[None] = Deferred()
        self.put("fails", wait)
        wait.errback(ZeroDivisionError())
        self.assertEqual([failure.type for failure in self.failures], [ZeroDivisionError])
        self.put("next")
        self.assertEqual(self.done, ["next"])

    def test_stopped(self) -> None:
        """What runs is cancelled, what waits is forgotten."""
        wait: Deferred[None] = Deferred()
        self.put("runs", wait)
        self.put("waits")
        self.queue.stop()
        self.assertEqual([failure.type for failure in self.failures], [CancelledError])
        self.assertEqual(self.done, [])
        self.queue.stop()


class Asked(RecordingChannel):
    """Answers each request as the test has said: at once, later, or with an exception."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[bytes, bool | Exception | Deferred[bool]] = {}

    async def request_received(self, name: bytes, payload: bytes) -> bool:
        self.told.append((name, payload))
        answer = self.answers.get(name, False)
        if isinstance(answer, Exception):
            raise answer
        return await answer if isinstance(answer, Deferred) else answer

    def request_answered(self, name: bytes) -> None:
        self.told.append(("answered", name))


class ChannelRequestTests(ConnectionCase):
    def setUp(self) -> None:
        super().setUp()
        self.channel = Asked()
        self.opened(self.channel)
        self.channel.told.clear()

    def ask(self, name: bytes, want_reply: bool = True, payload: bytes = b"") -> None:
        self.receive(conch.MSG_CHANNEL_REQUEST, messages.request(0, name, want_reply, payload))

    def test_answered(self) -> None:
        """A request is granted or refused, and the channel hears when the answer has left."""
        self.channel.answers[b"good"] = True
        self.ask(b"good", payload=b"details")
        self.ask(b"bad")
        self.assertEqual(self.transport.take(), [SUCCESS, FAILURE])
        self.assertEqual(
            self.channel.told, [(b"good", b"details"), ("answered", b"good"), (b"bad", b""), ("answered", b"bad")]
        )

    def test_no_reply_wanted(self) -> None:
        """Who wants no reply gets none, whatever it would have been."""
        self.channel.answers[b"good"] = True
        self.ask(b"good", want_reply=False)
        self.ask(b"bad", want_reply=False)
        self.assertEqual(self.transport.take(), [])
        self.assertEqual(len(self.channel.told), 4)

    def test_in_order(self) -> None:
        """Answers carry no number: they leave in the order of the requests, however long each takes."""
        slow: Deferred[bool] = Deferred()
        self.channel.answers |= {b"slow": slow, b"quick": True}
        self.ask(b"slow")
        self.ask(b"quick")
        self.ask(b"refused")
        self.assertEqual((self.transport.take(), self.channel.told), ([], [(b"slow", b"")]))
        slow.callback(False)
        self.assertEqual(self.transport.take(), [FAILURE, SUCCESS, FAILURE])

    def test_malformed(self) -> None:
        """A payload that its request cannot read refuses the request, not the connection."""
        self.channel.answers[b"pty-req"] = WireError("4 bytes are due and 1 are left")
        self.ask(b"pty-req")
        self.assertEqual((self.transport.take(), self.transport.disconnects), ([FAILURE], []))

    def test_failed(self) -> None:
        """A mistake of ours ends the connection, so that nobody waits for an answer, and is logged."""
        self.channel.answers[b"shell"] = ZeroDivisionError("ours")
        self.ask(b"shell")
        self.assert_ended("a request failed")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_too_long(self) -> None:
        """A request has a limit."""
        self.ask(b"exec", payload=bytes(MAX_REQUEST_BYTES + 1))
        self.assert_ended("a request of 262145 bytes, where 262144 is the limit")

    def test_too_many(self) -> None:
        """Behind an answer that does not come, a limited number of requests wait."""
        self.channel.answers[b"slow"] = Deferred()
        for _ in range(MAX_WAITING_REQUESTS + 1):
            self.ask(b"slow")
        self.assertEqual(self.transport.disconnects, [])
        self.ask(b"slow")
        self.assert_ended("too many requests wait for their answers")

    def test_too_much(self) -> None:
        """So does what they hold."""
        self.channel.answers[b"slow"] = Deferred()
        for _ in range(100):
            self.ask(b"slow", payload=bytes(MAX_REQUEST_BYTES))
        self.assertEqual(self.transport.disconnects[0], (2, b"too many requests wait for their answers"))
        each = len(b"slow") + MAX_REQUEST_BYTES
        self.assertEqual(len(self.connection._requests._queues[0]._waiting), MAX_WAITING_BYTES // each)

    def test_too_much_of_names(self) -> None:
        """A name is held like a payload."""
        self.channel.answers[b"slow"] = Deferred()
        self.ask(b"slow")
        for _ in range(4):
            self.ask(bytes(MAX_REQUEST_BYTES), payload=b"x")
        self.assert_ended("too many requests wait for their answers")

    def test_closed_meanwhile(self) -> None:
        """With its channel goes a request that waits: it is cancelled, nothing is answered, and nothing is logged."""
        cancelled: list[object] = []
        slow: Deferred[bool] = Deferred(cancelled.append)
        self.channel.answers[b"slow"] = slow
        self.ask(b"slow")
        self.ask(b"behind it")
        self.receive(conch.MSG_CHANNEL_CLOSE, b"\0\0\0\0")
        self.assertEqual(cancelled, [slow])
        self.assertEqual(self.transport.take(), [(conch.MSG_CHANNEL_CLOSE, b"\0\0\0\x28")])
        self.assertEqual(self.channel.told, [(b"slow", b""), "closed"])

    def test_answered_too_late(self) -> None:
        """An answer that could not be cancelled comes after the channel's end, and is not sent."""

        class Stubborn(Asked):
            async def request_received(self, name: bytes, payload: bytes) -> bool:
                try:
                    await super().request_received(name, payload)
                except CancelledError:
                    return True
                return True

        channel = Stubborn()
        self.opened(channel)
        channel.answers[b"slow"] = Deferred()
        self.receive(conch.MSG_CHANNEL_REQUEST, messages.request(1, b"slow"))
        self.connection.serviceStopped()
        self.assertEqual(self.transport.take(), [])
        self.assertNotIn(("answered", b"slow"), channel.told)


class GlobalRequestTests(ConnectionCase):
    def ask(self, name: bytes, want_reply: bool = True) -> None:
        self.receive(conch.MSG_GLOBAL_REQUEST, messages.global_request(name, want_reply, b"payload"))

    def test_answered(self) -> None:
        """The owner's data is the reply, its refusal a failure; what it cannot read is one, too."""
        self.owner.global_answers = {
            b"good": b"port 7",
            b"bad": AccessDenied("no"),
            b"malformed": WireError("short"),
        }
        for name in self.owner.global_answers:
            self.ask(name)
        self.assertEqual(
            self.transport.take(),
            [
                (conch.MSG_REQUEST_SUCCESS, b"port 7"),
                (conch.MSG_REQUEST_FAILURE, b""),
                (conch.MSG_REQUEST_FAILURE, b""),
            ],
        )
        self.assertEqual(self.owner.asked[0], (b"good", b"payload"))

    def test_no_reply_wanted(self) -> None:
        """It is asked all the same."""
        self.owner.global_answers[b"good"] = b"port 7"
        self.ask(b"good", want_reply=False)
        self.assertEqual((self.transport.take(), len(self.owner.asked)), ([], 1))

    def test_in_order(self) -> None:
        """Replies leave in the order of the requests."""
        slow: Deferred[bytes] = Deferred()
        self.owner.global_answers = {b"slow": slow, b"quick": b"2"}
        self.ask(b"slow")
        self.ask(b"quick")
        self.assertEqual(self.transport.take(), [])
        slow.callback(b"1")
        self.assertEqual(self.transport.take(), [(conch.MSG_REQUEST_SUCCESS, b"1"), (conch.MSG_REQUEST_SUCCESS, b"2")])

    def test_lost_meanwhile(self) -> None:
        """The end of the connection cancels a request that waits."""
        self.owner.global_answers[b"slow"] = Deferred()
        self.ask(b"slow")
        self.connection.serviceStopped()
        self.assertEqual((self.transport.take(), self.transport.disconnects), ([], []))


class OrderTests(ConnectionCase):
    """A session waits for the answers to what was asked before it, as a client of sshd may expect."""

    def setUp(self) -> None:
        super().setUp()
        self.slow: Deferred[bytes] = Deferred()
        self.owner.global_answers[b"slow"] = self.slow
        self.owner.answers |= {b"session": RecordingChannel, b"direct-tcpip": RecordingChannel}
        self.receive(conch.MSG_GLOBAL_REQUEST, messages.global_request(b"slow"))

    def open(self, kind: bytes) -> list[int]:
        """The numbers of the messages that were sent."""
        self.receive(conch.MSG_CHANNEL_OPEN, messages.open_channel(kind, 1, 100, 100))
        return [number for number, _ in self.transport.take()]

    def test_a_session(self) -> None:
        """The answer leaves before the confirmation; nobody is asked about the session before."""
        self.assertEqual((self.open(b"session"), len(self.owner.asked)), ([], 1))
        self.slow.callback(b"port")
        sent = [number for number, _ in self.transport.take()]
        self.assertEqual(sent, [conch.MSG_REQUEST_SUCCESS, conch.MSG_CHANNEL_OPEN_CONFIRMATION])

    def test_other_channels(self) -> None:
        """What does not depend on it does not wait."""
        self.assertEqual(self.open(b"direct-tcpip"), [conch.MSG_CHANNEL_OPEN_CONFIRMATION])

    def test_no_more_sessions_behind_it(self) -> None:
        """A promise that waits is held all the same."""
        self.receive(conch.MSG_GLOBAL_REQUEST, messages.global_request(b"no-more-sessions@openssh.com", False))
        self.assertEqual(self.open(b"session"), [])
        self.slow.callback(b"")
        self.assert_ended("a session was asked for behind no-more-sessions")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_too_much(self) -> None:
        """What waits for a slow answer is limited: names of requests, and what sessions are opened with."""
        piece = bytes(MAX_REQUEST_BYTES)
        for number, held in (
            (conch.MSG_GLOBAL_REQUEST, messages.global_request(piece)),
            (conch.MSG_CHANNEL_OPEN, messages.open_channel(b"session", 1, 1, 1, piece)),
        ):
            with self.subTest(number=number):
                self.setUp()
                for _ in range(5):
                    self.receive(number, held)
                self.assert_ended("too many requests wait for their answers")


class OurGlobalRequestTests(ConnectionCase):
    def ask(self, name: bytes = b"keepalive@openssh.com") -> Deferred[bytes]:
        return self.connection.global_request(name, b"payload")

    def refusal(self, reply: Deferred[bytes]) -> str:
        return str(self.failureResultOf(reply, RequestRefused).value)

    def test_sent(self) -> None:
        """The message as RFC 4254, section 4, has it, with a reply wanted."""
        self.ask(b"name")
        self.assertEqual(
            self.transport.take(), [(conch.MSG_GLOBAL_REQUEST, messages.global_request(b"name", True, b"payload"))]
        )

    def test_replies(self) -> None:
        """Replies carry no number: each is for the oldest request that waits."""
        first, second, third = self.ask(), self.ask(), self.ask()
        self.receive(conch.MSG_REQUEST_SUCCESS, b"port 7")
        self.receive(conch.MSG_REQUEST_FAILURE, b"")
        self.assertEqual(self.successResultOf(first), b"port 7")
        self.assertEqual(self.refusal(second), "The other side does not do that.")
        self.assertNoResult(third)

    def test_given_up(self) -> None:
        """A request that nobody waits for any more is answered all the same, and keeps its place."""
        first, second = self.ask(), self.ask()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.receive(conch.MSG_REQUEST_SUCCESS, b"first")
        self.assertNoResult(second)
        self.receive(conch.MSG_REQUEST_SUCCESS, b"second")
        self.assertEqual(self.successResultOf(second), b"second")

    def test_lost(self) -> None:
        """The end of the connection is the end of the wait."""
        reply = self.ask()
        self.connection.serviceStopped()
        self.assertEqual(self.refusal(reply), "The connection ended before the other side had answered.")

    def test_limit(self) -> None:
        """A peer that never answers makes us keep a limited number of questions."""
        for _ in range(MAX_UNANSWERED):
            self.ask()
        refusal = self.assertRaises(RequestRefused, self.ask)
        self.assertEqual(str(refusal), "128 requests have not been answered by the other side.")


class OurChannelRequestTests(ConnectionCase):
    def setUp(self) -> None:
        super().setUp()
        self.channel = self.opened()

    def test_replies(self) -> None:
        """The message as RFC 4254, section 5.4, has it; each channel's replies are for its own oldest request."""
        other = self.opened(sender=41)
        first, second, elsewhere = self.channel.request(b"shell"), self.channel.request(b"x"), other.request(b"y")
        self.assertEqual(
            self.transport.take()[0], (conch.MSG_CHANNEL_REQUEST, messages.request(40, b"shell", True, b""))
        )
        self.receive(conch.MSG_CHANNEL_FAILURE, b"\0\0\0\1")
        self.receive(conch.MSG_CHANNEL_SUCCESS, b"\0\0\0\0")
        self.assertEqual((self.successResultOf(first), self.successResultOf(elsewhere)), (True, False))
        self.assertNoResult(second)

    def test_closed_meanwhile(self) -> None:
        """A channel that closes answers nothing any more; one that is closed takes no request."""
        reply = self.channel.request(b"shell")
        self.receive(conch.MSG_CHANNEL_CLOSE, b"\0\0\0\0")
        self.failureResultOf(reply, RequestRefused)
        self.assertEqual(str(self.assertRaises(ChannelRefused, self.channel.request, b"x")), "The channel is closed.")


class NoMoreSessionsTests(ConnectionCase):
    """OpenSSH's ``no-more-sessions@openssh.com``: what takes over a client cannot open sessions with it."""

    def promise(self, want_reply: bool = False) -> None:
        self.receive(conch.MSG_GLOBAL_REQUEST, messages.global_request(b"no-more-sessions@openssh.com", want_reply))

    def test_enforced(self) -> None:
        """A session behind the promise ends the connection, as in sshd; nobody is asked."""
        self.promise()
        self.receive(conch.MSG_CHANNEL_OPEN, messages.open_channel(b"session", 1, 100, 100))
        self.assert_ended("a session was asked for behind no-more-sessions")
        self.assertEqual(self.owner.asked, [])

    def test_what_goes_on(self) -> None:
        """Sessions that run go on, and channels of other kinds are opened."""
        channel = self.opened()
        self.promise(want_reply=True)
        self.assertEqual(self.transport.take(), [(conch.MSG_REQUEST_SUCCESS, b"")])
        self.owner.answers[b"direct-tcpip"] = RecordingChannel
        self.receive(conch.MSG_CHANNEL_OPEN, messages.open_channel(b"direct-tcpip", 1, 100, 100))
        self.assertEqual([number for number, _ in self.transport.take()], [conch.MSG_CHANNEL_OPEN_CONFIRMATION])
        self.receive(conch.MSG_CHANNEL_DATA, messages.data(0, b"still"))
        self.assertEqual(channel.told, ["opened", b"still"])
