"""Access requests through the API: asked for, decided, used, removed."""

from __future__ import annotations

import json
from uuid import UUID

from attrs import evolve

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import EVERY_NODE, LabelSelector
from teleport_conch.access.options import Options
from teleport_conch.access.requests import Requests
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import READ_WRITE, Rule
from teleport_conch.auth.feed import PREFIXES
from teleport_conch.auth.limits import ACCESS_REQUESTS_PER_USER, PENDING_REQUEST_S
from teleport_conch.auth.rules.callers import Peer
from teleport_conch.certs import keys
from teleport_conch.certs.extensions import requests_of, roles_of
from teleport_conch.certs.tls import TLSIdentity
from teleport_conch.resources.access_request import AccessRequest, RequestState
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.user import User
from tests.auth.fixture import CLUSTER, NOW, SSH_KEY, TLS_KEY, Answered
from tests.auth.people.case import PeopleTestCase

REQUESTS = "/v1/access_requests"
NOBODY = "00000000-0000-4000-8000-000000000000"
DEV = Role(
    "dev",
    allow=Conditions(
        ("{{internal.logins}}",),
        LabelSelector({"env": ("dev",)}),
        request=Requests(("dba", "ops"), annotations={"page": ("oncall",)}),
    ),
)
DBA = Role("dba", Options(max_session_ttl_s=2 * 3600.0), Conditions(("postgres",), EVERY_NODE))
OPS = Role("ops", Options(max_session_ttl_s=600.0), Conditions(("root",), EVERY_NODE))
APPROVER = Role(
    "approver",
    allow=Conditions(
        ("postgres", "{{internal.logins}}"), EVERY_NODE, (Rule(("access_request",), READ_WRITE),), Requests(("ops",))
    ),
)


class RequestTestCase(PeopleTestCase):
    """:ivar alice: somebody who may ask for ``dba`` and ``ops``; ``carol`` approves what she holds herself."""

    def setUp(self) -> None:
        super().setUp()
        for role in (DEV, DBA, OPS, APPROVER):
            self.now(self.cluster.roles.shelf.create(role))
        for user in (User("alice", ("dev",), {"logins": ("alice",)}), User("carol", ("approver",))):
            self.add(user)
        self.emitted.events.clear()

    @property
    def alice(self) -> Peer:
        return self.person("alice", "dev")

    @property
    def carol(self) -> Peer:
        return self.person("carol", "approver")

    def person(self, name: str, *roles: str, requests: tuple[str, ...] = ()) -> Peer:
        now = self.clock.seconds()
        identity = TLSIdentity("user", name, CLUSTER, roles, 2, now + 7200, (name,), {"logins": (name,)})
        return self.peer_of(evolve(identity, not_before=now, requests=requests))

    def ask(self, *roles: str, peer: Peer | None = None, **more: object) -> Answered:
        return self.call(peer or self.alice, "POST", REQUESTS, {"roles": roles or ["dba"], **more})

    def asked(self, *roles: str, peer: Peer | None = None, **more: object) -> str:
        """The id of a request that waits."""
        answer = self.ask(*roles, peer=peer, **more)
        self.assertEqual(answer.status, 200, answer.body)
        return AccessRequest.from_json(answer.body).name

    def decide(self, name: str, state: str = "APPROVED", peer: Peer | None = None, **more: object) -> Answered:
        return self.call(peer or self.admin(), "PUT", f"{REQUESTS}/{name}/state", {"state": state, **more})

    def approved(self, *roles: str) -> str:
        name = self.asked(*roles)
        self.assertEqual(self.decide(name).status, 200)
        return name

    def found(self, name: str) -> AccessRequest:
        return AccessRequest.from_json(self.call(self.alice, "GET", f"{REQUESTS}/{name}").body)

    def renew(self, peer: Peer | None = None, *requests: str, **more: object) -> Answered:
        body = {"public_ssh_key": SSH_KEY, "public_tls_key": TLS_KEY, "requests": requests, **more}
        return self.call(peer or self.alice, "POST", "/v1/ca/user/renew", body)

    def assert_refused(self, answer: Answered, status: int, sentence: str) -> None:
        self.assertEqual(answer.status, status, answer.body)
        self.assertIn(sentence, answer.sentence)


