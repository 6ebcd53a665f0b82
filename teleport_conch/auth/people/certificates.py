"""Certificates that the administrator asks for: for people, and for hosts that run OpenSSH's sshd."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from attrs import define, frozen

from teleport_conch.access import options
from teleport_conch.access.builtin import resolve
from teleport_conch.access.roles import Role
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.hosts.principals import NameRules
from teleport_conch.auth.limits import (
    EMERGENCY_CERTIFICATE_S,
    HOST_CERTIFICATE_S,
    MAX_EMERGENCY_CERTIFICATE_S,
    MAX_LOGINS,
    MIN_USER_CERTIFICATE_S,
    USER_CERTIFICATE_S,
)
from teleport_conch.auth.people.people_certificates import check_ttl
from teleport_conch.auth.state.authorities import Authorities
from teleport_conch.certs import keys
from teleport_conch.certs.options import EMERGENCY, SOURCE_ADDRESS
from teleport_conch.certs.tls import certificate_pem
from teleport_conch.durations import format_duration, shown_duration
from teleport_conch.errors import BadParameter, StorageFull

MAX_ROLES_SHOWN = 32
DEFAULT_ROLES = ("access",)
LOGINS_TRAIT = "logins"
EMERGENCY_PREFIX = "break-glass:"
"""What the names in certificates for emergencies begin with."""


@frozen
class UserRequest:
    """Whose certificate, for what, and over which keys.

    :ivar ttl_s: 0 asks for the default.
    :ivar ssh_key: an authorized_keys line. ``tls_key`` is a PEM, empty for no TLS certificate.
    :ivar addresses: the only ones from where they may be used, addresses and CIDR blocks; none for everywhere.
    """

    name: str
    logins: tuple[str, ...]
    ssh_key: str
    tls_key: str = ""
    roles: tuple[str, ...] = DEFAULT_ROLES
    ttl_s: float = 0.0
    addresses: tuple[str, ...] = ()


@frozen
class EmergencyRequest:
    """A certificate for the time when there is no other.

    :ivar name: what it is called; events name it, and a lock on the user of that name shuts it out.
    :ivar addresses: from where it may be used: addresses and CIDR blocks, at least one.
    :ivar ssh_key: an authorized_keys line.
    """

    name: str
    logins: tuple[str, ...]
    addresses: tuple[str, ...]
    ssh_key: str
    ttl_s: float = 0.0


@frozen
class UserCertificates:
    """An SSH certificate as a line, a TLS certificate as PEM (empty where none was asked for)."""

    ssh: str
    tls: str


@define(eq=False)
class Certificates:
    """Signs for the administrator.

    :ivar _roles: all roles of people, by name.
    :ivar _random: so many random bytes.
    """

    _clocks: Clocks
    _authorities: Authorities
    _rules: NameRules
    _roles: Mapping[str, Role]
    _emit: Emit
    _random: Callable[[int], bytes]

    def sign_user(self, request: UserRequest, by: str) -> UserCertificates:
        """Certificates for a person.

        :param by: who asks, for the event.
        :raises BadParameter: a role that does not exist, or a time out of bounds.
        :raises PrincipalForbidden: a name that no certificate may carry.
        :raises StorageFull: there is no room for the event of it.
        """
        ttl_s, roles = _ttl(request.ttl_s), request.roles or DEFAULT_ROLES
        if len(request.logins) > MAX_LOGINS:
            raise BadParameter(f"A certificate has at most {MAX_LOGINS} logins.")
        unknown = set(roles) - self._roles.keys()
        if unknown:
            known = ", ".join(sorted(self._roles)[:MAX_ROLES_SHOWN])
            raise BadParameter(f"There is no role {min(unknown)[:64]!r}; there are {known}.")
        ssh, tls = self._sign(request, roles, ttl_s)
        fields = {"cert_type": "user", "name": request.name, "logins": request.logins, "roles": roles}
        self._tell({**fields, "user": by, "expires": self._clocks.wall() + ttl_s})
        return UserCertificates(ssh, tls)

    def _sign(self, request: UserRequest, roles: Sequence[str], ttl_s: float) -> tuple[str, str]:
        now, authority, traits = self._clocks.wall(), self._authorities.user, {LOGINS_TRAIT: request.logins}
        listed = ",".join(request.addresses)
        permitted = options.combine(role.options for role in resolve(roles, "user", self._roles))
        ssh = authority.sign_user_ssh(
            keys.blob_of_line(request.ssh_key),
            name=request.name,
            logins=request.logins,
            roles=roles,
            traits=traits,
            ttl_s=ttl_s,
            now=now,
            port_forwarding=permitted.port_forwarding,
            agent_forwarding=permitted.forward_agent,
            x11_forwarding=permitted.permit_x11_forwarding,
            critical_options=((SOURCE_ADDRESS, listed),) if listed else (),
        )
        if not request.tls_key:
            return ssh.to_line(), ""
        tls = authority.sign_user_tls(
            keys.load_public_pem(request.tls_key),
            name=request.name,
            logins=request.logins,
            roles=roles,
            traits=traits,
            ttl_s=ttl_s,
            now=now,
            source_address=listed,
        )
        return ssh.to_line(), certificate_pem(tls)

    def sign_emergency(self, request: EmergencyRequest, by: str) -> str:
        """A certificate line that nodes take only while they cannot reach auth.

        :param by: who asks, for the event.
        :raises BadParameter: no addresses, something that is none, or a time out of bounds.
        :raises StorageFull: there is no room for the event of it.
        """
        ttl_s = request.ttl_s or EMERGENCY_CERTIFICATE_S
        check_emergency_ttl(ttl_s)
        if not request.addresses:
            raise BadParameter("missing parameter addresses: an emergency certificate says from where it may be used")
        signed = self._authorities.user.sign_user_ssh(
            keys.blob_of_line(request.ssh_key),
            name=EMERGENCY_PREFIX + request.name,
            logins=request.logins,
            roles=(),
            traits={},
            ttl_s=ttl_s,
            now=self._clocks.wall(),
            port_forwarding=False,
            agent_forwarding=False,
            critical_options=((EMERGENCY, ""), (SOURCE_ADDRESS, ",".join(request.addresses))),
        )
        fields = {"cert_type": "emergency", "name": signed.key_id, "logins": request.logins, "user": by}
        self._tell({**fields, "principals": request.addresses, "expires": signed.valid_before})
        return signed.to_line()

    def sign_host(self, principals: Sequence[str], ssh_key: str, ttl_s: float, by: str) -> str:
        """A certificate line for a host that runs OpenSSH's sshd and is not part of the cluster.

        :param principals: the first one is its name.
        :raises StorageFull: there is no room for the event of it.
        """
        unique = str(UUID(bytes=self._random(16), version=4))
        called = self._rules.usual(principals, unique, address="")
        if not called:
            raise BadParameter("missing parameter principals: a host certificate is for at least one name")
        certificate = self._authorities.host.sign_host_ssh(
            keys.blob_of_line(ssh_key),
            host_uuid=unique,
            node_name=called[0],
            cluster_name=self._authorities.cluster_name,
            principals=called[1:],
            role="Node",
            ttl_s=ttl_s or HOST_CERTIFICATE_S,
            now=self._clocks.wall(),
        )
        fields = {"cert_type": "host", "name": called[0], "principals": called, "user": by}
        self._tell({**fields, "expires": certificate.valid_before})
        return certificate.to_line()

    def _tell(self, fields: Mapping[str, object]) -> None:
        """The event of a certificate, without which nobody gets the certificate."""
        if not self._emit("cert.create", fields):
            raise StorageFull(
                "No certificate is issued, as the event that says so cannot be kept. The disk of the auth server is"
                " full, or its spool of events: make room there. Its log says more."
            )


def _ttl(ttl_s: float) -> float:
    return USER_CERTIFICATE_S if ttl_s == 0 else check_ttl(ttl_s)


def check_emergency_ttl(ttl_s: float) -> None:
    """:raises BadParameter: no certificate for emergencies lives for so long, or so short."""
    if not MIN_USER_CERTIFICATE_S <= ttl_s <= MAX_EMERGENCY_CERTIFICATE_S:
        raise BadParameter(
            f"An emergency certificate lives for {format_duration(MIN_USER_CERTIFICATE_S)} to"
            f" {MAX_EMERGENCY_CERTIFICATE_S / 86400:g} days, and not for {shown_duration(ttl_s)}."
        )
