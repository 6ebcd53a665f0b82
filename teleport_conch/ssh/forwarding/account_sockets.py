"""Unix sockets that are made and connected as an account of this host, whoever we are.

:class:`Sockets` is the seam; :class:`BrokeredSockets` fills it with a process that is the account
(:mod:`teleport_conch.ssh.socket_broker`), started with the first socket that a connection needs.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IProtocolFactory, IReactorFDSet, IReactorSocket, IReactorTime, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_conch.errors import AccessDenied, ConnectionProblem, SpawnFailed
from teleport_conch.ssh.account import Account
from teleport_conch.ssh.forwarding.unix_port import UnixPort
from teleport_conch.ssh.processes.monitored import MonitoredLogin

ANSWER_S = 10.0
"""How long the broker may take for one socket; it never waits for anybody, but a file system may."""
MAX_PATH_BYTES = 107
"""What Linux has room for in the address of a socket."""

_BROKER = Path(__file__).parents[1] / "socket_broker.py"
_DESCRIPTOR = struct.Struct("i")
_ROOM = socket.CMSG_SPACE(_DESCRIPTOR.size)
_DEFAULTED_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


Stop = Callable[[], Coroutine[Deferred[object], object, None]]


class Sockets(Protocol):
    """Makes sockets as an account.

    Each raises :class:`ConnectionProblem`, whose sentence is the end of somebody's: the reason only.
    """

    async def connect(self, path: str, factory: IProtocolFactory) -> None:
        """Connects a protocol of ``factory`` to the socket at ``path``."""

    async def listen(self, path: str, factory: IProtocolFactory) -> Stop:
        """Accepts connections at ``path``, where nothing may be yet; what is answered takes the socket away again."""

    async def stop(self) -> None:
        """Takes away every socket that is left."""


class BrokeredSockets:
    """The sockets of one login, made by a process that is the account.

    :raises AccessDenied: at the first use, where we are neither root nor the account.
    """

    def __init__(self, reactor: IReactorFDSet, adopting: IReactorSocket, clock: IReactorTime, account: Account) -> None:
        self._reactor = reactor
        self._adopting = adopting
        self._clock = clock
        self._account = account
        self._broker: _Broker | None = None
        self._starting = DeferredLock()
        self._ports: set[UnixPort] = set()

    async def connect(self, path: str, factory: IProtocolFactory) -> None:
        descriptor = await self._socket(b"C", path)
        try:
            self._adopting.adoptStreamConnection(descriptor, socket.AF_UNIX, factory)  # type: ignore[arg-type]  # any
        finally:
            os.close(descriptor)

    async def listen(self, path: str, factory: IProtocolFactory) -> Stop:
        descriptor = await self._socket(b"L", path)
        port = UnixPort(self._reactor, self._adopting, self._clock, descriptor, factory)
        self._ports.add(port)
        return lambda: self._stop_listening(port, path)

    async def _stop_listening(self, port: UnixPort, path: str) -> None:
        if port in self._ports:
            self._ports.discard(port)
            port.stop()
            await self._ask(b"R", path)

    async def stop(self) -> None:
        for port in self._ports:
            port.stop()
        self._ports.clear()
        broker, self._broker = self._broker, None
        if broker is not None:
            await broker.stop()

    async def _socket(self, verb: bytes, path: str) -> int:
        descriptor = await self._ask(verb, path)
        if descriptor is None:
            raise ConnectionProblem("the process that makes sockets has ended")
        return descriptor

    async def _ask(self, verb: bytes, path: str) -> int | None:
        encoded = os.fsencode(path)
        if not encoded.startswith(b"/") or b"\0" in encoded:
            raise ConnectionProblem("that is no absolute path")
        if len(encoded) > MAX_PATH_BYTES:
            raise ConnectionProblem(f"the path of a socket has at most {MAX_PATH_BYTES} bytes")
        broker = await self._running()
        answer = broker.ask(verb + encoded)
        answer.addTimeout(ANSWER_S, self._clock, _too_slow)
        return await answer

    async def _running(self) -> _Broker:
        await self._starting.acquire()
        try:
            if self._broker is None or self._broker.over:
                self._broker = await self._start()
            return self._broker
        finally:
            self._starting.release()

    async def _start(self) -> _Broker:
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        with theirs:
            theirs.setblocking(True)
            try:
                pid = _started(self._account, theirs)
            except BaseException:
                control.close()
                raise
        return _Broker(self._reactor, control, pid, _Exit(self._reactor, pid).reaped)


class MonitoredSockets(BrokeredSockets):
    """The same where the monitor starts the process, as this one may not become the account.

    :param login: the login that the monitor has verified.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        adopting: IReactorSocket,
        clock: IReactorTime,
        account: Account,
        login: MonitoredLogin,
    ) -> None:
        super().__init__(reactor, adopting, clock, account)
        self._login = login

    async def _start(self) -> _Broker:
        process = await self._login.broker()
        return _Broker(self._reactor, process.control, process.pid, process.reaped)


