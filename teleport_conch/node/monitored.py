"""The monitor beside a node: whom it is told to trust, and which logins it verifies."""

from __future__ import annotations

from collections.abc import Callable, Collection

from attrs import define, field
from twisted.logger import Logger

from teleport_conch.errors import AccessDenied, TeleportError
from teleport_conch.ssh.login.policy import Claim
from teleport_conch.ssh.processes.monitored import Monitor, MonitoredLogin


@define
class Monitored:
    """Starts sessions through the monitor.

    :param authorities: the keys that sign users' certificates, as the node knows them at this moment.
    """

    monitor: Monitor
    authorities: Callable[[], Collection[bytes]]
    _told: frozenset[bytes] = field(init=False, default=frozenset())
    _log = Logger()

    async def trust(self) -> None:
        """Tells the monitor of the cluster's authorities. It may have others, and then nothing changes.

        A login with a certificate of an authority that it does not have is refused by the monitor.
        """
        authorities = frozenset(self.authorities())
        if authorities != self._told:
            self._told = authorities
            try:
                await self.monitor.trust(sorted(authorities))
            except TeleportError as refusal:
                self._log.warn("{why}", why=refusal.sentence)

    async def log_in(self, claim: Claim) -> MonitoredLogin:
        """Lets the monitor verify what the node believes already."""
        if claim.proof is None:
            raise AccessDenied("A session is started for a login with a certificate only.")
        await self.trust()
        return await self.monitor.log_in(claim.proof, claim.client[0])
