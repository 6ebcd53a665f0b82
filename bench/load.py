"""One load for every server: a process of its own with several kept-alive connections, each with one request in flight.

It is the same generator for ours and for the other server, and light enough not to be what is measured. The parent
talks to it through :class:`Load`; the child (``python -m bench.load``) reads a job, then one count for each run, and
answers each with the seconds that it took.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from attrs import define, field, frozen

from bench.programs import LOOPBACK, STOP_S, Broken
from teleport_conch.certs.names import SERVER_NAME

ANSWER_S = 30.0


@frozen
class Caller:
    """One connection, and what it asks for again and again.

    :ivar credentials: a file with its client certificate and the key.
    """

    credentials: Path
    path: str
    body: bytes
    method: str = "POST"

    def request(self) -> bytes:
        head = (
            f"{self.method} {self.path} HTTP/1.1\r\nHost: {SERVER_NAME}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode("ascii") + self.body


@define(eq=False)
class Load:
    """The generator for one server, as long as the block lasts."""

    port: int
    authority: Path
    callers: Sequence[Caller]
    _child: subprocess.Popen[bytes] = field(init=False)

    def __enter__(self) -> Load:
        command = [sys.executable, "-m", "bench.load"]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        requests = [(str(caller.credentials), caller.request().decode()) for caller in self.callers]
        self._say({"port": self.port, "authority": str(self.authority), "callers": requests})
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._child.communicate(timeout=STOP_S)  # the end of its input is the end of it
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def run(self, requests: int) -> float:
        """Requests answered in a second, over so many of them."""
        try:
            self._say(requests)
            assert self._child.stdout is not None
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise Broken(f"The load on port {self.port} ended early; it said why above.")
        return requests / float(line)

    def _say(self, value: object) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(value).encode() + b"\n")
        self._child.stdin.flush()


# The child.


@define(eq=False)
class _Connection:
    _stream: ssl.SSLSocket
    _reader: BinaryIO
    _request: bytes

    def ask(self) -> None:
        self._stream.sendall(self._request)

    def take_answer(self) -> None:
        status = self._reader.readline()
        length = 0
        while (line := self._reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = self._reader.read(length)
        if b" 200 " not in status:
            raise Broken(f"The server answered {status!r} {body!r}")


def _connect(port: int, authority: str, credentials: str, request: str) -> _Connection:
    context = ssl.create_default_context(cafile=authority)
    context.check_hostname = False  # the bare server has the certificate of a node
    context.load_cert_chain(credentials)
    plain = socket.create_connection((LOOPBACK, port), ANSWER_S)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = context.wrap_socket(plain, server_hostname=SERVER_NAME)
    return _Connection(stream, stream.makefile("rb"), request.encode())


def _run(connections: Sequence[_Connection], requests: int) -> float:
    """Every connection asks again as soon as its answer was read."""
    started = time.perf_counter()
    for connection in connections[:requests]:
        connection.ask()
    for number in range(requests):
        connection = connections[number % len(connections)]
        connection.take_answer()
        if number + len(connections) < requests:
            connection.ask()
    return time.perf_counter() - started


def main() -> None:
    job: Mapping[str, object] = json.loads(sys.stdin.readline())
    port, authority, callers = job["port"], job["authority"], job["callers"]
    assert isinstance(port, int) and isinstance(authority, str) and isinstance(callers, list)
    connections = [_connect(port, authority, credentials, request) for credentials, request in callers]
    for line in sys.stdin:
        print(_run(connections, int(line)), flush=True)


if __name__ == "__main__":
    main()
