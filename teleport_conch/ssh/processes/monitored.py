"""A server's side of the monitor: the process that signs for it, and that starts sessions for logins it has verified.

Every request has a deadline. :mod:`teleport_conch.ssh.processes.launching` starts the process.
"""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Callable, Collection
from itertools import count

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_conch import wire
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.errors import SpawnFailed, TeleportError, from_json
from teleport_conch.ssh.login.proof import LoginProof
from teleport_conch.ssh.monitor import orders
from teleport_conch.ssh.monitor.cookies import Cookies
from teleport_conch.ssh.monitor.exchanges import pack_transcript
from teleport_conch.ssh.monitor.frames import Frame, Peer, Violation
from teleport_conch.ssh.monitor.orders import Program
from teleport_conch.ssh.monitor.traced import read_traced
from teleport_conch.ssh.monitor.verifier import pack_proof
from teleport_conch.ssh.processes.exit_status import UNKNOWN_CODE, ExitStatus
from teleport_conch.ssh.processes.monitored_process import BrokerProcess, MonitoredProcess
from teleport_conch.ssh.transport.algorithms import ED25519, ED25519_CERTIFICATE
from teleport_conch.ssh.transport.hostkeys import HostKeys
from teleport_conch.ssh.transport.kex import Transcript
from teleport_conch.wire import Reader

FRAMES_AT_ONCE = 16
ANSWER_S = 10.0
START_S = 75.0
"""Deadlines in seconds: for what the monitor does by itself, and for what PAM may take part in (60 s at most there) or
what it is asked while it starts."""


@frozen
class _Asked:
    kind: int
    answer: Deferred[Frame]
    deadline: IDelayedCall


