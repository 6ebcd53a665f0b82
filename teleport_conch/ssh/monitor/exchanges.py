"""Exchanges of keys that a monitor signs: what it looks at before, and what it remembers.

It is given what both sides said, and computes for itself what is signed. So it knows that an exchange shows a key of
this host, and that the offer in it is one of its own server, made since the monitor started and signed for once.
"""

from __future__ import annotations

from collections import OrderedDict

from attrs import astuple, define, field

from teleport_conch import wire
from teleport_conch.errors import AccessDenied, BadParameter
from teleport_conch.ssh.monitor.cookies import UsedCookies
from teleport_conch.ssh.monitor.host_key import HostKeys
from teleport_conch.ssh.transport.hostkeys import proved_part
from teleport_conch.ssh.transport.kex import METHODS, Transcript
from teleport_conch.ssh.transport.negotiation import COOKIE_BYTES, MSG_KEXINIT
from teleport_conch.wire import Reader, WireError

MAX_SESSION_IDS = 10_000
"""Session identifiers that are remembered for each server; a login that comes behind so many later exchanges fails."""


@define
class SignedExchanges:
    """The exchanges that were signed for one server; the hash of each may be the identifier of a session.

    :ivar cookies: those of the server.
    """

    cookies: UsedCookies = field(factory=UsedCookies)
    _open: OrderedDict[bytes, bytes] = field(factory=OrderedDict)
    _logged_in: set[bytes] = field(factory=set)

    def sign(self, transcript: Transcript, host_keys: HostKeys) -> bytes:
        """The signature blob of the host key that an exchange shows.

        :raises AccessDenied: that is none of this host's, or the cookie of the server's offer is not as it should be.
        :raises WireError: the server's offer cannot be read.
        """
        if transcript.method not in METHODS:
            raise BadParameter("The exchange is by a method that the monitor does not know.")
        if transcript.host_key not in host_keys:
            raise AccessDenied("The exchange shows a host key that is not this host's.")
        self.cookies.use(_cookie(transcript.server_kexinit))
        digest = transcript.digest
        self._open[digest] = transcript.host_key
        if len(self._open) > MAX_SESSION_IDS:
            self._open.popitem(last=False)
        return host_keys.sign(transcript.host_key, digest)

    def prove(self, session_id: bytes, blob: bytes, host_keys: HostKeys) -> bytes:
        """The signature blob that proves to the client of a session that this host has a key.

        :raises AccessDenied: the session is not one of this server's.
        """
        if session_id not in self._open and session_id not in self._logged_in:
            raise AccessDenied("The monitor proves its keys in sessions that it signed for, and in no others.")
        return host_keys.sign(blob, proved_part(session_id, blob))

    def shown(self, session_id: bytes) -> bytes | None:
        """The host key that the exchange of a session without a login showed; None where there is no such session."""
        return self._open.get(session_id)

    def log_in(self, session_id: bytes) -> None:
        """The session has its login, and gets no other one."""
        self._open.pop(session_id, None)
        self._logged_in.add(session_id)

    def leave(self, session_id: bytes) -> None:
        """The session is over."""
        self._logged_in.discard(session_id)


def _cookie(offer: bytes) -> bytes:
    """What a SSH_MSG_KEXINIT begins with; the rest of it is between the two sides. Raises WireError."""
    reader = Reader(offer)
    if reader.byte() != MSG_KEXINIT:
        raise WireError("not an offer of algorithms")
    return reader.take(COOKIE_BYTES)


def pack_transcript(transcript: Transcript) -> bytes:
    """The body of a SIGN: each part as a string."""
    return b"".join(map(wire.string, astuple(transcript, recurse=False)))


def read_transcript(body: bytes) -> Transcript:
    """What :func:`pack_transcript` packed. Raises WireError."""
    reader = Reader(body)
    transcript = Transcript(*(reader.string() for _ in range(9)))
    reader.end()
    return transcript
