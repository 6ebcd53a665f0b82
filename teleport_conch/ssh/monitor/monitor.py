"""The process that holds the host keys and verifies logins. It has no network and no Twisted, and runs as root.

A server asks over a socket, in frames (:mod:`teleport_conch.ssh.monitor.orders`). The monitor signs exchange hashes,
remembers them, and hands an order to the starter only for a login that it has verified for itself. One that asks for
anything else is told why; one that sends what is no frame is cut off.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count
from typing import Protocol

from attrs import define, field, frozen
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teleport_conch import wire
from teleport_conch.certs import keys
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.errors import AccessDenied, BadParameter, LimitExceeded, TeleportError
from teleport_conch.ssh import account as accounts
from teleport_conch.ssh.connection.host_key_proof import PROVED
from teleport_conch.ssh.monitor import orders
from teleport_conch.ssh.monitor.frames import Frame, Peer
from teleport_conch.ssh.monitor.loop import Conversation, Loop
from teleport_conch.ssh.monitor.orders import Account, Order, Program
from teleport_conch.ssh.monitor.verifier import SignedSessions, read_proof, verify_login
from teleport_conch.wire import Reader, WireError

HASH_BYTES = (32, 48, 64)
"""Lengths of what is signed: the digests of the key exchanges."""

MAX_LOGINS = 10_000
MAX_CHECKS = 1000
"""Logins of one server that the host is being asked about, each by a process of its own where there is PAM."""
MAX_HOST_KEYS = 4
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?", re.ASCII)
_WITH_FORCED_COMMAND = re.compile(
    r"LANG|LANGUAGE|LC_[A-Z0-9_]+|TZ|COLORTERM|GIT_PROTOCOL|MAIL|SSH_(CLIENT|CONNECTION|ORIGINAL_COMMAND|SESSION_ID|TELEPORT_[A-Z_]+)",
    re.ASCII,
)
_FOLDERS_OF_PROGRAMS = ("/usr/", "/bin/", "/sbin/", "/opt/", "/nix/", "/run/current-system/")


class Anchors(Protocol):
    """Which authorities are trusted."""

    @property
    def blobs(self) -> Sequence[bytes]:
        """The blobs of their keys."""

    def trust(self, blobs: Sequence[bytes], endorsement: bytes) -> None:
        """A server says that these are trusted. Raises TeleportError."""


@frozen
class Login:
    """A login that was verified."""

    account: Account
    certificate: SSHCertificate
    client_host: str

    def order(self, wanted: Program) -> Order:
        """What is started for it when ``wanted`` is asked for, which a certificate may limit.

        :raises AccessDenied: the certificate does not permit a terminal.
        """
        if wanted.terminal is not None and self.certificate.extension("permit-pty") is None:
            raise AccessDenied("The certificate does not permit a terminal.")
        forced = self.certificate.critical_option("force-command")
        command = wanted.command if forced is None else forced
        rc = wanted.rc and self.certificate.extension("permit-user-rc") is not None
        program = Program(command, self._environment(wanted, forced), wanted.terminal, rc)
        return Order(self.account, program, self.client_host)

    def check_sockets(self) -> None:
        """Who connects to sockets as an account can have other programs of it do anything.

        :raises AccessDenied: the certificate does not permit that.
        """
        certificate = self.certificate
        is_forced = certificate.critical_option("force-command") is not None
        permitted = (certificate.extension(each) for each in ("permit-port-forwarding", "permit-agent-forwarding"))
        if is_forced or all(each is None for each in permitted):
            raise AccessDenied("The certificate does not permit sockets.")

    def _environment(self, wanted: Program, forced: str | None) -> dict[str, str]:
        name, _, _, home, shell = self.account
        own = {"USER": name, "LOGNAME": name, "HOME": home, "SHELL": shell}
        if forced is not None and wanted.command and wanted.command != forced:
            own["SSH_ORIGINAL_COMMAND"] = wanted.command
        environment = {**(wanted.environment if forced is None else _harmless(wanted.environment)), **own}
        if not all(_VARIABLE.fullmatch(each) and not each.startswith("LD_") for each in environment):
            raise BadParameter("A variable of the session has a name that no variable can have.")
        return environment


def _harmless(wanted: Mapping[str, str]) -> dict[str, str]:
    """What does not make another program of a command: ``BASH_ENV`` would, and ``PATH`` to a folder of anybody's."""
    kept = {name: value for name, value in wanted.items() if _WITH_FORCED_COMMAND.fullmatch(name)}
    folders = (os.path.normpath(each) for each in wanted.get("PATH", "").split(":") if each)
    programs = [each for each in folders if f"{each}/".startswith(_FOLDERS_OF_PROGRAMS)]
    return {**kept, "PATH": ":".join(programs) or os.defpath}


@define
class Served:
    """One server: what was signed for it, and who logged in through it."""

    uid: int
    sessions: SignedSessions = field(factory=SignedSessions)
    logins: dict[int, Login] = field(factory=dict)
    orders: dict[int, int] = field(factory=dict)
    checks: int = 0


