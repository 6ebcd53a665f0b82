"""What every process of a node or proxy has of its host's membership: the identity, and a client that shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from twisted.application.service import MultiService
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from teleport_conch.certs.identity import HostIdentity
from teleport_conch.client.api import AuthClient
from teleport_conch.client.enrolment import Membership
from teleport_conch.client.identity_store import IdentityStore
from teleport_conch.client.tls import client_options

OnIdentity = Callable[[HostIdentity], None]


class Standing(MultiService):
    """An identity, and who is told of it.

    :param random: answers so many random bytes.
    """

    _log = Logger()

    def __init__(
        self, reactor: IReactorTime, data_dir: Path, wanted: Membership, random: Callable[[int], bytes]
    ) -> None:
        super().__init__()
        self._store = IdentityStore(data_dir, random)
        self._role = wanted.role
        self._host_uuid = ""
        self._callbacks: list[OnIdentity] = []
        self.client = AuthClient(reactor, wanted.addresses, client_options(None))
        """Calls auth as this host; raises ``ConnectionProblem`` as long as it has not joined."""
        self.identity: HostIdentity | None = None
        """What this host is now; None before it joined, and after auth barred it."""
        self.bound_labels: Mapping[str, str] = {}
        """The labels that the host's token bound, which win over all others."""

    @property
    def host_uuid(self) -> str:
        """The host's name in the cluster, made at the first use."""
        if not self._host_uuid:
            self._host_uuid = self._store.host_uuid()
        return self._host_uuid

    def on_identity(self, callback: OnIdentity) -> None:
        """Have *callback* called with the identity, now if there is one, and with each that comes after it."""
        self._callbacks.append(callback)
        if self.identity is not None:
            self._tell(callback, self.identity)

    def _adopt(self, identity: HostIdentity) -> None:
        self.identity = identity
        self.bound_labels = self._store.labels(self._role)
        self.client.use_identity(identity)
        for callback in self._callbacks:
            self._tell(callback, identity)

    def _tell(self, callback: OnIdentity, identity: HostIdentity) -> None:
        try:
            callback(identity)
        except Exception:  # noqa: BLE001 - one who listens is not to cost the host its membership
            self._log.failure("A listener for the identity of this host ({role}) failed.", role=self._role)