@implementer(IReadWriteDescriptor)
class Monitor:
    """The conversation with the monitor.

    :param gone: called when the monitor ends; nothing can be signed or started any more.
    :param process: the monitor's own, where it is a child of ours.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        end: socket.socket,
        gone: Callable[[], None],
        process: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._process = process
        self._peer = Peer(end)
        self._gone = gone
        self._numbers = count(1)
        self._asked: dict[int, _Asked] = {}
        self._given_up: dict[int, int] = {}
        """The kinds of requests whose answers nobody waits for any more, by their numbers."""
        self._processes: dict[int, MonitoredProcess | BrokerProcess] = {}
        self._open = True
        self._cookies: Cookies | None = None
        reactor.addReader(self)

    # Requests.

    async def public_key(self) -> bytes:
        """The blob of the host key that the monitor keeps, and that is to be certified. Raises TeleportError."""
        # The first question of all: the monitor is being started, which takes its time on a busy host.
        return (await self._ask(orders.PUBLIC, b"", START_S)).body

    async def host_keys(self, private_key: str, certificate: SSHCertificate) -> HostKeys:
        """Host keys of a server whose private halves are the monitor's; the certified one first.

        :param private_key: given to the monitor; empty where it keeps one.
        :raises TeleportError: it does not take them.
        """
        answer = await self._ask(orders.HOLD, wire.text(private_key) + wire.text(certificate.to_line()))
        if self._cookies is None:
            self._cookies = Cookies(answer.body)
        return {
            ED25519_CERTIFICATE: MonitoredHostKey(ED25519_CERTIFICATE, certificate.to_blob(), self, self._cookies),
            ED25519: MonitoredHostKey(ED25519, certificate.public_key, self, self._cookies),
        }

    async def sign(self, transcript: Transcript) -> bytes:
        """The signature blob of the host key that an exchange shows."""
        return (await self._ask(orders.SIGN, pack_transcript(transcript))).body

    async def prove(self, session_id: bytes, blob: bytes) -> bytes:
        """The signature blob that proves to the client of a session that this host has a key."""
        return (await self._ask(orders.PROVE, wire.string(session_id) + wire.string(blob))).body

    async def trust(self, authorities: Collection[bytes], endorsement: bytes = b"") -> None:
        """Says which authorities' users may log in. Raises AccessDenied where the monitor has others."""
        await self._ask(orders.TRUST, orders.pack_blobs(authorities) + wire.string(endorsement))

    async def log_in(self, proof: LoginProof, client_host: str) -> MonitoredLogin:
        """Lets the monitor verify a login. Raises :class:`TeleportError` where it does not believe it."""
        answer = await self._ask(orders.LOGIN, pack_proof(proof, client_host), START_S)
        return MonitoredLogin(self, Reader(answer.body).uint32())

    async def start(self, login: int, program: Program) -> MonitoredProcess:
        """Starts a session for a login that was verified."""
        body = wire.uint32(login) + orders.pack_program(program)
        number, asked = self._send(orders.START, body, START_S)
        frame = await asked
        self._processes[number] = process = MonitoredProcess.of(self, number, frame)
        return process

    async def broker(self, login: int) -> BrokerProcess:
        """Starts the process that makes Unix sockets as the account of a login."""
        number, asked = self._send(orders.BROKER, wire.uint32(login), START_S)
        frame = await asked
        (control,) = frame.descriptors
        process = BrokerProcess(Reader(frame.body).uint32(), socket.socket(fileno=control))
        self._processes[number] = process
        return process

    def leave(self, login: int) -> None:
        """The connection of a login has ended."""
        self._tell(orders.LEAVE, next(self._numbers), wire.uint32(login))

    def signal(self, number: int, signal_number: int) -> None:
        self._tell(orders.SIGNAL, number, wire.uint32(signal_number))

    def later(self, call: Callable[[], None]) -> None:
        """Calls back when what runs now has returned."""
        self._clock.callLater(0, call)

    def close(self) -> None:
        """Says goodbye to the monitor, which ends with the last server."""
        self._end(SpawnFailed("The monitor of this host is being stopped."))

    def _ask(self, kind: int, body: bytes, deadline_s: float = ANSWER_S) -> Deferred[Frame]:
        return self._send(kind, body, deadline_s)[1]

    def _send(self, kind: int, body: bytes, deadline_s: float) -> tuple[int, Deferred[Frame]]:
        number = next(self._numbers) & 0xFFFFFFFF
        answer: Deferred[Frame] = Deferred(lambda _: self._give_up(number))
        if not self._open:
            answer.errback(SpawnFailed("The monitor of this host does not run any more."))
            return number, answer
        deadline = self._clock.callLater(deadline_s, self._late, number, deadline_s)
        self._asked[number] = _Asked(kind, answer, deadline)
        self._tell(kind, number, body)
        return number, answer

    def _tell(self, kind: int, number: int, body: bytes) -> None:
        if not self._open:
            return
        try:
            self._peer.send(Frame(kind, number, body))
        except Violation:
            asked = self._asked.pop(number, None)
            if asked is not None:
                asked.deadline.cancel()
                asked.answer.errback(SpawnFailed("The command and the variables of the session are too long."))
        if self._peer.wants_write:
            self._reactor.addWriter(self)

    def _late(self, number: int, deadline_s: float) -> None:
        asked = self._asked.pop(number)
        self._given_up[number] = asked.kind
        asked.answer.errback(SpawnFailed(f"The monitor of this host did not answer within {deadline_s:.0f} seconds."))

    def _give_up(self, number: int) -> None:
        """Who asked is gone; the answer comes all the same."""
        asked = self._asked.pop(number, None)
        if asked is not None:
            asked.deadline.cancel()
            self._given_up[number] = asked.kind

    # What comes from the monitor.

    def fileno(self) -> int:
        return self._peer.fileno() if self._open else -1

    def logPrefix(self) -> str:
        return "monitor"

    def doRead(self) -> Failure | None:
        """Frames that are there, and not all of a flood: the rest is read when others had their turn."""
        try:
            for _ in range(FRAMES_AT_ONCE):
                frame = self._peer.receive() if self._open else None
                if frame is None:
                    break
                self._received(frame)
        except (EOFError, Violation) as problem:
            self._log.error("the monitor has gone: {why}", why=repr(problem))
            self._end(SpawnFailed("The monitor of this host has ended."))
            self._gone()
        return None

    def doWrite(self) -> Failure | None:
        self._peer.flush()
        if not self._peer.wants_write:
            self._reactor.removeWriter(self)
        return None

    def connectionLost(self, reason: Failure) -> None:
        """What the reactor calls after an exception of ours, or when the socket is gone."""
        if self._open:
            self._end(SpawnFailed("The monitor of this host has ended."))
            self._gone()

    def _received(self, frame: Frame) -> None:
        if frame.kind == orders.EXITED:
            process = self._processes.pop(frame.number, None)
            if process is not None:
                process.ended(ExitStatus.from_wait(Reader(frame.body).uint32()))
            return
        if frame.kind == orders.TRACED:
            process = self._processes.get(frame.number)
            if isinstance(process, MonitoredProcess):
                process.on_traced(read_traced(frame.body))
            return
        asked = self._asked.pop(frame.number, None)
        if asked is None:
            self._unwanted(frame)
            return
        asked.deadline.cancel()
        if frame.kind == orders.DONE:
            asked.answer.callback(frame)
        else:
            frame.close()
            code, sentence = orders.read_refusal(frame.body)
            asked.answer.errback(from_json({"error": {"code": code, "message": sentence}}))

    def _unwanted(self, frame: Frame) -> None:
        """An answer that nobody waits for: what was made for it is taken back."""
        frame.close()
        kind = self._given_up.pop(frame.number, None)
        if frame.kind == orders.DONE and kind == orders.LOGIN:
            self.leave(Reader(frame.body).uint32())
        elif frame.kind == orders.DONE and kind == orders.START:
            self.signal(frame.number, signal.SIGHUP)

    def _end(self, why: TeleportError) -> None:
        if not self._open:
            return
        self._open = False
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._peer.close()
        asked, self._asked = self._asked, {}
        for each in asked.values():
            each.deadline.cancel()
            each.answer.errback(why)
        processes, self._processes = self._processes, {}
        for process in processes.values():
            # Nobody will say how they end; their outputs still end with them.
            process.ended(ExitStatus(code=UNKNOWN_CODE))


@frozen
class MonitoredHostKey:
    """A :class:`~teleport_conch.ssh.transport.hostkeys.HostKey` whose private half the monitor holds."""

    algorithm: bytes
    blob: bytes
    _monitor: Monitor
    cookie: Cookies

    async def sign(self, transcript: Transcript) -> bytes:
        return await self._monitor.sign(transcript)

    async def prove(self, session_id: bytes) -> bytes:
        return await self._monitor.prove(session_id, self.blob)


@frozen
class MonitoredLogin:
    """The :class:`~teleport_conch.ssh.processes.running.Spawner` of a login that the monitor has verified."""

    monitor: Monitor
    number: int

    async def spawn(self, program: Program) -> MonitoredProcess:
        return await self.monitor.start(self.number, program)

    async def broker(self) -> BrokerProcess:
        """See :meth:`Monitor.broker`."""
        return await self.monitor.broker(self.number)

    def leave(self) -> None:
        """The connection has ended."""
        self.monitor.leave(self.number)
