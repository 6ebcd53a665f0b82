"""How a host comes into the cluster, and how it renews what it got.

The host makes its keys itself and sends the public halves; auth checks the token, the names that the host asks for and
that nobody else who may be there has them, and answers certificates. What the token binds is not the host's to choose.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, evolve, field, frozen

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.hosts.hosts import KIND_OF_ROLE, Hosts, Registration
from teleport_conch.auth.hosts.presence import HostKey, PresenceTable
from teleport_conch.auth.hosts.principals import NameRules, is_loopback
from teleport_conch.auth.hosts.tokens import Tokens
from teleport_conch.auth.limits import FAILED_TOKENS_PER_MINUTE, HOST_CERTIFICATE_S, REGISTRATIONS_IN_PROGRESS
from teleport_conch.auth.state.authorities import Authorities
from teleport_conch.certs import keys, names
from teleport_conch.certs.public_key import Material
from teleport_conch.certs.tls import BATCH_DIGITS, TLSIdentity, certificate_pem
from teleport_conch.errors import (
    AccessDenied,
    BadParameter,
    HostBarred,
    HostDuplicate,
    NotBuilt,
    PrincipalForbidden,
    PrincipalTaken,
    TeleportError,
    TokenBinding,
    TokenExpired,
    TokenType,
    TokenUnknown,
)
from teleport_conch.https.throttle import Failures, InProgress, Reports
from teleport_conch.resources.joining import JoinAnswer, JoinRequest
from teleport_conch.resources.server import JoinRecord
from teleport_conch.resources.token import JoinToken


@frozen
class _Applicant:
    """A request whose parts have their usual form."""

    host_uuid: str
    node_name: str
    role: str
    ssh_key: bytes
    tls_key: Material
    principals: tuple[str, ...]
    dns_names: tuple[str, ...]

    @property
    def key(self) -> HostKey:
        return HostKey(KIND_OF_ROLE[self.role], self.host_uuid)


@define(eq=False)
class Joining:
    """Lets hosts in."""

    _clocks: Clocks
    _authorities: Authorities
    _tokens: Tokens
    _hosts: Hosts
    _presence: PresenceTable
    _rules: NameRules
    _emit: Emit
    _in_progress: InProgress = field(init=False)
    _failures: Failures = field(init=False)
    _reports: Reports = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._in_progress = InProgress(REGISTRATIONS_IN_PROGRESS, "registrations")
        self._failures = Failures(self._clocks.monotonic, FAILED_TOKENS_PER_MINUTE)
        self._reports = Reports.of(self._clocks.monotonic)

    async def register(self, request: JoinRequest, address: str) -> JoinAnswer:
        """Let a host in that shows a join token.

        :param address: where the request came from, without the port.
        :raises JoinRefused: and its subclasses; a refusal is an event.
        :raises BadParameter: a part of the request has not the form that is due.
        :raises LimitExceeded: too many registrations at once, or failures from this address.
        """
        with self._in_progress.one():
            self._failures.check(address)
            try:
                return await self._register(request, address)
            except TeleportError as reason:
                if self._reports.allow(address):
                    self._refused(request, address, reason)
                raise

    async def _register(self, request: JoinRequest, address: str) -> JoinAnswer:
        role = _joining_role(request.role)
        host_uuid, node_name = names.host_uuid(request.host_uuid), names.host_name(request.node_name)
        token = await self._redeem(request.token, role, f'"{node_name}" [{host_uuid}]', address)
        applicant = self._applicant(request, host_uuid, node_name, address)
        applicant = _bound(applicant, token, self._authorities.cluster_name)
        self._rules.check(node_name, host_uuid, address, role)
        self._check_not_twice(applicant, address)
        self._check_free(applicant, applicant.principals + applicant.dns_names)
        now = self._clocks.wall()
        registration = Registration(
            host_uuid=host_uuid,
            role=role,
            node_name=node_name,
            cluster_name=self._authorities.cluster_name,
            principals=applicant.principals,
            dns_names=applicant.dns_names,
            labels=token.labels,
            name_bound=bool(token.node_name),
            principals_bound=bool(token.principals),
            join=JoinRecord(token.id, token.created_by, address, now),
            batch=self._authorities.host.random(BATCH_DIGITS // 2).hex(),
            expires_at=now + HOST_CERTIFICATE_S,
            host_key=keys.fingerprint(applicant.ssh_key),
        )
        answer = self._certify(applicant, registration)
        await self._admit(registration)
        self._joined(registration, token)
        return answer

    async def _admit(self, registration: Registration) -> None:
        """Keep a registration whose names count as those of a live host before it is even written."""
        known = self._hosts.get(registration.key) is not None
        self._presence.expect(registration.key)
        try:
            await self._hosts.keep(registration)
        except BaseException:
            if not known:
                self._presence.forget(registration.key)
            raise

    async def _redeem(self, secret: str, role: str, host: str, address: str) -> JoinToken:
        try:
            return await self._tokens.redeem(secret, role, host)
        except (TokenUnknown, TokenExpired, TokenType):
            self._failures.add(address)
            raise

    def _applicant(self, request: JoinRequest, host_uuid: str, node_name: str, address: str) -> _Applicant:
        return _Applicant(
            host_uuid=host_uuid,
            node_name=node_name,
            role=request.role,
            ssh_key=keys.blob_of_line(request.public_ssh_key),
            tls_key=keys.load_public_pem(request.public_tls_key),
            principals=self._rules.usual(request.additional_principals, host_uuid, address, request.role),
            dns_names=self._rules.usual(request.dns_names, host_uuid, address, request.role),
        )

    def _check_not_twice(self, applicant: _Applicant, address: str) -> None:
        """One host may join with several roles, each once; another one may not do so with its UUID."""
        for registration in self._hosts.of_uuid(applicant.host_uuid):
            if not self._presence.is_live(registration.key):
                continue
            seen_at = self._presence.address(registration.key) or registration.join.address
            same_host = seen_at == address and registration.node_name == applicant.node_name
            if registration.role == applicant.role or not same_host:
                raise HostDuplicate(
                    f"A host with the UUID {applicant.host_uuid} is in the cluster and may be running. If it is this"
                    " machine, stop it cleanly or wait until it is offline; if not, delete host_uuid in this one's"
                    " data_dir, so that it makes its own."
                )

    def _check_free(self, applicant: _Applicant, additional: tuple[str, ...]) -> None:
        own = names.host_principals(
            applicant.host_uuid, applicant.node_name, self._authorities.cluster_name, additional
        )
        for name in own:
            if is_loopback(name):
                continue  # every host of a demo is this machine, and the rules refused it elsewhere
            for holder in self._hosts.holders(name):
                if holder.uuid != applicant.host_uuid:
                    self._check_holder(name, holder, applicant)

    def _check_holder(self, name: str, holder: HostKey, applicant: _Applicant) -> None:
        if self._presence.is_live(holder):
            raise PrincipalTaken(
                f"The {holder.kind} {holder.uuid} holds the name {name!r} and may be running. Choose another name, or"
                f" remove that host with 'tctl rm {holder.kind}/{holder.uuid}'.",
                name=name,
                holder=holder.uuid,
            )
        if holder.kind == "proxy" and applicant.role != "Proxy":
            raise PrincipalForbidden(f"The name {name!r} is that of a proxy; no node may have it.", name=name)

    async def renew(self, request: JoinRequest, identity: TLSIdentity, address: str) -> JoinAnswer:
        """New certificates for a host that has some.

        :param identity: the caller; it renews what is its own and nothing else.
        :raises AccessDenied: the request is for another host or role.
        :raises HostBarred: it is for another host key.
        :raises JoinRefused: names that the host may not have.
        """
        if identity.kind != "host" or request.host_uuid != identity.name or (request.role,) != identity.roles:
            raise AccessDenied("A host renews its own certificates, for its own role, and no others.")
        registration = self._hosts.get(HostKey(KIND_OF_ROLE.get(request.role, ""), request.host_uuid))
        if registration is None:
            raise HostBarred(f"The host {request.host_uuid} is not registered; it has to join again.")
        applicant = self._applicant(request, identity.name, names.host_name(request.node_name), address)
        self._check_host_key(applicant, registration, address)
        applicant = self._as_registered(applicant, registration, address)
        renewed = evolve(
            registration,
            node_name=applicant.node_name,
            principals=applicant.principals,
            dns_names=applicant.dns_names,
            expires_at=self._clocks.wall() + HOST_CERTIFICATE_S,
            host_key=keys.fingerprint(applicant.ssh_key),
        )
        answer = self._certify(applicant, renewed)
        await self._hosts.keep(renewed)
        fields = {"cert_type": "host", "name": identity.name, "roles": [request.role], "principals": renewed.principals}
        self._emit("cert.create", {**fields, "expires": renewed.expires_at, "method": "renewal"})
        return answer

    def _check_host_key(self, applicant: _Applicant, registration: Registration, address: str) -> None:
        """The identity of a host is in the hands of what speaks with the network, and its host key need not be.

        :raises HostBarred: who has the one would be the host to people with another key.
        """
        if registration.host_key in ("", keys.fingerprint(applicant.ssh_key)):
            return
        reason = HostBarred(
            f"The host {applicant.host_uuid} joined with another host key, and no certificate is renewed for this one."
            " Put the former key back, or give the host a new token in auth_token and restart it."
        )
        fields = {"cert_type": "host", "name": applicant.host_uuid, "roles": [applicant.role], "method": "renewal"}
        self._emit("cert.create", {**fields, "error": reason.sentence, "addr.remote": address}, success=False)
        raise reason

    def _as_registered(self, applicant: _Applicant, registration: Registration, address: str) -> _Applicant:
        """The applicant with what its token bound, once anything else that is new to it is allowed."""
        if registration.name_bound and applicant.node_name != registration.node_name:
            raise TokenBinding(_other_name(registration.node_name, applicant.node_name))
        asked = applicant.principals + applicant.dns_names
        had = set(registration.principals + registration.dns_names)
        new = tuple(name for name in asked if name not in had)
        if registration.principals_bound:
            others = set(new) - registration.all_names
            if others:
                raise TokenBinding(_other_principals(registration.principals, others))
            applicant = evolve(applicant, principals=registration.principals)
        if new or applicant.node_name != registration.node_name:
            self._rules.check(applicant.node_name, applicant.host_uuid, address, applicant.role)
            self._check_free(applicant, new)
        return applicant

    def _certify(self, applicant: _Applicant, registration: Registration) -> JoinAnswer:
        now, host = self._clocks.wall(), self._authorities.host
        ssh = host.sign_host_ssh(
            applicant.ssh_key,
            host_uuid=applicant.host_uuid,
            node_name=applicant.node_name,
            cluster_name=registration.cluster_name,
            principals=applicant.principals,
            role=applicant.role,
            ttl_s=HOST_CERTIFICATE_S,
            now=now,
        )
        tls = host.sign_host_tls(
            applicant.tls_key,
            host_uuid=applicant.host_uuid,
            cluster_name=registration.cluster_name,
            role=applicant.role,
            names=tuple(sorted(registration.all_names)),
            ttl_s=HOST_CERTIFICATE_S,
            now=now,
            batch=registration.batch,
        )
        return JoinAnswer(
            node_name=applicant.node_name,
            cluster_name=registration.cluster_name,
            ssh_certificate=ssh.to_line(),
            tls_certificate=certificate_pem(tls),
            authorities=self._authorities.public_json,
            labels=registration.labels,
        )

    def _joined(self, registration: Registration, token: JoinToken) -> None:
        fields = {
            "node_id": registration.host_uuid,
            "node_name": registration.node_name,
            "role": registration.role,
            "token": token.id,
            "user": token.created_by,
            "principals": registration.principals,
            "addr.remote": registration.join.address,
        }
        self._emit("node.join", fields)

    def _refused(self, request: JoinRequest, address: str, reason: TeleportError) -> None:
        fields = {
            "node_id": request.host_uuid,
            "node_name": request.node_name,
            "role": request.role,
            "token": reason.facts.get("token"),
            "addr.remote": address,
            "error": reason.sentence,
            "error_code": reason.code,
        }
        self._emit("node.join", fields, success=False)


def _joining_role(role: str) -> str:
    if role == "Auth":
        raise NotBuilt("Auth servers do not join: a cluster has one, until its state can be kept in etcd.")
    if role not in KIND_OF_ROLE:
        raise BadParameter(f"Hosts join with the role {' or '.join(KIND_OF_ROLE)}, and not {role[:32]!r}.")
    return role


def _bound(applicant: _Applicant, token: JoinToken, cluster: str) -> _Applicant:
    """The applicant with the principals that the token names, if it asks for no others.

    :raises TokenBinding: it asks for another name or for others.
    """
    if token.node_name and applicant.node_name != token.node_name:
        raise TokenBinding(_other_name(token.node_name, applicant.node_name), token=token.id)
    if not token.principals:
        return applicant
    allowed = names.host_principals(applicant.host_uuid, applicant.node_name, cluster, token.principals)
    others = set(applicant.principals + applicant.dns_names) - set(allowed)
    if others:
        raise TokenBinding(_other_principals(token.principals, others), token=token.id)
    return evolve(applicant, principals=token.principals)


def _other_name(bound: str, asked: str) -> str:
    return f"The token lets in a host with the name {bound!r}, and this one is called {asked!r}."


def _other_principals(bound: Iterable[str], others: Iterable[str]) -> str:
    return (
        f"The token lets in a host with the principals {', '.join(bound)}, and this one also asks for"
        f" {', '.join(sorted(others))}."
    )
