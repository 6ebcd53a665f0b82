"""All services that the configuration enables, on one event loop: a cluster of one machine is a cluster.

Where auth runs in the same process, proxy and node join it as they would from anywhere else, with a token that exists
in memory only and with auth's own pin; so that there is one way to join, and nothing to set up.
"""

from __future__ import annotations

import secrets
from typing import ClassVar, cast

from attrs import evolve
from twisted.application.service import IService
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from teleport_conch.auth.service import AuthService
from teleport_conch.auth.service import listener_of as auth_listener
from teleport_conch.config.addresses import Address
from teleport_conch.config.options import TeleportOptions
from teleport_conch.config.secret import Secret
from teleport_conch.config.settings import SECTIONS, Settings
from teleport_conch.config.tokens import StaticToken
from teleport_conch.node.service import NodeService, session_settings
from teleport_conch.node.service import listener_of as node_listener
from teleport_conch.proxy.service import ProxyService
from teleport_conch.proxy.service import listeners_of as proxy_listeners
from teleport_conch.starting import Reactor, as_plugin
from teleport_conch.supervisor.given import Given
from teleport_conch.supervisor.plan import Plan, plan_for
from teleport_conch.supervisor.service import supervised
from teleport_conch.supervisor.working import Retiring

_EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # listened on by the configuration's wish
SHARED_KEYS = (
    "Auth runs in one process with what speaks SSH: whoever captured that would have the keys of the authorities. "
    "In production, start auth by itself, as an account of its own (twist teleport-auth)."
)


class Options(TeleportOptions):
    """The options of ``twist teleport`` and ``teleport start``."""

    services: ClassVar[frozenset[str]] = frozenset(SECTIONS)


class Process(Retiring):
    """Starts auth first, then proxy and node.

    :param given: what a supervisor started it with; None where it has none.
    """

    _log = Logger()

    def __init__(self, reactor: Reactor, settings: Settings, given: Given | None = None) -> None:
        super().__init__(reactor)
        self._process_reactor = reactor
        self._settings = settings
        self._given = given
        self._auth: AuthService | None = None
        self._members: list[Retiring] = []

    async def start_up(self) -> None:
        """The services in their order."""
        settings = self._settings
        if settings.auth.enabled:
            settings = await self._start_auth(settings)
        for enabled, service in ((settings.proxy.enabled, ProxyService), (settings.node.enabled, NodeService)):
            if enabled:
                part = service(self._process_reactor, settings, self._given)
                part.setServiceParent(self)
                await part.started
                self._members.append(part)
        if self._auth is not None and self._members:
            self._log.warn("{why}", why=SHARED_KEYS)

    async def retire(self) -> None:
        """Proxy and node first, as they say goodbye to auth."""
        await gatherResults([Deferred.fromCoroutine(part.retire()) for part in self._members])
        if self._auth is not None:
            await self._auth.retire()

    async def drained(self) -> None:
        """See :class:`~teleport_conch.supervisor.working.Retiring`."""
        for part in self._members:
            await part.drained()

    async def _start_auth(self, settings: Settings) -> Settings:
        """Starts auth, and answers settings with which the others join it."""
        token, tokens = Secret(secrets.token_hex(32)), settings.auth.tokens
        if settings.proxy.enabled or settings.node.enabled:
            tokens = (*tokens, StaticToken(("node", "proxy"), token, "this process"))
        settings_of_auth = evolve(settings, auth=evolve(settings.auth, tokens=tokens))
        self._auth = auth = AuthService(self._process_reactor, settings_of_auth, self._given)
        auth.setServiceParent(self)
        await auth.started
        listening = settings.auth.listen_addr
        address = Address(_EVERY_INTERFACE.get(listening.host, listening.host), auth.port)
        teleport = evolve(settings.teleport, auth_token=token, ca_pin=auth.ca_pin, auth_servers=(address,))
        return evolve(settings, teleport=teleport)


def plan_of(settings: Settings) -> Plan | None:
    """How the enabled services are supervised; None where one process is all of them."""
    auth = [auth_listener(settings)] if settings.auth.enabled else []
    proxy = proxy_listeners(settings) if settings.proxy.enabled else []
    node = [node_listener(settings)] if settings.node.enabled else []
    sessions = session_settings(settings.node) if settings.node.enabled else None
    return plan_for(settings, "Teleport", [*auth, *proxy, *node], sessions)


def makeService(options: Options) -> IService:
    """The service of the plugin ``teleport``."""
    from twisted.internet import reactor as installed

    reactor, settings = cast(Reactor, installed), options.settings
    return supervised(reactor, settings, plan_of(settings), lambda given: Process(reactor, settings, given))


def make_one_process(options: Options) -> IService:
    """The same without a supervisor, whoever starts it: for the demo, which listens on loopback only."""
    from twisted.internet import reactor as installed

    return as_plugin(Process(cast(Reactor, installed), options.settings), options.settings)
