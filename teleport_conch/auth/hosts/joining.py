"""How a host comes into the cluster.

The host makes its keys itself and sends the public halves; auth checks the token, the names that the host asks for and
that nobody else who may be there has them, and answers certificates. What the token binds is not the host's to choose.
"""

from __future__ import annotations

from attrs import define, field

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.hosts.applying import Applicant, Applications, bound
from teleport_conch.auth.hosts.hosts import KIND_OF_ROLE, Hosts, Registration
from teleport_conch.auth.hosts.presence import PresenceTable
from teleport_conch.auth.hosts.tokens import Tokens
from teleport_conch.auth.limits import FAILED_TOKENS_PER_MINUTE, HOST_CERTIFICATE_S, REGISTRATIONS_IN_PROGRESS
from teleport_conch.auth.state.authorities import Authorities
from teleport_conch.certs import names
from teleport_conch.certs.tls import BATCH_DIGITS
from teleport_conch.errors import (
    BadParameter,
    HostDuplicate,
    NotBuilt,
    TeleportError,
    TokenExpired,
    TokenType,
    TokenUnknown,
)
from teleport_conch.https.throttle import Failures, InProgress, Reports
from teleport_conch.resources.joining import JoinAnswer, JoinRequest
from teleport_conch.resources.server import JoinRecord
from teleport_conch.resources.token import JoinToken


@define(eq=False)
class Joining:
    """Lets hosts in."""

    _clocks: Clocks
    _authorities: Authorities
    _tokens: Tokens
    _hosts: Hosts
    _presence: PresenceTable
    _applications: Applications
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
        applicant = self._applications.read(request, host_uuid, node_name, address)
        applicant = bound(applicant, token, self._authorities.cluster_name)
        self._check_not_twice(applicant, address)
        self._applications.check_names(applicant, applicant.principals + applicant.dns_names, address)
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
            host_key=applicant.host_key,
        )
        answer = self._applications.certify(applicant, registration)
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

    def _check_not_twice(self, applicant: Applicant, address: str) -> None:
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
