"""Finds the messages in one direction of an SFTP session, as they come, without keeping what is in files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from teleport_conch.ssh.sftp.codec import MalformedError

MAX_FRAME_BYTES = 1 << 20
"""The longest message that is believed; both servers refuse those above 256 KiB, and others may take longer ones."""


class Scanner:
    """Answers the beginning of each message: its type, and as many bytes as somebody wants to look at.

    :param wanted: bytes to be kept of a message of each type, the type included.
    :param otherwise: of those that are not in ``wanted``.
    """

    def __init__(self, wanted: Mapping[int, int], otherwise: int) -> None:
        self._wanted = wanted
        self._otherwise = otherwise
        self._head = bytearray()
        self._skip = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The beginnings that are complete now, without their lengths.

        :raises MalformedError: what comes is no message.
        """
        at, end = 0, len(data)
        while at < end:
            if self._skip:
                step = min(self._skip, end - at)
                self._skip -= step
                at += step
            elif not self._head and end - at >= 5 and end - at >= (due := self._due(data, at)):
                self._skip = 4 + int.from_bytes(data[at : at + 4], "big") - due
                yield data[at + 4 : at + due]
                at += due
            else:
                at += self._gather(data, at)
                if self._complete():
                    beginning = bytes(self._head)
                    self._head.clear()
                    self._skip = 4 + int.from_bytes(beginning[:4], "big") - len(beginning)
                    yield beginning[4:]

    def _gather(self, data: bytes, at: int) -> int:
        """Keeps what is there of a beginning that comes in pieces."""
        due = 5 if len(self._head) < 5 else self._due(self._head, 0)
        taken = data[at : at + due - len(self._head)]
        self._head += taken
        return len(taken)

    def _complete(self) -> bool:
        return len(self._head) >= 5 and len(self._head) == self._due(self._head, 0)

    def _due(self, data: bytes | bytearray, at: int) -> int:
        """The length of a beginning, with the four bytes in front of it."""
        size = int.from_bytes(data[at : at + 4], "big")
        if not 0 < size <= MAX_FRAME_BYTES:
            raise MalformedError(f"a message of {size} bytes")
        return 4 + min(size, self._wanted.get(data[at + 4], self._otherwise))
