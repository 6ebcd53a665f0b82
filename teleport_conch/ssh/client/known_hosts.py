"""The file ``known_hosts``: which keys and authorities are believed for which hosts (sshd(8), SSH_KNOWN_HOSTS).

A line is ``[marker] names type base64 [comment]``. Names are patterns with ``*`` and ``?``, some of them negated with
``!``, or one name hashed. A name with a port other than 22 is ``[host]:port``, and its keys are its own: a key that is
known for the same host on another port says nothing. An authority speaks for names, so that its patterns match with the
port and without it; so do the patterns of what is revoked.

Stricter than OpenSSH in three things: a host certificate that is refused is not looked at as a plain key, a plain key
is never looked for without its port, and a line of revocation that cannot be read stops everything.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase

from attrs import frozen

from teleport_conch.certs import keys, public_key
from teleport_conch.certs.certificate import CertificateType
from teleport_conch.certs.trust import check_ssh_certificate
from teleport_conch.errors import CertificateRefused
from teleport_conch.ssh.client.host_offer import (
    CERTIFICATE_ALGORITHMS,
    PLAIN_ALGORITHMS,
    HostKeyOffer,
    HostKeyRefused,
    HostName,
    algorithms_of,
)

MAX_FILE_CHARS = 16 << 20
MAX_LINE_CHARS = 1 << 15
MAX_NAME_CHARS = 255

AUTHORITY = "@cert-authority"
REVOKED = "@revoked"
_HASHED = "|1|"
_SALT_BYTES = 20


class HostKeyUnknown(HostKeyRefused):
    """Nothing is known about the host; a person may compare the fingerprint, and have the key remembered."""

    code = "HOST_KEY_UNKNOWN"


class HostKeyChanged(HostKeyRefused):
    """Another key is known for the host."""

    code = "HOST_KEY_CHANGED"


class HostKeyRevoked(HostKeyRefused):
    """The key, or the authority that certified it, is marked as revoked."""

    code = "HOST_KEY_REVOKED"


@frozen
class _Line:
    """One line that may be about some host; its key is read when it is.

    :ivar number: counted from 1.
    :ivar marker: empty, ``@cert-authority``, ``@revoked``, or one that is not known.
    """

    number: int
    marker: str
    names: str
    rest: str

    def about(self, name: str) -> bool:
        """Whether one of its patterns is the name's, and none that is negated."""
        if self.names.startswith(_HASHED):
            return _is_hash_of(self.names, name)
        found = False
        for pattern in self.names.lower().split(","):
            if _matches(name, pattern.removeprefix("!")):
                if pattern.startswith("!"):
                    return False
                found = True
        return found

    def key(self) -> bytes:
        """The blob of its key. Raises :class:`ValueError`."""
        kind, blob = public_key.split_line(self.rest, MAX_LINE_CHARS)
        if public_key.declared_type(blob) != kind:
            raise ValueError("a line whose second word is another type than its key's")
        return blob

    def usable_key(self) -> bytes:
        """The same, of a type that is accepted. Raises :class:`ValueError`."""
        return public_key.parse(self.key()).to_blob()