@define
class HostKeys:
    """The private keys, and the blobs under which clients know them."""

    _keys: dict[bytes, Ed25519PrivateKey] = field(factory=dict)

    def hold(self, private_key: str, certificates: Sequence[SSHCertificate]) -> None:
        """Keeps a key, and forgets the oldest where there are more than :data:`MAX_HOST_KEYS` blobs.

        :raises BadParameter: the certificate is for another key.
        """
        key = keys.load_private_pem(private_key)
        if not isinstance(key, Ed25519PrivateKey):
            raise BadParameter("The host key is not of the type ssh-ed25519.")
        plain = keys.public_blob(key.public_key())
        if any(each.public_key != plain for each in certificates):
            raise BadParameter("The host certificate is for another key.")
        for blob in (plain, *(each.to_blob() for each in certificates)):
            self._keys.pop(blob, None)
            self._keys[blob] = key
        while len(self._keys) > MAX_HOST_KEYS:
            del self._keys[next(iter(self._keys))]

    def sign(self, blob: bytes, data: bytes) -> bytes:
        """A signature blob (RFC 8709, section 6)."""
        if blob not in self._keys:
            raise BadParameter("The monitor does not hold this host key.")
        return wire.text("ssh-ed25519") + wire.string(self._keys[blob].sign(data))

    @property
    def blobs(self) -> frozenset[bytes]:
        return frozenset(self._keys)


def is_proof(data: bytes, blobs: Collection[bytes]) -> bool:
    """Whether ``data`` is what a host signs to prove one of its keys (OpenSSH's PROTOCOL, section 2.5)."""
    reader = Reader(data)
    try:
        name, session_id, blob = reader.string(), reader.string(), reader.string()
        reader.end()
    except WireError:
        return False
    return name == PROVED and len(session_id) in HASH_BYTES and blob in blobs


class Monitor:
    """Answers servers, and orders sessions from the starter.

    :param servers: the ends of the sockets of the servers.
    :param starter: the end of the socket of the starter.
    """

    def __init__(self, loop: Loop, starter: Peer, servers: Sequence[Peer], anchors: Anchors) -> None:
        self._loop = loop
        self._anchors = anchors
        self._keys = HostKeys()
        self._numbers = count(1)
        self._answers: dict[int, Callable[[Frame], None]] = {}
        self._starter = Conversation(loop, starter, self._from_starter, loop.stop)
        self._servers = [_Server(self, loop, each) for each in servers]

    # What servers ask for.

    def hold(self, served: Served, body: bytes) -> bytes:
        """Takes a host key and its certificate."""
        reader = Reader(body)
        private_key, line = reader.text(), reader.text()
        reader.end()
        self._keys.hold(private_key, [SSHCertificate.from_line(line)])
        return b""

    def sign(self, served: Served, body: bytes) -> bytes:
        """Signs an exchange hash, and remembers it; or the proof to a client that this host has a key."""
        reader = Reader(body)
        blob, data = reader.string(), reader.string()
        reader.end()
        is_hash = len(data) in HASH_BYTES
        if not is_hash and not is_proof(data, self._keys.blobs):
            raise BadParameter("The monitor signs exchange hashes and proofs of its keys, and nothing else.")
        signature = self._keys.sign(blob, data)
        if is_hash:
            served.sessions.add(data)
        return signature

    def trust(self, served: Served, body: bytes) -> bytes:
        """Takes anchors, as far as they may change."""
        reader = Reader(body)
        blobs, endorsement = orders.read_blobs(reader, 64), reader.string()
        reader.end()
        self._anchors.trust(blobs, endorsement)
        return b""

    def log_in(self, served: Served, body: bytes, answer: Callable[[bytes | TeleportError], None]) -> None:
        """Verifies a login, and asks the host whether it lets the account in."""
        proof, client_host = read_proof(body)
        if not _ADDRESS.fullmatch(client_host):
            raise BadParameter("The address of the client is none.")
        if len(served.logins) >= MAX_LOGINS:
            raise LimitExceeded(f"The monitor keeps {MAX_LOGINS} logins, and no more.")
        if served.checks >= MAX_CHECKS:
            raise LimitExceeded(f"The host is being asked about {MAX_CHECKS} logins, and about no more at a time.")
        try:
            certificate = verify_login(
                proof, served.sessions, self._keys.blobs, self._anchors.blobs, time.time(), client_host
            )
        except WireError as problem:
            raise AccessDenied(f"The login cannot be read: {problem}.") from problem
        found = accounts.lookup(proof.user)
        account = Account(found.name, found.uid, found.gid, found.home, found.shell)
        if os.geteuid() != 0 and account.uid != os.geteuid():
            raise AccessDenied("This service does not run as root and can start sessions only of its own account.")

        def checked(frame: Frame) -> None:
            self.forget(asked)
            served.checks -= 1
            if frame.kind == orders.REFUSED:
                answer(_refusal_of(frame))
                return
            served.sessions.use(proof.session_id)
            number = next(self._numbers)
            served.logins[number] = Login(account, certificate, client_host)
            answer(wire.uint32(number))

        served.checks += 1
        asked = self.order(orders.CHECK, orders.pack_account(account) + orders.text(client_host), checked)

    def order(self, kind: int, body: bytes, answer: Callable[[Frame], None]) -> int:
        """Sends an order to the starter; ``answer`` is called until it is forgotten."""
        number = next(self._numbers)
        self._answers[number] = answer
        self._starter.send(kind, number, body)
        return number

    def forget(self, number: int) -> None:
        self._answers.pop(number, None)

    def signal(self, number: int, body: bytes) -> None:
        self._starter.send(orders.SIGNAL, number, body)

    def _from_starter(self, frame: Frame) -> None:
        answer = self._answers.get(frame.number)
        if answer is None:
            frame.close()
            return
        if frame.kind != orders.DONE:
            self.forget(frame.number)
        answer(frame)

    def left(self, server: _Server) -> None:
        """A server has gone; with the last of them, the monitor goes as well."""
        self._servers.remove(server)
        if not self._servers:
            self._loop.stop()


