"""What a person who has logged in is permitted at each moment: by certificate, roles, locks and the host's accounts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attrs import define
from twisted.logger import Logger

from teleport_conch.access.decision import (
    AgentForward,
    Denial,
    Facts,
    Grant,
    Login,
    PortForward,
    Target,
    X11Forward,
    decide,
)
from teleport_conch.access.known import Known
from teleport_conch.access.question import OnNode
from teleport_conch.access.trace import explain
from teleport_conch.audit.logins import who, why
from teleport_conch.certs.options import is_emergency
from teleport_conch.errors import AccessDenied, TeleportError
from teleport_conch.node.environment import Place
from teleport_conch.node.guest_room import GuestRoom
from teleport_conch.node.recorder import Recorder
from teleport_conch.node.recordings import Recorded
from teleport_conch.resources.session import ActiveSession
from teleport_conch.ssh.account import Account, lookup
from teleport_conch.ssh.login.policy import Claim
from teleport_conch.ssh.session.channel import SessionStart, TerminalRequest


class TooManySessions(Denial):
    """Roles of the person let a connection have no more sessions than it has."""


@define(eq=False)
class Permitted:
    """One authenticated connection, as far as it is asked what it may do.

    :param known: the people of the cluster at each moment: who somebody is may change while they are here.
    :param target: this node, as roles see it at each moment.
    """

    room: GuestRoom
    account: Account
    claim: Claim
    known: Callable[[], Known]
    target: Callable[[], Target]
    _log = Logger()

    def _may_forward(self, host: str, port: int) -> None:
        self._account_stayed()
        self._extension("permit-port-forwarding", "port forwarding")
        self._decide(PortForward(self.account.name, host, port))

    @contextmanager
    def _forward_told(self, address: str) -> Iterator[None]:
        with self._refusals_told("port", addr=address):
            yield
        self.room.emit("port", addr=address, **who(self.claim))

    @contextmanager
    def _refusals_told(self, event: str, **facts: object) -> Iterator[None]:
        """What is refused in here is an event and a line in the service's log, before the client hears of it."""
        try:
            yield
        except TeleportError as refusal:
            reason = why(refusal, os.urandom)
            self.room.emit(event, success=False, **who(self.claim), **facts, **reason)
            self._log.info(
                "{refused} of {user!r} as {login!r} from {client} was refused ({reference}): {why}",
                refused=event,
                user=self.claim.certificate.key_id,
                login=self.claim.user,
                client=self.claim.client_address,
                why=reason["error"],
                reference=reason.get("reference"),
            )
            raise

    def _account_stayed(self) -> None:
        """A login may last for days: its account may have been removed meanwhile, or its name given to another."""
        if lookup(self.account.name).uid != self.account.uid:
            name = self.account.name
            raise AccessDenied(f"The account {name} is not the one that it was at the login: log in again.")

    def _decide(self, action: OnNode) -> Grant:
        known, now = self.known(), self.room.reactor.seconds()
        caller = known.caller(self.claim.certificate, now)
        return decide(caller, action, self.target(), Facts(locks=known.locks), now)

    def _too_many(self, most: int, count: int) -> TooManySessions:
        """What the person reads, and what ``tctl why`` says: whose option it is.

        :param most: sessions of one connection. ``count`` are open.
        """
        known, now = self.known(), self.room.reactor.seconds()
        refusal = TooManySessions(f"too many session channels: max_sessions is {most}")
        caller, facts = known.caller(self.claim.certificate, now), Facts(locks=known.locks, sessions=count)
        refusal.trace = explain(caller, Login(self.account.name), self.target(), facts, now)
        return refusal

    def _extension(self, name: str, called: str) -> None:
        if self.claim.certificate.critical_option("force-command") is not None and name != "permit-pty":
            raise AccessDenied(f"The certificate is for one command, and does not permit {called}.")
        if self.claim.certificate.extension(name) is None:
            raise AccessDenied(f"The certificate does not permit {called}.")

    def _still(self, action: PortForward | AgentForward | X11Forward) -> bool:
        try:
            self._decide(action)
        except AccessDenied:
            return False
        return True

    def _bound(self, request: SessionStart) -> SessionStart:
        """What a certificate with ``force-command`` runs, whatever was asked for (PROTOCOL.certkeys)."""
        forced = self.claim.certificate.critical_option("force-command")
        if forced is None:
            return request
        original = {"SSH_ORIGINAL_COMMAND": request.command} if request.command else {}
        environment = {**request.environment, **original}
        return SessionStart("exec", forced, request.terminal, environment)

    def _place(self, session_id: str) -> Place:
        return self.room.place(self.claim, self.known().cluster, session_id)

    def _recorder(self, active: ActiveSession, terminal: TerminalRequest) -> Recorder | None:
        """What records a session with a terminal; None where such sessions are not recorded."""
        emergency = is_emergency(self.claim.certificate)
        cluster = self.known().cluster
        return self.room.recordings.recorder(Recorded(active, terminal, cluster, emergency))

    def _active(self, session_id: str, request: SessionStart) -> ActiveSession:
        return self.room.active(self.claim, self.account.name, session_id, request.terminal is not None)
