"""Who may log in to this node: a valid certificate, a role that matches the node's labels, and an account."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import Protocol

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from teleport_conch.access.decision import Denial, Facts, Grant, Login, Target, decide
from teleport_conch.access.known import Known
from teleport_conch.access.trace import explain
from teleport_conch.audit.logins import who, why_certificate
from teleport_conch.cache import Emergency
from teleport_conch.certs.certificate import CertificateType
from teleport_conch.certs.options import is_emergency
from teleport_conch.certs.refusal import Asked
from teleport_conch.certs.trust import check_ssh_certificate
from teleport_conch.errors import AccessDenied, ConnectionProblem, LimitExceeded, TeleportError
from teleport_conch.node.guest import Guest
from teleport_conch.node.guest_room import GuestRoom
from teleport_conch.node.leases import HeldLease
from teleport_conch.ssh.account import Account, lookup
from teleport_conch.ssh.login.policy import Attempt, Claim, LoginPolicy

Emit = Callable[..., object]


class Cluster(Protocol):
    """What the node knows of its cluster, also while auth is away."""

    def user_authorities(self) -> Collection[bytes]:
        """The keys that sign the certificates of users."""

    def known(self) -> Known:
        """The people of the cluster, at this moment."""

    def emergency(self) -> Emergency | None:
        """What counts for certificates that were made for emergencies; None while there is none."""


@frozen
class _Admitted:
    """Somebody who may come in.

    :ivar known: what is to be known of people at each moment as long as they stay.
    """

    grant: Grant
    account: Account
    known: Callable[[], Known]


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
        admitted = self._admit(claim)
        lease = await self._lease(claim, admitted)
        monitored = self.room.monitored
        try:
            login = None if monitored is None else await monitored.log_in(claim)
        except BaseException:
            if lease is not None:
                lease.end()
            raise
        self.emit("auth", **who(claim), **_how(claim))
        return Guest(self.room, admitted.account, claim, admitted.known, self.target, login, lease)

    async def _lease(self, claim: Claim, admitted: _Admitted) -> HeldLease | None:
        most = admitted.grant.options.max_connections
        if most == 0:
            return None
        try:
            return await self.room.leases.take(claim.certificate.key_id, most)
        except LimitExceeded as reason:
            self.emit("session.rejected", reason="max_connections limit reached", max=most, **who(claim))
            raise self._too_many(claim, admitted.known(), most, reason.sentence) from reason
        except ConnectionProblem as reason:
            raise AccessDenied(reason.sentence) from reason

    def _too_many(self, claim: Claim, known: Known, most: int, sentence: str) -> Denial:
        """What the person reads, and what ``tctl why`` says: whose option it is."""
        denial, now = Denial(sentence), self.clock.seconds()
        caller, facts = known.caller(claim.certificate, now), Facts(locks=known.locks, connections=most)
        denial.trace = explain(caller, Login(claim.user), self.target(), facts, now)
        return denial

    def refused(self, claim: Claim | Attempt, error: TeleportError) -> None:
        """Says so in the audit log."""
        reason = why_certificate(claim, error, os.urandom, lambda: self._asked(claim))
        self.emit("auth", success=False, **who(claim), **reason)

    def _asked(self, claim: Claim | Attempt) -> Asked:
        return Asked(claim.user, claim.client[0], self.cluster.user_authorities(), self.clock.seconds())

    def _admit(self, claim: Claim) -> _Admitted:
        now, emergency = self.clock.seconds(), None
        if is_emergency(claim.certificate):
            emergency = self.cluster.emergency()
        check_ssh_certificate(
            claim.certificate,
            type=CertificateType.USER,
            authorities=self.cluster.user_authorities() if emergency is None else emergency.user_authorities,
            now=now,
            principal=claim.user,
            source_address=claim.client[0],
            emergency=emergency is not None,
        )
        of_people = self.cluster.known if emergency is None else self._known_since
        known = of_people()
        caller = known.caller(claim.certificate, now)
        grant = decide(caller, Login(claim.user), self.target(), Facts(locks=known.locks), now)
        return _Admitted(grant, _account(claim.user), of_people)

    def _known_since(self) -> Known:
        """For who came in an emergency: what counts in one, and all that is known once it is over."""
        emergency = self.cluster.emergency()
        return self.cluster.known() if emergency is None else emergency.known


def _how(claim: Claim) -> dict[str, object]:
    return {"method": "break-glass"} if is_emergency(claim.certificate) else {}


def _account(login: str) -> Account:
    try:
        return lookup(login)
    except TeleportError as missing:
        raise AccessDenied(missing.sentence) from missing
