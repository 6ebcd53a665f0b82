"""The web room over memory: requests as bytes, answers read back, and a recorder in the place of auth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPMessage, parse_headers
from io import BytesIO
from typing import cast
from urllib.parse import urlencode

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.certs.public import PublicAuthority
from teleport_conch.client.answers import UserCertificates
from teleport_conch.client.people import (
    AcceptedInvite,
    Credentials,
    Invite,
    LoggedIn,
    OpenedInvite,
    People,
    SessionOwner,
    WebSession,
)
from teleport_conch.errors import InviteUnknown, LoginRefused, SessionEnded, TeleportError
from teleport_conch.https.site import BoundedChannel
from teleport_conch.web.gate import Gate
from teleport_conch.web.guard import FORM_COOKIE, SESSION_COOKIE, form_token
from teleport_conch.web.site import open_gate, site_of
from teleport_conch.web.surroundings import Addresses, Surroundings
from tests.certs import samples

ADDRESS = "192.0.2.7"
NOW = 1_800_000_000.0
HOST = "proxy.example.com:3080"
TOKEN = "ab" * 16
SESSIONS = {"5e55a": "alice", "5e55b": "bob"}
URI = "otpauth://totp/x:alice?secret=JBSWY3DPEHPK3PXP&issuer=x"


OPENED = OpenedInvite("alice", "invite", NOW + 60, "otp", "JBSWY3DPEHPK3PXP", URI)


@define(eq=False)
class FakePeople:
    """In the place of auth: keeps what was asked, and answers as if all were right, or with ``failing``."""

    asked: list[tuple[str, tuple[object, ...]]] = field(factory=list)
    failing: TeleportError | None = None
    opened: OpenedInvite = OPENED

    def _note(self, name: str, *parts: object) -> None:
        self.asked.append((name, parts))
        if self.failing is not None:
            raise self.failing

    async def log_in(
        self,
        name: str,
        credentials: Credentials,
        *,
        public_ssh_key: str,
        public_tls_key: str,
        client_address: str,
        ttl_s: float = 0.0,
    ) -> LoggedIn:
        self._note("log_in", name, credentials, public_ssh_key, public_tls_key, client_address, ttl_s)
        return LoggedIn(name, ("access",), NOW + 60, UserCertificates("cert", "pem", authorities()))

    async def open_web_session(self, name: str, credentials: Credentials, client_address: str) -> WebSession:
        self._note("open_web_session", name, credentials, client_address)
        return WebSession("5e55a", NOW + 1800)

    async def web_session(self, session: str, client_address: str) -> SessionOwner:
        self.asked.append(("web_session", (session, client_address)))
        if session not in SESSIONS:
            raise SessionEnded("The session has ended; log in again.")
        return SessionOwner(SESSIONS[session], ("access",), NOW + 1800)

    async def close_web_session(self, session: str, client_address: str) -> None:
        self._note("close_web_session", session, client_address)

    async def open_invite(self, token: str, client_address: str) -> OpenedInvite:
        self._note("open_invite", token, client_address)
        if token != TOKEN:
            raise InviteUnknown("There is no such link.")
        return self.opened

    async def accept_invite(self, token: str, password: str, otp_token: str, client_address: str) -> AcceptedInvite:
        self._note("accept_invite", token, password, otp_token, client_address)
        return AcceptedInvite("alice", ("aaaa-bbbb", "cccc-dddd"))

    async def renewal(self, name: str, credentials: Credentials, client_address: str) -> Invite:
        self._note("renewal", name, credentials, client_address)
        return Invite(TOKEN, "renew", NOW + 60)

    async def change_password(
        self, name: str, old_password: str, new_password: str, otp_token: str, client_address: str
    ) -> None:
        self._note("change_password", name, old_password, new_password, otp_token, client_address)


def authorities() -> tuple[PublicAuthority, ...]:
    return samples.USER_CA.public(), samples.HOST_CA.public()


@frozen
class Answered:
    """An answer as a browser gets it."""

    status: int
    headers: HTTPMessage = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> dict[str, object]:
        found = json.loads(self.body)
        assert isinstance(found, dict), found
        return found

    @property
    def code(self) -> object:
        error = self.json().get("error")
        return error.get("code") if isinstance(error, Mapping) else None

    @property
    def cookies(self) -> list[str]:
        return self.headers.get_all("Set-Cookie") or []


class _Wire(StringTransport):
    """A transport that can be cut."""

    def abortConnection(self) -> None:
        self.loseConnection()

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no TCP."""


