"""A cluster with people who log in: with passwords that are hashed quickly, and authenticators that a test holds."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from teleport_conch.auth.people import passwords
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.tls import TLSIdentity, load_certificate_pem
from teleport_conch.certs.trust import check_tls_certificate
from teleport_conch.resources.user import User
from tests.auth.fixture import GATEWAY, SSH_KEY, TLS_KEY, Answered, ClusterTestCase

PASSWORD = "correct horse battery staple"
CLIENT = "192.0.2.7"
ALICE = User("alice", ("access",), {"logins": ("alice", "ubuntu")})
REFUSED = "invalid user name, password or second factor"


def code(secret: str, now: float) -> str:
    """What an authenticator shows."""
    return TOTP(base64.b32decode(secret), 6, SHA1(), 30).generate(int(now)).decode()  # noqa: S303 - what they know


class PeopleTestCase(ClusterTestCase):
    """:ivar secrets: of the second factors, by user.
    :ivar codes: the recovery codes, by user.
    """

    def setUp(self) -> None:
        self.patch(passwords, "SCRYPT_LOG2_N", 1)
        super().setUp()
        self.secrets: dict[str, str] = {}
        self.codes: dict[str, tuple[str, ...]] = {}
        self.proxy = self.host(self.join(GATEWAY, "gate", "Proxy"))
        self.emitted.events.clear()

    def add(self, user: User = ALICE) -> User:
        """A user who has not set a password."""
        answer = self.call(self.admin(), "POST", "/v1/users", user.to_json())
        self.assertEqual(answer.status, 200, answer.body)
        return User.from_json(answer.body)

    def invite(self, name: str = "alice", kind: str = "invite", **more: object) -> str:
        """The token of a link."""
        answer = self.call(self.admin(), "POST", f"/v1/users/{name}/invites", {"kind": kind, **more})
        self.assertEqual(answer.status, 200, answer.body)
        return str(answer.body["token"])

    def open_link(self, token: str) -> Answered:
        return self.through("POST", "/v1/web/invites/open", {"token": token})

    def accept(self, token: str, password: str = PASSWORD, otp_token: str | None = None) -> Answered:
        """Open a link and do what it asks for."""
        opened = self.open_link(token)
        secret, user = str(opened.body.get("otp_secret", "")), str(opened.body.get("user", ""))
        typed = otp_token if otp_token is not None else code(secret, self.clock.seconds()) if secret else ""
        body = {"token": token, "password": password, "otp_token": typed}
        answer = self.through("POST", "/v1/web/invites/accept", body)
        if answer.status == 200:
            self.secrets[user] = secret
            self.codes[user] = tuple(answer.body["recovery_codes"])  # type: ignore[arg-type]  # a list of texts
        return answer

    def settle(self, user: User = ALICE) -> None:
        """A user who can log in, with an authenticator whose next code has not been used."""
        self.add(user)
        self.assertEqual(self.accept(self.invite(user.name)).status, 200)
        self.clock.advance(60)
        self.emitted.events.clear()

    def code(self, name: str = "alice") -> str:
        return code(self.secrets[name], self.clock.seconds())

    def through(self, method: str, path: str, body: Mapping[str, object], address: str = CLIENT) -> Answered:
        """Call auth as the proxy does, for somebody with this address."""
        return self.call(self.proxy, method, path, {**body, "client_address": address})

    def log_in(
        self, name: str = "alice", password: str = PASSWORD, otp_token: str | None = None, **more: object
    ) -> Answered:
        """Log in with tsh, with the right code unless another is given."""
        address = str(more.pop("address", CLIENT))
        typed = self.code(name) if otp_token is None and name in self.secrets else otp_token or ""
        keys = {"public_ssh_key": SSH_KEY, "public_tls_key": TLS_KEY}
        body = {"password": password, "otp_token": typed, **keys, **more}
        return self.through("POST", f"/v1/users/{name}/ssh/authenticate", body, address)

    def identity(self, answer: Answered) -> TLSIdentity:
        """Whom the TLS certificate of an answer speaks for."""
        certificate = load_certificate_pem(str(answer.body["tls_cert"]))
        return check_tls_certificate(certificate, self.cluster.authorities.trusted, self.clock.seconds())

    def ssh(self, answer: Answered) -> SSHCertificate:
        return SSHCertificate.from_line(str(answer.body["cert"]))

    def errors(self, name: str = "user.login") -> list[object]:
        """What the failures say, for administrators."""
        return [event.fields.get("error") for event in self.emitted.named(name) if not event.success]
