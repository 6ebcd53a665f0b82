"""An SFTP server as a program, driven through its pipes by what a client would send."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.sftp import codec, messages, program
from tests.interop.requirements import require

OPENSSH = program.OPENSSH_SERVERS[0]


def own() -> list[str]:
    """Our server, as a node starts it."""
    return ["/bin/sh", "-c", program.own_command_line()]


def openssh() -> list[str]:
    return [require(OPENSSH, "openssh-sftp-server")]


@define
class Served:
    """A server that runs; requests and their answers, one at a time."""

    argv: Sequence[str]
    folder: Path
    _process: subprocess.Popen[bytes] = field(init=False)
    _number: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self.argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd=self.folder, umask=0o022)

    def send(self, frames: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(frames)
        self._process.stdin.flush()

    def receive(self) -> tuple[int, int | None, list[object]]:
        """The next answer: type, request id, values. Raises EOFError where the server has gone."""
        assert self._process.stdout is not None
        size = self._process.stdout.read(4)
        if len(size) < 4:
            raise EOFError
        return codec.parse(memoryview(self._process.stdout.read(int.from_bytes(size, "big"))))

    def ask(self, kind: int, *values: object) -> tuple[int, list[object]]:
        """Type and values of the answer to a request."""
        self._number += 1
        self.send(codec.message(kind, self._number, *values))
        answer, number, found = self.receive()
        assert number == self._number, number
        return answer, found

    def extended(self, name: bytes, *values: object) -> tuple[int, list[object]]:
        return self.ask(messages.EXTENDED, name, codec.pack(messages.EXTENSION_FIELDS[name], *values))

    def status(self, kind: int, *values: object) -> object:
        """The code of the status that a request is answered with."""
        answer, found = self.ask(kind, *values)
        assert answer == messages.STATUS, (answer, found)
        return found[0]

    def extended_status(self, name: bytes, *values: object) -> object:
        answer, found = self.extended(name, *values)
        assert answer == messages.STATUS, (answer, found)
        return found[0]

    def handle(self, kind: int, *values: object) -> bytes:
        """The handle that OPEN or OPENDIR is answered with."""
        answer, found = self.ask(kind, *values)
        assert answer == messages.HANDLE, (answer, found)
        (handle,) = found
        assert isinstance(handle, bytes)
        return handle

    def open(self, path: bytes | Path, flags: int, attributes: codec.Attributes | None = None) -> bytes:
        wanted = codec.Attributes() if attributes is None else attributes
        return self.handle(messages.OPEN, os.fsencode(path), flags, wanted)

    def begin(self) -> dict[bytes, bytes]:
        """Says INIT; answers the extensions."""
        self.send(codec.message(messages.INIT, None, 3, {}))
        kind, _, (version, extensions) = self.receive()
        assert (kind, version) == (messages.FXP_VERSION, 3)
        assert isinstance(extensions, dict)
        return extensions

    def memory_kb(self) -> int:
        """What the server has in memory at this moment."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1])

    def end(self) -> tuple[int, str]:
        """Sends no more; exit status and what was said on stderr."""
        _, complaint = self._process.communicate(timeout=20)
        return self._process.returncode, complaint.decode()


class ServerCase(SynchronousTestCase):
    """A server in a folder of its own; :meth:`argv` says which."""

    def argv(self) -> list[str]:
        return own()

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.server = self.serve()
        self.extensions = self.server.begin()

    def serve(self) -> Served:
        """One more server."""
        server = Served(self.argv(), self.folder)
        self.addCleanup(server.end)
        return server

    def path(self, name: str) -> bytes:
        return os.fsencode(self.folder / name)

    def write(self, name: str, data: bytes = b"data") -> bytes:
        (self.folder / name).write_bytes(data)
        return self.path(name)
