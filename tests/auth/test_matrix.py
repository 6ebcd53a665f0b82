"""Threat 97: every route of the API, called by every kind of identity. The table is written by hand.

Each cell is the status of the answer: 200 where the caller may, 401 without a certificate, 403 where it may not.
"""

from __future__ import annotations

import re
from pathlib import Path

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.requests import Requests
from teleport_conch.access.resource_kinds import KINDS
from teleport_conch.access.roles import Role
from teleport_conch.auth.people import passwords
from teleport_conch.auth.people.credentials import Credentials
from teleport_conch.auth.people.second_factor import recovery_digest
from teleport_conch.auth.rules.callers import Peer
from teleport_conch.errors import AccessDenied
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.preference import AuthPreference
from teleport_conch.resources.session import ActiveSession
from teleport_conch.resources.user import User
from tests.auth.fixture import ADDRESS, GATEWAY, NOW, SSH_KEY, TLS_KEY, WEB1, WEB2, ClusterTestCase, heartbeat
from tests.auth.people.case import PASSWORD, code
from tests.auth.recordings.samples import SID, encoded, end, start

REFERENCE = "7k2m9xqd"
DOCS = Path(__file__).parents[2] / "docs" / "api.rst"

# route: nobody, user with the role access, node, proxy, administrator
MATRIX = {
    "GET /v1/ping": (200, 200, 200, 200, 200),
    "GET /v1/cacert": (200, 200, 200, 200, 200),
    "POST /v1/tokens/register": (200, 200, 200, 200, 200),
    "POST /v1/server/credentials": (401, 403, 200, 200, 403),
    "POST /v1/presence/<kind>/<uuid>": (401, 403, 200, 403, 403),
    "DELETE /v1/presence/<kind>/<uuid>": (401, 403, 200, 403, 403),
    "GET /v1/namespaces/<namespace>/nodes": (401, 200, 200, 200, 200),
    "GET /v1/namespaces/<namespace>/nodes/<uuid>": (401, 200, 200, 200, 200),
    "DELETE /v1/namespaces/<namespace>/nodes": (401, 403, 403, 403, 200),
    "DELETE /v1/namespaces/<namespace>/nodes/<uuid>": (401, 403, 403, 403, 200),
    "POST /v1/namespaces/<namespace>/nodes/<uuid>/reachability": (401, 403, 403, 200, 200),
    "GET /v1/proxies": (401, 403, 200, 200, 200),
    "DELETE /v1/proxies/<uuid>": (401, 403, 403, 403, 200),
    "GET /v1/tokens": (401, 403, 403, 403, 200),
    "POST /v1/tokens": (401, 403, 403, 403, 200),
    "PUT /v1/tokens/<token>": (401, 403, 403, 403, 200),
    "DELETE /v1/tokens/<token>": (401, 403, 403, 403, 200),
    "GET /v1/authorities/<kind>": (401, 403, 200, 200, 200),
    "GET /v1/configuration": (401, 403, 200, 200, 200),
    "PUT /v1/configuration": (401, 403, 403, 403, 200),
    "GET /v1/authentication/preference": (401, 403, 403, 200, 200),
    "PUT /v1/authentication/preference": (401, 403, 403, 403, 200),
    "GET /v1/configuration/name": (401, 200, 200, 200, 200),
    "GET /v1/status": (401, 200, 200, 200, 200),
    "POST /v1/ca/user/certs": (401, 403, 403, 403, 200),
    "POST /v1/ca/user/renew": (401, 200, 403, 403, 400),
    "POST /v1/ca/host/certs": (401, 403, 403, 403, 200),
    "POST /v1/ca/emergency/certs": (401, 403, 403, 403, 200),
    "GET /v1/users": (401, 403, 200, 200, 200),
    "POST /v1/users": (401, 403, 403, 403, 200),
    "GET /v1/users/<name>": (401, 403, 403, 403, 200),
    "PUT /v1/users/<name>": (401, 403, 403, 403, 200),
    "DELETE /v1/users/<name>": (401, 403, 403, 403, 200),
    "DELETE /v1/users/<name>/lockout": (401, 403, 403, 403, 200),
    "POST /v1/users/<name>/invites": (401, 403, 403, 403, 200),
    "POST /v1/users/<name>/web/invites": (401, 403, 403, 200, 200),
    "POST /v1/web/invites/open": (401, 403, 403, 200, 200),
    "POST /v1/web/invites/accept": (401, 403, 403, 200, 200),
    "POST /v1/users/<name>/ssh/authenticate": (401, 403, 403, 200, 200),
    "PUT /v1/users/<name>/web/password": (401, 403, 403, 200, 200),
    "POST /v1/users/<name>/web/sessions": (401, 403, 403, 200, 200),
    "POST /v1/web/sessions/open": (401, 403, 403, 200, 200),
    "POST /v1/web/sessions/close": (401, 403, 403, 200, 200),
    "GET /v1/bots": (401, 403, 403, 403, 200),
    "POST /v1/bots": (401, 403, 403, 403, 200),
    "DELETE /v1/bots/<name>": (401, 403, 403, 403, 200),
    "POST /v1/bots/join": (200, 200, 200, 200, 200),
    "POST /v1/bots/renew": (401, 403, 403, 403, 403),  # the administrator is no robot
    "GET /v1/namespaces/<namespace>/sessions": (401, 200, 403, 403, 200),
    "POST /v1/namespaces/<namespace>/sessions": (401, 403, 200, 403, 403),
    "POST /v1/namespaces/<namespace>/sessions/<session_id>/slices": (401, 403, 200, 403, 403),
    "GET /v1/namespaces/<namespace>/recordings": (401, 200, 403, 403, 200),
    "GET /v1/namespaces/<namespace>/recordings/<session_id>": (401, 200, 403, 403, 200),
    "DELETE /v1/namespaces/<namespace>/recordings/<session_id>": (401, 403, 403, 403, 200),
    "GET /v1/namespaces/<namespace>/recordings/<session_id>/stream": (401, 200, 403, 403, 200),
    "GET /v1/events": (401, 403, 403, 403, 200),
    "POST /v1/events": (401, 403, 200, 200, 200),
    "GET /v1/watch": (401, 403, 400, 400, 400),  # allowed; these ask for no kinds, since an answer would not end
    "GET /v1/roles": (401, 403, 200, 200, 200),
    "GET /v1/roles/<name>": (401, 403, 200, 200, 200),
    "POST /v1/roles": (401, 403, 403, 403, 200),
    "PUT /v1/roles/<name>": (401, 403, 403, 403, 200),
    "DELETE /v1/roles/<name>": (401, 403, 403, 403, 200),
    "GET /v1/locks": (401, 403, 200, 200, 200),
    "GET /v1/locks/<name>": (401, 403, 200, 200, 200),
    "POST /v1/locks": (401, 403, 403, 403, 200),
    "PUT /v1/locks/<name>": (401, 403, 403, 403, 200),
    "DELETE /v1/locks/<name>": (401, 403, 403, 403, 200),
    "POST /v1/leases": (401, 403, 200, 200, 200),
    "PUT /v1/leases/<lease>": (401, 403, 200, 403, 403),
    "DELETE /v1/leases/<lease>": (401, 403, 200, 403, 403),
    "GET /v1/access_requests": (401, 403, 200, 200, 200),
    "GET /v1/access_requests/<name>": (401, 403, 403, 403, 200),
    "POST /v1/access_requests": (401, 403, 403, 403, 200),
    "PUT /v1/access_requests/<name>/state": (401, 403, 403, 403, 200),
    "DELETE /v1/access_requests/<name>": (401, 403, 403, 403, 200),
    "GET /v1/plugin_data/access_request/<name>": (401, 403, 403, 403, 200),
    "PUT /v1/plugin_data/access_request/<name>": (401, 403, 403, 403, 200),
    "GET /v1/denials/<reference>": (401, 403, 403, 403, 200),
    "POST /v1/why": (401, 403, 403, 403, 200),
    "POST /v1/plan": (401, 403, 403, 403, 200),
}
COLUMNS = ("nobody", "user", "node", "proxy", "admin")