class AskTests(RequestTestCase):
    def test_asked(self) -> None:
        """A request waits for an hour, with what the roles say to whoever decides; that is an event."""
        answer = self.ask("dba", reason="ticket 17")
        request = AccessRequest.from_json(answer.body)
        UUID(request.name)
        self.assertEqual((request.user, request.roles, request.state), ("alice", ("dba",), RequestState.PENDING))
        self.assertEqual((request.created_at, request.expires_at), (NOW, NOW + PENDING_REQUEST_S))
        self.assertEqual((request.request_reason, request.system_annotations), ("ticket 17", {"page": ("oncall",)}))
        self.assertEqual(self.found(request.name), request)
        [event] = self.emitted.named("access_request.create")
        self.assertEqual(
            event.fields,
            {
                "id": request.name,
                "user": "alice",
                "roles": ("dba",),
                "state": "PENDING",
                "updated_by": "alice",
                "reason": "ticket 17",
                "annotations": {"page": "oncall"},
                "expires": request.expires_at,
            },
        )

    def test_short(self) -> None:
        """Nobody waits for longer than the roles would be lent."""
        self.assertEqual(AccessRequest.from_json(self.ask("dba", "ops").body).expires_at, NOW + 600)

    def test_everything(self) -> None:
        self.assertEqual(AccessRequest.from_json(self.ask("*").body).roles, ("dba", "ops"))

    def test_dry_run(self) -> None:
        """What would be asked for, and nothing is."""
        request = AccessRequest.from_json(self.ask("*", dry_run=True).body)
        self.assertEqual((request.state, request.roles), (RequestState.NONE, ("dba", "ops")))
        self.assertEqual(self.call(self.admin(), "GET", REQUESTS).items, [])
        self.assertEqual(self.emitted.named("access_request.create"), [])

    def test_refused(self) -> None:
        """Roles that may not be asked for, whether they exist or not, and reasons that are too long."""
        self.assert_refused(self.ask("admin"), 403, "The user alice may not ask for the role admin.")
        self.assert_refused(self.ask("nosuch"), 403, "The user alice may not ask for the role nosuch.")
        self.assert_refused(self.ask("dev"), 400, "The user alice has the role dev already.")
        self.assert_refused(self.ask(reason="x" * 1025), 400, "request.reason is longer than 1024 characters.")
        self.assert_refused(
            self.ask("x", peer=self.person("bob", "access")), 403, "create access_request: access denied"
        )

    def test_not_stored(self) -> None:
        """Somebody for whom the administrator signed, and who is no user, asks for nothing."""
        self.assert_refused(self.ask(peer=self.person("dave", "dev")), 404, "There is no user 'dave'")

    def test_for_others(self) -> None:
        """Who may ask for everybody asks for what that person may ask for."""
        answer = self.ask("dba", peer=self.carol, user="alice")
        self.assertEqual((AccessRequest.from_json(answer.body).user, answer.status), ("alice", 200))
        self.assert_refused(self.ask("admin", peer=self.carol, user="alice"), 403, "The user alice may not ask for")
        self.assert_refused(self.ask(user="carol"), 403, "is not authorized to create access_request for others")
        self.assert_refused(self.ask(peer=self.admin()), 400, "missing parameter request.user")

    def test_robots(self) -> None:
        """A robot has nobody who would be asked."""
        self.call(self.admin(), "POST", "/v1/bots", {"name": "ci", "roles": ["dev"]})
        self.assert_refused(self.ask(peer=self.admin(), user="bot-ci"), 400, "This is the user of a robot")

    def test_too_many(self) -> None:
        """One person has so many at a time, until some are over."""
        for _ in range(ACCESS_REQUESTS_PER_USER):
            self.asked()
        self.assert_refused(self.ask(), 429, "The user 'alice' has 20 access requests; wait until some are over")
        self.clock.advance(PENDING_REQUEST_S)
        self.asked()

    def test_reason(self) -> None:
        """A role that wants a reason is not asked without one, whatever the client is."""
        strict = evolve(DEV, options=Options(request_access="reason", request_prompt="Ticket?"))
        self.now(self.cluster.roles.shelf.replace(strict))
        sentence = (
            "Ticket? The roles of this user want a reason: tsh login --request-reason=..., tctl requests create"
            " --reason=..."
        )
        self.assertEqual(self.ask().sentence, sentence)
        self.assertEqual(self.ask(reason=" ").sentence, sentence)
        self.asked(reason="17")

    def test_own_only(self) -> None:
        """People see what they asked for; who may read all sees all; nodes and proxies see no reasons."""
        mine, other = self.asked(reason="secret"), self.asked("ops", peer=self.carol)
        self.assertEqual([each["metadata"]["name"] for each in self.call(self.alice, "GET", REQUESTS).items], [mine])  # type: ignore[index]  # nested objects
        self.assertEqual(len(self.call(self.carol, "GET", REQUESTS).items), 2)
        self.assert_refused(
            self.call(self.alice, "GET", f"{REQUESTS}/{other}"),
            403,
            f"user alice is not authorized to read access_request/{other}",
        )
        self.assertNotIn("secret", json.dumps(self.call(self.proxy, "GET", REQUESTS).body))
        self.assertEqual(self.call(self.person("bob", "access"), "GET", REQUESTS).status, 403)

    def test_watched(self) -> None:
        """So do those who watch: whose roles, and until when."""
        name = self.asked(reason="secret")
        [resource] = self.now(self.cluster.feed.snapshot(["access_request"]))
        request = AccessRequest.from_json(json.loads(resource))
        self.assertEqual((request.name, request.roles, request.request_reason), (name, ("dba",), ""))
        self.assertEqual(request.system_annotations, {})
        self.assertIn("access_request", PREFIXES)


