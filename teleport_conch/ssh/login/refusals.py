"""Why a login was refused: for the log, for the audit log, and for the person at the keyboard, each reason once."""

from __future__ import annotations

from typing import Protocol

from twisted.conch.ssh.userauth import MSG_USERAUTH_BANNER
from twisted.logger import Logger

from teleport_conch import wire
from teleport_conch.errors import AccessDenied, CertificateRefused, TeleportError
from teleport_conch.ssh.login.policy import Attempt, Claim, KeyClaim, LoginPolicy
from teleport_conch.ssh.login.publickey import NotOffered

MAX_SHOWN_BYTES = 256
"""Of a user name that is none, in the log."""


class Listener(Protocol):
    """Who is told."""

    client_address: str
    login_policy: LoginPolicy

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """Sends one message to the client."""


class Refusals:
    """What one connection was told so far, whose requests are bounded, and with them what is kept here."""

    _log = Logger()

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._told: set[str] = set()

    def of_claim(self, claim: Claim | KeyClaim | Attempt, refusal: TeleportError) -> None:
        """What was shown to log in with was refused; an :class:`Attempt` where it cannot be read."""
        if not self._is_news(refusal):
            return
        self._log.info(
            "{client} was refused as {user!r} with {key}: {why}",
            client=claim.client_address,
            user=claim.user,
            key=_shown(claim),
            why=refusal.sentence,
        )
        if not isinstance(claim, KeyClaim):
            self._listener.login_policy.refused(claim, refusal)
        if isinstance(claim, Claim) and isinstance(refusal, CertificateRefused | AccessDenied):
            self.say(refusal.sentence)

    def of_request(self, user: bytes, refusal: TeleportError) -> None:
        """A request was refused in which nothing was shown; that is for our log only."""
        if not isinstance(refusal, NotOffered) and self._is_news(refusal):
            self._log.info(
                "{client} was refused as {user!r}: {why}",
                client=self._listener.client_address,
                user=user[:MAX_SHOWN_BYTES].decode("utf-8", "backslashreplace"),
                why=refusal.sentence,
            )

    def _is_news(self, refusal: TeleportError) -> bool:
        news = refusal.sentence not in self._told
        self._told.add(refusal.sentence)
        return news

    def say(self, *lines: str) -> None:
        """Lines for the person at the keyboard (RFC 4252, section 5.4)."""
        shown = "".join("".join(filter(str.isprintable, line)) + "\r\n" for line in lines)
        self._listener.sendPacket(MSG_USERAUTH_BANNER, wire.text(shown) + wire.text("en"))


def _shown(claim: Claim | KeyClaim | Attempt) -> str:
    if isinstance(claim, Claim):
        return f"the certificate of {claim.certificate.key_id!r}"
    return "a plain key" if isinstance(claim, KeyClaim) else "an unreadable certificate"
