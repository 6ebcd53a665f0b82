"""What is shared by the connections of one listener: the host keys, the policy, the bounds and the counts."""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom

from attrs import frozen
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION
from twisted.internet.interfaces import IAddress, IReactorTime

from teleport_conch.ssh.allocator import keep_freed_memory
from teleport_conch.ssh.login.admission import USUAL_BOUNDS, Admission, Bounds, Refusal
from teleport_conch.ssh.login.policy import LoginPolicy
from teleport_conch.ssh.server import ServerTransport
from teleport_conch.ssh.transport.hostkeys import HostKeys
from teleport_conch.ssh.transport.keepalive import KeepAliveRhythm

LOGIN_GRACE_S = 30.0


@frozen
class ServerLimits:
    """The bounds of a server.

    :ivar login_grace_s: the time to log in, from the accepted connection on, in seconds.
    :ivar bounds: how many connections there may be.
    :ivar keep_alive: answers the rhythm of the moment.
    :ivar random: numbers from 0 to 1, for what is dropped at random.
    """

    login_grace_s: float = LOGIN_GRACE_S
    bounds: Bounds = USUAL_BOUNDS
    keep_alive: Callable[[], KeepAliveRhythm] = KeepAliveRhythm
    random: Callable[[], float] = SystemRandom().random


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
        self.admission = Admission(clock, limits.random, limits.bounds)

    def startFactory(self) -> None:
        """The keys are given; what is left to prepare is room for bulk data."""
        keep_freed_memory()

    def buildProtocol(self, addr: IAddress | None) -> ServerTransport:  # type: ignore[override]  # not Conch's own
        """A transport for the client at ``addr``."""
        host = getattr(addr, "host", "?")
        transport = self.protocol()
        transport.factory = self
        transport.login_policy = self.login_policy
        transport.visit = self.admission.visit(host)
        transport.client_address = address_text(host, getattr(addr, "port", 0))
        return transport

    def entered(self, transport: ServerTransport) -> Refusal | None:
        """A client is connected; answers why it may not stay."""
        self.connections.add(transport)
        return transport.visit.enter()

    def left(self, transport: ServerTransport) -> None:
        """It is connected no more."""
        self.connections.discard(transport)
        transport.visit.leave()

    def disconnect_all(self, sentence: str) -> None:
        """Says goodbye to every client."""
        for transport in list(self.connections):
            transport.sendDisconnect(DISCONNECT_BY_APPLICATION, sentence.encode())


def address_text(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
