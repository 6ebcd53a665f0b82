"""What stands before the pages and the web API: who may come by which route, from where, and how often.

The number in the names of tests is that of the project's list of attacks.
"""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import BadParameter
from teleport_conch.https.limits import ARRIVAL_S
from teleport_conch.rank import Rank
from teleport_conch.web import limits
from teleport_conch.web.answers import Answer, Cookie, Data, cookies_in
from teleport_conch.web.gate import Who
from teleport_conch.web.guard import (
    FORM_COOKIE,
    SECURITY_HEADERS,
    SESSION_COOKIE,
    CrossSite,
    Origin,
    check_token,
    form_token,
)
from teleport_conch.web.layout import style_path
from teleport_conch.web.site import open_gate, site_of
from teleport_conch.web.visit import Visit
from tests.web.fixture import ADDRESS, HOST, TOKEN, WebTestCase

STYLE = style_path()
MATRIX = {
    "GET /": "anybody",
    "GET /web": "anybody",
    "GET /web/login": "anybody",
    "POST /web/login": "anybody",
    "POST /web/logout": "person",
    "GET /web/account": "person",
    "POST /web/account/password": "person",
    "POST /web/account/second-factor": "person",
    "GET /web/invite/<token>": "anybody",
    "POST /web/invite/<token>": "anybody",
    "GET /web/reset/<token>": "anybody",
    "POST /web/reset/<token>": "anybody",
    f"GET {STYLE}": "anybody",
    "GET /webapi/ping": "anybody",
    "GET /webapi/find": "anybody",
    "GET /webapi/cacert": "anybody",
    "POST /webapi/ssh/certs": "anybody",
    "GET /webapi/users/password/token/<token>": "anybody",
    "PUT /webapi/users/password/token": "anybody",
    "PUT /webapi/users/password": "person",
    "POST /webapi/sessions": "anybody",
    "DELETE /webapi/sessions": "person",
    "GET /webapi/user/status": "person",
    "GET /webapi/sites": "person",
}
"""Every route, and who may come by it. Written by hand."""


class MatrixTests(WebTestCase):
    def test_every_route(self) -> None:
        """The table knows every route, and the API is there below both of its prefixes."""
        found = {name: route.who.value for name, route in self.gate.routes.items() if " /v1/" not in name}
        self.assertEqual(found, MATRIX)
        versioned = {name.replace(" /v1/", " /") for name in self.gate.routes if " /v1/" in name}
        self.assertEqual(versioned, {name for name in MATRIX if "/webapi/" in name})

    def asked(self, name: str, session: str, token: str) -> tuple[int, object]:
        """Status, and code or destination, of a request by one route, with this session and this token."""
        method, path = name.replace("<token>", TOKEN).split(" ")
        cookie = {"Cookie": f"{SESSION_COOKIE}={session}; {FORM_COOKIE}=f0f0"}
        if "/webapi/" not in path:
            if method == "GET":
                answer = self.send(method, path, cookie)
            else:
                answer = self.form(path, {"csrf": token if MATRIX[name] == "person" else form_token("f0f0")}, **cookie)
            return answer.status, str(answer.headers["Location"]).partition("?")[0]
        headers = {**cookie, "Authorization": f"Bearer {token}"}
        body = b"" if method in ("GET", "DELETE") else b"{}"
        answer = self.send(method, path, headers | ({"Content-Type": "application/json"} if body else {}), body)
        return answer.status, answer.json().get("error") and answer.code

    def test_100_callers(self) -> None:
        """Without a session, with one that has ended, with another's token, and with what is due."""
        for name, who in MATRIX.items():
            reads = name.startswith("GET ") and "/webapi/" not in name
            nobody = ("", "", (401, "UNAUTHENTICATED"), (303, "/web/login"))
            ended = ("5e55f", form_token("5e55f"), (401, "SESSION_ENDED"), (303, "/web/login"))
            another = ("5e55a", form_token("5e55b"), (403, "CROSS_SITE"), (200, "None") if reads else (403, "None"))
            for session, token, from_api, from_page in (nobody, ended, another):
                found = self.asked(name, session, token)
                if who == "person":
                    self.assertEqual(found, from_api if "/webapi/" in name else from_page, (name, session))
                else:
                    self.assertNotIn(found[0], (401, 403), (name, session))
            status, _ = self.asked(name, "5e55a", form_token("5e55a"))
            self.assertIn(status, (200, 303, 400), name)

    def test_unknown(self) -> None:
        """What is no route is refused, as a page or as JSON, and so is another method of one that is."""
        for method, path in (("GET", "/webapi/nothing"), ("POST", "/webapi/ping"), ("GET", "/v1/nodes")):
            answer = self.send(method, path)
            self.assertEqual((answer.status, answer.code), (404, "NOT_FOUND"))
        for method, path in (("GET", "/nothing"), ("DELETE", "/web/login"), ("GET", "/web/login/")):
            answer = self.send(method, path)
            self.assertEqual(answer.status, 404)
            self.assertIn("Page not found", answer.text)