class DecisionTests(RequestTestCase):
    def test_approved(self) -> None:
        """It lasts for the shortest time of its roles, counted from when it was made."""
        name = self.asked("dba")
        self.clock.advance(60)
        answer = self.decide(name, reason="go", annotations={"ticket": ["17", "18"]}, delegator="bob")
        request = AccessRequest.from_json(answer.body)
        self.assertEqual((request.state, request.expires_at), (RequestState.APPROVED, NOW + 7200))
        self.assertEqual((request.resolve_reason, request.resolve_annotations), ("go", {"ticket": ("17", "18")}))
        self.assertEqual(self.found(name), request)
        [event] = self.emitted.named("access_request.update")
        self.assertEqual(
            event.fields,
            {
                "id": name,
                "user": "alice",
                "roles": ("dba",),
                "state": "APPROVED",
                "reason": "go",
                "updated_by": "tctl on the auth host",
                "delegator": "bob",
                "expires": request.expires_at,
                "annotations": {"ticket": "17, 18"},
            },
        )

    def test_some_of_it(self) -> None:
        """A part may be approved, and nothing more than was asked for."""
        name = self.asked("dba", "ops")
        self.assert_refused(
            self.decide(name, roles=["admin"]), 400, f"access-request \"{name}\" is not for the role 'admin'."
        )
        request = AccessRequest.from_json(self.decide(name, roles=["dba"]).body)
        self.assertEqual((request.roles, request.expires_at), (("dba",), NOW + 7200))

    def test_denied(self) -> None:
        """A denial is final; so is an approval, which is ended by removing it."""
        name = self.asked()
        self.assertEqual(self.decide(name, "DENIED", reason="no").status, 200)
        self.assertEqual(self.found(name).state, RequestState.DENIED)
        for state in ("APPROVED", "DENIED"):
            self.assert_refused(self.decide(name, state), 400, f'access-request "{name}" has been denied.')
        other = self.approved()
        self.assert_refused(
            self.decide(other, "DENIED"), 400, f'access-request "{other}" has been approved; remove it to end it.'
        )

    def test_wrong(self) -> None:
        name = self.asked()
        self.assert_refused(self.decide(name, "PENDING"), 400, "resolution.state has to be APPROVED or DENIED.")
        self.assert_refused(self.decide(name, "DENIED", roles=["dba"]), 400, "A request is approved, maybe for some of")
        self.assert_refused(self.decide(name, reason="x" * 1025), 400, "resolution.reason is longer than 1024")
        many = {str(number): ["x"] for number in range(17)}
        self.assert_refused(self.decide(name, annotations=many), 400, "resolution.annotations has at most 16 entries")
        self.assert_refused(self.decide(NOBODY), 404, f"There is no access request '{NOBODY}'.")

    def test_over(self) -> None:
        """After an hour nobody decides about it any more."""
        name = self.asked()
        self.clock.advance(PENDING_REQUEST_S)
        self.now(self.backend.expire(self.clock.seconds()))
        self.assert_refused(self.decide(name), 404, "There is no access request")
        self.assertEqual(self.call(self.alice, "GET", f"{REQUESTS}/{name}").status, 404)

    def test_over_but_not_dropped_yet(self) -> None:
        """That does not depend on when the storage drops it."""
        name = self.asked()
        self.clock.advance(PENDING_REQUEST_S)
        self.assertEqual(self.call(self.admin(), "GET", REQUESTS).items, [])
        for answer in (self.decide(name), self.call(self.alice, "GET", f"{REQUESTS}/{name}")):
            self.assert_refused(answer, 404, f"There is no access request '{name}'.")

    def test_not_any_more(self) -> None:
        """Who may not ask any more does not get what they asked for."""
        name = self.asked()
        self.now(self.cluster.roles.shelf.replace(evolve(DEV, allow=Conditions())))
        self.assert_refused(self.decide(name), 403, "The user alice may not ask for the role dba.")

    def test_by_rules(self) -> None:
        """Who has the rule decides, and nobody else."""
        name = self.asked()
        self.assert_refused(self.decide(name, peer=self.alice), 403, "is not authorized to update access_request")
        self.assert_refused(
            self.call(self.alice, "DELETE", f"{REQUESTS}/{name}"), 403, "is not authorized to delete access_request"
        )
        self.assertEqual(self.decide(name, peer=self.carol).status, 200)

    def test_conditions(self) -> None:
        """Rules may depend on what is asked for."""
        where = 'contains(resource.spec.roles, "dba")'
        narrow = Conditions(
            ("postgres", "root"), EVERY_NODE, (Rule(("access_request",), ("read", "update"), where=where),)
        )
        self.now(self.cluster.roles.shelf.replace(evolve(APPROVER, allow=narrow)))
        self.assert_refused(self.decide(self.asked("ops"), "DENIED", peer=self.carol), 403, "is not authorized")
        name = self.asked("dba")
        self.assertEqual(self.call(self.carol, "GET", f"{REQUESTS}/{name}").status, 200)
        self.assertEqual(self.decide(name, peer=self.carol).status, 200)

    def test_list_by_conditions(self) -> None:
        """A list has what rules about each request allow; a denial without a condition denies the list itself."""

        def listed(allow: str, deny: str | None = None) -> Answered:
            kind, verbs = ("access_request",), ("list", "read")
            denied = (Rule(kind, ("list",), where=deny),) if deny is not None else ()
            allowed = Conditions(rules=(Rule(kind, verbs, where=allow),))
            self.now(self.cluster.roles.shelf.replace(evolve(APPROVER, allow=allowed, deny=Conditions(rules=denied))))
            return self.call(self.carol, "GET", REQUESTS)

        names = {role: self.asked(role) for role in ("dba", "ops")}
        dba, ops = (f'contains(resource.spec.roles, "{role}")' for role in names)
        for allow, deny, expected in (
            (dba, None, ["dba"]),
            (f"{dba} || {ops}", None, ["dba", "ops"]),
            (f"{dba} || {ops}", dba, ["ops"]),
            ('equals(resource.spec.user, "eve")', None, []),
            ("equals(resource.spec.misspelt, resource.spec.misspelt)", None, []),
            (dba, "equals(resource.spec.misspelt, resource.spec.misspelt)", []),
        ):
            answer = listed(allow, deny)
            self.assertEqual(answer.status, 200, answer.body)
            found = {each["metadata"]["name"] for each in answer.items}  # type: ignore[index]  # nested objects
            self.assertEqual(found, {names[role] for role in expected}, (allow, deny))
        self.emitted.events.clear()
        self.assert_refused(listed(dba, ""), 403, "user carol is not authorized to list access_request: access denied")
        self.assertEqual(len(self.emitted.named("api.denied")), 1)
        self.now(self.cluster.locks.shelf.create(Lock("l", user="carol")))
        self.assertEqual(listed(dba).status, 403)

    def test_owner(self) -> None:
        """The owner of a request is who asked, also for rules about whoever decides and removes it."""
        kind, own = ("access_request",), "equals(resource.owner, user.id)"
        denying = Conditions(rules=(Rule(kind, ("update", "delete"), where=own),))
        self.now(self.cluster.roles.shelf.create(Role("impartial", deny=denying)))
        owning = Conditions(rules=(Rule(kind, ("create", "list", "delete"), where=own),))
        self.now(self.cluster.roles.shelf.create(Role("owning", allow=owning)))
        for user in (User("carol", ("approver", "impartial")), User("alice", ("dev", "owning"))):
            self.now(self.cluster.users.shelf.replace(user))
        impartial, owner = self.person("carol", "approver", "impartial"), self.person("alice", "dev", "owning")
        hers, others = self.asked("ops", peer=self.carol), self.asked("dba")
        for name, status in ((hers, 403), (others, 200)):
            self.assertEqual(self.decide(name, "DENIED", peer=impartial).status, status)
            self.assertEqual(self.call(impartial, "DELETE", f"{REQUESTS}/{name}").status, status)
        another = self.asked("dba")
        self.assertEqual(self.call(owner, "DELETE", f"{REQUESTS}/{hers}").status, 403)
        self.assertEqual(self.call(owner, "DELETE", f"{REQUESTS}/{another}").status, 200)

    def test_own(self) -> None:
        """Nobody approves what they asked for themselves, whoever made the request; and that is an event."""
        wide = evolve(APPROVER, allow=evolve(APPROVER.allow, logins=("root", "postgres")))
        self.now(self.cluster.roles.shelf.replace(wide))
        for maker in (self.carol, self.admin()):
            name = self.asked("ops", peer=maker, user="carol")
            answer = self.decide(name, peer=self.carol)
            self.assert_refused(answer, 403, "Nobody approves what they asked for themselves: ask somebody else")
            self.assertEqual(self.found_by_admin(name).state, RequestState.PENDING)
        event = self.emitted.named("api.denied")[-1]
        self.assertEqual((event.fields["user"], event.fields["kind"]), ("carol", "access_request"))
        self.assertEqual(self.decide(name, "DENIED", peer=self.carol).status, 200)

    def found_by_admin(self, name: str) -> AccessRequest:
        return AccessRequest.from_json(self.call(self.admin(), "GET", f"{REQUESTS}/{name}").body)

    def test_escalation(self) -> None:
        """Nobody approves what they do not hold, as nobody could give it for good."""
        name = self.asked("dba", "ops")
        self.assert_refused(
            self.decide(name, peer=self.carol),
            403,
            "Nobody gives what they do not hold, and user carol does not hold: the login root on every node",
        )
        self.assertEqual(self.found(name).state, RequestState.PENDING)
        self.assertEqual(self.decide(name, peer=self.carol, roles=["dba"]).status, 200)

    def test_lent_is_not_held(self) -> None:
        """Who has a role by a request only does not lend it to others, and gives it to nobody for good."""
        name = self.asked("ops", peer=self.carol)
        self.decide(name)
        carol = self.person("carol", "approver", "ops", requests=(name,))
        self.assertEqual([role.name for role in carol.caller.roles], ["approver", "ops"])
        answer = self.decide(self.asked("ops"), peer=carol)
        self.assert_refused(answer, 403, "user carol does not hold: the login root on every node")

    def test_removed(self) -> None:
        """It is gone, and that is an event."""
        name = self.approved()
        self.assertEqual(self.call(self.admin(), "DELETE", f"{REQUESTS}/{name}").status, 200)
        self.assertEqual(self.call(self.alice, "GET", f"{REQUESTS}/{name}").status, 404)
        [event] = self.emitted.named("access_request.delete")
        self.assertEqual((event.fields["id"], event.fields["user"]), (name, "alice"))
        self.assert_refused(self.call(self.admin(), "DELETE", f"{REQUESTS}/{name}"), 404, "There is no access request")

    def test_user_removed(self) -> None:
        """With a user goes what they asked for; to another one of the name nothing of it belongs."""
        name = self.approved()
        self.call(self.admin(), "DELETE", "/v1/users/alice")
        self.assertIsNone(self.cluster.requests.shelf.find(name))


