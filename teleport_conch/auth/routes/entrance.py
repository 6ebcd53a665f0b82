"""Auth's listener: tells what comes through a proxy of the cluster from what comes straight to it.

A proxy that passes TLS connections on says in a header whose they are, as it does to nodes
(``docs/protocol/client-address.rst``). Limits, events and joining then see the client's address and not the proxy's.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IReactorTime

from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.hosts.presence import HostKey
from teleport_conch.certs.names import SERVER_NAME
from teleport_conch.https.limits import MAX_PEEKING, MAX_PEEKING_PER_ADDRESS
from teleport_conch.https.peeking import Chosen, PeekFactory
from teleport_conch.https.tls import BoundedTLSFactory
from teleport_conch.proxy_protocol import Believer, HeaderRefused, Voucher, header_length


def entrance_to(tls: BoundedTLSFactory, cluster: Cluster, timers: IReactorTime) -> PeekFactory:
    """What listens, in front of TLS."""

    def is_proxy(host_uuid: str) -> bool:
        return cluster.hosts.get(HostKey("proxy", host_uuid)) is not None

    believer = Believer(SERVER_NAME, lambda: cluster.authorities.public("host").ssh_keys)
    entrance = Entrance(tls, believer, is_proxy, cluster.clocks.wall)
    return PeekFactory(timers, entrance.choose, MAX_PEEKING, MAX_PEEKING_PER_ADDRESS)


@frozen
class Entrance:
    """Reads the header where there is one. What is no header goes to TLS, from the first byte.

    :ivar is_proxy: whether a proxy with this host UUID is registered.
    """

    _tls: BoundedTLSFactory
    _believer: Believer
    _is_proxy: Callable[[str], bool]
    _wall: Callable[[], float]

    def choose(self, start: bytes, peer: IAddress) -> Chosen | None:
        """See :data:`teleport_conch.https.peeking.Choose`. Raises :class:`HeaderRefused`."""
        length = header_length(start)
        if length is None or len(start) < length:
            return None
        if length:
            peer = _address(self._believe(start[:length]))
        return self._tls.buildProtocol(peer), start[length:]

    def _believe(self, header: bytes) -> Voucher:
        voucher = self._believer.believe(header, self._wall())
        if not self._is_proxy(voucher.proxy.partition(".")[0]):
            raise HeaderRefused("A PROXY header was refused: the proxy that signed it was removed from the cluster.")
        return voucher


def _address(voucher: Voucher) -> IAddress:
    host, port = voucher.client
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)
