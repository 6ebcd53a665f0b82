"""All services that the configuration enables, in one process: a cluster of one machine is a cluster.

Where auth runs in the same process, proxy and node join it as they would from anywhere else, with a token that exists
in memory only and with auth's own pin; so that there is one way to join, and nothing to set up.
"""

from __future__ import annotations

import secrets
from typing import ClassVar, cast

from attrs import evolve
from twisted.application.service import IService
from twisted.logger import Logger

from teleport_conch.auth.service import AuthService
from teleport_conch.config.addresses import Address
from teleport_conch.config.options import TeleportOptions
from teleport_conch.config.secret import Secret
from teleport_conch.config.settings import SECTIONS, Settings
from teleport_conch.config.tokens import StaticToken
from teleport_conch.node.service import NodeService
from teleport_conch.proxy.service import ProxyService
from teleport_conch.starting import Reactor, StartingService, as_plugin

_EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # listened on by the configuration's wish


class Options(TeleportOptions):
    """The options of ``twist teleport`` and ``teleport start``."""

    services: ClassVar[frozenset[str]] = frozenset(SECTIONS)


class Process(StartingService):
    """Starts auth first, then proxy and node."""

    _log = Logger()

    def __init__(self, reactor: Reactor, settings: Settings) -> None:
        super().__init__(reactor)
        self._process_reactor = reactor
        self._settings = settings

    async def start_up(self) -> None:
        """The services in their order."""
        settings = self._settings
        if settings.auth.enabled:
            settings = await self._start_auth(settings)
        for enabled, service in ((settings.proxy.enabled, ProxyService), (settings.node.enabled, NodeService)):
            if enabled:
                part = service(self._process_reactor, settings)
                part.setServiceParent(self)
                await part.started

    async def _start_auth(self, settings: Settings) -> Settings:
        """Starts auth, and answers settings with which the others join it."""
        token = Secret(secrets.token_hex(32))
        tokens = (*settings.auth.tokens, StaticToken(("node", "proxy"), token, "this process"))
        auth = AuthService(self._process_reactor, evolve(settings, auth=evolve(settings.auth, tokens=tokens)))
        auth.setServiceParent(self)
        await auth.started
        listening = settings.auth.listen_addr
        address = Address(_EVERY_INTERFACE.get(listening.host, listening.host), auth.port)
        teleport = evolve(settings.teleport, auth_token=token, ca_pin=auth.ca_pin, auth_servers=(address,))
        return evolve(settings, teleport=teleport)


def makeService(options: Options) -> IService:
    """The service of the plugin ``teleport``."""
    from twisted.internet import reactor

    return as_plugin(Process(cast(Reactor, reactor), options.settings), options.settings)