class HeaderTests(WebTestCase):
    def test_every_answer(self) -> None:
        """Pages, data, redirections, refusals, and what HTTP itself refuses: all have the headers."""
        for answer in (
            self.get("/web/login"),
            self.get("/web"),
            self.get("/nothing"),
            self.call("GET", "/webapi/ping"),
            self.call("GET", "/webapi/user/status"),
            self.raw(b"GET / HTTP/9.9\r\n\r\n"),
        ):
            for name, value in SECURITY_HEADERS.items():
                self.assertEqual(answer.headers[name], value)

    def test_values(self) -> None:
        """Nothing is loaded but our style sheet, nobody frames a page, and nothing is kept."""
        policy = SECURITY_HEADERS["Content-Security-Policy"]
        self.assertTrue(policy.startswith("default-src 'none'; "))
        self.assertIn("frame-ancestors 'none'", policy)
        self.assertNotIn("unsafe", policy)
        self.assertEqual(SECURITY_HEADERS["Cache-Control"], "no-store")

    def test_style_sheet(self) -> None:
        """The one thing that is kept, as its address changes with it."""
        answer = self.get(STYLE)
        self.assertEqual(answer.headers["Content-Type"], "text/css; charset=utf-8")
        self.assertEqual(answer.headers["Cache-Control"], "public, max-age=31536000, immutable")
        self.assertEqual(answer.cookies, [])

    def test_head(self) -> None:
        """Headers without a body."""
        answer = self.send("HEAD", "/web/login")
        self.assertEqual((answer.status, answer.body), (200, b""))

    def test_cookies(self) -> None:
        """As strict as browsers know."""
        strict = "Path=/; Secure; HttpOnly; SameSite=Strict"
        self.assertEqual(self.get("/web/login").cookies, [f"{FORM_COOKIE}={'07' * 16}; {strict}"])
        self.assertEqual(
            self.form("/web/login", {"user": "alice", "password": "x"}).cookies, [f"{SESSION_COOKIE}=5e55a; {strict}"]
        )
        self.assertEqual(self.form("/web/logout", {}, "5e55a").cookies, [f"{SESSION_COOKIE}=; {strict}; Max-Age=0"])

    def test_address(self) -> None:
        """An IPv4 address is itself on a port that listens for both; limits and certificates go by it."""
        for shown, said in (("::ffff:192.0.2.9", "192.0.2.9"), ("2001:db8::9", "2001:db8::9")):
            self.send("GET", f"/web/invite/{TOKEN}", address=shown)
            self.assertEqual(self.people.asked[-1], ("open_invite", (TOKEN, said)))

    def test_104_claims(self) -> None:
        """What a client says of its address or itself is read nowhere."""
        claims = {
            "X-Forwarded-For": "10.0.0.1",
            "X-Real-IP": "10.0.0.1",
            "Forwarded": "for=10.0.0.1",
            "X-Forwarded-User": "root",
            "X-Teleport-User": "root",
            "Remote-User": "root",
        }
        self.form("/web/login", {"user": "alice", "password": "x"}, "", "f0f0", **claims)
        (_, (name, _, address)) = self.people.asked[-1]
        self.assertEqual((name, address), ("alice", ADDRESS))
        answer = self.send("GET", "/webapi/user/status", claims)
        self.assertEqual((answer.status, answer.code), (401, "UNAUTHENTICATED"))


class OddBytesTests(WebTestCase):
    def test_98_headers(self) -> None:
        """Headers that are no text are answered like any others that say nothing."""
        for name, status in ((f"Cookie: {SESSION_COOKIE}=", 303), ("Origin: ", 303), ("X: ", 303)):
            answer = self.raw(f"GET /web/account HTTP/1.1\r\nHost: {HOST}\r\n{name}".encode() + b"\xff\xfe\r\n\r\n")
            self.assertEqual(answer.status, status, name)
        head = f"DELETE /webapi/sessions HTTP/1.1\r\nHost: {HOST}\r\nCookie: {SESSION_COOKIE}=5e55a\r\n"
        self.assertEqual(self.raw(head.encode() + b"Authorization: Bearer \xff\r\n\r\n").code, "CROSS_SITE")


