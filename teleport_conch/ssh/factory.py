"""What is shared by the connections of one listener: the host keys, the policy, the bounds and the counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from attrs import frozen
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION
from twisted.internet.interfaces import IAddress, IReactorTime

from teleport_conch.ssh.hostkeys import HostKeys
from teleport_conch.ssh.keepalive import KeepAliveRhythm
from teleport_conch.ssh.policy import LoginPolicy
from teleport_conch.ssh.server import ServerTransport

LOGIN_GRACE_S = 30.0


@frozen
class ServerLimits:
    """The bounds of a server.

    :ivar login_grace_s: the time to log in, from the accepted connection on, in seconds.
    :ivar max_per_host: connections from one IP address at a time.
    :ivar max_per_host_setting: what the administrator calls that bound.
    :ivar keep_alive: answers the rhythm of the moment.
    """

    login_grace_s: float = LOGIN_GRACE_S
    max_per_host: int = 15_000
    max_per_host_setting: str = "max_per_host"
    keep_alive: Callable[[], KeepAliveRhythm] = KeepAliveRhythm


USUAL_LIMITS = ServerLimits()


class ServerFactory(SSHFactory):
    """Makes the transports of one listener.

    :param clock: for the time to log in.
    :param login_policy: who may log in, and to what.
    :param host_keys: by algorithm, most wanted first; may be replaced while the server runs.
    :param limits: how many connections, and how long they may be silent.
    """

    noisy = False
    protocol: type[ServerTransport] = ServerTransport

    def __init__(
        self,
        clock: IReactorTime,
        login_policy: LoginPolicy,
        host_keys: HostKeys,
        limits: ServerLimits = USUAL_LIMITS,
    ) -> None:
        self.clock = clock
        self.login_policy = login_policy
        self.host_keys = host_keys
        self.limits = limits
        self.connections: set[ServerTransport] = set()
        self._by_host: Counter[str] = Counter()

    def startFactory(self) -> None:
        """Nothing to prepare: the keys are given."""

    def buildProtocol(self, addr: IAddress | None) -> ServerTransport:
        """A transport for the client at ``addr``."""
        host = getattr(addr, "host", "?")
        transport = self.protocol()
        transport.factory = self
        transport.login_policy = self.login_policy
        transport.peer_host = host
        transport.client_address = address_text(host, getattr(addr, "port", 0))
        return transport

    def entered(self, transport: ServerTransport) -> bool:
        """A client is connected; whether it may stay."""
        host, most = transport.peer_host, self.limits.max_per_host
        self.connections.add(transport)
        self._by_host[host] += 1
        if self._by_host[host] > most:
            setting = self.limits.max_per_host_setting
            self._log.warn("{host}: more than {most} connections ({setting})", host=host, most=most, setting=setting)
            return False
        return True

    def left(self, transport: ServerTransport) -> None:
        """It is connected no more."""
        self.connections.discard(transport)
        self._by_host[transport.peer_host] -= 1
        if not self._by_host[transport.peer_host]:
            del self._by_host[transport.peer_host]

    def disconnect_all(self, sentence: str) -> None:
        """Says goodbye to every client."""
        for transport in list(self.connections):
            transport.sendDisconnect(DISCONNECT_BY_APPLICATION, sentence.encode())


def address_text(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
