"""From a person's login to a node: through the proxy, with the certificate, and believing nobody but the cluster."""

from __future__ import annotations

import sys
import time
from typing import Any

from attrs import frozen
from twisted.internet.endpoints import HostnameEndpoint

from teleport_conch.certs import keys
from teleport_conch.client.connections import split_address
from teleport_conch.client.profiles import Login
from teleport_conch.ssh.client.agent_offer import AgentOffer
from teleport_conch.ssh.client.auth import Credentials
from teleport_conch.ssh.client.connection import ClientConnection, connect
from teleport_conch.ssh.client.host_offer import HostName
from teleport_conch.ssh.client.identities import KeyIdentity
from teleport_conch.ssh.client.known_hosts import KnownHosts, KnownHostsVerifier
from teleport_conch.ssh.client.transport import ClientOptions
from teleport_conch.ssh.connection.channel import ChannelOwner

PROXY_USER = "tsh"
"""The user name at the proxy, which takes any."""


@frozen
class Goal:
    """A node as the cluster's line in ``known_hosts`` vouches for it, such as ``web1.example.com``."""

    host: str
    port: int
    account: str = ""


@frozen
class Door:
    """Where the SSH port of the proxy is reached, if not where the proxy says; the user may be empty."""

    host: str
    port: int
    user: str = ""


@frozen
class Way:
    """How nodes are reached with one login."""

    reactor: Any
    login: Login
    door: Door | None = None

    async def proxy(self) -> ClientConnection:
        """A connection to the proxy.

        :raises TeleportError: why there is none.
        """
        name = HostName(*split_address(self.login.profile.ssh_proxy_addr))
        door = self.door or Door(name.host, name.port)
        endpoint = HostnameEndpoint(self.reactor, door.host, door.port)
        return await connect(self.reactor, endpoint, self._options(door.user or PROXY_USER, name))

    async def node(
        self, proxy: ClientConnection, goal: Goal, owner: ChannelOwner, agent: AgentOffer | None
    ) -> ClientConnection:
        """A connection to a node, from the proxy on.

        :param owner: decides what the node may open of us.
        """
        options = self._options(goal.account, HostName(goal.host, goal.port), owner=owner, agent=agent)
        return await connect(self.reactor, proxy.to(goal.host, goal.port), options)

    def _options(self, account: str, name: HostName, **more: Any) -> ClientOptions:
        identity = KeyIdentity.of(keys.load_private_pem(self.login.identity.key), self.login.certificate)
        known = self.login.known_hosts()
        credentials = Credentials(account, [identity], banner=sys.stderr.write)
        return ClientOptions(name, credentials, KnownHostsVerifier(KnownHosts.parse(known), time.time), **more)
