"""The exchange of versions that a connection begins with (RFC 4253, section 4.2)."""

from __future__ import annotations

from typing import ClassVar

from teleport_conch.ssh.transport.violation import ProtocolViolation

PROTOCOL_VERSION_NOT_SUPPORTED = 8
MAX_VERSION_BYTES = 255
"""The longest version line, its end included."""
MAX_LINES_BEFORE = 32
MAX_LINE_BEFORE_BYTES = 1024
"""How many lines a server may say in front of its version, and how long each may be."""

_START = b"SSH-"
_OURS = b"SSH-2.0-"
_EITHER = b"SSH-1.99-"


class GreetingRefused(ProtocolViolation):
    """A peer that does not begin as SSH does."""


class VersionRefused(GreetingRefused):
    """A peer that speaks another version of SSH."""

    reason: ClassVar[int] = PROTOCOL_VERSION_NOT_SUPPORTED


class Greeting:
    """Takes the peer's version off the front of what it sends.

    :param of_server: whether the peer is a server. Only servers may say something in front of their version.
    :ivar version: the line without its end, once it has arrived; empty before.
    """

    def __init__(self, of_server: bool) -> None:
        self.version = b""
        self._of_server = of_server
        self._lines_before = 0
        self._line = b""

    def feed(self, data: bytes) -> bytes | None:
        """What follows the version, or None while that has not arrived as a whole.

        :raises GreetingRefused: there will be no version any more that we can speak.
        """
        while data and not self.version:
            end = data.find(b"\n") + 1
            piece = data[: end or None]
            self._line += piece[: MAX_LINE_BEFORE_BYTES + 1]
            self._check_line()
            data = data[len(piece) :]
            if end:
                self._take_line()
        return data if self.version else None

    def _check_line(self) -> None:
        start = self._line[: len(_START)]
        if _START.startswith(start):
            if len(self._line) > MAX_VERSION_BYTES:
                raise GreetingRefused(f"a version of more than {MAX_VERSION_BYTES} bytes")
        elif not self._of_server:
            raise GreetingRefused("a client begins with its version, SSH-2.0")
        elif len(self._line) > MAX_LINE_BEFORE_BYTES:
            raise GreetingRefused(f"a line of more than {MAX_LINE_BEFORE_BYTES} bytes in front of the version")

    def _take_line(self) -> None:
        line, self._line = self._line, b""
        if line.startswith(_START):
            self.version = self._checked(line.removesuffix(b"\n").removesuffix(b"\r"))
            return
        self._lines_before += 1
        if not self._of_server:
            raise GreetingRefused("a client begins with its version, SSH-2.0")
        if self._lines_before > MAX_LINES_BEFORE:
            raise GreetingRefused(f"more than {MAX_LINES_BEFORE} lines in front of the version")

    def _checked(self, line: bytes) -> bytes:
        if not all(0x20 <= letter < 0x7F for letter in line):
            raise GreetingRefused("a version that is not printable ASCII")
        if line.startswith(_OURS) or (self._of_server and line.startswith(_EITHER)):
            return line
        spoken = line.split(b"-", 2)[1].decode("ascii")[:16]
        raise VersionRefused(f"version {spoken} of SSH is not spoken here, only 2.0")
