"""What a client may do at the proxy: be connected to a node, and nothing else.

Any user name will do, as it is the node that knows logins; the certificate is checked before anything else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import Protocol
from weakref import WeakKeyDictionary

from attrs import define, field, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from teleport_conch.access.known import Known
from teleport_conch.access.shut_out import check_caller, check_node
from teleport_conch.audit.inert import inert
from teleport_conch.audit.logins import who, why, why_certificate
from teleport_conch.certs.certificate import CertificateType
from teleport_conch.certs.refusal import Asked
from teleport_conch.certs.trust import check_ssh_certificate
from teleport_conch.company import Company
from teleport_conch.errors import AccessDenied, NotFound, TeleportError
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
    Opener,
)
from teleport_conch.ssh.connection.service import Connection
from teleport_conch.ssh.forwarding.direct import DirectTCPIP
from teleport_conch.ssh.login.policy import Attempt, Claim, LoginPolicy
from teleport_conch.ssh.session.channel import SessionChannel, SessionStart
from teleport_conch.ssh.session.owners import OpensSessions
from teleport_conch.ssh.transport.goodbye import cancel


class Cluster(Protocol):
    """What the proxy knows of its cluster, also while auth is away."""

    def nodes(self) -> Sequence[Server]:
        """The registered nodes."""

    def user_authorities(self) -> Collection[bytes]:
        """The keys that sign the certificates of users."""

    def cluster_name(self) -> str:
        """The name that a client may add to a node's."""

    def known(self) -> Known:
        """The people of the cluster, at this moment."""


NODES_FIRST_S = 1.0
"""What nodes have, when somebody is shut out, to say so before the way to them ends."""

Emit = Callable[..., object]


@define
class Router:
    """Finds and dials what a client asks for."""

    cluster: Cluster
    dialer: Dialer
    outside: OutsideHosts
    emit: Emit
    _log = Logger()

    async def connect(self, stream: NodeStream, wanted: Wanted, claim: Claim) -> Server | None:
        """Connects ``stream`` to the node that is meant; there is an event either way. Raises TeleportError.

        :return: the node; None for a host that is not of this cluster.
        """
        facts = {**who(claim), "target": f"{wanted.host}:{wanted.port}"}
        try:
            node = await self._connect(stream, wanted, claim, facts)
        except TeleportError as refusal:
            self.emit("proxy.connect", success=False, **facts, **why(refusal, os.urandom))
            self._log.info("{target}: {why}", target=facts["target"], why=refusal.sentence)
            raise
        self.emit("proxy.connect", **facts)
        return node

    def check(self, claim: Claim, node: Server | None = None) -> None:
        """:param node: the one that the person wants to be connected to, or is; None for the proxy itself.

        :raises AccessDenied: nobody of that name has such a certificate, or a lock shuts out the person or the node.
        """
        known, now = self.cluster.known(), self.dialer.reactor.seconds()
        names = () if node is None else (node.name, node.hostname)
        if names:
            check_node(known.locks, names, now)
        check_caller(known.caller(claim.certificate, now), known.locks, names, now)

    async def _connect(
        self, stream: NodeStream, wanted: Wanted, claim: Claim, facts: dict[str, object]
    ) -> Server | None:
        self.check(claim)
        try:
            node = choose(wanted, self.cluster.nodes(), self.cluster.cluster_name())
        except NotFound as unknown:
            if not self.outside.any_allowed or means_a_node(wanted, self.cluster.cluster_name()):
                raise
            address = await self.outside.resolve(wanted.host)
            if not address:
                raise unknown from None
            await self.dialer.dial_host(stream, address, wanted.port)
            return None
        else:
            facts.update(node_id=node.name, node_name=node.hostname)
            self.check(claim, node)
            await self.dialer.dial_node(stream, node.name, node.addr, claim.client)
            return node


@frozen
class DoorPolicy(LoginPolicy):
    """Lets in whoever holds a valid certificate of a user of this cluster."""

    clock: IReactorTime
    cluster: Cluster
    router: Router
    company: Company
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
        self.router.check(claim)

    async def login(self, claim: Claim) -> Visitor:
        """See :class:`~teleport_conch.ssh.login.policy.LoginPolicy`."""
        self.check(claim)
        return Visitor(claim, self.router, self.company)

    def refused(self, claim: Claim | Attempt, error: TeleportError) -> None:
        """See :class:`~teleport_conch.ssh.login.policy.LoginPolicy`."""
        reason = why_certificate(claim, error, os.urandom, lambda: self._asked(claim))
        self.emit("auth", success=False, **who(claim), **reason)

    def _asked(self, claim: Claim | Attempt) -> Asked:
        return Asked("", claim.client[0], self.cluster.user_authorities(), self.clock.seconds())


@define(eq=False)
class Visitor(OpensSessions):
    """One authenticated client."""

    claim: Claim
    router: Router
    company: Company
    _connection: Connection | None = None
    _streams: WeakKeyDictionary[NodeStream, Server | None] = field(factory=WeakKeyDictionary)
    _ending: list[IDelayedCall] = field(factory=list)
    _leaving: bool = False

    def connection_started(self, connection: Opener) -> None:
        """The client is here."""
        self._connection = connection if isinstance(connection, Connection) else None
        self.company.came(self)

    def connection_ended(self) -> None:
        """It is gone."""
        self.company.left(self)
        for call in self._ending:
            cancel(call)

    # Whether the client may stay.

    def look_again(self) -> None:
        """Roles, users or locks have changed: who or what is shut out now ends."""
        try:
            self.router.check(self.claim)
        except AccessDenied as refusal:
            if not self._leaving:
                self._leaving = True
                self._soon(self._send_away, refusal.sentence)
            return
        except TeleportError:
            return  # what is known of the cluster is too old
        for stream, node in tuple(self._streams.items()):
            try:
                self.router.check(self.claim, node)
            except AccessDenied:
                self._soon(stream.abandon)

    def _soon(self, call: Callable[..., None], *with_: str) -> None:
        """Nodes come first: they can say why to the person, who is shown nothing of what is said here."""
        self._ending = [call for call in self._ending if call.active()]
        self._ending.append(self.router.dialer.reactor.callLater(NODES_FIRST_S, call, *with_))

    def _send_away(self, reason: str) -> None:
        self.router.emit("client.disconnect", reason=reason, **who(self.claim))
        for stream in tuple(self._streams):
            stream.abandon()
        if self._connection is not None:
            self._connection.end(inert(reason))

    # What the client asks for.

    async def _connected(self, stream: NodeStream, wanted: Wanted) -> None:
        self._streams[stream] = await self.router.connect(stream, wanted, self.claim)

    async def open_channel(self, kind: bytes, payload: bytes) -> Channel:
        """``direct-tcpip`` goes to a node; ``session`` takes the subsystem ``proxy:`` only."""
        if kind == b"session":
            return SessionChannel(self)
        if kind != b"direct-tcpip":
            raise ChannelRefused(OPEN_UNKNOWN_CHANNEL_TYPE, "The proxy connects to nodes, and does nothing else.")
        request = DirectTCPIP.parse(payload)
        channel = NodeChannel(self.router.dialer.reactor)
        try:
            await self._connected(channel.stream, Wanted(request.host, request.port))
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
        await self._connected(session.stream, parse_subsystem(request.command))
        session.stream.start()
        return session
