"""The other sides of channels and connections, in memory: they write down what they are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from attrs import define, field
from twisted.internet.defer import Deferred

from teleport_conch.ssh.connection.channel import Channel, Opener

Given = TypeVar("Given")


@define
class RecordingLink:
    """A connection as its channels see it."""

    congested: bool = False
    said: list[tuple[object, ...]] = field(factory=list)
    on_data: Callable[[], None] | None = None
    """Called after each piece of data, for a transport whose buffer fills."""

    def send_data(self, channel: Channel, kind: int, data: memoryview) -> None:
        self.said.append(("data", kind, bytes(data)))
        if self.on_data is not None:
            self.on_data()

    def push(self) -> None:
        """Everything has been said already."""

    def send_eof(self, channel: Channel) -> None:
        self.said.append(("eof",))

    def send_close(self, channel: Channel) -> None:
        self.said.append(("close",))

    def send_request(self, channel: Channel, name: bytes, payload: bytes) -> None:
        self.said.append(("request", name, payload))

    def ask(self, channel: Channel, name: bytes, payload: bytes) -> Deferred[bool]:
        self.said.append(("ask", name, payload))
        return Deferred()

    def grant(self, channel: Channel, count: int) -> None:
        self.said.append(("grant", count))

    def forget(self, channel: Channel) -> None:
        self.said.append(("forgotten",))

    def take(self) -> list[tuple[object, ...]]:
        """What was said since this was asked last."""
        said, self.said = self.said, []
        return said

    def data_of(self, kind: int) -> bytes:
        """All data of one kind that was sent since then."""
        return b"".join(cast(bytes, piece[2]) for piece in self.said if piece[:2] == ("data", kind))


@define
class RecordingProducer:
    """Somebody who writes into a channel."""

    calls: list[str] = field(factory=list)
    on_resume: Callable[[], None] | None = None

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")
        if self.on_resume is not None:
            self.on_resume()

    def stopProducing(self) -> None:
        self.calls.append("stop")


class RecordingChannel(Channel):
    """A channel that writes down what it is told, and uses what arrives only when the test says so."""

    def __init__(self, window_bytes: int = 1000) -> None:
        super().__init__(window_bytes)
        self.told: list[object] = []

    def opened(self) -> None:
        self.told.append("opened")

    def data_received(self, data: bytes) -> None:
        self.told.append(data)

    def eof_received(self) -> None:
        self.told.append("eof")

    def closed(self) -> None:
        self.told.append("closed")


@define
class RecordingTCP:
    """The byte stream under a transport, as far as its producer goes."""

    producer: object = None

    def registerProducer(self, producer: object, streaming: bool) -> None:
        assert self.producer is None, "registered twice"
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None


@define
class RecordingTransport:
    """What a connection needs of Conch's transport; it takes down messages and sends none."""

    transport: RecordingTCP = field(factory=RecordingTCP)
    sent: list[tuple[int, bytes]] = field(factory=list)
    disconnects: list[tuple[int, bytes]] = field(factory=list)
    on_packet: Callable[[], None] | None = None
    """Called after the next message, once, for a buffer that it fills."""

    def push(self) -> None:
        """Everything has been sent already."""

    def sendPacket(self, messageType: int, payload: bytes, *more: bytes | memoryview) -> None:
        self.sent.append((messageType, b"".join((payload, *more))))
        called, self.on_packet = self.on_packet, None
        if called is not None:
            called()

    def sendDisconnect(self, reason: int, desc: bytes) -> None:
        self.disconnects.append((reason, desc))

    def sendUnimplemented(self) -> None:
        self.sent.append((3, b""))

    def take(self) -> list[tuple[int, bytes]]:
        """What was sent since this was asked last."""
        sent, self.sent = self.sent, []
        return sent


Answer = Channel | Exception | Deferred[Channel]


@define
class RecordingOwner:
    """Decides about channels as the test has said, by their kind."""

    answers: dict[bytes, Callable[[], Answer]] = field(factory=dict)
    global_answers: dict[bytes, bytes | Exception | Deferred[bytes]] = field(factory=dict)
    asked: list[tuple[bytes, bytes]] = field(factory=list)
    ended: int = 0
    connection: Opener | None = None

    def connection_started(self, connection: Opener) -> None:
        self.connection = connection

    async def open_channel(self, kind: bytes, payload: bytes) -> Channel:
        self.asked.append((kind, payload))
        return await _given(self.answers[kind]())

    async def global_request(self, name: bytes, payload: bytes) -> bytes:
        self.asked.append((name, payload))
        return await _given(self.global_answers[name])

    def connection_ended(self) -> None:
        self.ended += 1


async def _given(answer: Given | Exception | Deferred[Given]) -> Given:
    if isinstance(answer, Exception):
        raise answer
    return await answer if isinstance(answer, Deferred) else answer
