"""``twist teleport-proxy``: builds the proxy from its settings, and starts it step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, cast

from twisted.application.service import IService
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort, IResolutionReceiver
from twisted.logger import Logger
from zope.interface import implementer

from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.identity import HostIdentity
from teleport_conch.config.options import TeleportOptions
from teleport_conch.config.paths import prepare_data_dir
from teleport_conch.config.settings import ProxySettings, Settings
from teleport_conch.member import Member, MemberChoice, cache_choice, host_keys_of, membership_of
from teleport_conch.proxy.dialing import Dialer, HostKey
from teleport_conch.proxy.door import DoorPolicy, Router
from teleport_conch.proxy.outside import OutsideHosts
from teleport_conch.proxy.public import PublicAddresses
from teleport_conch.proxy.reachability import Reachability
from teleport_conch.proxy.web_door import WebDoor
from teleport_conch.resources.server import Server
from teleport_conch.ssh.factory import ServerFactory
from teleport_conch.starting import Reactor, port_number
from teleport_conch.supervisor.account import why_as_root
from teleport_conch.supervisor.given import Given, rank_of
from teleport_conch.supervisor.listening import Listener, listen
from teleport_conch.supervisor.plan import plan_for
from teleport_conch.supervisor.service import supervised
from teleport_conch.supervisor.working import Retiring, emptied
from teleport_conch.version import VERSION

KINDS = (
    *("cert_authority", "cluster_auth_preference", "cluster_config", "cluster_name"),
    *("role", "user", "lock", "access_request", "node", "proxy"),
)


class Options(TeleportOptions):
    """The options of ``twist teleport-proxy``."""

    services: ClassVar[frozenset[str]] = frozenset({"proxy"})


class ProxyService(Retiring):
    """The proxy: joins, listens, and beats until it is stopped.

    :param given: what a supervisor started it with; None for a proxy that is one process.
    """

    _log = Logger()

    def __init__(self, reactor: Reactor, settings: Settings, given: Given | None = None) -> None:
        super().__init__(reactor)
        self._given = given
        self._proxy_reactor = reactor
        self._settings = settings
        self._proxy: ProxySettings = settings.proxy
        self._port = self._proxy.listen_addr.port
        self._web_port = self._proxy.web_listen_addr.port
        self._factory: ServerFactory | None = None
        self._web: WebDoor | None = None
        self._listening: IListeningPort | None = None
        self._web_listening: IListeningPort | None = None

    async def start_up(self) -> None:
        """Folder, identity, listener, in this order."""
        prepare_data_dir(self._settings.teleport.data_dir)
        if why := why_as_root("The proxy", self._settings.teleport.account):
            self._log.warn("{why}", why=why)
        self.member = Member(self._proxy_reactor, self._choice())
        self.member.setServiceParent(self)
        identity = await self.member.joined()
        self._new_identity(identity)
        dialer = Dialer(self._proxy_reactor, lambda: self._host_key)
        self._factory = self._make_factory(identity, dialer)
        self._web = self._open_web_door()
        self.member.uplink.on_identity(self._new_identity)
        await self._listen(self._factory, self._web)
        self._watch_nodes(dialer)
        self.member.uplink.beat_now()
        self._log.info(
            "The proxy of {name} serves SSH on {ssh} and HTTPS on {web}.",
            name=identity.cluster_name,
            ssh=str(self._addresses().ssh),
            web=str(self._addresses().web),
        )

    async def _listen(self, factory: ServerFactory, web: WebDoor) -> None:
        ssh_listener, web_listener = listeners_of(self._settings)
        self._listening = await listen(self._proxy_reactor, ssh_listener, self._given, factory)
        self._port = port_number(self._listening)
        self._web_listening = await listen(self._proxy_reactor, web_listener, self._given, web.factory)
        self._web_port = port_number(self._web_listening)

    def _open_web_door(self) -> WebDoor:
        door = WebDoor(self._proxy_reactor, self._settings, self.member, self._addresses, lambda: self._host_key)
        door.open()
        door.setServiceParent(self)
        return door

    def stopService(self) -> Deferred[None]:
        """Takes no more clients, and says goodbye to those that are there."""
        return Deferred.fromCoroutine(self._stop(super().stopService))

    async def _stop(self, stop_parts: Callable[[], Deferred[None]]) -> None:
        if self._factory is not None and self._listening is not None:
            self._listening.stopListening()
            self._factory.disconnect_all("The proxy is being stopped.")
        await self._close_web_door()
        await stop_parts()

    async def _close_web_door(self) -> None:
        listening, self._web_listening = self._web_listening, None
        if self._web is not None and listening is not None:
            await self._web.close(listening)

    async def retire(self) -> None:
        """See :class:`~teleport_conch.supervisor.working.Retiring`."""
        if self._listening is not None:
            self._listening.stopListening()
        await self._close_web_door()
        if self.member.leads:
            self._reachability.disownServiceParent()
        await self.member.retire()
        self._log.info("The proxy takes no more clients; {count} connections go on.", count=self._clients())

    async def drained(self) -> None:
        """See :class:`~teleport_conch.supervisor.working.Retiring`."""
        await emptied(self._proxy_reactor, self._clients)

    def _clients(self) -> int:
        return 0 if self._factory is None else len(self._factory.connections)

    # What the proxy is.

    def _choice(self) -> MemberChoice:
        teleport = self._settings.teleport
        membership = membership_of(teleport, "Proxy", self._addresses().hosts())
        cache, rank = cache_choice(teleport.cache), rank_of(self._given)
        return MemberChoice(teleport.data_dir, membership, cache, KINDS, self._record, rank)

    def _addresses(self) -> PublicAddresses:
        return PublicAddresses(self._settings, self._port, self._web_port)

    def _record(self) -> Server:
        return Server(
            kind="proxy",
            name=self.member.uplink.host_uuid,
            hostname=self._settings.teleport.nodename,
            addr=str(self._addresses().ssh),
            public_addrs=tuple(map(str, self._proxy.ssh_public_addr)),
            web_addr=str(self._addresses().web),
            web_public_addrs=tuple(map(str, self._proxy.public_addr)),
            labels=self.member.uplink.bound_labels,
            version=VERSION,
        )

    def _new_identity(self, identity: HostIdentity) -> None:
        certificate = SSHCertificate.from_line(identity.ssh_certificate)
        self._host_key = HostKey(Key.fromString(identity.ssh_key.encode()), certificate)
        if self._factory is not None:
            self._factory.host_keys = host_keys_of(identity)
        if self._web is not None:
            self._web.use_identity(identity)

    # What the proxy serves.

    def _make_factory(self, identity: HostIdentity, dialer: Dialer) -> ServerFactory:
        rules = tuple(map(str, self._proxy.unregistered_hosts))
        outside = OutsideHosts(rules, _Names(self._proxy_reactor))
        router = Router(self.member, dialer, outside, self.member.emit)
        policy = DoorPolicy(self._proxy_reactor, self.member, router, self.member.company, self.member.emit)
        limits = self.member.server_limits(self._settings.teleport.connection_limits)
        return ServerFactory(self._proxy_reactor, policy, host_keys_of(identity), limits)

    def _watch_nodes(self, dialer: Dialer) -> None:
        uplink = self.member.uplink
        self._reachability = Reachability(self._proxy_reactor, self.member.nodes, dialer, lambda: uplink.client)
        if self.member.leads:
            self._reachability.setServiceParent(self)
            self.member.cache.on_change("node", self._reachability.nodes_changed)
            self._reachability.nodes_changed()


class _Names:
    """Looks names up as the host does."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor

    async def addresses(self, host: str) -> Sequence[str]:
        receiver = _Resolution()
        self._reactor.nameResolver.resolveHostName(receiver, host)  # type: ignore[attr-defined]
        found: list[str] = await receiver.complete
        return found


@implementer(IResolutionReceiver)
class _Resolution:
    """Collects what a resolver finds."""

    def __init__(self) -> None:
        self._found: list[str] = []
        self.complete: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: object) -> None:
        """Nothing to keep."""

    def addressResolved(self, address: IAddress) -> None:
        self._found.append(getattr(address, "host", ""))

    def resolutionComplete(self) -> None:
        self.complete.callback([host for host in self._found if host])


def listeners_of(settings: Settings) -> Sequence[Listener]:
    """Where the proxy listens."""
    return [
        Listener("proxy", "The proxy", settings.proxy.listen_addr),
        Listener("web", "The web port of the proxy", settings.proxy.web_listen_addr),
    ]


def makeService(options: Options) -> IService:
    """The service of the plugin ``teleport-proxy``."""
    from twisted.internet import reactor as installed

    reactor, settings = cast(Reactor, installed), options.settings
    plan = plan_for(settings, "The proxy", listeners_of(settings))
    return supervised(reactor, settings, plan, lambda given: ProxyService(reactor, settings, given))
