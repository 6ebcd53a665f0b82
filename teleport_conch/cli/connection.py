"""What a command works with: the cluster, the time, and the way to it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from teleport_conch.certs.public import PublicAuthority
from teleport_conch.cli.answer import Answer
from teleport_conch.cli.reach import Reach
from teleport_conch.client.answers import Status, UserCertificates
from teleport_conch.client.api import AuthClient
from teleport_conch.config.settings import Settings
from teleport_conch.resources.server import Server


class Authorities(Protocol):
    """What can be had of a cluster whether or not its auth service runs."""

    async def status(self) -> Status: ...
    async def authority(self, kind: str) -> PublicAuthority: ...
    async def nodes(self) -> tuple[Server, ...]: ...
    async def proxies(self) -> tuple[Server, ...]: ...
    async def sign_user(
        self,
        user: str,
        logins: Sequence[str],
        ttl_s: float,
        public_ssh_key: str,
        *,
        public_tls_key: str = "",
        roles: Sequence[str] = (),
        addresses: Sequence[str] = (),
    ) -> UserCertificates: ...
    async def sign_emergency(
        self, name: str, logins: Sequence[str], addresses: Sequence[str], ttl_s: float, public_ssh_key: str
    ) -> str: ...
    async def sign_host(self, principals: Sequence[str], public_ssh_key: str, ttl_s: float | None = None) -> str: ...


@frozen
class Connection:
    """A cluster as a command sees it.

    :ivar cluster: an auth service, or its storage while it does not run.
    """

    clock: IReactorTime
    reach: Reach
    cluster: Authorities

    @property
    def client(self) -> AuthClient:
        """The auth service, for commands that are not run without it."""
        assert isinstance(self.cluster, AuthClient), "a command that works without auth asked for it"
        return self.cluster

    def now(self) -> float:
        """The cluster's time in POSIX seconds, as far as it is known."""
        skew_s = self.cluster.skew_s if isinstance(self.cluster, AuthClient) else None
        return self.clock.seconds() + (skew_s or 0.0)


@frozen
class Local:
    """The auth host itself, for commands that need no auth service."""

    reactor: IReactorTime
    settings: Settings


Run = Callable[[Connection, Namespace], Awaitable[Answer]]
"""A command: it gets the connection and the parsed arguments."""
RunLocally = Callable[[Local, Namespace], Awaitable[Answer]]
RunAlone = Callable[[Namespace], Answer]
