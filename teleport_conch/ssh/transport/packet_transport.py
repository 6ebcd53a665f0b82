"""The transport of SSH's packets (RFC 4253), as the connection service uses it."""

from __future__ import annotations

from typing import Protocol


class PacketTransport(Protocol):
    """What the connection needs of Conch's transport."""

    @property
    def transport(self) -> TCPLike:
        """The byte stream."""

    def sendPacket(self, messageType: int, payload: bytes, *more: bytes | memoryview) -> None:
        """Sends one message, whose content may come in parts."""

    def push(self) -> None:
        """Sends what was written now, and not in the next turn of the reactor."""

    def sendDisconnect(self, reason: int, desc: bytes) -> None:
        """Ends the connection with a reason."""


class TCPLike(Protocol):
    """The byte stream under the transport."""

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """See ``ITransport`` and ``IConsumer``."""

    def unregisterProducer(self) -> None:
        """See ``IConsumer``."""
