"""The server's side of an SSH connection: its phases, the time to log in, and whether the client is still there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from teleport_conch import wire
from teleport_conch.ssh.connection.service import Connection
from teleport_conch.ssh.login.admission import Refusal, Visit
from teleport_conch.ssh.login.policy import LoginPolicy
from teleport_conch.ssh.login.userauth import UserAuth
from teleport_conch.ssh.transport import algorithms
from teleport_conch.ssh.transport.base import Transport
from teleport_conch.ssh.transport.exchange import KeyExchange, Offer
from teleport_conch.ssh.transport.goodbye import cancel
from teleport_conch.ssh.transport.hostkeys import HostKeys
from teleport_conch.ssh.transport.keepalive import KeepAlive, KeepAliveRhythm
from teleport_conch.ssh.transport.messages import MSG_SERVICE_ACCEPT, parse_string
from teleport_conch.ssh.transport.server_exchange import ServerExchange

VERSION = b"SSH-2.0-OpenSSH_9.9 Teleport"
"""OpenSSH's client uses its extensions, such as the end of write, only with servers that are called like it; see
``docs/decisions/version-string.rst``."""

SERVICE_NOT_AVAILABLE = 7
CONNECTION_LOST = 10
BY_APPLICATION = 11
TOO_MANY_CONNECTIONS = 12


class Limits(Protocol):
    """What a transport reads of the bounds of its server."""

    @property
    def login_grace_s(self) -> float:
        """The time to log in, from the accepted connection on, in seconds."""

    @property
    def keep_alive(self) -> Callable[[], KeepAliveRhythm]:
        """Answers how often a silent client is asked, at this moment."""


class Factory(Protocol):
    """What a transport knows of who made it."""

    @property
    def clock(self) -> IReactorTime:
        """Measures every time-out."""

    @property
    def limits(self) -> Limits:
        """The bounds of the server."""

    @property
    def host_keys(self) -> HostKeys:
        """The host keys of this moment, most wanted first."""

    def entered(self, transport: ServerTransport) -> Refusal | None:
        """A client is connected; answers why it may not stay."""

    def left(self, transport: ServerTransport) -> None:
        """It is connected no more."""


class ServerTransport(Transport):
    """One client's connection.

    ``client_address`` is the address of the client, which behind a proxy is not that of the TCP peer; ``host:port``.
    ``visit`` is the connection as the limits on new connections see it.

    :cvar key_exchanges: the methods that are offered, most wanted first; a program with older clients takes more of
        :data:`~teleport_conch.ssh.transport.algorithms.KEY_EXCHANGES`. So with ``macs``.
    """

    factory: Factory
    ourVersionString = VERSION
    key_exchanges = algorithms.SERVER_KEY_EXCHANGES
    macs = algorithms.SERVER_MACS
    client_address = ""
    visit: Visit
    login_policy: LoginPolicy

    _grace: IDelayedCall | None = None
    _alive: KeepAlive | None = None

    @property
    def peer_address(self) -> str:
        """See :class:`Transport`."""
        return self.client_address

    def connectionMade(self) -> None:
        """Sends the version and starts the clock for the login."""
        self.clock = self.factory.clock
        refusal = self.factory.entered(self)
        self._grace = self.clock.callLater(self.factory.limits.login_grace_s, self._too_slow)
        super().connectionMade()
        if refusal is not None:
            self.refuse(refusal)

    def refuse(self, refusal: Refusal) -> None:
        """There are too many connections, which the admission has put into the log: the client reads why."""
        if refusal.silent:
            self._ended = True
            self.transport.abortConnection()
        else:
            self._say_goodbye(TOO_MANY_CONNECTIONS, refusal.sentence.encode())

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Stops the service and every clock."""
        self.factory.left(self)
        cancel(self._grace)
        if self._alive is not None:
            self._alive.stop()
        super().connectionLost(reason)

    @property
    def host_keys(self) -> HostKeys:
        """The host keys of this moment, which a client that keeps them learns of after its login."""
        return self.factory.host_keys

    def make_exchange(self) -> KeyExchange:
        """The connection keeps the host keys of the moment in which it began."""
        host_keys = self.factory.host_keys
        offer = Offer(tuple(host_keys), self.key_exchanges, macs=self.macs)
        return ServerExchange(self, offer, host_keys)

    def extensions(self) -> Mapping[bytes, bytes]:
        """Tells which algorithms users may sign with (RFC 8308, section 3.1), which are not those of the host."""
        told = {b"server-sig-algs": algorithms.server_sig_algs(), b"publickey-hostbound@openssh.com": b"0"}
        return {**told, **super().extensions()}

    def _end(self) -> None:
        super()._end()
        if isinstance(self.service, UserAuth):
            self.service.saying_goodbye()

    def _too_slow(self) -> None:
        self.visit.too_slow = True
        self.sendDisconnect(BY_APPLICATION, b"the time to log in is over")

    def authenticated(self) -> None:
        """The login succeeded; from now on the client is asked whether it is there, when it falls silent."""
        super().authenticated()
        cancel(self._grace)
        self.visit.log_in()
        self._alive = KeepAlive(self.clock, self.factory.limits.keep_alive(), self._ask_alive, self._gone)
        self._alive.start()

    def _ask_alive(self) -> None:
        if isinstance(self.service, Connection):
            self.service.ask_alive()

    def _gone(self) -> None:
        self.sendDisconnect(CONNECTION_LOST, b"no answer")

    def dataReceived(self, data: bytes) -> None:
        """Whatever a client says, it is there."""
        self.visit.heard = True
        if self._alive is not None and data:
            self._alive.heard()
        super().dataReceived(data)

    def ssh_SERVICE_REQUEST(self, packet: bytes) -> None:
        """User authentication, and only after the key exchange (RFC 4253, section 10).

        Paramiko asks before each step of a login, which is answered by the service that is there.
        """
        name = parse_string(packet)
        if name == UserAuth.name and isinstance(self.service, UserAuth):
            self.service.ask_again()
        elif name != UserAuth.name or self.service is not None:
            self.sendDisconnect(SERVICE_NOT_AVAILABLE, b"no such service now")
        else:
            self.sendPacket(MSG_SERVICE_ACCEPT, wire.string(name))
            self.setService(UserAuth(self.clock))