class CertificateTests(RequestTestCase):
    def test_renewed(self) -> None:
        """The role and its logins are in both certificates, which end with the request; the event says by what."""
        name = self.approved("dba")
        answer = self.renew(None, name)
        self.assertEqual((answer.status, answer.body["roles"]), (200, ["dba", "dev"]))
        ssh, identity = self.ssh(answer), self.identity(answer)
        self.assertEqual(ssh.extension("teleport-active-requests"), f'{{"access_requests":["{name}"]}}')
        self.assertEqual((requests_of(ssh), identity.requests), ((name,), (name,)))
        self.assertEqual((roles_of(ssh), identity.roles), (("dba", "dev"), ("dba", "dev")))
        self.assertEqual((ssh.principals, identity.principals), (("alice", "postgres"), ("alice", "postgres")))
        self.assertEqual((ssh.valid_before, identity.not_after), (NOW + 7200, NOW + 7200))
        [event] = self.emitted.named("cert.create")
        self.assertEqual(event.fields["requests"], (name,))

    def test_never_longer_than_the_request(self) -> None:
        name = self.approved("ops")
        self.clock.advance(500)
        self.assertEqual(self.ssh(self.renew(None, name)).valid_before, NOW + 600)

    def test_role_over(self) -> None:
        """A role that is over by itself shortens no certificate."""
        name = self.approved("dba", "ops")
        self.now(self.cluster.roles.shelf.replace(evolve(OPS, expires_at=NOW)))
        self.assertEqual(self.renew(None, name).body["roles"], ["dba", "dev"])

    def test_no_login_of_others(self) -> None:
        """A certificate with some of the person's logins gets those of the request, and no others of the person's."""
        name, traits = self.approved("dba"), {"logins": ("alice", "other")}
        self.now(self.cluster.users.shelf.replace(evolve(self.cluster.users.get("alice"), traits=traits)))
        narrow = self.person("alice", "dev")
        identity = evolve(narrow.identity, principals=("other",), traits=traits)
        self.assertEqual(self.ssh(self.renew(self.peer_of(identity), name)).principals, ("other", "postgres"))

    def test_refused(self) -> None:
        """Each id has to be there, the caller's, approved, and not over."""
        pending, denied, gone = self.asked(), self.asked(), self.approved()
        self.decide(denied, "DENIED")
        self.call(self.admin(), "DELETE", f"{REQUESTS}/{gone}")
        other = self.asked("ops", peer=self.carol)
        self.decide(other)
        for name, why in (
            (pending, "is awaiting approval."),
            (denied, "has been denied."),
            (gone, "is not there: it was removed, or is over."),
            (other, "is not there: it was removed, or is over."),
            (NOBODY, "is not there: it was removed, or is over."),
        ):
            self.assert_refused(self.renew(None, name), 403, f'access-request "{name}" {why}')
        over = self.approved("ops")
        self.clock.advance(600)
        self.assert_refused(self.renew(None, over), 403, f'access-request "{over}" is expired.')
        nine = [str(number) for number in range(9)]
        self.assert_refused(self.renew(None, *nine), 400, "request.requests has more than 8 items.")

    def test_kept(self) -> None:
        """The next certificate has what the last one had, as far as it still counts."""
        first, second = self.approved("dba"), self.approved("ops")
        both = self.person("alice", "dba", "dev", "ops", requests=(first, second))
        self.assertEqual(self.renew(both).body["roles"], ["dba", "dev", "ops"])
        one = self.person("alice", "dba", "dev", requests=(first,))
        self.assertEqual(self.renew(one, second).body["roles"], ["dba", "dev", "ops"])
        self.call(self.admin(), "DELETE", f"{REQUESTS}/{second}")
        narrower = self.renew(both)
        self.assertEqual((narrower.body["roles"], requests_of(self.ssh(narrower))), (["dba", "dev"], (first,)))

    def test_role_removed(self) -> None:
        """A role that goes away is not in the next certificate; what else there is stays."""
        name = self.approved("dba", "ops")
        both = self.person("alice", "dba", "dev", "ops", requests=(name,))
        self.assertEqual(self.call(self.admin(), "DELETE", "/v1/roles/dba").status, 200)
        self.assertEqual(self.renew(self.peer_of(both.identity)).body["roles"], ["dev", "ops"])

    def test_calls(self) -> None:
        """The API goes by what is lent, to the second, also on a connection that stays."""
        lists = Role("lists", Options(max_session_ttl_s=600.0), Conditions(rules=(Rule(("user",), READ_WRITE),)))
        self.now(self.cluster.roles.shelf.create(lists))
        self.now(self.cluster.roles.shelf.replace(evolve(DEV, allow=Conditions(request=Requests(("lists",))))))
        name = self.approved("lists")
        certificate = self.cluster.authorities.user.sign_user_tls(
            keys.load_public_pem(TLS_KEY),
            name="alice",
            logins=["alice"],
            roles=["dev", "lists"],
            traits={},
            ttl_s=7200,
            now=NOW,
            requests=[name],
        )
        judge = self.cluster.judge()
        verdict = judge.judge(certificate, None)
        assert verdict.peer is not None
        self.assertEqual(self.call(verdict.peer, "GET", "/v1/users").status, 200)
        self.clock.advance(599)
        self.assertIs(judge.judge(certificate, verdict), verdict)
        self.clock.advance(1)
        after = judge.judge(certificate, verdict)
        assert after.peer is not None
        self.assertEqual([role.name for role in after.peer.caller.roles], ["dev"])
        self.assertEqual(self.call(after.peer, "GET", "/v1/users").status, 403)

    def test_calls_once_removed(self) -> None:
        """What is removed is noticed by the next call on the same connection."""
        name = self.approved("dba")
        certificate = self.cluster.authorities.user.sign_user_tls(
            keys.load_public_pem(TLS_KEY),
            name="alice",
            logins=["alice"],
            roles=["dev", "dba"],
            traits={},
            ttl_s=7200,
            now=NOW,
            requests=[name],
        )
        judge = self.cluster.judge()
        verdict = judge.judge(certificate, None)
        self.call(self.admin(), "DELETE", f"{REQUESTS}/{name}")
        after = judge.judge(certificate, verdict)
        assert verdict.peer is not None and after.peer is not None
        self.assertEqual([len(each.peer.caller.roles) for each in (verdict, after) if each.peer], [2, 1])


class StrategyTests(RequestTestCase):
    def strategy(self, **options: object) -> tuple[object, object]:
        """What a login says."""
        changed = evolve(DEV, options=Options(**options))  # type: ignore[arg-type]  # names of options
        self.now(self.cluster.roles.shelf.replace(changed))
        self.clock.advance(30)
        answer = self.log_in()
        self.assertEqual(answer.status, 200, answer.body)
        return answer.body["request_access"], answer.body["request_prompt"]

    def test_login(self) -> None:
        """A login says what its roles want of the next step, if there is anything to ask for."""
        self.assertEqual(self.accept(self.invite("alice")).status, 200)
        self.assertEqual(self.strategy(), ("optional", ""))
        self.assertEqual(self.strategy(request_access="always"), ("always", ""))
        prompted = {"request_access": "reason", "request_prompt": "Ticket?"}
        self.assertEqual(self.strategy(**prompted), ("reason", "Ticket?"))
        self.now(self.cluster.roles.shelf.replace(evolve(DEV, allow=Conditions())))
        self.assertEqual(self.cluster.requests.strategy("alice"), ("optional", ""))
