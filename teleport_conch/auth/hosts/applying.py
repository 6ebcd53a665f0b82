"""What a host asks for: its request in the usual form, whether it may be called so, and certificates of it."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, evolve, frozen

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.hosts.hosts import KIND_OF_ROLE, Hosts, Registration
from teleport_conch.auth.hosts.presence import HostKey, PresenceTable
from teleport_conch.auth.hosts.principals import NameRules, is_loopback
from teleport_conch.auth.limits import HOST_CERTIFICATE_S
from teleport_conch.auth.state.authorities import Authorities
from teleport_conch.certs import keys, names
from teleport_conch.certs.public_key import Material
from teleport_conch.certs.tls import certificate_pem
from teleport_conch.errors import PrincipalForbidden, PrincipalTaken, TokenBinding
from teleport_conch.resources.joining import JoinAnswer, JoinRequest
from teleport_conch.resources.token import JoinToken


@frozen
class Applicant:
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

    @property
    def host_key(self) -> str:
        """The fingerprint of the SSH key."""
        return keys.fingerprint(self.ssh_key)


@define(eq=False)
class Applications:
    """Looks at them."""

    _clocks: Clocks
    _authorities: Authorities
    _hosts: Hosts
    _presence: PresenceTable
    _rules: NameRules

    def read(self, request: JoinRequest, host_uuid: str, node_name: str, address: str) -> Applicant:
        """:param address: of the host, without the port.

        :raises BadParameter, PrincipalForbidden: a key or a name that is none.
        """
        return Applicant(
            host_uuid=host_uuid,
            node_name=node_name,
            role=request.role,
            ssh_key=keys.blob_of_line(request.public_ssh_key),
            tls_key=keys.load_public_pem(request.public_tls_key),
            principals=self._rules.usual(request.additional_principals, host_uuid, address, request.role),
            dns_names=self._rules.usual(request.dns_names, host_uuid, address, request.role),
        )

    def check_names(self, applicant: Applicant, additional: tuple[str, ...], address: str) -> None:
        """Whether a host may have its nodename, and have the additional names as well.

        :raises PrincipalForbidden: they are reserved. :raises PrincipalTaken: another host has them.
        """
        self._rules.check(applicant.node_name, applicant.host_uuid, address, applicant.role)
        own = names.host_principals(
            applicant.host_uuid, applicant.node_name, self._authorities.cluster_name, additional
        )
        for name in own:
            if is_loopback(name):
                continue  # every host of a demo is this machine, and the rules refused it elsewhere
            for holder in self._hosts.holders(name):
                if holder.uuid != applicant.host_uuid:
                    self._check_holder(name, holder, applicant)

    def _check_holder(self, name: str, holder: HostKey, applicant: Applicant) -> None:
        if self._presence.is_live(holder):
            raise PrincipalTaken(
                f"The {holder.kind} {holder.uuid} holds the name {name!r} and may be running. Choose another name, or"
                f" remove that host with 'tctl rm {holder.kind}/{holder.uuid}'.",
                name=name,
                holder=holder.uuid,
            )
        if holder.kind == "proxy" and applicant.role != "Proxy":
            raise PrincipalForbidden(f"The name {name!r} is that of a proxy; no node may have it.", name=name)

    def certify(self, applicant: Applicant, registration: Registration) -> JoinAnswer:
        """Certificates of what is, or will be, registered."""
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


def bound(applicant: Applicant, token: JoinToken, cluster: str) -> Applicant:
    """The applicant with the principals that the token names, if it asks for no others.

    :raises TokenBinding: it asks for another name or for others.
    """
    if token.node_name and applicant.node_name != token.node_name:
        raise TokenBinding(other_name(token.node_name, applicant.node_name), token=token.id)
    if not token.principals:
        return applicant
    allowed = names.host_principals(applicant.host_uuid, applicant.node_name, cluster, token.principals)
    others = set(applicant.principals + applicant.dns_names) - set(allowed)
    if others:
        raise TokenBinding(other_principals(token.principals, others), token=token.id)
    return evolve(applicant, principals=token.principals)


def other_name(bound: str, asked: str) -> str:
    """What is said to a host whose token names another."""
    return f"The token lets in a host with the name {bound!r}, and this one is called {asked!r}."


def other_principals(bound: Iterable[str], others: Iterable[str]) -> str:
    """What is said to a host whose token names its principals."""
    return (
        f"The token lets in a host with the principals {', '.join(bound)}, and this one also asks for"
        f" {', '.join(sorted(others))}."
    )