class _Server:
    """The conversation with one server."""

    def __init__(self, monitor: Monitor, loop: Loop, peer: Peer) -> None:
        self._monitor = monitor
        self._served = Served(0)
        self._talk = Conversation(loop, peer, self._received, self._gone)
        self._simple = {orders.HOLD: monitor.hold, orders.SIGN: monitor.sign, orders.TRUST: monitor.trust}

    def _received(self, frame: Frame) -> None:
        frame.close()
        try:
            self._serve(frame)
        except TeleportError as refusal:
            self._refuse(frame.number, refusal)
        except WireError as problem:
            sys.stderr.write(f"the monitor: a server sent what cannot be read, and is cut off: {problem}\n")
            self._talk.end()
        except Exception:  # noqa: BLE001  # whatever one request meets, the others are answered
            traceback.print_exc()
            self._refuse(frame.number, AccessDenied("The monitor failed at this; what it met is in the log."))

    def _serve(self, frame: Frame) -> None:
        number, body = frame.number, frame.body
        if frame.kind in self._simple:
            self._talk.send(orders.DONE, number, self._simple[frame.kind](self._served, body))
        elif frame.kind == orders.LOGIN:
            self._monitor.log_in(self._served, body, lambda answer: self._answer(number, answer))
        elif frame.kind == orders.LEAVE:
            self._served.logins.pop(Reader(body).uint32(), None)
        elif frame.kind == orders.START:
            self._start(number, body)
        elif frame.kind == orders.BROKER:
            self._broker(number, body)
        elif frame.kind == orders.SIGNAL:
            self._signal(number, body)
        else:
            raise WireError(f"a request of the unknown kind {frame.kind}")

    def _start(self, number: int, body: bytes) -> None:
        reader = Reader(body)
        login, program = self._served.logins.get(reader.uint32()), orders.read_program(reader)
        reader.end()
        if login is None:
            raise AccessDenied("The monitor knows no such login.")
        if number in self._served.orders:
            raise WireError("a number that is in use")
        self._pass_on(number, orders.START, orders.pack_order(login.order(program)))

    def _broker(self, number: int, body: bytes) -> None:
        reader = Reader(body)
        login = self._served.logins.get(reader.uint32())
        reader.end()
        if login is None:
            raise AccessDenied("The monitor knows no such login.")
        if number in self._served.orders:
            raise WireError("a number that is in use")
        login.check_sockets()
        self._pass_on(number, orders.BROKER, orders.pack_account(login.account))

    def _pass_on(self, number: int, kind: int, packed: bytes) -> None:
        """Orders from the starter; what it says comes back under the server's own number."""

        def heard(frame: Frame) -> None:
            if frame.kind != orders.DONE:
                self._served.orders.pop(number, None)
            self._talk.send(frame.kind, number, frame.body, frame.descriptors)

        self._served.orders[number] = self._monitor.order(kind, packed, heard)

    def _signal(self, number: int, body: bytes) -> None:
        reader = Reader(body)
        wanted = reader.uint32()
        reader.end()
        ordered = self._served.orders.get(number)
        if ordered is not None and wanted in signal.valid_signals():
            self._monitor.signal(ordered, body)

    def _answer(self, number: int, answer: bytes | TeleportError) -> None:
        if isinstance(answer, TeleportError):
            self._refuse(number, answer)
        else:
            self._talk.send(orders.DONE, number, answer)

    def _refuse(self, number: int, refusal: TeleportError) -> None:
        self._talk.send(orders.REFUSED, number, orders.pack_refusal(refusal.code, refusal.sentence))

    def _gone(self) -> None:
        self._monitor.left(self)


def _refusal_of(frame: Frame) -> TeleportError:
    code, sentence = orders.read_refusal(frame.body)
    return AccessDenied(sentence) if code == AccessDenied.code else BadParameter(sentence)
