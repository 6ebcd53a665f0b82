"""Certificates for a person whom the administrator names, stored or not."""

from __future__ import annotations

from attrs import evolve

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.options import Options
from teleport_conch.access.roles import Role
from teleport_conch.access.templates import Traits
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.people.certificates import DEFAULT_ROLES, LOGINS_TRAIT, UserCertificates, UserRequest
from teleport_conch.auth.people.people_certificates import Issued, Wanted
from teleport_conch.certs import names


def good_for(cluster: Cluster, request: UserRequest) -> tuple[tuple[Role, ...], Traits]:
    """The roles and traits with which :func:`sign_for` signs; names of roles that there are not are passed over.

    Logins that are asked for count as such, too: OpenSSH's servers look at those of a certificate, and at no role.

    :raises PrincipalForbidden: one of the logins is none.
    """
    user = cluster.users.usable(request.name)
    named = request.roles or (DEFAULT_ROLES if user is None else user.roles)
    roles = tuple(cluster.roles[name] for name in named if name in cluster.roles)
    if user is not None and not request.logins:
        return roles, user.traits
    logins = Conditions(names.logins(request.logins), EVERY_NODE)
    return (*roles, Role("", options=Options(port_forwarding=False), allow=logins)), {LOGINS_TRAIT: request.logins}


async def sign_for(cluster: Cluster, request: UserRequest, by: str) -> UserCertificates | Issued:
    """What the administrator asks for; where a user is stored, its roles, traits and logins stand for what is left out.

    Then a time that is left out is the one that a login would give, and one that is not is longer than that if need be.

    :param by: who asks, for the event.
    :raises: see :meth:`~teleport_conch.auth.people.certificates.Certificates.sign_user`.
    """
    user, now = cluster.users.usable(request.name), cluster.clocks.wall()
    if user is None or request.logins:
        roles = request.roles or (() if user is None else user.roles)
        signed: UserCertificates | Issued = cluster.certificates.sign_user(evolve(request, roles=roles), by)
    else:
        wanted = Wanted(
            user.name,
            cluster.directory.roles_of(user.name, request.roles or user.roles, now, now),
            user.traits,
            request.ssh_key,
            request.tls_key,
            request.ttl_s,
            ends_at=user.expires_at,
            unclamped=request.ttl_s > 0,
        )
        signed = cluster.people.certificates.issue(wanted, "tctl", by)
    await cluster.people.note_certificate(request.name, now + request.ttl_s)
    return signed
