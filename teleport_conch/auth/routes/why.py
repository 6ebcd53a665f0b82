"""Whether somebody may log in to a node, and every reason: for a user as they are stored, or for one certificate."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve, frozen

from teleport_conch.access.aged import NOT_AGED
from teleport_conch.access.builtin import EMERGENCY
from teleport_conch.access.decision import Caller, Facts, Login, Target
from teleport_conch.access.findings import Failure
from teleport_conch.access.known import claims_of
from teleport_conch.access.trace import explain
from teleport_conch.auth.cluster import Cluster
from teleport_conch.certs.certificate import CertificateType, SSHCertificate
from teleport_conch.certs.extensions import traits_of
from teleport_conch.certs.options import is_emergency
from teleport_conch.certs.trust import check_ssh_certificate
from teleport_conch.errors import (
    AccessDenied,
    AmbiguousName,
    BadParameter,
    CertificateExpired,
    CertificateRefused,
    CertificateSourceAddress,
    EmergencyOnly,
    NotFound,
    TeleportError,
)
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.server import Server

MAX_CERTIFICATE_CHARS = 65_536


@frozen
class Question:
    """Either ``user`` or ``certificate`` is set.

    :ivar node: its name or host UUID.
    :ivar address: from which the person would come; empty where nobody asks.
    """

    login: str
    node: str
    user: str = ""
    certificate: str = ""
    address: str = ""

    @classmethod
    def from_json(cls, value: object) -> Question:
        fields = Fields(value, "request")
        user = fields.text("user", default="", max_chars=255)
        certificate = fields.text("certificate", default="", max_chars=MAX_CERTIFICATE_CHARS)
        if bool(user) == bool(certificate):
            raise BadParameter("Ask about a user or about a certificate, and not about both.")
        login, node = fields.text("login", max_chars=255), fields.text("node", max_chars=255)
        return cls(login, node, user, certificate, fields.text("address", default="", max_chars=64))


def answer(cluster: Cluster, question: Question, now: float) -> dict[str, object]:
    """The trace of the decision that the node would make at this moment.

    :raises NotFound: there is no such user, or no such node. :raises AmbiguousName: there are several.
    :raises BadParameter: what is shown is no certificate.
    """
    node = _node(cluster, question.node)
    if question.user:
        caller, outside = _of_user(cluster, question, now)
    else:
        caller, outside = _of_certificate(cluster, question, now)
    target = Target(labels=node.all_labels, name=node.hostname, owner=node.name)
    trace = explain(caller, Login(question.login), target, Facts(locks=cluster.locks.every), now)
    trace = evolve(trace, outside=(*outside, *trace.outside))
    return {"node": {"name": node.name, "hostname": node.hostname}, "trace": trace.to_json(), "lines": trace.lines()}


def _node(cluster: Cluster, name: str) -> Server:
    nodes = cluster.inventory.all("node")
    found = [node for node in nodes if name == node.name] or [node for node in nodes if name == node.hostname]
    if not found:
        raise NotFound(f"There is no node {name[:64]!a}; 'tctl nodes ls' lists them.")
    if len(found) > 1:
        uuids = [node.name for node in found]
        raise AmbiguousName(f"Several nodes are called {name[:64]!a}: say which by its UUID, {', '.join(uuids)}.")
    return found[0]


def _of_user(cluster: Cluster, question: Question, now: float) -> tuple[Caller, tuple[Failure, ...]]:
    """The user with a certificate that they would get now, which has every login that their roles give.

    What access requests lend at the moment is among these roles.
    """
    user, directory = cluster.users.get(question.user), cluster.directory
    own = tuple(cluster.roles[role] for role in user.roles if role in cluster.roles)
    lent = directory.lent_now(user.name, now)
    caller = Caller(user.name, "user", (*own, *lent), (question.login,), user.traits, cluster=cluster.name)
    outside = []
    if not user.in_force_at(now):
        outside.append(Failure("identity", "the user has expired", f"extend the user {user.name}"))
    for role in sorted(set(user.roles) - cluster.roles.keys()):
        change = f"make the role {role}, or take it from {user.name}"
        outside.append(Failure("identity", f"the user has the role {role}, which does not exist", change))
    return caller, tuple(outside)


def _of_certificate(cluster: Cluster, question: Question, now: float) -> tuple[Caller, tuple[Failure, ...]]:
    try:
        certificate = SSHCertificate.from_line(question.certificate)
    except (TeleportError, ValueError) as wrong:
        raise BadParameter(f"That is no certificate: {wrong}") from None
    user, traits = certificate.key_id, {"logins": certificate.principals, **traits_of(certificate)}
    outside = list(_refusals(cluster, certificate, question, now))
    if is_emergency(certificate):
        return Caller(user, "user", (EMERGENCY,), certificate.principals, traits, cluster=cluster.name), tuple(outside)
    try:
        claims = claims_of(certificate)
        roles, aged = cluster.directory.roles_of(claims, now), cluster.directory.aged(claims, now)
    except AccessDenied as refused:
        roles, aged = (), NOT_AGED
        outside.append(Failure("identity", refused.sentence, "log in again, or ask for another certificate"))
    caller = Caller(user, "user", roles, certificate.principals, traits, cluster=cluster.name, aged=aged)
    return caller, tuple(outside)


def _refusals(cluster: Cluster, certificate: SSHCertificate, question: Question, now: float) -> Iterator[Failure]:
    """What a node would say of the certificate itself."""
    try:
        check_ssh_certificate(
            certificate,
            type=CertificateType.USER,
            authorities=cluster.authorities.public("user").ssh_keys,
            now=now,
            principal=None,
            source_address=question.address or None,
        )
    except CertificateExpired as expired:
        yield Failure("ttl", expired.sentence, "log in again")
    except EmergencyOnly as refused:
        yield Failure("certificate", refused.sentence, "use it when nodes cannot reach auth, or log in")
    except CertificateSourceAddress as refused:
        if question.address:
            yield Failure("certificate", refused.sentence, "come from an address for which the certificate is good")
    except CertificateRefused as refused:
        yield Failure("certificate", refused.sentence, "log in again, or ask for another certificate")
