"""Certificates for people who logged in, and for those who have some: as long and as wide as their roles say, no more.

The logins are those of the roles that last as long as the certificate, less those that any role denies. SSH and TLS
certificate say the same and end at the same second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from attrs import define, field, frozen

from teleport_conch.access import options
from teleport_conch.access.options import Options
from teleport_conch.access.roles import Role
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.limits import (
    MAX_LOGINS,
    MAX_PERSONS_CERTIFICATE_S,
    MAX_USER_CERTIFICATE_S,
    MIN_USER_CERTIFICATE_S,
    USER_CERTIFICATE_S,
)
from teleport_conch.auth.state.authorities import Authorities
from teleport_conch.certs import keys, names
from teleport_conch.certs.options import SOURCE_ADDRESS
from teleport_conch.certs.tls import certificate_pem
from teleport_conch.durations import format_duration, shown_duration
from teleport_conch.errors import BadParameter, CertificateExpired, PrincipalForbidden, StorageFull

Traits = Mapping[str, tuple[str, ...]]
OLD_SSH = "oldssh"


@frozen
class Wanted:
    """What is asked for.

    :ivar roles: those that the person has now.
    :ivar ssh_key: an authorized_keys line; ``tls_key`` is a PEM, empty for no TLS certificate.
    :ivar ttl_s: 0 for the usual time.
    :ivar address: of the person's machine, for roles that bind certificates to it; empty where nobody vouches for one.
    :ivar ends_at: POSIX seconds after which it may not last in any case, None for no such end.
    :ivar logins: the only ones that it may have, None for all that the roles have.
    :ivar pinned: addresses that it is bound to whatever the roles say.
    :ivar generation: of a robot.
    :ivar unclamped: the administrator wants this time whatever the roles say.
    :ivar requests: the ids of the access requests that lend some of the roles; it ends with the first of them.
    :ivar partial: whether the person has roles beside these.
    """

    name: str
    roles: tuple[Role, ...]
    traits: Traits
    ssh_key: str
    tls_key: str
    ttl_s: float = 0.0
    address: str = ""
    ends_at: float | None = None
    logins: tuple[str, ...] | None = None
    pinned: str = ""
    generation: int = 0
    unclamped: bool = False
    requests: tuple[str, ...] = ()
    partial: bool = False

    def leaves_roles_out(self, permitted: Options) -> bool:
        """Whether servers before OpenSSH 7.2 are to read it: hosts then go by all the roles of the person."""
        return permitted.cert_format == OLD_SSH and not self.partial


@frozen
class Issued:
    """Certificates: a line, and a PEM. ``expires_at`` is when both end, in POSIX seconds."""

    ssh: str = field(repr=False)
    tls: str = field(repr=False)
    roles: tuple[str, ...]
    expires_at: float


@define(eq=False)
class PeopleCertificates:
    """Signs for people.

    :ivar _random: so many random bytes.
    """

    _clocks: Clocks
    _authorities: Authorities
    _emit: Emit
    _random: Callable[[int], bytes]

    def issue(self, wanted: Wanted, method: str, by: str = "") -> Issued:
        """:param method: how the person came by them, for the event; ``by`` is who asked, if not the person.

        :raises BadParameter: a TTL below a minute, a key that is not accepted, or no address where a role asks for one.
        :raises CertificateExpired: there is no time left for which it could be good.
        :raises StorageFull: there is no room for the event of it.
        """
        try:
            return self._issued(wanted, method, by)
        except (BadParameter, CertificateExpired) as reason:
            about = {"cert_type": "user", "name": wanted.name, "user": by or wanted.name, "method": method}
            self._emit("cert.create", {**about, "error": reason.sentence}, success=False)
            raise

    def _issued(self, wanted: Wanted, method: str, by: str) -> Issued:
        now = self._clocks.wall()
        live = tuple(role for role in wanted.roles if role.holds_at(now))
        permitted = options.combine(role.options for role in live)
        ttl_s = self._ttl(wanted, permitted, now)
        logins = logins_of(live, wanted.traits, 0.0 if wanted.unclamped else ttl_s, wanted.logins)
        pinned = wanted.pinned or self._pin(wanted, permitted)
        ssh, tls = self._sign(wanted, live, logins, permitted, pinned, ttl_s, now)
        about = {"cert_type": "user", "name": wanted.name, "logins": logins, "roles": [role.name for role in live]}
        about |= {"requests": wanted.requests} if wanted.requests else {}
        self._tell({**about, "user": by or wanted.name, "method": method, "expires": now + ttl_s})
        return Issued(ssh, tls, tuple(role.name for role in live), float(math.ceil(now + ttl_s)))

    def _ttl(self, wanted: Wanted, permitted: Options, now: float) -> float:
        if wanted.unclamped:
            return check_ttl(wanted.ttl_s)
        if wanted.ttl_s and not wanted.ttl_s >= MIN_USER_CERTIFICATE_S:
            raise BadParameter(f"A certificate lives for at least {format_duration(MIN_USER_CERTIFICATE_S)}.")
        most = [wanted.ttl_s or USER_CERTIFICATE_S, permitted.max_session_ttl_s, MAX_PERSONS_CERTIFICATE_S]
        if wanted.ends_at is not None:
            most.append(int(wanted.ends_at) - now)
        lent = (role.expires_at for role in wanted.roles if role.request and role.holds_at(now))
        most += [int(end) - now for end in lent if end is not None]
        ttl_s = min(most)
        if ttl_s < 1.0:
            raise CertificateExpired(
                "Nothing is left of the time for which a certificate could be issued; log in again."
            )
        return ttl_s

    def _pin(self, wanted: Wanted, permitted: Options) -> str:
        if not permitted.pin_source_ip:
            return ""
        if not wanted.address:
            raise BadParameter("A role binds certificates to the address of the client, and nobody says which that is.")
        return wanted.address

    def _sign(
        self,
        wanted: Wanted,
        roles: Sequence[Role],
        logins: Sequence[str],
        permitted: Options,
        pinned: str,
        ttl_s: float,
        now: float,
    ) -> tuple[str, str]:
        authority, called = self._authorities.user, [role.name for role in roles]
        principals = logins or (names.no_login_principal(UUID(bytes=self._random(16), version=4)),)
        ssh = authority.sign_user_ssh(
            keys.blob_of_line(wanted.ssh_key),
            name=wanted.name,
            logins=principals,
            roles=called,
            traits=wanted.traits,
            ttl_s=ttl_s,
            now=now,
            port_forwarding=permitted.port_forwarding,
            agent_forwarding=permitted.forward_agent,
            x11_forwarding=permitted.permit_x11_forwarding,
            critical_options=((SOURCE_ADDRESS, pinned),) if pinned else (),
            for_old_ssh=wanted.leaves_roles_out(permitted),
            requests=wanted.requests,
        )
        if not wanted.tls_key:
            return ssh.to_line(), ""
        tls = authority.sign_user_tls(
            keys.load_public_pem(wanted.tls_key),
            name=wanted.name,
            logins=principals,
            roles=called,
            traits=wanted.traits,
            ttl_s=ttl_s,
            now=now,
            source_address=pinned,
            generation=wanted.generation,
            requests=wanted.requests,
        )
        return ssh.to_line(), certificate_pem(tls)

    def _tell(self, fields: Mapping[str, object]) -> None:
        if not self._emit("cert.create", fields):
            raise StorageFull(
                "No certificate is issued, as the event that says so cannot be kept. The disk of the auth server is"
                " full, or its spool of events: make room there. Its log says more."
            )


def check_ttl(ttl_s: float) -> float:
    """:raises BadParameter: it is beyond what even an administrator may ask for."""
    if not MIN_USER_CERTIFICATE_S <= ttl_s <= MAX_USER_CERTIFICATE_S:
        raise BadParameter(
            f"A user certificate lives for {format_duration(MIN_USER_CERTIFICATE_S)} to"
            f" {format_duration(MAX_USER_CERTIFICATE_S)}, and not for {shown_duration(ttl_s)}."
        )
    return ttl_s


def logins_of(
    roles: Sequence[Role], traits: Traits, ttl_s: float, at_most: Sequence[str] | None = None
) -> tuple[str, ...]:
    """The logins of a certificate that lasts for so long: of the roles that last as long, and denied by none.

    :param at_most: the only ones that there may be.
    """
    allowed = {
        login for role in roles if role.options.max_session_ttl_s >= ttl_s for login in role.allow.logins_of(traits)
    }
    denied = {login for role in roles for login in role.deny.logins_of(traits)}
    found = allowed - denied if at_most is None else (allowed - denied) & set(at_most)
    return tuple(sorted(filter(_is_login, found))[:MAX_LOGINS])


def _is_login(name: str) -> bool:
    try:
        return bool(names.login(name))
    except PrincipalForbidden:
        return False
