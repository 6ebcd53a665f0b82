"""What a host knows of its cluster at one moment, as far as decisions about people depend on it."""

from __future__ import annotations

from bisect import bisect_right

from attrs import Factory, field, frozen

from teleport_conch.access.aged import NOT_AGED
from teleport_conch.access.builtin import EMERGENCY
from teleport_conch.access.directory import Claims, Directory, signed_at
from teleport_conch.access.locks import NO_LOCKS, Locks
from teleport_conch.access.question import Caller
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.extensions import requests_of, roles_of, says_roles, traits_of
from teleport_conch.certs.options import SOURCE_ADDRESS, is_emergency

REMEMBERED_CALLERS = 256
"""Certificates whose roles and traits were read, and are not read again while they are among the last so many."""


def _all_ends(known: Known) -> tuple[float, ...]:
    """When roles, users and access requests end, sorted: somebody asks at each login, and there may be many users."""
    ends = [role.expires_at for role in known.directory.roles.values()]
    ends += [user.expires_at for user in known.directory.users.values()]
    ends += [request.expires_at for request in known.directory.requests.values()]
    return tuple(sorted({end for end in ends if end is not None}))


@frozen
class Known:
    """One state of a cluster; another one is another object, which remembers nothing of this one.

    :ivar cluster: its name.
    """

    cluster: str
    directory: Directory = field(factory=Directory)
    locks: Locks = NO_LOCKS
    _callers: dict[SSHCertificate, Caller] = field(init=False, factory=dict, eq=False, repr=False)
    _ends: tuple[float, ...] = field(init=False, eq=False, repr=False, default=Factory(_all_ends, takes_self=True))

    def caller(self, certificate: SSHCertificate, now: float) -> Caller:
        """The person of a certificate that is believed.

        :raises AccessDenied: the certificate names a role that does not exist, or its user is not there any more.
        """
        if not is_emergency(certificate):
            self.directory.check(certificate.key_id, signed_at(certificate.valid_after), now)
        caller = self._callers.pop(certificate, None)
        if caller is None or now >= caller.lent_until:
            caller = self._read(certificate, now)
        self._callers[certificate] = caller
        if len(self._callers) > REMEMBERED_CALLERS:
            del self._callers[next(iter(self._callers))]
        return caller

    def _read(self, certificate: SSHCertificate, now: float) -> Caller:
        claims, directory = claims_of(certificate), self.directory
        emergency = is_emergency(certificate)
        return Caller(
            name=claims.user,
            cluster=self.cluster,
            kind="user",
            roles=(EMERGENCY,) if emergency else directory.roles_of(claims, now),
            logins=certificate.principals,
            traits={"logins": certificate.principals, **traits_of(certificate)},
            aged=NOT_AGED if emergency else directory.aged(claims, now),
        )

    def changes_after(self, now: float) -> float:
        """The next instant at which a role, a user or a request is over, so that decisions may change by themselves."""
        at = bisect_right(self._ends, now)
        return self._ends[at] if at < len(self._ends) else float("inf")


def claims_of(certificate: SSHCertificate) -> Claims:
    """What an SSH certificate says of its person."""
    return Claims(
        certificate.key_id,
        roles_of(certificate),
        signed_at(certificate.valid_after),
        requests_of(certificate),
        silent=not says_roles(certificate),
        bound=certificate.critical_option(SOURCE_ADDRESS) is not None,
    )