@frozen
class KnownHosts:
    """Everything that the lines of one or several files say.

    :ivar broken: what is wrong with the first line of revocation that cannot be read, or None.
    """

    lines: tuple[_Line, ...]
    broken: str | None = None

    @classmethod
    def parse(cls, text: str) -> KnownHosts:
        """The lines of a file; several files are put one behind the other. Lines that make no sense match no host.

        :raises HostKeyRefused: it is too long for any file of that kind.
        """
        if len(text) > MAX_FILE_CHARS:
            raise HostKeyRefused(f"known_hosts has more than {MAX_FILE_CHARS} characters, which is the limit.")
        lines = tuple(_lines(text))
        return cls(lines, next((broken for line in lines if (broken := _why_broken(line))), None))

    def algorithms(self, name: HostName) -> tuple[bytes, ...]:
        """What to ask a host for: certificates where an authority is known for it, else the types of its known keys.

        Other plain keys follow, so that a host that shows another key than the known one is noticed.
        """
        known = dict.fromkeys(each for blob, _ in self._keys(name) for each in algorithms_of(_kind(blob)))
        plain = tuple(dict.fromkeys((*known, *PLAIN_ALGORITHMS)))
        return (*CERTIFICATE_ALGORITHMS, *plain) if self._authorities(name) else plain

    def check(self, offer: HostKeyOffer, now: float) -> None:
        """Believes what a host shows, or raises one reason not to.

        :param now: POSIX seconds, for the certificate's window.
        :raises HostKeyRevoked: the key or its authority is revoked.
        :raises HostKeyChanged: another key is known.
        :raises HostKeyUnknown: nothing is known.
        :raises HostKeyRefused: its certificate is not believed.
        """
        if self.broken is not None:
            raise HostKeyRefused(self.broken)
        try:
            if offer.certified:
                self._check_certificate(offer, now)
            else:
                self._check_revoked(offer.name, offer.blob)
                self._check_key(offer)
        except CertificateRefused as refusal:
            raise HostKeyRefused(f"The host certificate of {offer.name} is refused: {refusal.sentence}") from None

    def _check_certificate(self, offer: HostKeyOffer, now: float) -> None:
        certificate = offer.certificate()
        self._check_revoked(offer.name, certificate.public_key)
        self._check_revoked(offer.name, certificate.signature_key)
        check_ssh_certificate(
            certificate,
            type=CertificateType.HOST,
            authorities=self._authorities(offer.name),
            now=now,
            principal=offer.name.host,
            source_address=None,
        )

    def _check_key(self, offer: HostKeyOffer) -> None:
        known = list(self._keys(offer.name))
        if any(hmac.compare_digest(blob, offer.blob) for blob, _ in known):
            return
        if known:
            blob, number = next(((each, at) for each, at in known if _kind(each) == _kind(offer.blob)), known[0])
            raise HostKeyChanged(
                f"The host key of {offer.name} has changed: known is {_shown(blob)} (line {number} of known_hosts), "
                f"and it shows {_shown(offer.blob)}. Either somebody stands between you and this host, or it was set "
                "up anew: ask whoever runs it, and only then remove the line."
            )
        raise HostKeyUnknown(
            f"No host key is known for {offer.name}, which shows {_shown(offer.blob)}. Compare this with what whoever "
            f"runs the host says.{self._unreadable(offer.name)}",
            fingerprint=offer.fingerprint,
        )

    def _check_revoked(self, name: HostName, blob: bytes) -> None:
        for line in self._about(name, REVOKED):
            if line.key() == blob:
                raise HostKeyRevoked(
                    f"{name} shows a key that is revoked, or is certified by one: {_shown(blob)} (line {line.number} "
                    "of known_hosts). Do not connect; ask whoever runs the host."
                )

    def _authorities(self, name: HostName) -> frozenset[bytes]:
        return frozenset(_readable(self._about(name, AUTHORITY)).keys())

    def _keys(self, name: HostName) -> Iterator[tuple[bytes, int]]:
        """Each plain key that is known for exactly this name and port, and the number of its line."""
        matching = (line for line in self.lines if not line.marker and line.about(name.marked))
        yield from _readable(matching).items()

    def _about(self, name: HostName, marker: str) -> Iterator[_Line]:
        names = {name.marked, name.host.lower()}
        return (line for line in self.lines if line.marker == marker and any(map(line.about, names)))

    def _unreadable(self, name: HostName) -> str:
        """The end of the sentence, where there is a line for the name that cannot be used."""
        for line in self.lines:
            if line.marker in ("", AUTHORITY) and line.about(name.marked):
                try:
                    line.usable_key()
                except ValueError as reason:
                    return f" Line {line.number} of known_hosts is about it, and cannot be used: {reason}."
        return ""


def line_for(offer: HostKeyOffer, salt: bytes | None = None) -> str:
    """The line, without its end, that remembers a host's plain key under its name and port.

    :param salt: 20 random bytes, to write the name hashed.
    """
    name = offer.name.marked
    if salt is not None:
        digest = hmac.digest(salt, name.encode(), hashlib.sha1)
        name = f"{_HASHED}{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
    return f"{name} {keys.public_line(offer.key())}"


@frozen
class KnownHostsVerifier:
    """Believes what known_hosts says and nothing else; nobody is asked.

    :param now: answers POSIX seconds.
    """

    known: KnownHosts
    now: Callable[[], float]

    def algorithms(self, name: HostName) -> tuple[bytes, ...]:
        return self.known.algorithms(name)

    async def verify(self, offer: HostKeyOffer) -> None:
        self.known.check(offer, self.now())


def _lines(text: str) -> Iterator[_Line]:
    for number, line in enumerate(text.split("\n"), 1):
        words = line[:MAX_LINE_CHARS].split(None, 2)
        if words and not words[0].startswith("#"):
            marker = words[0] if words[0].startswith("@") else ""
            names, rest = (*words[1:], "", "")[:2] if marker else (words[0], " ".join(words[1:]))
            yield _Line(number, marker, names, rest)


def _why_broken(line: _Line) -> str | None:
    """Why a line of revocation cannot be obeyed."""
    if line.marker != REVOKED:
        return None
    try:
        line.key()
    except ValueError as reason:
        return f"Line {line.number} of known_hosts revokes a key and cannot be read: {reason}. Put it right first."
    return None


def _readable(lines: Iterator[_Line]) -> dict[bytes, int]:
    """The keys of lines that can be used, with the numbers of the lines."""
    found: dict[bytes, int] = {}
    for line in lines:
        try:
            found.setdefault(line.usable_key(), line.number)
        except ValueError:
            continue
    return found


def _matches(name: str, pattern: str) -> bool:
    """OpenSSH's patterns know ``*`` and ``?``; brackets are brackets, as in ``[host]:port``."""
    return len(name) <= MAX_NAME_CHARS and fnmatchcase(name, pattern.replace("[", "[[]"))


def _is_hash_of(hashed: str, name: str) -> bool:
    salt, _, digest = hashed.removeprefix(_HASHED).partition("|")
    try:
        known_salt, known = (base64.b64decode(each, validate=True) for each in (salt, digest))
    except ValueError:
        return False
    return len(known_salt) == _SALT_BYTES and hmac.compare_digest(
        hmac.digest(known_salt, name.encode(), hashlib.sha1), known
    )


def _kind(blob: bytes) -> str:
    return public_key.declared_type(blob)


def _shown(blob: bytes) -> str:
    return f"{_kind(blob)} {keys.fingerprint(blob)}"
