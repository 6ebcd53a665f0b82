"""Puts the parts of the web port together, and keeps its certificates fresh."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from twisted.application.service import MultiService
from twisted.internet.interfaces import IAddress, IListeningPort

from teleport_conch import proxy_protocol
from teleport_conch.certs.identity import HostIdentity
from teleport_conch.certs.names import SERVER_NAME
from teleport_conch.client.api import AuthClient
from teleport_conch.client.failures import AUTH_OF_STRANGERS
from teleport_conch.client.tls import client_options
from teleport_conch.config.settings import Settings
from teleport_conch.https.limits import MAX_PEEKING, MAX_PEEKING_PER_ADDRESS
from teleport_conch.https.peeking import PeekFactory
from teleport_conch.https.places import Places
from teleport_conch.https.tls import BoundedTLSFactory, close
from teleport_conch.member import Member
from teleport_conch.periodic import Periodic
from teleport_conch.proxy.dialing import HostKey
from teleport_conch.proxy.passage import Passage
from teleport_conch.proxy.public import PublicAddresses
from teleport_conch.proxy.web_certificate import LOOK_S, Files, WebCertificate
from teleport_conch.proxy.web_port import MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS, WebPort, WebTLS, farewell
from teleport_conch.starting import Reactor
from teleport_conch.version import VERSION
from teleport_conch.web.site import open_gate, site_of
from teleport_conch.web.surroundings import Addresses, Surroundings


class WebDoor(MultiService):
    """What is behind the web port. :attr:`factory` listens once :meth:`open` was called.

    :param addresses: answers them as they are once the ports are listened on.
    """

    def __init__(
        self,
        reactor: Reactor,
        settings: Settings,
        member: Member,
        addresses: Callable[[], PublicAddresses],
        host_key: Callable[[], HostKey],
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._settings = settings
        self._member = member
        self._addresses = addresses
        self._host_key = host_key
        # Not the member's, so that no number of logins keeps its beats waiting.
        self._auth = AuthClient(reactor, self._auth_servers(), client_options(None), called=AUTH_OF_STRANGERS)
        self._certificate = self._make_certificate()
        self._tls = WebTLS(self._certificate)
        self._serving = self._make_serving()
        self._passage = self._make_passage()
        port = WebPort(self._serving, self._passage)
        self.factory = PeekFactory(reactor, port.choose, MAX_PEEKING, MAX_PEEKING_PER_ADDRESS, farewell)

    def open(self) -> None:
        """Read or make the web certificate, and follow it.

        :raises WebCertificateRefused: its files are no good.
        """
        self._certificate.load()
        looking = Periodic(self._reactor, LOOK_S, self._certificate.look, lambda interval: interval, "web certificate")
        looking.setServiceParent(self)

    def use_identity(self, identity: HostIdentity) -> None:
        """Be this host from now on, for clients that ask for the proxy as such."""
        self._tls.use_identity(identity)
        self._auth.use_identity(identity)

    async def close(self, listening: IListeningPort) -> None:
        """Take no more connections, and end those that there are."""
        self._passage.end()
        await close(self._reactor, listening, self.factory, self._serving)
        await self._auth.close()

    # The parts.

    def _auth_servers(self) -> Sequence[str]:
        return tuple(map(str, self._settings.teleport.auth_servers))

    def _make_certificate(self) -> WebCertificate:
        proxy = self._settings.proxy
        given = proxy.https_cert_file is not None and proxy.https_key_file is not None
        files = Files(proxy.https_cert_file, proxy.https_key_file) if given else None  # type: ignore[arg-type]  # both are given
        hosts = self._addresses().web_hosts()
        return WebCertificate(files, self._settings.teleport.data_dir, hosts, self._reactor.seconds)

    def _make_serving(self) -> BoundedTLSFactory:
        per_address = min(self._settings.teleport.connection_limits.max_connections, MAX_CONNECTIONS_PER_ADDRESS)
        site = site_of(open_gate(self._surroundings()))
        return BoundedTLSFactory(self._tls, site, self._reactor, MAX_CONNECTIONS, per_address)

    def _make_passage(self) -> Passage:
        per_address = self._settings.teleport.connection_limits.max_connections
        places = Places(self._reactor, MAX_CONNECTIONS, per_address)
        return Passage(self._reactor, self._auth_servers(), self._header, places)

    def _header(self, peer: IAddress) -> bytes:
        """What auth is told of a client."""
        own = self._host_key()
        client = (str(getattr(peer, "host", "")), int(getattr(peer, "port", 0)))
        nonce = os.urandom(proxy_protocol.NONCE_BYTES)
        now = self._reactor.seconds()
        return proxy_protocol.encode(client, client, SERVER_NAME, own.certificate, own.sign, now, nonce)

    def _surroundings(self) -> Surroundings:
        member = self._member
        return Surroundings(
            clock=self._reactor,
            entropy=os.urandom,
            people=lambda: self._auth.people,
            authorities=lambda: [member.cache.authorities(kind) for kind in ("user", "host")],
            cluster_name=member.cluster_name,
            addresses=self._told,
            second_factor=lambda: member.cache.preference().second_factor,
            emit=member.emit,
            version=VERSION,
            rank=member.rank,
        )

    def _told(self) -> Addresses:
        proxy, addresses = self._settings.proxy, self._addresses()
        tunnel = proxy.tunnel_public_addr
        return Addresses(
            ssh_listen=f"{proxy.listen_addr.host}:{addresses.ssh_port}",
            web_listen=f"{proxy.web_listen_addr.host}:{addresses.web_port}",
            public=str(proxy.public_addr[0]) if proxy.public_addr else "",
            ssh_public=str(addresses.ssh) if proxy.ssh_public_addr or proxy.public_addr else "",
            tunnel_public=str(tunnel[0]) if tunnel else "",
        )
