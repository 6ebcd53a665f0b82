"""The web API: Teleport's shapes, and what goes to auth."""

from __future__ import annotations

import base64
import json

from teleport_conch.client.people import Credentials
from teleport_conch.client.web import ProxyFacts, SignedIn
from teleport_conch.errors import LockedOut
from teleport_conch.web.guard import SESSION_COOKIE, form_token
from tests.web.fixture import ADDRESS, NOW, REFUSED, TOKEN, URI, WebTestCase, authorities


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class FactTests(WebTestCase):
    def test_ping(self) -> None:
        """What ``tsh`` reads of it is there, and the time of the proxy."""
        answer = self.call("GET", "/webapi/ping").json()
        facts = ProxyFacts.from_json(answer)
        self.assertEqual(
            (facts.cluster_name, facts.second_factor, facts.web_public_addr, facts.ssh_public_addr),
            ("example.com", "otp", "proxy.example.com:3080", "proxy.example.com:3023"),
        )
        self.assertEqual(answer["server_time"], NOW)
        self.assertEqual(self.call("GET", "/v1/webapi/ping").json(), answer)
        found = self.call("GET", "/webapi/find").json()
        self.assertEqual(found["proxy"], answer["proxy"])
        self.assertNotIn("auth", found)

    def test_cacert(self) -> None:
        """The host authority alone, by which servers are verified."""
        (host,) = (each for each in authorities() if each.kind == "host")
        self.assertEqual(self.call("GET", "/webapi/cacert").json(), {"items": list(host.tls_certificates)})


class LoginTests(WebTestCase):
    BODY = {
        "user": "alice",
        "password": "secret",
        "otp_token": "123456",
        "pub_key": packed("ssh-ed25519 AAAA"),
        "tls_pub_key": packed("-----BEGIN PUBLIC KEY-----"),
        "ttl": 3600 * 10**9,
    }

    def test_certificates(self) -> None:
        """A login for certificates, with the client's address; the answer is what ``tsh`` reads."""
        answer = self.call("POST", "/webapi/ssh/certs", self.BODY)
        credentials = Credentials("secret", "123456")
        keys = ("ssh-ed25519 AAAA", "-----BEGIN PUBLIC KEY-----")
        self.assertEqual(self.people.asked, [("log_in", ("alice", credentials, *keys, ADDRESS, 3600.0))])
        signed = SignedIn.from_json(answer.json())
        self.assertEqual((signed.user, signed.ssh_certificate, signed.tls_certificate), ("alice", "cert", "pem"))
        self.assertEqual(signed.authorities, (authorities()[1],))
        self.assertEqual(
            answer.json()["authorities"], json.loads(json.dumps([each.to_json() for each in authorities()]))
        )

    def test_refused(self) -> None:
        """Auth's refusal is answered as it is."""
        for failing in (REFUSED, LockedOut("Too many.", seconds=1200)):
            self.people.failing = failing
            answer = self.call("POST", "/webapi/ssh/certs", self.BODY)
            self.assertEqual((answer.status, answer.json()), (failing.http_status, failing.to_json()))

    def test_malformed(self) -> None:
        """Fields that are missing, of another type or too long; nothing goes to auth."""
        for changed in (
            {"user": 7},
            {"user": "x" * 256},
            {"pub_key": "not base64!"},
            {"tls_pub_key": "\u202e"},
            {"ttl": -1},
            {"ttl": 10**40},
            {"otp_token": "1" * 513},
            {"user": "\ud800"},
            {"ttl": float("nan")},
        ):
            answer = self.call("POST", "/webapi/ssh/certs", {**self.BODY, **changed})
            self.assertEqual((answer.status, answer.code), (400, "BAD_PARAMETER"), changed)
        self.assertEqual(self.people.asked, [])

    def test_session(self) -> None:
        """A session begins with a cookie and a token, both of which it needs, and ends."""
        answer = self.call("POST", "/webapi/sessions", {"user": "alice", "pass": "x", "second_factor_token": "1"})
        self.assertEqual(answer.json(), {"type": "bearer", "token": form_token("5e55a"), "expires_in": 1800})
        self.assertTrue(answer.cookies[0].startswith(f"{SESSION_COOKIE}=5e55a; "))
        status = self.call("GET", "/webapi/user/status", session="5e55a").json()
        self.assertEqual((status["user"], status["roles"]), ("alice", ["access"]))
        sites = self.call("GET", "/webapi/sites", session="5e55a").json()["items"]
        assert isinstance(sites, list)
        self.assertEqual((sites[0]["name"], sites[0]["publicURL"]), ("example.com", "proxy.example.com:3080"))
        self.assertEqual(self.call("DELETE", "/webapi/sessions", session="5e55a").json(), {"message": "ok"})
        self.assertEqual(self.people.asked[-1], ("close_web_session", ("5e55a", ADDRESS)))

    def test_password(self) -> None:
        """The caller's own, whoever else is named."""
        body = {"old_password": packed("a"), "new_password": packed("b"), "second_factor_token": "1", "user": "root"}
        self.call("PUT", "/webapi/users/password", body, session="5e55b")
        self.assertEqual(self.people.asked[-1], ("change_password", ("bob", "a", "b", "1", ADDRESS)))

    def test_links(self) -> None:
        """A link is opened, and used."""
        opened = self.call("GET", f"/webapi/users/password/token/{TOKEN}").json()
        self.assertEqual((opened["user"], opened["otp_uri"]), ("alice", URI))
        body = {"token": TOKEN, "password": packed("p"), "second_factor_token": "1"}
        used = self.call("PUT", "/webapi/users/password/token", body).json()
        self.assertEqual(used, {"user": "alice", "recovery_codes": ["aaaa-bbbb", "cccc-dddd"]})
        self.assertEqual(self.people.asked[-1], ("accept_invite", (TOKEN, "p", "1", ADDRESS)))
        self.assertEqual(self.call("GET", "/webapi/users/password/token/other").code, "INVITE_UNKNOWN")
