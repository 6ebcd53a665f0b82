"""What access requests lend: while a certificate names them, and they are approved and not over."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.aged import Aged
from teleport_conch.access.builtin import USER_ROLES
from teleport_conch.access.conditions import Conditions
from teleport_conch.access.decision import Denial, Facts, Login, Target, decide
from teleport_conch.access.directory import Claims, Directory
from teleport_conch.access.known import Known
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.roles import Role
from teleport_conch.access.trace import explain
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.errors import AccessDenied
from teleport_conch.resources.access_request import AccessRequest, RequestState
from teleport_conch.resources.user import User
from tests.certs import samples

NOW = samples.NOW
ID = "aaaaaaaa-1111-4111-8111-111111111111"
OTHER_ID = "bbbbbbbb-1111-4111-8111-111111111111"
DBA = Role("dba", allow=Conditions(("root",), EVERY_NODE))
ROLES = {**USER_ROLES, "dba": DBA}
ALICE = User("alice", ("auditor",), created_at=NOW - 1000)
APPROVED = AccessRequest(ID, "alice", ("dba",), NOW - 10, NOW + 60, RequestState.APPROVED)
WEB1 = Target({"env": "prod"}, "web1")


def directory(*requests: AccessRequest, user: User | None = ALICE, **roles: Role) -> Directory:
    users = {} if user is None else {user.name: user}
    return Directory({**ROLES, **roles}, users, {each.name: each for each in requests})


def claims(*requests: str, roles: tuple[str, ...] = ("auditor", "dba")) -> Claims:
    return Claims("alice", roles, NOW, requests)


def signed(*requests: str) -> SSHCertificate:
    return samples.USER_CA.sign_user_ssh(
        samples.SSH_BLOB,
        name="alice",
        logins=["root"],
        roles=["auditor", "dba"],
        traits={},
        ttl_s=600,
        now=NOW,
        requests=requests,
    )


class LentTests(SynchronousTestCase):
    def names(self, known: Directory, asked: Claims, now: float = NOW) -> list[str]:
        return sorted(role.name for role in known.roles_of(asked, now))

    def test_counts(self) -> None:
        """Approved, in time, and named by the certificate: the role is there, until the request is over."""
        known = directory(APPROVED)
        self.assertEqual(self.names(known, claims(ID)), ["auditor", "dba"])
        [dba] = [role for role in known.roles_of(claims(ID), NOW) if role.name == "dba"]
        self.assertEqual((dba.request, dba.expires_at, dba.allow), (ID, NOW + 60, DBA.allow))

    def test_does_not_count(self) -> None:
        """In every other case the person has what they have without it, and it is said why."""
        gone = f'access-request "{ID}" is not there: it was removed, or is over'
        for request, now, why in (
            (None, NOW, gone),
            (evolve(APPROVED, user="bob"), NOW, gone),
            (evolve(APPROVED, created_at=NOW - 2000), NOW, gone),
            (evolve(APPROVED, state=RequestState.PENDING), NOW, f'access-request "{ID}" is awaiting approval'),
            (evolve(APPROVED, state=RequestState.DENIED), NOW, f'access-request "{ID}" has been denied'),
            (APPROVED, NOW + 60, f'access-request "{ID}" is expired'),
        ):
            known = directory(*(() if request is None else (request,)))
            self.assertEqual(self.names(known, claims(ID), now), ["auditor"], why)
            self.assertEqual(known.aged(claims(ID), now), Aged(lapsed=(why,)))
            refusal = self.assertRaises(AccessDenied, known.lent_to, "alice", [ID], now)
            self.assertEqual(refusal.sentence, f"{why}.")
            self.assertEqual(known.in_force("alice", now), ())

    def test_only_what_the_certificate_says(self) -> None:
        """Neither a request that it does not name, nor a role that it does not name, counts."""
        self.assertEqual(self.names(directory(APPROVED), claims()), ["auditor"])
        self.assertEqual(self.names(directory(APPROVED), claims(ID, roles=("auditor",))), ["auditor"])

    def test_role_gone(self) -> None:
        """A role that is removed is not lent any more, and the others stay; one that is over is over."""
        known = Directory(USER_ROLES, {"alice": ALICE}, {ID: APPROVED})
        self.assertEqual(self.names(known, claims(ID)), ["auditor"])
        shorter = directory(APPROVED, dba=evolve(DBA, expires_at=NOW + 5))
        [dba] = shorter.lent_to("alice", [ID], NOW)
        self.assertEqual(dba.expires_at, NOW + 5)

    def test_had_anyway(self) -> None:
        """Who gets the role for good has it for good."""
        [_, dba] = directory(APPROVED, user=evolve(ALICE, roles=("auditor", "dba"))).roles_of(claims(ID), NOW)
        self.assertEqual((dba.request, dba.expires_at), ("", None))

    def test_several(self) -> None:
        """The request that lasts longest lends the role."""
        longer = evolve(APPROVED, name=OTHER_ID, expires_at=NOW + 90)
        for requests in ((APPROVED, longer), (longer, APPROVED)):
            [dba] = directory(*requests).lent_to("alice", [each.name for each in requests], NOW)
            self.assertEqual(dba.request, OTHER_ID)

    def test_nobody(self) -> None:
        """A certificate with requests is nobody's once its user is removed, whatever roles it names."""
        refusal = self.assertRaises(AccessDenied, directory(APPROVED, user=None).roles_of, claims(ID), NOW)
        self.assertEqual(refusal.sentence, "There is no user 'alice' any more; ask an administrator.")


