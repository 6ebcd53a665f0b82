"""Who may log in to this node: a valid certificate, a role that matches the node's labels, and an account."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Protocol

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from teleport_conch.access.builtin import resolve
from teleport_conch.access.decision import Caller, Facts, Login, Target, decide
from teleport_conch.certs.certificate import CertificateType, SSHCertificate
from teleport_conch.certs.extensions import roles_of, traits_of
from teleport_conch.certs.trust import check_ssh_certificate
from teleport_conch.errors import AccessDenied, TeleportError
from teleport_conch.member import who, why
from teleport_conch.node.guest import Guest, GuestRoom
from teleport_conch.ssh.account import Account, lookup
from teleport_conch.ssh.login.policy import Attempt, Claim, LoginPolicy

REMEMBERED_CALLERS = 256
"""Certificates whose roles and traits were read, and are not read again while they are among the last so many."""

Emit = Callable[..., object]


class Cluster(Protocol):
    """What the node knows of its cluster, also while auth is away."""

    def user_authorities(self) -> Collection[bytes]:
        """The keys that sign the certificates of users."""

    def cluster_name(self) -> str:
        """The name of the cluster."""


@frozen
class NodeLogin(LoginPolicy):
    """The :class:`~teleport_conch.ssh.login.policy.LoginPolicy` of a node.

    :param target: the node as roles see it, with its labels of this moment.
    :param room: what the guests of this node share.
    """

    clock: IReactorTime
    cluster: Cluster
    target: Callable[[], Target]
    room: GuestRoom
    emit: Emit

    def check(self, claim: Claim) -> None:
        """Certificate, role and account, in this order: who has no certificate learns nothing of accounts."""
        self._admit(claim)

    async def login(self, claim: Claim) -> Guest:
        """The guest that the claim makes of its holder."""
        caller, account = self._admit(claim)
        monitored = self.room.monitored
        login = None if monitored is None else await monitored.log_in(claim)
        self.emit("auth", **who(claim))
        return Guest(self.room, caller, account, claim, self.target, login)

    def refused(self, claim: Claim | Attempt, error: TeleportError) -> None:
        """Says so in the audit log."""
        self.emit("auth", success=False, **who(claim), **why(error))

    def _admit(self, claim: Claim) -> tuple[Caller, Account]:
        now = self.clock.seconds()
        check_ssh_certificate(
            claim.certificate,
            type=CertificateType.USER,
            authorities=self.cluster.user_authorities(),
            now=now,
            principal=claim.user,
            source_address=claim.client[0],
        )
        caller = caller_of(claim, self.cluster.cluster_name())
        decide(caller, Login(claim.user), self.target(), Facts(), now)
        return caller, _account(claim.user)


def caller_of(claim: Claim, cluster: str) -> Caller:
    """The person of a certificate that is believed, with its roles and traits."""
    return _caller_of(claim.certificate, cluster)


@lru_cache(maxsize=REMEMBERED_CALLERS)
def _caller_of(certificate: SSHCertificate, cluster: str) -> Caller:
    return Caller(
        name=certificate.key_id,
        cluster=cluster,
        kind="user",
        roles=resolve(roles_of(certificate)),
        logins=certificate.principals,
        traits={"logins": certificate.principals, **traits_of(certificate)},
    )


def _account(login: str) -> Account:
    try:
        return lookup(login)
    except TeleportError as missing:
        raise AccessDenied(missing.sentence) from missing