class SiteTests(WebTestCase):
    """Threat 100: other sites, which can make a browser send anything but our tokens."""

    def test_100_foreign(self) -> None:
        """By what browsers say of where a request comes from; with an event."""
        for claim in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "https://evil.example"},
            {"Origin": f"http://{HOST}"},
            {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        ):
            self.events.clear()
            answer = self.form("/web/account/password", {}, "5e55a", **claim)
            self.assertEqual(answer.status, 403)
            self.assertIn("The request comes from another site, and is refused.", answer.text)
            [(name, fields)] = self.events
            self.assertEqual(
                (name, fields["action"], fields["addr_remote"]), ("web.refused", "POST /web/account/password", ADDRESS)
            )
            answer = self.call("POST", "/webapi/sessions", {"user": "a", "pass": "b"}, **claim)
            self.assertEqual((answer.status, answer.code), (403, "CROSS_SITE"))
        self.assertEqual(self.people.asked, [])

    def test_own(self) -> None:
        """Our own pages, old browsers, and programs, which are none."""
        for claim in ({}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": f"https://{HOST}"}, {"Origin": "null"}):
            answer = self.form("/web/login", {"user": "alice", "password": "x"}, **claim)
            self.assertEqual(answer.status, 303)

    def test_100_no_token(self) -> None:
        """A form without a token, with another session's, with that of no session, or sent without its cookie."""
        kind = "application/x-www-form-urlencoded"
        cookie = f"{SESSION_COOKIE}=5e55a"
        for token in ("", "csrf=", f"csrf={form_token('5e55b')}", f"csrf={form_token('')}", "csrf=%C3%A9"):
            answer = self.send(
                "POST", "/web/account/password", {"Content-Type": kind, "Cookie": cookie}, token.encode() or b"a=b"
            )
            self.assertEqual(answer.status, 403)
            self.assertIn("The form is too old, or was not sent from its page.", answer.text)
        answer = self.send("POST", "/web/login", {"Content-Type": kind}, f"csrf={form_token('07' * 16)}".encode())
        self.assertEqual(answer.status, 403)
        self.assertEqual([name for name, _ in self.people.asked if name != "web_session"], [])

    def test_100_login(self) -> None:
        """Nobody is logged in as somebody else by a form of another site: the login has a token, too."""
        answer = self.form("/web/login", {"user": "mallory", "password": "x", "csrf": form_token("0000")})
        self.assertEqual((answer.status, self.people.asked), (403, []))

    def test_100_form_as_api(self) -> None:
        """What a form can send is no call of the API, whatever it holds."""
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
            answer = self.send(
                "POST", "/webapi/sessions", {"Content-Type": kind} if kind else {}, b'{"user": "a", "pass": "b"}'
            )
            self.assertEqual((answer.status, answer.code), (400, "BAD_PARAMETER"))
        self.assertEqual(self.people.asked, [])

    def test_100_two_cookies(self) -> None:
        """Of two cookies of one name, neither counts."""
        self.assertEqual(cookies_in("a=1; b=2; a=3"), {"b": "2"})
        self.assertEqual(cookies_in(f"a={'x' * 513}; ; b; =; c=1=2"), {"": "", "c": "1=2"})

    def test_events_are_bounded(self) -> None:
        """Who goes on is refused in silence."""
        for _ in range(100):
            self.form("/web/login", {}, Origin="https://evil.example")
        self.assertEqual(len(self.events), 60)


class GuardTests(SynchronousTestCase):
    def test_origin(self) -> None:
        """The newer header counts where there is one."""
        Origin("same-origin", "https://anything", HOST).check()
        self.assertRaises(CrossSite, Origin("cross-site", f"https://{HOST}", HOST).check)
        self.assertRaises(CrossSite, Origin("", "https://proxy.example.com", HOST).check)

    def test_token(self) -> None:
        """It is made of the cookie, and of no other; no cookie has none."""
        check_token("abc", form_token("abc"))
        for cookie, token in (("abc", form_token("abd")), ("", form_token("")), ("abc", ""), ("abc", "\u00e9")):
            self.assertRaises(CrossSite, check_token, cookie, token)

    def test_secrets_are_not_shown(self) -> None:
        self.assertNotIn("5e55a", repr(Cookie(SESSION_COOKIE, "5e55a")))


class LimitTests(WebTestCase):
    """Threat 98 at the proxy's own door."""

    def test_98_body(self) -> None:
        """A body that says it is too large is refused before any of it came."""
        answer = self.send("POST", "/web/login", {"Content-Length": str(100 << 20)})
        self.assertEqual((answer.status, answer.code), (413, "TOO_LARGE"))
        self.assertEqual(answer.headers["Cache-Control"], "no-store")

    def test_98_headers(self) -> None:
        """So are a hundred headers and one."""
        answer = self.send("GET", "/web/login", {f"X-{number}": "y" for number in range(101)})
        self.assertEqual(answer.status, 413)

    def test_98_slow(self) -> None:
        """A request that does not arrive in time is answered, and no more of it is read."""
        self.assertEqual(self.raw(b"POST /web/login HTTP/1.1\r\nContent-Length: 10\r\n\r\nx").status, 0)
        self.clock.advance(ARRIVAL_S)
        answer = self.answered()
        self.assertEqual((answer.status, answer.code), (504, "CONNECTION_PROBLEM"))
        self.assertEqual(answer.headers["Cache-Control"], "no-store")

    def test_rate(self) -> None:
        """So many requests a minute from one address; others are not affected."""
        for _ in range(limits.CALLS_PER_MINUTE):
            self.assertEqual(self.call("GET", "/webapi/ping").status, 200)
        answer = self.call("GET", "/webapi/ping")
        self.assertEqual((answer.status, answer.code), (429, "LIMIT_EXCEEDED"))
        self.assertEqual(self.get("/web/login").status, 429)
        self.assertEqual(self.send("GET", "/webapi/ping", address="192.0.2.8").status, 200)
        self.clock.advance(60)
        self.assertEqual(self.call("GET", "/webapi/ping").status, 200)

    def test_rate_of_workers(self) -> None:
        """Of several workers each lets through its part, so that all together stay within the bound."""
        sites = [site_of(open_gate(evolve(self.surroundings(), rank=Rank(number, 4)))) for number in range(4)]
        let_through = 0
        for site in sites:
            self.site = site
            answers = [self.call("GET", "/webapi/ping").status for _ in range(limits.CALLS_PER_MINUTE // 4 + 1)]
            self.assertEqual(answers[-1], 429)
            let_through += answers.count(200)
        self.assertEqual(let_through, limits.CALLS_PER_MINUTE)

    def slow(self) -> Deferred[None]:
        """A route that takes as long as the test wants."""
        work: Deferred[None] = Deferred()

        @self.gate.api("GET", "/webapi/slow")
        async def slow(visit: Visit) -> Answer:
            await work
            return Data({})

        return work

    def test_in_progress(self) -> None:
        """So many are worked on at one time, whoever sent them; the next one is refused at once."""
        work = self.slow()
        for number in range(limits.MAX_IN_PROGRESS):
            self.assertEqual(self.send("GET", "/webapi/slow", address=f"192.0.2.{number % 250}").status, 0)
        answer = self.send("GET", "/webapi/ping", address="198.51.100.1")
        self.assertEqual((answer.status, answer.code), (429, "LIMIT_EXCEEDED"))
        work.callback(None)
        self.assertEqual(self.send("GET", "/webapi/ping", address="198.51.100.1").status, 200)

    def test_stop(self) -> None:
        """A stopping service gives the answers that it owes, and closes the other connections at once."""
        work = self.slow()
        self.call("GET", "/webapi/slow")
        busy, wire = self.channel, self.wire
        self.call("GET", "/webapi/ping")
        for channel in (busy, self.channel):
            channel.end()
        self.assertEqual((wire.disconnecting, self.wire.disconnecting), (False, True))
        work.callback(None)
        self.assertIn(b"200 OK", wire.value())
        self.assertTrue(wire.disconnecting)

    def test_fields(self) -> None:
        """A form with too many fields, a long one, one twice, or bytes that are no form."""
        kind = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": f"{FORM_COOKIE}=f0f0"}
        for body in (
            "&".join(f"a{number}=b" for number in range(17)),
            f"a={'b' * 4097}",
            "a=b&a=c",
            "a=%ff",
            "\u00e9=x",
        ):
            answer = self.send("POST", "/web/login", kind, body.encode())
            self.assertEqual(answer.status, 400, body[:40])

    def test_unforeseen(self) -> None:
        """A mistake of ours is logged, and its text is not answered."""

        @self.gate.api("GET", "/webapi/broken")
        async def broken(visit: Visit) -> Answer:
            raise ZeroDivisionError("a secret")

        answer = self.call("GET", "/webapi/broken")
        self.assertEqual((answer.status, answer.code), (500, "INTERNAL"))
        self.assertNotIn("secret", answer.text)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_not_json(self) -> None:
        answer = self.send("POST", "/webapi/sessions", {"Content-Type": "application/json"}, b"{")
        self.assertEqual(answer.status, 400)
        self.assertEqual(answer.json(), BadParameter("The body of the request is not JSON.").to_json())

    def test_who(self) -> None:
        """There are two kinds of visitors."""
        self.assertEqual([each.value for each in Who], ["anybody", "person"])