class KnownTests(SynchronousTestCase):
    def known(self, *requests: AccessRequest) -> Known:
        return Known("example.com", directory(*requests))

    def setUp(self) -> None:
        self.certificate = signed(ID)

    def allows(self, known: Known, now: float) -> bool:
        try:
            decide(known.caller(self.certificate, now), Login("root"), WEB1, Facts(), now)
        except Denial:
            return False
        return True

    def test_in_time(self) -> None:
        """The same certificate, to the second, also where it was read before."""
        known = self.known(APPROVED)
        self.assertEqual([self.allows(known, NOW + at) for at in (0, 59.9, 60, 61)], [True, True, False, False])
        self.allows(known, NOW)
        self.assertEqual([role.name for role in known.caller(self.certificate, NOW + 60).roles], ["auditor"])
        self.assertFalse(self.allows(self.known(), NOW))

    def test_wakes(self) -> None:
        """Those who are there are looked at again when a request is over."""
        self.assertEqual(self.known(APPROVED).changes_after(NOW), NOW + 60)

    def test_trace(self) -> None:
        """The trace names the request, and says of one that does not count why."""
        trace = explain(self.known(APPROVED).caller(signed(ID), NOW), Login("root"), WEB1, Facts(), NOW)
        self.assertIn(f"role dba (access request {ID}): allows it", trace.lines())
        self.assertIn({"role": "dba", "request": ID, "failures": []}, trace.to_json()["roles"])
        trace = explain(self.known().caller(signed(ID), NOW), Login("root"), WEB1, Facts(), NOW)
        self.assertIn(
            f'request: access-request "{ID}" is not there: it was removed, or is over; its roles do not count',
            trace.lines(),
        )
        self.assertFalse(trace.allowed)

    def test_over_meanwhile(self) -> None:
        """A caller who is asked about later than they were read: the role has ended, and the trace says by what."""
        caller = self.known(APPROVED).caller(signed(ID), NOW)
        trace = explain(caller, Login("root"), WEB1, Facts(), NOW + 60)
        said = f"role dba (access request {ID}): expired: the access request that lends it is over"
        self.assertIn(said, trace.lines())
        self.assertFalse(trace.allowed)
