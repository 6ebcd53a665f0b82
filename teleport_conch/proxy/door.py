"""What a client may do at the proxy: be connected to a node, and nothing else.

Any user name will do, as it is the node that knows logins; the certificate is checked before anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from attrs import define, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from teleport_conch.certs.certificate import CertificateType
from teleport_conch.certs.trust import check_ssh_certificate
from teleport_conch.errors import AccessDenied, NotFound, TeleportError
from teleport_conch.member import who
from teleport_conch.proxy.dialing import Dialer, NodeChannel, NodeStream
from teleport_conch.proxy.outside import OutsideHosts
from teleport_conch.proxy.routing import Wanted, choose, means_a_node, parse_subsystem
from teleport_conch.proxy.subsystem import NodeSession
from teleport_conch.resources.server import Server
from teleport_conch.ssh.connection.channel import (
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    OPEN_CONNECT_FAILED,
    OPEN_UNKNOWN_CHANNEL_TYPE,
    Channel,
    ChannelRefused,
)
from teleport_conch.ssh.forwarding.direct import DirectTCPIP
from teleport_conch.ssh.login.policy import Attempt, Claim, LoginPolicy
from teleport_conch.ssh.session.channel import SessionChannel, SessionStart
from teleport_conch.ssh.session.owners import OpensSessions


class Cluster(Protocol):
    """What the proxy knows of its cluster, also while auth is away."""

    def nodes(self) -> Sequence[Server]:
        """The registered nodes."""

    def user_authorities(self) -> Collection[bytes]:
        """The keys that sign the certificates of users."""

    def cluster_name(self) -> str:
        """The name that a client may add to a node's."""


Emit = Callable[..., object]


@define
class Router:
    """Finds and dials what a client asks for."""

    cluster: Cluster
    dialer: Dialer
    outside: OutsideHosts
    emit: Emit
    _log = Logger()

    async def connect(self, stream: NodeStream, wanted: Wanted, claim: Claim) -> None:
        """Connects ``stream`` to the node that is meant; there is an event either way. Raises TeleportError."""
        facts = {**who(claim), "target": f"{wanted.host}:{wanted.port}"}
        try:
            await self._connect(stream, wanted, claim, facts)
        except TeleportError as refusal:
            self._log.info("{target}: {why}", target=facts["target"], why=refusal.sentence)
            self.emit("proxy.connect", success=False, error=refusal.sentence, **facts)
            raise
        self.emit("proxy.connect", **facts)

    async def _connect(self, stream: NodeStream, wanted: Wanted, claim: Claim, facts: dict[str, object]) -> None:
        try:
            node = choose(wanted, self.cluster.nodes(), self.cluster.cluster_name())
        except NotFound as unknown:
            if not self.outside.any_allowed or means_a_node(wanted, self.cluster.cluster_name()):
                raise
            address = await self.outside.resolve(wanted.host)
            if not address:
                raise unknown from None
            await self.dialer.dial_host(stream, address, wanted.port)
        else:
            facts.update(node_id=node.name, node_name=node.hostname)
            await self.dialer.dial_node(stream, node.name, node.addr, claim.client)


@frozen
class DoorPolicy(LoginPolicy):
    """Lets in whoever holds a valid certificate of a user of this cluster."""

    clock: IReactorTime
    cluster: Cluster
    router: Router
    emit: Emit

    def check(self, claim: Claim) -> None:
        """See :class:`~teleport_conch.ssh.login.policy.LoginPolicy`."""
        check_ssh_certificate(
            claim.certificate,
            type=CertificateType.USER,
            authorities=self.cluster.user_authorities(),
            now=self.clock.seconds(),
            principal=None,
            source_address=claim.client[0],
        )
        if any(name == "force-command" for name, _ in claim.certificate.critical_options):
            raise AccessDenied("This certificate is for one command on one host; it opens no door here.")

    async def login(self, claim: Claim) -> Visitor:
        """See :class:`~teleport_conch.ssh.login.policy.LoginPolicy`."""
        self.check(claim)
        return Visitor(claim, self.router)

    def refused(self, claim: Claim | Attempt, error: TeleportError) -> None:
        """See :class:`~teleport_conch.ssh.login.policy.LoginPolicy`."""
        self.emit("auth", success=False, error=error.sentence, **who(claim))


@frozen
class Visitor(OpensSessions):
    """One authenticated client."""

    claim: Claim
    router: Router

    async def open_channel(self, kind: bytes, payload: bytes) -> Channel:
        """``direct-tcpip`` goes to a node; ``session`` takes the subsystem ``proxy:`` only."""
        if kind == b"session":
            return SessionChannel(self)
        if kind != b"direct-tcpip":
            raise ChannelRefused(OPEN_UNKNOWN_CHANNEL_TYPE, "The proxy connects to nodes, and does nothing else.")
        request = DirectTCPIP.parse(payload)
        channel = NodeChannel(self.router.dialer.reactor)
        try:
            await self.router.connect(channel.stream, Wanted(request.host, request.port), self.claim)
        except AccessDenied as refusal:
            raise ChannelRefused(OPEN_ADMINISTRATIVELY_PROHIBITED, refusal.sentence) from refusal
        except TeleportError as refusal:
            raise ChannelRefused(OPEN_CONNECT_FAILED, refusal.sentence) from refusal
        return channel

    async def global_request(self, name: bytes, payload: bytes) -> bytes:
        """Answers a client that asks whether we are there; forwards nothing."""
        if name == b"keepalive@openssh.com":
            return b""
        raise AccessDenied("The proxy listens for nobody.")

    async def start(self, request: SessionStart, channel: SessionChannel) -> NodeSession:
        """Connects the subsystem ``proxy:host:port[@cluster]``."""
        if request.kind != "subsystem" or not request.command.startswith("proxy:"):
            raise AccessDenied("There are no shells on the proxy. Name a node: ssh -J PROXY LOGIN@NODE.")
        session = NodeSession(self.router.dialer.reactor, channel)
        await self.router.connect(session.stream, parse_subsystem(request.command), self.claim)
        session.stream.start()
        return session
