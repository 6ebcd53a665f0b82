"""The client's side of SFTP, version 3 (draft-ietf-secsh-filexfer-02): files of a node, without OpenSSH.

Requests are answered in any order; :class:`SFTPClient` keeps what each of them waits for. How many are under way is up
to those who transfer: :meth:`SFTPClient.download` and :meth:`SFTPClient.upload` have :data:`REQUESTS_AT_ONCE`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from twisted.internet.defer import Deferred

from teleport_conch.errors import AccessDenied, ConnectionProblem, NotFound, TeleportError, TooLarge
from teleport_conch.ssh.client.connection import ClientConnection
from teleport_conch.ssh.client.session import ERR, ClientSession, Ending
from teleport_conch.ssh.plain_text import plain_text
from teleport_conch.ssh.session.channel import SessionStart
from teleport_conch.ssh.sftp import codec
from teleport_conch.ssh.sftp import messages as fxp
from teleport_conch.ssh.sftp.codec import Attributes

CHUNK_BYTES = 32 << 10
"""Data of one request; every server takes as much."""
REQUESTS_AT_ONCE = 64
MAX_MESSAGE_CHARS = 256
MAX_NAMES_IN_FOLDER = 1_000_000
Name = tuple[bytes, Attributes]
_Answer = tuple[int, list[object]]


class SFTPClient:
    """One session of the subsystem ``sftp``, as the receiver of what it says."""

    def __init__(self) -> None:
        self._session: ClientSession | None = None
        self._buffer = bytearray()
        self._waiting: dict[int | None, Deferred[_Answer]] = {}
        self._number = 0
        self._problem: TeleportError | None = None

    @classmethod
    async def open(cls, node: ClientConnection) -> SFTPClient:
        """:raises TeleportError: the node has no such subsystem, or speaks another version."""
        client = cls()
        client._session = await node.open_session(SessionStart("subsystem", "sftp"), client)
        kind, values = await client._send(fxp.INIT, None, fxp.VERSION, {})
        if kind != fxp.FXP_VERSION or values[0] != fxp.VERSION:
            raise ConnectionProblem("The node speaks another version of SFTP.")
        return client

    def close(self) -> None:
        if self._session is not None:
            self._session.close()

    # From the session.

    def output(self, session: ClientSession, stream: int, data: bytes) -> None:
        if stream != ERR:
            self._buffer += data
            self._read()
        session.consumed(len(data))

    def output_ended(self, session: ClientSession) -> None:
        """The ending says all."""

    def ended(self, session: ClientSession, ending: Ending) -> None:
        self._fail(ConnectionProblem("The node ended the transfer."))

    def _read(self) -> None:
        while len(self._buffer) >= 4:
            size = int.from_bytes(self._buffer[:4], "big")
            if size > fxp.MAX_PACKET_BYTES:
                self._fail(ConnectionProblem(f"The node sends a message of {size} bytes, which SFTP does not have."))
                return
            if len(self._buffer) < 4 + size:
                return
            frame = bytes(self._buffer[4 : 4 + size])
            del self._buffer[: 4 + size]
            self._answered(frame)

    def _answered(self, frame: bytes) -> None:
        try:
            kind, number, values = codec.parse(memoryview(frame))
        except codec.MalformedError as reason:
            self._fail(ConnectionProblem(f"The node sends {reason}."))
            return
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            self._fail(ConnectionProblem("The node answers what nobody asked."))
        else:
            waiting.callback((kind, values))

    def _fail(self, problem: TeleportError) -> None:
        self._problem = self._problem or problem
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            each.errback(self._problem)
        self.close()

    # Requests.

    def _ask(self, kind: int, *values: object) -> Deferred[_Answer]:
        self._number = (self._number + 1) & 0xFFFFFFFF
        return self._send(kind, self._number, *values)

    def _send(self, kind: int, number: int | None, *values: object) -> Deferred[_Answer]:
        if self._problem is not None or self._session is None:
            raise self._problem or ConnectionProblem("There is no session.")
        waiting: Deferred[_Answer] = Deferred()
        self._waiting[number] = waiting
        self._session.write(codec.message(kind, number, *values))
        return waiting

    async def _done(self, about: bytes, kind: int, *values: object) -> None:
        answer, found = await self._ask(kind, *values)
        _check(about, answer, found)

    async def _value(self, about: bytes, wanted: int, kind: int, *values: object) -> object:
        answer, found = await self._ask(kind, *values)
        if answer != wanted:
            _check(about, answer, found)
            raise ConnectionProblem("The node answers something else than it was asked.")
        return found[0]

    async def stat(self, path: bytes) -> Attributes:
        """What a path leads to. Raises NotFound where that is nothing."""
        return cast(Attributes, await self._value(path, fxp.ATTRS, fxp.STAT, path))

    async def kind(self, path: bytes) -> int | None:
        """``st_mode`` of what is there, None for nothing."""
        try:
            return (await self.stat(path)).permissions or 0
        except NotFound:
            return None

    async def make_folder(self, path: bytes, mode: int) -> None:
        await self._done(path, fxp.MKDIR, path, Attributes(permissions=mode))

    async def set(self, path: bytes, attributes: Attributes) -> None:
        await self._done(path, fxp.SETSTAT, path, attributes)

    async def names(self, path: bytes) -> list[Name]:
        """What is in a folder, as the node says it: names that nobody has looked at."""
        handle = await self._value(path, fxp.HANDLE, fxp.OPENDIR, path)
        found: list[Name] = []
        while True:
            kind, values = await self._ask(fxp.READDIR, handle)
            if kind != fxp.NAME:
                break
            entries = cast(list[tuple[bytes, bytes, Attributes]], values[0])
            found += [(name, attributes) for name, _, attributes in entries]
            if len(found) > MAX_NAMES_IN_FOLDER:
                raise TooLarge(f"A folder on the node has more than {MAX_NAMES_IN_FOLDER} names, which is the limit.")
        await self._done(path, fxp.CLOSE, handle)
        if values[0] != fxp.EOF:
            _check(path, kind, values)
        return found

    async def download(self, path: bytes, write: Callable[[bytes | memoryview], object]) -> None:
        """The content of a file, in order."""
        handle = cast(bytes, await self._value(path, fxp.HANDLE, fxp.OPEN, path, fxp.FLAG_READ, Attributes()))
        under_way: deque[Deferred[bytes]] = deque()
        offset, ended = 0, False
        with _given_up(under_way):
            while under_way or not ended:
                while not ended and len(under_way) < REQUESTS_AT_ONCE:
                    under_way.append(Deferred.fromCoroutine(self._chunk(path, handle, offset)))
                    offset += CHUNK_BYTES
                data = await under_way.popleft()
                if not ended:
                    write(data)
                ended = ended or len(data) < CHUNK_BYTES
        await self._done(path, fxp.CLOSE, handle)

    async def _chunk(self, path: bytes, handle: bytes, offset: int) -> bytes:
        """A chunk, shorter only where the file ends; a server may answer it in pieces."""
        data = b""
        while len(data) < CHUNK_BYTES:
            asked = CHUNK_BYTES - len(data)
            kind, values = await self._ask(fxp.READ, handle, offset + len(data), asked)
            if kind == fxp.STATUS and values[0] == fxp.EOF:
                break
            if kind != fxp.DATA:
                _check(path, kind, values)
            piece = bytes(cast(memoryview, values[0]))
            if not 0 < len(piece) <= asked:
                raise ConnectionProblem("The node answers more or less of a file than it was asked for.")
            data += piece
        return data

    async def upload(self, path: bytes, read: Callable[[int], bytes], mode: int) -> None:
        """Puts what ``read`` answers, chunk by chunk, in the place of a file."""
        flags = fxp.FLAG_WRITE | fxp.FLAG_CREATE | fxp.FLAG_TRUNCATE
        handle = await self._value(path, fxp.HANDLE, fxp.OPEN, path, flags, Attributes(permissions=mode))
        under_way: deque[Deferred[_Answer]] = deque()
        offset = 0
        with _given_up(under_way):
            while data := read(CHUNK_BYTES):
                under_way.append(self._ask(fxp.WRITE, handle, offset, data))
                offset += len(data)
                if len(under_way) >= REQUESTS_AT_ONCE:
                    _check(path, *await under_way.popleft())
            while under_way:
                _check(path, *await under_way.popleft())
        await self._done(path, fxp.CLOSE, handle)


@contextmanager
def _given_up(under_way: Iterable[Deferred[Any]]) -> Iterator[None]:
    """What is still under way when something fails is waited for by nobody any more."""
    try:
        yield
    except BaseException:
        for each in under_way:
            each.addErrback(lambda failure: None)
        raise


def _check(about: bytes, kind: int, values: list[object]) -> None:
    """:raises TeleportError: it is a refusal, which names the path that it is about."""
    if kind != fxp.STATUS:
        raise ConnectionProblem("The node answers something else than it was asked.")
    code, path = values[0], plain_text(about, MAX_MESSAGE_CHARS)
    if code == fxp.OK:
        return
    if code == fxp.NO_SUCH_FILE:
        raise NotFound(f"On the node: {path}: No such file or directory.")
    if code == fxp.PERMISSION_DENIED:
        raise AccessDenied(f"On the node: {path}: Permission denied.")
    raise ConnectionProblem(f"On the node: {path}: {plain_text(cast(bytes, values[1]), MAX_MESSAGE_CHARS)}.")