class WebTestCase(SynchronousTestCase):
    """Requests from one address; :attr:`people` is asked in the place of auth."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.second_factor = "otp"
        self.clock.advance(NOW)
        self.people = FakePeople()
        self.events: list[tuple[str, dict[str, object]]] = []
        self.gate: Gate = open_gate(self.surroundings())
        self.site = site_of(self.gate)

    def surroundings(self) -> Surroundings:
        return Surroundings(
            clock=self.clock,
            entropy=lambda count: b"\7" * count,
            people=lambda: cast(People, self.people),
            authorities=authorities,
            cluster_name=lambda: "example.com",
            addresses=lambda: Addresses("0.0.0.0:3023", "0.0.0.0:3080", HOST, "proxy.example.com:3023", ""),
            second_factor=lambda: self.second_factor,
            emit=self._emit,
            version="0.1.0",
        )

    def _emit(self, name: str, /, *, success: bool = True, **fields: object) -> bool:
        self.events.append((name, fields))
        return success

    # Requests.

    def raw(self, data: bytes, address: str = ADDRESS) -> Answered:
        """Whatever bytes, over a connection of their own."""
        peer = IPv4Address("TCP", address, 4000)
        channel = self.site.buildProtocol(peer)
        assert isinstance(channel, BoundedChannel)
        self.channel, self.wire = channel, _Wire(peerAddress=peer)
        channel.makeConnection(self.wire)
        channel.dataReceived(data)
        return self.answered()

    def answered(self) -> Answered:
        """What was answered over the last connection; status 0 for nothing."""
        head, _, body = self.wire.value().partition(b"\r\n\r\n")
        if not head:
            return Answered(0, HTTPMessage(), b"")
        line, _, lines = head.partition(b"\r\n")
        return Answered(int(line.split()[1]), parse_headers(BytesIO(lines + b"\r\n\r\n")), body)

    def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        address: str = ADDRESS,
    ) -> Answered:
        given = {"Host": HOST, **({"Content-Length": str(len(body))} if body else {}), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        return self.raw(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body, address)

    def call(self, method: str, path: str, value: object = None, session: str = "", **headers: str) -> Answered:
        """A call of the web API, with what a session needs."""
        given = {"Content-Type": "application/json"} if value is not None else {}
        if session:
            given |= {"Cookie": f"{SESSION_COOKIE}={session}", "Authorization": f"Bearer {form_token(session)}"}
        body = b"" if value is None else json.dumps(value).encode()
        return self.send(method, path, {**given, **headers}, body)

    def get(self, path: str, session: str = "") -> Answered:
        """A page."""
        return self.send("GET", path, {"Cookie": f"{SESSION_COOKIE}={session}"} if session else {})

    def form(
        self, path: str, fields: Mapping[str, str], session: str = "", cookie: str = "f0f0", **more: str
    ) -> Answered:
        """A form that was sent from its page."""
        name = f"{SESSION_COOKIE}={session}" if session else f"{FORM_COOKIE}={cookie}"
        token = {"csrf": form_token(session or cookie)}
        kind = "application/x-www-form-urlencoded"
        return self.send(
            "POST", path, {"Content-Type": kind, "Cookie": name, **more}, urlencode({**token, **fields}).encode()
        )


REFUSED = LoginRefused("invalid user name, password or second factor")
