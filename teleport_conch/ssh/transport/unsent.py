"""Messages that wait for the end of an exchange of keys (RFC 4253, section 7.1): bounded, in order."""

from __future__ import annotations

from teleport_conch.ssh.transport.violation import ProtocolViolation

MAX_UNSENT_MESSAGES = 4096
MAX_UNSENT_BYTES = 2 << 20

Parts = tuple[bytes | memoryview, ...]


class Unsent:
    """The queue of one connection. Services hold back what may grow; here wait their answers, and the like."""

    def __init__(self) -> None:
        self._messages: list[tuple[int, Parts]] = []
        self._bytes = 0

    def put(self, number: int, parts: Parts) -> None:
        """Adds a message. Raises :class:`ProtocolViolation` where too much waits, as the peer does not go on."""
        self._messages.append((number, parts))
        self._bytes += sum(map(len, parts))
        if len(self._messages) > MAX_UNSENT_MESSAGES or self._bytes > MAX_UNSENT_BYTES:
            raise ProtocolViolation("too much waits for the end of a key exchange")

    def take(self) -> list[tuple[int, Parts]]:
        """All that waits, which then waits no more."""
        messages, self._messages = self._messages, []
        self._bytes = 0
        return messages
