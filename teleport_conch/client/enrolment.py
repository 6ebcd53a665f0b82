"""Gets a host its identity: from the disk if it has one, else with a token, trying for ever; and renews it."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, evolve, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_conch.certs import keys
from teleport_conch.certs.identity import HostIdentity
from teleport_conch.client.api import AuthClient
from teleport_conch.client.backoff import Backoff, Jitter
from teleport_conch.client.identity_store import IdentityStore
from teleport_conch.client.joining import identity_of, join
from teleport_conch.client.tls import client_options
from teleport_conch.errors import (
    CertificateAuthorityUnknown,
    ClockSkew,
    ConnectionProblem,
    HostBarred,
    LimitExceeded,
    TeleportError,
    TokenUnknown,
)
from teleport_conch.resources.joining import JoinAnswer, JoinRequest

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
#: Seconds between tries where auth refused for a reason that a person has to do something about.
REFUSED_WAIT_S = 60.0

#: What passes by itself.
_PASSING = (ConnectionProblem, LimitExceeded, ClockSkew)

_log = Logger()


@frozen
class Membership:
    """What one service of a host wants to be in its cluster.

    :ivar role: ``Node`` or ``Proxy``.
    :ivar addresses: ``host:port`` of each auth server.
    :ivar token: answers the join token, asked anew for each try so that a file may change; empty where there is none.
    :ivar ca_pin: ``sha256:<hex>``, or empty.
    :ivar principals: names and addresses, beside UUID and nodename, under which the host is reached.
    :ivar dns_names: names for its TLS certificate only.
    :ivar host_key: the blob of a host key that somebody else keeps, and that its SSH certificate is to be for; empty
        where it has one of its own.
    """

    role: str
    node_name: str
    addresses: tuple[str, ...]
    token: Callable[[], str] = field(repr=False)
    ca_pin: str = ""
    principals: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    host_key: bytes = field(default=b"", repr=False)


@define
class Enrolment:
    """:param jitter: for the time between two tries."""

    _reactor: IReactorTime
    _store: IdentityStore
    _wanted: Membership
    _jitter: Jitter
    _said: str = field(init=False, default="")

    async def admitted(self) -> HostIdentity:
        """An identity that is valid now, however long it takes.

        What stands in the way is logged, again only when it changes.

        :raises UnsafePath: others can read the stored identity.
        """
        backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S, self._jitter)
        while True:
            stored = self._stored()
            try:
                if stored is None:
                    return await self._join()
                return stored if self._has_its_key(stored) else await self._certified_anew(stored)
            except (TeleportError, OSError) as reason:
                passing = isinstance(reason, (*_PASSING, OSError))
                self._say(reason)
                wait_s = backoff.next_s() if passing else self._jitter(REFUSED_WAIT_S)
            await deferLater(self._reactor, wait_s)

    async def renewed(self, client: AuthClient, identity: HostIdentity) -> HostIdentity:
        """The same identity with fresh certificates for the same keys, asked for with *client*, which has it.

        :raises TeleportError: auth refused, or did not answer; the old one stays.
        """
        ssh_key = identity.ssh_key or self._new_ssh_key()
        answer = await client.renew(self._request(ssh_key, identity.tls_key))
        _log.info("The certificates of this host ({role}) were renewed.", role=identity.role)
        return self._keep(answer, ssh_key, identity.tls_key)

    def _stored(self) -> HostIdentity | None:
        """An identity that is valid now; a host key is not left where it is not kept any more."""
        stored = self._store.load(self._wanted.role)
        if stored is None or stored.not_after <= self._reactor.seconds():
            return None
        if self._wanted.host_key and stored.ssh_key:
            stored = evolve(stored, ssh_key="")
            self._store.save(stored)
        return stored

    def _has_its_key(self, identity: HostIdentity) -> bool:
        return identity.host_key == self._wanted.host_key if self._wanted.host_key else bool(identity.ssh_key)

    async def _certified_anew(self, identity: HostIdentity) -> HostIdentity:
        """The same identity, which another process had, for the host key of this one; else it takes a token."""
        client = AuthClient(self._reactor, self._wanted.addresses, client_options(identity))
        try:
            return await self.renewed(client, identity)
        except HostBarred:
            if not self._wanted.token():
                raise
            return await self._join()
        finally:
            await client.close()

    def lacks(self, identity: HostIdentity) -> bool:
        """Whether the configuration asks for names that the identity does not have."""
        wanted = {name.lower() for name in (self._wanted.node_name, *self._wanted.principals)}
        return not wanted <= set(identity.principals)

    async def _join(self) -> HostIdentity:
        token = self._wanted.token()
        if not token:
            raise TokenUnknown("There is no join token. Set teleport.auth_token to one that `tctl nodes add` prints.")
        ssh_key, tls_key = self._new_ssh_key(), keys.private_pem(keys.generate_tls_key())
        request = evolve(self._request(ssh_key, tls_key), token=token)
        known = self._store.authorities()
        try:
            answer = await join(self._reactor, self._wanted.addresses, self._wanted.ca_pin, request, known)
        except CertificateAuthorityUnknown as reason:
            if self._wanted.ca_pin or not known:
                raise
            hint = f"To join another cluster, remove {self._store.ca_path} or set teleport.ca_pin."
            raise CertificateAuthorityUnknown(f"{reason.sentence} {hint}") from None
        _log.info(
            "This host joined the cluster {cluster} as {name}.", cluster=answer.cluster_name, name=answer.node_name
        )
        return self._keep(answer, ssh_key, tls_key)

    def _new_ssh_key(self) -> str:
        return "" if self._wanted.host_key else keys.ssh_private_pem(keys.generate_ssh_key())

    def _request(self, ssh_key: str, tls_key: str) -> JoinRequest:
        """A request for the public halves of two private keys."""
        ssh_blob = self._wanted.host_key or keys.public_blob(keys.load_private_pem(ssh_key).public_key())
        return JoinRequest(
            host_uuid=self._store.host_uuid(),
            node_name=self._wanted.node_name,
            role=self._wanted.role,
            public_tls_key=keys.public_pem(keys.load_private_pem(tls_key).public_key()),
            public_ssh_key=keys.public_line(ssh_blob),
            additional_principals=self._wanted.principals,
            dns_names=self._wanted.dns_names,
        )

    def _keep(self, answer: JoinAnswer, ssh_key: str, tls_key: str) -> HostIdentity:
        identity = identity_of(answer, self._request(ssh_key, tls_key), ssh_key, tls_key)
        self._store.save_labels(identity.role, answer.labels)
        self._store.save(identity)
        self._said = ""
        return identity

    def _say(self, reason: TeleportError | OSError) -> None:
        # The seconds of a skew are never the same twice.
        key = reason.code if isinstance(reason, ClockSkew) else str(reason)
        if key != self._said:
            self._said = key
            sentence = reason.sentence if isinstance(reason, TeleportError) else f"{reason}."
            _log.warn("This host ({role}) cannot join yet: {reason}", role=self._wanted.role, reason=sentence)
