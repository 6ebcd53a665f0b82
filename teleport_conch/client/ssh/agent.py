"""Keys of ``tsh`` in a running ssh-agent (draft-ietf-sshm-ssh-agent).

An agent that is slow, or will not take a certificate, is told of and costs nobody a login. A key goes as
``SSH_AGENTC_ADD_ID_CONSTRAINED``, once with its certificate and once without; the agent forgets it when that ends.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from teleport_conch import wire
from teleport_conch.certs import keys
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.client.profiles import Login, Profile, comment
from teleport_conch.errors import ConnectionProblem, TeleportError

#: Seconds that an agent may take for one answer.
ANSWER_S = 5.0
MAX_FRAME_BYTES = 1 << 18
MAX_KEYS = 2048

SUCCESS = 6
REQUEST_IDENTITIES = 11
IDENTITIES_ANSWER = 12
REMOVE_IDENTITY = 18
ADD_ID_CONSTRAINED = 25
_LIFETIME = b"\x01"
_SOCKET = "SSH_AUTH_SOCK"


def renew(login: Login) -> None:
    """Puts the key and its certificate into the agent, in place of what it had of the same user."""
    left_s = int(login.identity.not_after - time.time())
    if not os.environ.get(_SOCKET) or left_s <= 0:
        return
    with _no_reason_to_fail(), _Agent(os.environ[_SOCKET]) as agent:
        agent.remove(comment(login.profile))
        for each in _entries(login):
            agent.add(each, comment(login.profile), left_s)


def forget(profile: Profile) -> None:
    """Takes the user's keys out of the agent."""
    if os.environ.get(_SOCKET):
        with _no_reason_to_fail(), _Agent(os.environ[_SOCKET]) as agent:
            agent.remove(comment(profile))


@contextmanager
def _no_reason_to_fail() -> Iterator[None]:
    try:
        yield
    except (TeleportError, OSError, wire.WireError) as reason:
        why = getattr(reason, "sentence", None) or getattr(reason, "strerror", None) or str(reason)
        sys.stderr.write(f"note: the ssh-agent does not hold the key ({why.rstrip('.')}); tsh works without it\n")


def _entries(login: Login) -> Iterator[bytes]:
    """The key with its certificate, and without: what stands before the comment in a request."""
    key = keys.load_private_pem(login.identity.key)
    assert isinstance(key, EllipticCurvePrivateKey)  # as tsh makes them
    secret = wire.mpint(key.private_numbers().private_value)
    certificate = SSHCertificate.from_line(login.identity.ssh_certificate).to_blob()
    yield wire.string(wire.Reader(certificate).string()) + wire.string(certificate) + secret
    yield keys.public_blob(key.public_key()) + secret


class _Agent:
    """One connection to an agent; every answer has its time."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_S)
        self._path = path

    def __enter__(self) -> _Agent:
        self._socket.connect(self._path)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._socket.close()

    def add(self, entry: bytes, name: str, lifetime_s: int) -> None:
        """:raises ConnectionProblem: the agent refuses."""
        constraint = _LIFETIME + wire.uint32(min(lifetime_s, (1 << 32) - 1))
        if self._ask(ADD_ID_CONSTRAINED, entry + wire.text(name) + constraint)[0] != SUCCESS:
            raise ConnectionProblem("it does not take certificates")

    def remove(self, name: str) -> None:
        """Takes out all keys that are called so."""
        kind, reader = self._ask(REQUEST_IDENTITIES)
        count = reader.uint32() if kind == IDENTITIES_ANSWER else 0
        for blob, called in [(reader.string(), reader.string()) for _ in range(min(count, MAX_KEYS))]:
            if called == name.encode():
                self._ask(REMOVE_IDENTITY, wire.string(blob))

    def _ask(self, kind: int, content: bytes = b"") -> tuple[int, wire.Reader]:
        self._socket.sendall(wire.string(bytes([kind]) + content))
        length = int.from_bytes(self._exactly(4), "big")
        if not 0 < length <= MAX_FRAME_BYTES:
            raise ConnectionProblem("it answers what no agent answers")
        answer = self._exactly(length)
        return answer[0], wire.Reader(answer[1:])

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise ConnectionProblem("it ended the connection")
            data += more
        return data
