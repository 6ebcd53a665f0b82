"""Certificates for a person whom the administrator names, stored or not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import evolve

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.directory import Claims
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.options import Options, combine
from teleport_conch.access.roles import Role
from teleport_conch.access.templates import Traits
from teleport_conch.access.trace import live_roles
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.limits import MAX_PERSONS_CERTIFICATE_S, MIN_USER_CERTIFICATE_S, USER_CERTIFICATE_S
from teleport_conch.auth.people.certificates import DEFAULT_ROLES, LOGINS_TRAIT, UserCertificates, UserRequest
from teleport_conch.auth.people.people_certificates import Issued, Wanted
from teleport_conch.auth.rules.callers import Peer
from teleport_conch.certs import names
from teleport_conch.certs.options import Network, networks
from teleport_conch.durations import format_duration, shown_duration
from teleport_conch.errors import BadParameter, CertificateCriticalOption, CertificateExpired


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
    recorded = combine(role.options for role in roles or (Role(""),)).enhanced_recording  # by the roles, and no more
    options = Options(port_forwarding=False, enhanced_recording=recorded)
    return (*roles, Role("", options=options, allow=logins)), {LOGINS_TRAIT: request.logins}


def lasting(ttl_s: float, roles: Iterable[Role], signer: Peer, now: float) -> float:
    """For how long a person may sign: as a login of either would give, and not beyond the signer's own certificate.

    :param ttl_s: what is asked for; 0 for as long as may be, up to the usual time.
    :param roles: of the one who gets the certificate.
    :raises BadParameter: more is asked for.
    :raises CertificateExpired: the signer's own ends too soon.
    """
    both = (*live_roles(signer.caller, now), *(role for role in roles if role.holds_at(now)))
    by_roles = min(combine(role.options for role in both).max_session_ttl_s, MAX_PERSONS_CERTIFICATE_S)
    most = min(by_roles, int(signer.identity.not_after) - now)
    if most < MIN_USER_CERTIFICATE_S:
        raise CertificateExpired(
            "Your own certificate ends too soon for one that you could sign with it; log in again."
        )
    if ttl_s > most:
        limit = "the roles of both of you allow" if most == by_roles else "your own certificate lasts"
        raise BadParameter(
            f"You may sign for {format_duration(float(int(most)))}, which is what {limit}, and not for"
            f" {shown_duration(ttl_s)}. tctl on the auth host may sign for longer."
        )
    return ttl_s or min(USER_CERTIFICATE_S, most)


def check_addresses(addresses: Sequence[str], roles: Iterable[Role], now: float, own: str = "") -> None:
    """That the addresses that somebody names, where no login vouches for one, are what roles ask for.

    :param roles: of the one who gets the certificate.
    :param own: what the signer's own certificate is bound to; with it nobody makes one that is good elsewhere.
    :raises BadParameter: they are none, or others than the signer's own; or a role is for certificates with one address
        and that is not named.
    """
    try:
        found = networks(",".join(addresses)) if addresses else ()
    except CertificateCriticalOption as reason:
        raise BadParameter(reason.sentence) from None
    if own and not (found and all(_is_within(each, networks(own)) for each in found)):
        raise BadParameter(
            f"Your own certificate is good from {own} only, and so is what you sign with it: name an address of these"
            " with --source-address."
        )
    if not combine(role.options for role in roles if role.holds_at(now)).pin_source_ip:
        return
    if not found:
        raise BadParameter(
            "A role binds certificates to the address of the client, and nobody says which that is: name it with"
            " --source-address."
        )
    if len(found) > 1 or found[0].num_addresses > 1:
        raise BadParameter("A role binds certificates to the address of the client: name that one, and no more.")


def _is_within(network: Network, others: Iterable[Network]) -> bool:
    """Whether all of its addresses are in one of the others."""
    return any(network[0] in other and network[-1] in other for other in others)


async def sign_for(
    cluster: Cluster, request: UserRequest, by: str, as_login: bool = False
) -> UserCertificates | Issued:
    """What the administrator asks for; where a user is stored, its roles, traits and logins stand for what is left out.

    Then a time that is left out is the one that a login would give, and one that is not is longer than that if need be.

    :param by: who asks, for the event.
    :param as_login: no longer than that in any case; see :func:`lasting`.
    :raises: see :meth:`~teleport_conch.auth.people.certificates.Certificates.sign_user`.
    """
    user, now = cluster.users.usable(request.name), cluster.clocks.wall()
    check_addresses(request.addresses, good_for(cluster, request)[0], now)
    if user is None or request.logins:
        roles = request.roles or (() if user is None else user.roles)
        signed: UserCertificates | Issued = cluster.certificates.sign_user(evolve(request, roles=roles), by)
    else:
        wanted = Wanted(
            user.name,
            cluster.directory.roles_of(Claims(user.name, request.roles or user.roles, now), now),
            user.traits,
            request.ssh_key,
            request.tls_key,
            request.ttl_s,
            ends_at=user.expires_at,
            pinned=",".join(request.addresses),
            unclamped=request.ttl_s > 0 and not as_login,
            partial=bool(request.roles) and not set(user.roles) <= set(request.roles),
        )
        signed = cluster.people.certificates.issue(wanted, "tctl", by)
    await cluster.people.note_certificate(request.name, now + request.ttl_s)
    return signed
