"""The process that holds the host keys and verifies logins. It has no network and no Twisted, and runs as root.

A server asks over a socket, in frames (:mod:`teleport_conch.ssh.monitor.orders`). The monitor signs exchanges of keys,
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
from collections.abc import Callable, Sequence
from itertools import count
from typing import Protocol

from attrs import define, field

from teleport_conch import wire
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.errors import AccessDenied, BadParameter, LimitExceeded, TeleportError
from teleport_conch.ssh import account as accounts
from teleport_conch.ssh.monitor import orders
from teleport_conch.ssh.monitor.exchanges import SignedExchanges, read_transcript
from teleport_conch.ssh.monitor.frames import Frame, Peer
from teleport_conch.ssh.monitor.host_key import HostKeys
from teleport_conch.ssh.monitor.logins import Login
from teleport_conch.ssh.monitor.loop import Conversation, Loop
from teleport_conch.ssh.monitor.orders import Account
from teleport_conch.ssh.monitor.traced import Telling
from teleport_conch.ssh.monitor.verifier import read_proof, verify_login
from teleport_conch.wire import Reader, WireError

MAX_LOGINS = 10_000
MAX_CHECKS = 1000
"""Logins of one server that the host is being asked about, each by a process of its own where there is PAM."""
GOING_ON = (orders.DONE, orders.TRACED)
"""Kinds of answers to an order that others follow."""

_ADDRESS = re.compile(r"[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?", re.ASCII)


class Anchors(Protocol):
    """Which authorities are trusted."""

    @property
    def blobs(self) -> Sequence[bytes]:
        """The blobs of their keys."""

    def trust(self, blobs: Sequence[bytes], endorsement: bytes) -> None:
        """A server says that these are trusted. Raises TeleportError."""


@define
class Served:
    """One server: what was signed for it, and who logged in through it."""

    exchanges: SignedExchanges = field(factory=SignedExchanges)
    logins: dict[int, Login] = field(factory=dict)
    orders: dict[int, int] = field(factory=dict)
    checks: int = 0


class Monitor:
    """Answers servers, and orders sessions from the starter.

    :param servers: the ends of the sockets of the servers.
    :param starter: the end of the socket of the starter.
    """

    def __init__(
        self, loop: Loop, starter: Peer, servers: Sequence[Peer], anchors: Anchors, host_keys: HostKeys
    ) -> None:
        self._loop = loop
        self._anchors = anchors
        self._keys = host_keys
        self._numbers = count(1)
        self._answers: dict[int, Callable[[Frame], None]] = {}
        self._starter = Conversation(loop, starter, self._from_starter, loop.stop)
        self._servers = [_Server(self, loop, each) for each in servers]

    # What servers ask for.

    def public(self, served: Served, body: bytes) -> bytes:
        """Answers the host key that is to be certified."""
        Reader(body).end()
        return self._keys.public()

    def hold(self, served: Served, body: bytes) -> bytes:
        """Takes a host certificate, and its key where that is the server's; answers the key of the server's cookies."""
        reader = Reader(body)
        private_key, line = reader.text(), reader.text()
        reader.end()
        self._keys.hold(private_key, SSHCertificate.from_line(line))
        return served.exchanges.cookies.key

    def sign(self, served: Served, body: bytes) -> bytes:
        """Signs an exchange of keys, and remembers it."""
        return served.exchanges.sign(read_transcript(body), self._keys)

    def prove(self, served: Served, body: bytes) -> bytes:
        """Signs the proof to a client that this host has a key."""
        reader = Reader(body)
        session_id, blob = reader.string(), reader.string()
        reader.end()
        return served.exchanges.prove(session_id, blob, self._keys)

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
            shown = served.exchanges.shown(proof.session_id)
            certificate = verify_login(proof, shown, self._anchors.blobs, time.time(), client_host)
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
            served.exchanges.log_in(proof.session_id)
            number = next(self._numbers)
            served.logins[number] = Login(account, certificate, client_host, proof.session_id, asked)
            answer(wire.uint32(number))

        served.checks += 1
        asked = self.order(orders.CHECK, orders.pack_account(account) + orders.text(client_host), checked)

    def leave(self, served: Served, number: int) -> None:
        """The connection of a login has ended."""
        login = served.logins.pop(number, None)
        if login is not None:
            served.exchanges.leave(login.session_id)

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
        if frame.kind not in GOING_ON:
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
        self._served = Served()
        self._talk = Conversation(loop, peer, self._received, self._gone)
        self._telling = Telling(self._talk)
        self._simple = {
            orders.PUBLIC: monitor.public,
            orders.HOLD: monitor.hold,
            orders.SIGN: monitor.sign,
            orders.PROVE: monitor.prove,
            orders.TRUST: monitor.trust,
        }

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
            self._monitor.leave(self._served, Reader(body).uint32())
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
            if frame.kind == orders.TRACED:
                self._telling.pass_on(number, frame.body)
                return
            if frame.kind not in GOING_ON:
                self._served.orders.pop(number, None)
                self._telling.end(number)
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
