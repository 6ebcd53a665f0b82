"""What ``tsh login`` does for roles that are asked for: what it says, keeps and refuses."""

from __future__ import annotations

import io
import sys
from typing import cast

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh import requesting
from teleport_conch.cli.tsh.main import parse
from teleport_conch.cli.tsh.requesting import Asking
from teleport_conch.client.answers import UserCertificates
from teleport_conch.client.people import LoggedIn
from teleport_conch.client.profiles import Login
from teleport_conch.errors import AccessDenied, BadParameter, NotFound, TeleportError
from teleport_conch.resources.access_request import AccessRequest, RequestState
from tests.cli.tsh.logins import login
from tests.client.certificates import HOST_CA, USER_CA

PENDING = AccessRequest("r-1", "alice", ("dba",), 1000.0, 4600.0)


@define
class FakeClient:
    """The calls that are made, with the answers that a test wants.

    :ivar decided: what becomes of the request, or why nothing.
    """

    outcome: AccessRequest | TeleportError
    fresh: Login
    asked: list[object] = field(factory=list)
    closed: bool = False

    @property
    def requests(self) -> FakeClient:
        return self

    @property
    def people(self) -> FakeClient:
        return self

    async def create(self, roles: tuple[str, ...], reason: str) -> AccessRequest:
        self.asked.append((roles, reason))
        return PENDING

    async def decided(self, clock: IReactorTime, request: AccessRequest) -> AccessRequest:
        if isinstance(self.outcome, TeleportError):
            raise self.outcome
        return self.outcome

    async def renew(self, ssh_key: str, tls_key: str, requests: tuple[str, ...]) -> LoggedIn:
        self.asked.append(requests)
        identity = self.fresh.identity
        authorities = (USER_CA.public(), HOST_CA.public())
        signed = UserCertificates(identity.ssh_certificate, identity.tls_certificate, authorities)
        return LoggedIn("alice", ("dba",), 5.0, signed)

    async def close(self) -> None:
        self.closed = True


class AskTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.err = io.StringIO()
        self.patch(sys, "stderr", self.err)

    def ask(self, outcome: AccessRequest | TeleportError, wanted: Asking | None = None) -> Deferred[Login]:
        self.before, self.client = login(), FakeClient(outcome, login(requests=("r-1",)))
        self.patch(requesting, "AuthClient", lambda *arguments: self.client)
        work = requesting.ask(cast(IReactorTime, Clock()), self.before, wanted or Asking(("dba",), "17"))
        return Deferred.fromCoroutine(work)

    def test_approved(self) -> None:
        """What is waited for and what came of it is said on stderr; the key stays, the certificates are others."""
        approved = evolve(PENDING, state=RequestState.APPROVED, resolve_reason="go\x1b[31m")
        found = self.successResultOf(self.ask(approved))
        self.assertEqual(
            self.err.getvalue(),
            "Seeking request approval... (id: r-1)\n"
            'Approval received, getting updated certificates... reason="go\\x1b[31m"\n',
        )
        self.assertEqual(self.client.asked, [(("dba",), "17"), ("r-1",)])
        self.assertEqual(found.identity.key, self.before.identity.key)
        self.assertEqual(found.identity.ssh_certificate, self.client.fresh.identity.ssh_certificate)
        self.assertEqual([each.kind for each in found.identity.authorities], ["host"])
        self.assertTrue(self.client.closed)

    def test_denied(self) -> None:
        """The reason is in the sentence with which the command fails."""
        for reason, sentence in (
            ("not today", 'request r-1 has been set to DENIED, reason="not today"'),
            ("", "request r-1 has been set to DENIED"),
        ):
            denied = evolve(PENDING, state=RequestState.DENIED, resolve_reason=reason)
            failure = self.failureResultOf(self.ask(denied), AccessDenied)
            self.assertEqual(str(failure.value), sentence)
            self.assertTrue(self.client.closed)

    def test_removed(self) -> None:
        self.failureResultOf(self.ask(NotFound("There is no access request 'r-1'.")), NotFound)
        self.assertTrue(self.client.closed)


class StrategyTests(SynchronousTestCase):
    def test_by_roles(self) -> None:
        """Roles may have each login ask for everything, with a reason or without; what is named is enough then."""
        nothing, named, told = Asking(), Asking(("dba",)), Asking((), "17")
        self.assertEqual(nothing.by("optional", ""), nothing)
        self.assertEqual(named.by("optional", ""), named)
        self.assertEqual(nothing.by("always", ""), Asking(("*",)))
        self.assertEqual(named.by("always", ""), named)
        self.assertEqual(told.by("reason", "Ticket?"), Asking(("*",), "17"))
        for without in (nothing, named, Asking((), " ")):
            refusal = self.assertRaises(BadParameter, without.by, "reason", "Ticket?\x1b[31m")
            self.assertEqual(
                refusal.sentence,
                "Ticket?\\x1b[31m Your roles want a reason at each login. Log in with --request-reason=..., and say"
                " what for.",
            )

    def test_flags(self) -> None:
        arguments = parse(["login", "--request-roles=dba,ops", "--request-reason=ticket 17"])
        self.assertEqual((arguments.request_roles, arguments.request_reason), (("dba", "ops"), "ticket 17"))
        self.assertEqual((parse(["login"]).request_roles, parse(["login"]).request_reason), ((), ""))