class MatrixTests(ClusterTestCase):
    def setUp(self) -> None:
        self.patch(passwords, "SCRYPT_LOG2_N", 1)
        super().setUp()
        self.peers: dict[str, Peer | None] = {
            "nobody": None,
            "user": self.user(),
            "node": self.host(self.join()),
            "proxy": self.host(self.join(GATEWAY, "gate", "Proxy")),
            "admin": self.admin(),
        }
        self.beat()
        self.beat(GATEWAY, "gate", "proxy")
        self.now(self.cluster.sessions.put(session()))
        self.now(self.recordings.making.take(SID, encoded(start(), end(), last=True), WEB1, ADDRESS))
        self.now(self.events.keep([{"uid": "1", "event": "auth", "reference": REFERENCE}]))
        self.now(self.cluster.roles.shelf.create(Role("dev")))
        self.now(self.cluster.roles.shelf.create(Role("asks", allow=Conditions(request=Requests(("dev",))))))
        self.now(self.cluster.locks.shelf.create(Lock("dev", user="bob")))
        self.lease = self.now(self.cluster.leases.take("connection", "alice", 2, 120, WEB1)).id
        self.now(self.cluster.users.shelf.create(User("carol", ("access", "asks"))))
        wanted = self.cluster.requests.wanted("carol", ("dev",), "")
        self.request_id = self.now(self.cluster.requests.create(wanted, "carol")).name
        self.now(self.carol_can_log_in())
        made = self.call(self.admin(), "POST", "/v1/bots", {"name": "dev", "roles": ["access"]})
        self.robots_token = made.body["token"]

    async def carol_can_log_in(self) -> None:
        people = self.cluster.people
        password = await people.hashing.make(PASSWORD.encode())
        await people.vault.put("carol", Credentials(password, "A" * 32, recovery=(recovery_digest("a code"),)))

    def person(self, route: str) -> dict[str, object]:
        """What carol would type, with what there has to be for it."""
        people, there = self.cluster.people, {"client_address": "192.0.2.7"}
        if route.startswith("POST /v1/web/invites/"):
            token, _ = self.now(people.invites.create("carol", "invite", 0.0, "tests"))
            opened = self.now(people.invites.open(token, "192.0.2.7"))
            otp_token = code(opened.invite.otp_secret, self.clock.seconds())
            return {"token": token, "password": "another tangerine", "otp_token": otp_token, **there}
        if route.startswith("POST /v1/web/sessions/"):
            generation = self.now(people.vault.find("carol")).generation
            secret, _ = self.now(people.sessions.begin(self.cluster.users.get("carol"), generation))
            return {"session": secret, **there}
        typed = {"old_password": PASSWORD, "new_password": "another tangerine"} if "PUT" in route else {}
        keys = {"public_ssh_key": SSH_KEY, "public_tls_key": TLS_KEY}
        return {"password": PASSWORD, "recovery_code": "a code", **typed, **keys, **there}

    def body(self, route: str, caller: str) -> object:
        """What a caller would send that is allowed to."""
        uuid, name, role = {"proxy": (GATEWAY, "gate", "Proxy")}.get(caller, (WEB1, "web1", "Node"))
        bodies: dict[str, object] = {
            "POST /v1/tokens/register": self.request(WEB2, "web2").to_json(),
            "POST /v1/server/credentials": self.request(uuid, name, role).to_json(),
            "POST /v1/presence/<kind>/<uuid>": heartbeat().to_json(),
            "DELETE /v1/presence/<kind>/<uuid>": {"instance": "one"},
            "POST /v1/namespaces/<namespace>/nodes/<uuid>/reachability": {"error": "no route"},
            "POST /v1/tokens": {"roles": ["node"]},
            "PUT /v1/tokens/<token>": {"roles": ["node"]},
            "POST /v1/ca/user/certs": {"user": "bob", "logins": ["root"], "ttl": 60, "public_ssh_key": SSH_KEY},
            "POST /v1/ca/emergency/certs": {
                "name": "ops",
                "logins": ["root"],
                "addresses": ["10.0.0.0/8"],
                "public_ssh_key": SSH_KEY,
            },
            "POST /v1/ca/host/certs": {"principals": ["db.example.org"], "public_ssh_key": SSH_KEY},
            "POST /v1/namespaces/<namespace>/sessions": {"running": [session().to_json()]},
            "POST /v1/events": {"items": []},
            "POST /v1/namespaces/<namespace>/sessions/<session_id>/slices": encoded(start(), end(), last=True),
            "POST /v1/ca/user/renew": {"public_ssh_key": SSH_KEY, "public_tls_key": TLS_KEY},
            "POST /v1/bots": {"name": "other", "roles": ["access"]},
            "POST /v1/bots/renew": {"public_ssh_key": SSH_KEY, "public_tls_key": TLS_KEY},
            "POST /v1/bots/join": {
                "token": self.robots_token,
                "public_ssh_key": SSH_KEY,
                "public_tls_key": TLS_KEY,
            },
            "POST /v1/users/<name>/invites": {"kind": "invite"},
            "POST /v1/users": User("bob", ("access",)).to_json(),
            "PUT /v1/users/<name>": User("carol", ("access",)).to_json(),
            "POST /v1/roles": Role("ops").to_json(),
            "PUT /v1/roles/<name>": Role("dev").to_json(),
            "PUT /v1/configuration": ClusterConfig().to_json(),
            "PUT /v1/authentication/preference": AuthPreference().to_json(),
            "POST /v1/leases": {"kind": "connection", "user": "alice", "max": 2, "ttl": 120},
            "PUT /v1/leases/<lease>": {"ttl": 120},
            "POST /v1/access_requests": {"user": "carol", "roles": ["dev"]},
            "PUT /v1/access_requests/<name>/state": {"state": "APPROVED"},
            "PUT /v1/plugin_data/access_request/<name>": {"plugin": "chat", "set": {"message": "17"}},
            "POST /v1/why": {"user": "carol", "login": "root", "node": "web1"},
            "POST /v1/plan": {"resources": [Role("dev").to_json()]},
            "POST /v1/locks": Lock("other", user="eve").to_json(),
            "PUT /v1/locks/<name>": Lock("dev", user="eve").to_json(),
        }
        return bodies.get(route, self.person(route) if "/web/" in route or "/ssh/" in route else None)

    def path(self, route: str) -> str:
        path = route.partition(" ")[2]
        values = {
            "namespace": "default",
            "kind": "user" if "authorities" in path else "node",
            "uuid": GATEWAY if "proxies" in path else WEB1,
            "token": self.token()[:12] if "tokens" in path else "",
            "session_id": SID,
            "lease": self.lease,
            "reference": REFERENCE,
            "name": "carol" if "users" in path else self.request_id if "request" in path else "dev",
        }
        if path == "/v1/tokens/<token>":
            values["token"] = self.now(self.cluster.tokens.all())[0].id
        path = re.sub("<([a-z_]+)>", lambda found: values[found[1]], path)
        return f"{path}?offline=1" if route == "DELETE /v1/namespaces/<namespace>/nodes" else path

    def test_97_every_cell(self) -> None:
        """Each route, by each identity, with a call that would be right."""
        for route, wanted in MATRIX.items():
            for caller, status in zip(COLUMNS, wanted, strict=True):
                with self.subTest(f"{route} by {caller}"):
                    method = route.partition(" ")[0]
                    answer = self.call(self.peers[caller], method, self.path(route), self.body(route, caller))
                    self.assertEqual(answer.status, status, f"{route} by {caller}: {answer.body}")
                    refused = {200: None, 400: "BAD_PARAMETER", 401: "UNAUTHENTICATED", 403: "ACCESS_DENIED"}
                    self.assertEqual(answer.code, refused[status])
                    if status == 200 and method != "GET":
                        self.setUp()  # the next call is to find what this one changed as it was

    def test_97_every_route(self) -> None:
        """No route is missing here, none was registered past the gate, and the documentation has each."""
        self.assertEqual(set(self.gate.routes), set(MATRIX))
        self.assertEqual(set(self.gate.app.endpoints), set(MATRIX))
        rules = {rule.endpoint: rule.rule for rule in self.gate.app.url_map.iter_rules()}
        self.assertEqual(rules, {route: route.partition(" ")[2] for route in MATRIX})
        headings = re.findall(
            r"^((?:GET|POST|PUT|DELETE) /v1/\S+)\n~+$", DOCS.read_text(encoding="utf-8"), re.MULTILINE
        )
        self.assertEqual(headings, list(MATRIX))

    def test_97_every_kind(self) -> None:
        """What routes ask about is what roles may name."""
        asked = {route.needs.kind for route in self.gate.routes.values() if route.needs is not None}
        self.assertEqual(asked - KINDS, set())

    def test_97_everything_else(self) -> None:
        """What is no route is refused alike, whoever asks."""
        for peer in self.peers.values():
            for method, path in (
                ("GET", "/"),
                ("GET", "/v1"),
                ("GET", "/v1/"),
                ("GET", "/v2/ping"),
                ("PUT", "/v1/ping"),
                ("PATCH", "/v1/tokens"),
                ("GET", "/v1//ping"),
                ("GET", "/v1/ping/"),
                ("GET", "/v1/../v1/tokens"),
                ("GET", "/v1/authorities"),
                ("OPTIONS", "/v1/tokens"),
            ):
                answer = self.call(peer, method, path)
                self.assertEqual((answer.status, answer.code), (404, "NOT_FOUND"), f"{method} {path}")

    def test_97_roles_do_not_mix(self) -> None:
        """A person with a role called like a system role is no service; the certificate's authority decides."""
        for role in ("Admin", "Node", "Proxy"):
            self.assertRaises(AccessDenied, self.user, role)

    def test_97_other_users(self) -> None:
        """The administrator's role does what tctl does, and the auditor's reads."""
        admin, auditor = self.user("admin"), self.user("auditor")
        for method, path, by_admin, by_auditor in (
            ("GET", "/v1/tokens", 200, 403),
            ("GET", "/v1/events", 200, 200),
            ("GET", "/v1/namespaces/default/sessions", 200, 200),
            ("DELETE", f"/v1/namespaces/default/nodes/{WEB1}", 200, 403),
            ("POST", "/v1/events", 403, 403),
        ):
            body: object = {"items": []} if method == "POST" else None
            self.assertEqual(self.call(auditor, method, path, body).status, by_auditor, path)
            self.assertEqual(self.call(admin, method, path, body).status, by_admin, path)

    def test_denials_are_events(self) -> None:
        """Who tried what, and why it was refused."""
        self.call(self.peers["user"], "GET", "/v1/tokens")
        [event] = self.emitted.named("api.denied")
        self.assertEqual((event.fields["verb"], event.fields["kind"], event.fields["user"]), ("list", "token", "alice"))

    def test_sessions_of_others(self) -> None:
        """A person sees sessions of their own."""
        self.now(self.cluster.sessions.put(session("s-2", user="bob")))
        mine = self.call(self.user(), "GET", "/v1/namespaces/default/sessions")
        self.assertEqual([item["metadata"] for item in mine.items], [{"name": "s-1", "namespace": "default"}])
        self.assertEqual(len(self.call(self.admin(), "GET", "/v1/namespaces/default/sessions").items), 2)


def session(name: str = "s-1", user: str = "alice") -> ActiveSession:
    return ActiveSession(name, user, "root", WEB1, "web1", "192.0.2.7:4000", NOW, NOW)
