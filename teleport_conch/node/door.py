"""The node's listener: tells what came through a proxy of the cluster from what came straight to it.

The server's greeting leaves at once in either case, and only the first bytes that *arrive* are looked at: a PROXY
header that a proxy signed, or the client's own greeting.
"""

from __future__ import annotations

from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION
from twisted.internet.interfaces import IReactorTime

from teleport_conch.proxy_protocol import Believer, HeaderRefused, header_length
from teleport_conch.ssh.factory import USUAL_LIMITS, ServerFactory, ServerLimits, address_text
from teleport_conch.ssh.login.policy import LoginPolicy
from teleport_conch.ssh.server import ServerTransport
from teleport_conch.ssh.transport.hostkeys import HostKeys


class NodeTransport(ServerTransport):
    """One connection to the node. ``proxy`` is who vouched for the client, empty where nobody did."""

    factory: NodeFactory
    proxy = ""

    def __init__(self) -> None:
        super().__init__()
        self._start: bytes | None = b""

    def dataReceived(self, data: bytes) -> None:
        if self._start is None or self._ended:
            super().dataReceived(data)
            return
        self._start += data
        try:
            length = header_length(self._start)
            if length is None or len(self._start) < length:
                return
            self._enter(self._start[:length])
        except HeaderRefused as refusal:
            self._log.warn("{client}: {why}", client=self.client_address, why=refusal.sentence)
            self.sendDisconnect(DISCONNECT_BY_APPLICATION, refusal.sentence.encode())
            return
        rest, self._start = self._start[length:], None
        if rest:
            super().dataReceived(rest)

    def _enter(self, header: bytes) -> None:
        if header:
            voucher = self.factory.believer.believe(header, self.factory.clock.seconds())
            self.client_address, self.proxy = address_text(*voucher.client), voucher.proxy
            refusal = self.visit.vouched_for(voucher.client[0])
        elif self.factory.proxied_only:
            raise HeaderRefused("This node takes connections through a proxy of its cluster only.")
        else:
            refusal = self.visit.direct()
        if refusal is not None:
            self.refuse(refusal)


class NodeFactory(ServerFactory):
    """Makes the node's transports.

    :param believer: reads the headers of proxies.
    :param proxied_only: refuse what no proxy vouches for.
    """

    protocol = NodeTransport

    def __init__(
        self,
        clock: IReactorTime,
        login_policy: LoginPolicy,
        host_keys: HostKeys,
        believer: Believer,
        proxied_only: bool,
        limits: ServerLimits = USUAL_LIMITS,
    ) -> None:
        super().__init__(clock, login_policy, host_keys, limits)
        self.believer = believer
        self.proxied_only = proxied_only
