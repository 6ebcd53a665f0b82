"""The hosts that were let in: how they came, which names they hold, and which of their certificates count.

A registration is what makes an identity good. It is written at joining, renewed with the certificate, ends with it, and
is removed to bar the host: from then on its certificate, however valid, is refused until it joins again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from attrs import define, field, frozen

from teleport_conch.auth.hosts.presence import HostKey
from teleport_conch.auth.limits import MAX_HOSTS
from teleport_conch.auth.state import storing
from teleport_conch.certs import names
from teleport_conch.certs.tls import BATCH_DIGITS, TLSIdentity
from teleport_conch.errors import HostBarred, LimitExceeded, NotFound
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.server import JoinRecord
from teleport_conch.storage.backend import IBackend

PREFIX = "hosts/"
KIND_OF_ROLE: Mapping[str, str] = {"Node": "node", "Proxy": "proxy"}
"""What a host of a role announces itself as. Hosts of other roles do not join."""


@frozen
class Registration:
    """One service of one host, let in.

    :ivar principals: names beside those that follow from UUID and nodename, in their usual form.
    :ivar dns_names: the same, in the TLS certificate only.
    :ivar labels: those that the token binds.
    :ivar name_bound: the token named the host; so ``principals_bound``.
    :ivar batch: of the TLS certificates that the host got since it joined; any other one is from before. Empty where an
        early version of this program wrote the registration: it made certificates without batches.
    :ivar expires_at: when the newest certificate ends, in POSIX seconds.
    :ivar host_key: the fingerprint of the SSH key that was certified at joining; empty where an early version of this
        program wrote the registration.
    """

    host_uuid: str
    role: str
    node_name: str
    cluster_name: str
    principals: tuple[str, ...]
    dns_names: tuple[str, ...]
    labels: Mapping[str, str]
    name_bound: bool
    principals_bound: bool
    join: JoinRecord
    batch: str
    expires_at: float
    host_key: str = ""

    @property
    def key(self) -> HostKey:
        return HostKey(KIND_OF_ROLE[self.role], self.host_uuid)

    @property
    def all_names(self) -> frozenset[str]:
        """Every name that a certificate of the host carries."""
        own = names.host_principals(self.host_uuid, self.node_name, self.cluster_name, self.principals)
        return frozenset((*own, *self.dns_names))

    def to_json(self) -> dict[str, object]:
        return {
            "kind": "host",
            "metadata": {"name": self.host_uuid, "expires": self.expires_at},
            "spec": {
                "role": self.role,
                "node_name": self.node_name,
                "cluster_name": self.cluster_name,
                "principals": list(self.principals),
                "dns_names": list(self.dns_names),
                "labels": dict(self.labels),
                "name_bound": self.name_bound,
                "principals_bound": self.principals_bound,
                "join": self.join.to_json(),
                "batch": self.batch,
                "host_key": self.host_key,
            },
        }

    @classmethod
    def from_json(cls, value: object) -> Registration:
        fields = Fields(value, "host")
        metadata, spec = fields.child("metadata"), fields.child("spec")
        return cls(
            host_uuid=metadata.text("name", max_chars=64),
            role=spec.text("role", max_chars=32),
            node_name=spec.text("node_name", max_chars=255),
            cluster_name=spec.text("cluster_name", max_chars=255),
            principals=spec.texts("principals"),
            dns_names=spec.texts("dns_names"),
            labels=spec.text_map("labels"),
            name_bound=spec.boolean("name_bound", default=False),
            principals_bound=spec.boolean("principals_bound", default=False),
            join=JoinRecord.from_json(spec.child("join").raw()),
            batch=spec.text("batch", default="", max_chars=BATCH_DIGITS),
            expires_at=metadata.number("expires"),
            host_key=spec.text("host_key", default="", max_chars=64),
        )


@define(eq=False)
class Hosts:
    """All registrations: in memory, since every call of a host asks for its own, and in the storage."""

    _backend: IBackend
    _known: dict[HostKey, Registration] = field(init=False, factory=dict)
    _holders: dict[str, set[HostKey]] = field(init=False, factory=dict)

    async def load(self) -> None:
        """Read what the storage has; once, before anything else."""
        for item in await storing.everything(self._backend, PREFIX):
            self._add(Registration.from_json(storing.decode(item)))

    def __iter__(self) -> Iterator[Registration]:
        return iter(tuple(self._known.values()))

    def get(self, key: HostKey) -> Registration | None:
        return self._known.get(key)

    def of_uuid(self, host_uuid: str) -> Iterable[Registration]:
        """The registrations of one host, of which each service has its own."""
        found = (self._known.get(HostKey(kind, host_uuid)) for kind in KIND_OF_ROLE.values())
        return [registration for registration in found if registration is not None]

    def holders(self, name: str) -> frozenset[HostKey]:
        """The hosts that may carry a name."""
        return frozenset(self._holders.get(name, ()))

    async def keep(self, registration: Registration) -> None:
        """Add or replace a registration. Its names are held at once, so that of two hosts one is refused."""
        before = self._known.get(registration.key)
        if before is None and len(self._known) >= MAX_HOSTS:
            raise LimitExceeded(f"{MAX_HOSTS} hosts are registered; remove some with 'tctl nodes rm --offline'.")
        self._add(registration)
        try:
            value = storing.encode(registration.to_json())
            await self._backend.put(_path(registration.key), value, registration.expires_at)
        except BaseException:
            self._forget(registration.key)
            if before is not None:
                self._add(before)
            raise

    async def remove(self, key: HostKey) -> None:
        """Bar a host. Nothing happens where there is no such registration."""
        if key in self._known:
            with suppress(NotFound):  # it expired in the storage first
                await self._backend.delete(_path(key))
            self._forget(key)

    def drop_expired(self, now: float) -> None:
        """Forget what has expired (POSIX seconds), as the storage does by itself."""
        for registration in self:
            if registration.expires_at <= now:
                self._forget(registration.key)

    def check(self, identity: TLSIdentity) -> Registration:
        """The registration that the identity of a host rests on.

        :raises HostBarred: there is none, or the identity is older.
        """
        host_uuid, kind = identity.name, KIND_OF_ROLE.get(identity.roles[0])
        registration = self._known.get(HostKey(kind, host_uuid)) if kind else None
        if registration is None:
            raise HostBarred(
                f"The host {host_uuid} was removed from the cluster, and its identity is refused until it joins again:"
                " give it a new token in auth_token and restart it."
            )
        if registration.batch not in ("", identity.batch):
            raise HostBarred(
                f"The host {host_uuid} joined the cluster again since this identity was made; this copy is refused."
            )
        return registration

    def _add(self, registration: Registration) -> None:
        self._forget(registration.key)
        self._known[registration.key] = registration
        for name in registration.all_names:
            self._holders.setdefault(name, set()).add(registration.key)

    def _forget(self, key: HostKey) -> None:
        registration = self._known.pop(key, None)
        for name in registration.all_names if registration else ():
            held = self._holders[name]
            held.discard(key)
            if not held:
                del self._holders[name]


def _path(key: HostKey) -> str:
    return f"{PREFIX}{key.uuid}/{key.kind}"
