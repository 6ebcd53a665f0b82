"""Certificates for a person whom the administrator names, stored or not."""

from __future__ import annotations

from attrs import evolve

from teleport_conch.auth.certificates import UserCertificates, UserRequest
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.people_certificates import Issued, Wanted


async def sign_for(cluster: Cluster, request: UserRequest, by: str) -> UserCertificates | Issued:
    """What the administrator asks for; where a user is stored, its roles, traits and logins stand for what is left out.

    Then a time that is left out is the one that a login would give, and one that is not is longer than that if need be.

    :param by: who asks, for the event. Raises as :meth:`~teleport_conch.auth.certificates.Certificates.sign_user`.
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