def _too_slow(result: object, timeout_s: float) -> int | None:
    raise ConnectionProblem(f"there was no answer for {timeout_s:.0f} seconds")


@implementer(IReadDescriptor)
class _Broker:
    """The process, our end of the pair, and what fires when it has ended."""

    def __init__(self, reactor: IReactorFDSet, control: socket.socket, pid: int, reaped: Deferred[None]) -> None:
        self.pid = pid
        self._reactor = reactor
        self._waiting: list[Deferred[int | None]] = []
        self._control = control
        self._control.setblocking(False)
        self._reaped = reaped
        self.over = False
        reactor.addReader(self)

    def ask(self, request: bytes) -> Deferred[int | None]:
        """The descriptor that answers ``request``, None where there is none; answers come in their order."""
        answer: Deferred[int | None] = Deferred()
        try:
            self._control.send(request)
        except OSError:
            answer.errback(ConnectionProblem("the process that makes sockets has ended"))
            self._close()
        else:
            self._waiting.append(answer)
        return answer

    def fileno(self) -> int:
        return self._control.fileno()

    def logPrefix(self) -> str:
        return "socket broker"

    def doRead(self) -> Failure | None:
        try:
            # Not recv_fds: before Python 3.12 it forgets its flags, and programs would inherit the descriptor.
            said, passed, _, _ = self._control.recvmsg(64, _ROOM, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except OSError:
            said, passed = b"", []
        if not said:
            self._close()
        elif self._waiting:
            descriptors = [_DESCRIPTOR.unpack(data)[0] for _, _, data in passed]
            self._answer(self._waiting.pop(0), int(said), descriptors)
        return None

    def _answer(self, answer: Deferred[int | None], number: int, descriptors: list[int]) -> None:
        if answer.called:  # it came too late for who asked
            for descriptor in descriptors:
                os.close(descriptor)
        elif number:
            answer.errback(ConnectionProblem(os.strerror(number)))
        else:
            answer.callback(descriptors[0] if descriptors else None)

    def connectionLost(self, reason: Failure) -> None:
        self._close()

    def _close(self) -> None:
        if not self.over:
            self.over = True
            self._reactor.removeReader(self)
            self._control.close()
            waiting, self._waiting = self._waiting, []
            for answer in waiting:
                answer.errback(ConnectionProblem("the process that makes sockets has ended"))

    async def stop(self) -> None:
        """The process removes what it has made, and ends."""
        self._close()
        await self._reaped


def _started(account: Account, control: socket.socket) -> int:
    if os.geteuid() not in (0, account.uid):
        raise AccessDenied(f"This service does not run as root and cannot make sockets as {account.name}.")
    program = [sys.executable, "-I", "-S", str(_BROKER), account.name, str(account.uid), str(account.gid)]
    try:
        return os.posix_spawn(
            program[0],
            program,
            {},
            file_actions=[(os.POSIX_SPAWN_DUP2, control.fileno(), 0)],
            setsid=True,
            setsigmask=(),
            setsigdef=_DEFAULTED_SIGNALS,
        )
    except OSError as error:
        raise SpawnFailed(f"This host could not make a socket: {error.strerror}.") from error


@implementer(IReadDescriptor)
class _Exit:
    """Reaps one child when it has ended; by its pidfd, without a handler of SIGCHLD."""

    def __init__(self, reactor: IReactorFDSet, pid: int) -> None:
        self.reaped: Deferred[None] = Deferred()
        self._reactor = reactor
        self._pid = pid
        self._pidfd = os.pidfd_open(pid)
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._pidfd

    def logPrefix(self) -> str:
        return "socket broker"

    def doRead(self) -> Failure | None:
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        self.connectionLost(None)
        return None

    def connectionLost(self, reason: Failure | None) -> None:
        if self._pidfd >= 0:
            self._reactor.removeReader(self)
            os.close(self._pidfd)
            self._pidfd = -1
            self.reaped.callback(None)
