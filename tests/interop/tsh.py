"""People with ``tsh``: invited, with a password and a second factor, each with a ``~/.tsh`` of their own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from base64 import b32decode
from collections.abc import Mapping
from pathlib import Path

from attrs import define, field

from tests.interop import web
from tests.interop.cluster import CLUSTER_NAME, LOGIN, Cluster
from tests.interop.programs import Done, check, environment, installed, run
from tests.interop.services import LOCALHOST, temporary_folder
from tests.interop.terminals import Terminal

PASSWORD = "correct horse battery staple"
STEP_S = 30
ENTER = "\r"


def code_at(secret: str, step: int) -> str:
    """The six digits of RFC 6238 for one step of half a minute."""
    digest = hmac.digest(b32decode(secret.replace(" ", "").upper()), step.to_bytes(8, "big"), hashlib.sha1)
    start = digest[-1] & 15
    return f"{(int.from_bytes(digest[start : start + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06d}"


@define
class SecondFactor:
    """An app that is never asked for the same code twice: of three that are good at a time, the oldest first."""

    secret: str
    _used: int = 0

    def code(self) -> str:
        now = int(time.time() // STEP_S)
        self._used = max(self._used + 1, now - 1)
        while self._used > int(time.time() // STEP_S) + 1:
            time.sleep(1)
        return code_at(self.secret, self._used)


@define(eq=False)
class Tsher:
    """Somebody with ``tsh``.

    :ivar home: what is ``~/.tsh`` elsewhere.
    :ivar recovery_codes: of the invitation.
    """

    name: str
    cluster: Cluster
    factor: SecondFactor
    recovery_codes: list[str]
    home: Path = field(factory=lambda: temporary_folder() / "home of tsh")
    login: str = LOGIN
    variables: dict[str, str] = field(factory=dict)

    @property
    def proxy(self) -> str:
        return f"{LOCALHOST}:{self.cluster.web_port}"

    @property
    def keys(self) -> Path:
        """Of the one proxy."""
        return self.home / "keys" / LOCALHOST

    @property
    def certificate(self) -> Path:
        return self.keys / f"{self.name}-cert.pub"

    def environment(self, **more: str) -> dict[str, str]:
        own = {"TELEPORT_HOME": str(self.home), "TELEPORT_LOGIN": self.login}
        return environment() | own | self.variables | more

    def tsh(self, *words: str, code: int = 0, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Done:
        """Runs ``tsh`` where there is no terminal."""
        return check(run(installed("tsh"), *words, stdin=stdin, env=self.environment(**(env or {}))), code)

    def on_terminal(self, *words: str, **more: str) -> Terminal:
        """Runs ``tsh`` on a terminal."""
        return Terminal(installed("tsh"), *words, env=self.environment(**more))

    def in_shell(self, line: str) -> Terminal:
        """Runs a line of a shell on a terminal, with ``tsh`` on its PATH."""
        return Terminal("/bin/sh", "-c", line, env=self.environment())

    def log_in(self, *words: str) -> str:
        """Types password and code at ``tsh login``, and answers what appeared."""
        with self.on_terminal("login", f"--proxy={self.proxy}", f"--user={self.name}", *words) as terminal:
            self.answer(terminal)
            code = terminal.ended()
            assert code == 0, f"tsh login exited with {code}: {terminal.seen!r}"
        return terminal.seen.decode()

    def log_in_pinned(self, *words: str) -> str:
        """The same with the pin, as who logs in for the first time."""
        return self.log_in(f"--ca-pin={self.cluster.pin()}", *words)

    def answer(self, terminal: Terminal, password: str = PASSWORD, code: str = "") -> None:
        """Types what a login asks for."""
        terminal.read_until(b"Enter password for Teleport user " + self.name.encode() + b":")
        terminal.type(password + ENTER)
        if code or self.factor.secret:
            terminal.read_until(b"Enter your OTP token:")
            terminal.type((code or self.factor.code()) + ENTER)

    def host(self, name: str) -> str:
        """A node as OpenSSH is told it."""
        return f"{name}.{CLUSTER_NAME}"


def invited(cluster: Cluster, name: str, *words: str, logins: str = LOGIN, roles: str = "access") -> Tsher:
    """A new user, who has followed the link of ``tctl users add``, and chosen what it asks for."""
    made = cluster.tctl("users", "add", name, f"--roles={roles}", f"--logins={logins}", *words)
    return accepted(cluster, name, token_in(made.text))


def token_in(text: str) -> str:
    """The secret of the link that stands in a text."""
    return text.partition("/web/invite/")[2].split()[0]


def reference_in(text: str) -> str:
    """What a refused person is told to ask the administrator with."""
    found = re.search(r"[Rr]eference:? ([0-9a-zA-Z-]+)", text)
    assert found is not None, text
    return found[1]


def accepted(cluster: Cluster, name: str, token: str) -> Tsher:
    """Who has accepted an invitation by the web API."""
    opened = web.ask(cluster.web_port, f"/webapi/users/password/token/{token}").json()
    factor = SecondFactor(str(opened["otp_secret"]))
    body = {"token": token, "password": base64.b64encode(PASSWORD.encode()).decode()}
    body["second_factor_token"] = factor.code() if factor.secret else ""
    answer = web.ask(cluster.web_port, "/webapi/users/password/token", method="PUT", body=body).json()
    codes = answer["recovery_codes"]
    assert isinstance(codes, list), answer
    return Tsher(name, cluster, factor, codes)
