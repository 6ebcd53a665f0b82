"""Policies that ask more, or take more, than a certificate."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field
from twisted.internet.defer import Deferred

from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.errors import AccessDenied
from teleport_conch.ssh.connection.channel import ChannelOwner
from teleport_conch.ssh.login.policy import Answer, Ask, Attempt, Claim, KeyClaim, LoginPolicy, Partial, Question
from tests.ssh.logins import SamplePolicy
from tests.ssh.recording import RecordingOwner

CODE = Question("Code: ")
WRONG = "The code is wrong."


@define
class CertifiedOwner(RecordingOwner):
    """What somebody may do who logged in with a certificate, and with more: the certificate still limits it."""

    certificate: SSHCertificate | None = None


@define
class CodeOnly(LoginPolicy):
    """Asks for a code; in the second step of :class:`CertificateAndCode`, on top of a certificate."""

    claim: Claim | None = None
    code: str = "123456"
    rounds: int = 1
    wait: Deferred[None] | None = None
    asked: list[Attempt] = field(factory=list)
    given: list[tuple[str, ...]] = field(factory=list)

    def methods(self, user: str) -> Sequence[str]:
        return ("keyboard-interactive",)

    async def interact(self, attempt: Attempt, ask: Ask) -> ChannelOwner:
        self.asked.append(attempt)
        for number in range(self.rounds):
            self.given.append(await ask(CODE, name="Second factor", instruction=f"Round {number + 1}."))
        if self.wait is not None:
            await self.wait
        if self.given[-1] != (self.code,):
            raise AccessDenied(WRONG)
        return CertifiedOwner(certificate=None if self.claim is None else self.claim.certificate)


@define
class CertificateAndCode(SamplePolicy):
    """A certificate first, then a code, both for one user name."""

    second_steps: list[CodeOnly] = field(factory=list)

    async def login(self, claim: Claim) -> Answer:
        await super().login(claim)
        self.second_steps.append(CodeOnly(claim))
        return Partial(self.second_steps[-1])


@define
class KeysAndPasswords(LoginPolicy):
    """Plain keys and passwords, as an old server has them."""

    keys: set[bytes] = field(factory=set)
    word: str = "correct horse"
    plain_keys: bool = True
    later: Deferred[None] | None = None
    checked: list[KeyClaim] = field(factory=list)
    logged_in: list[KeyClaim | Attempt] = field(factory=list)
    passwords: list[str] = field(factory=list)

    def methods(self, user: str) -> Sequence[str]:
        return ("publickey", "password")

    def check_key(self, claim: KeyClaim) -> Deferred[None] | None:
        self.checked.append(claim)
        if claim.key.to_blob() not in self.keys:
            raise AccessDenied("The key is not one of yours.")
        return self.later

    async def login_with_key(self, claim: KeyClaim) -> ChannelOwner:
        self.logged_in.append(claim)
        return RecordingOwner()

    async def password(self, attempt: Attempt, password: str) -> ChannelOwner:
        self.passwords.append(password)
        if password != self.word:
            raise AccessDenied("The password is wrong.")
        self.logged_in.append(attempt)
        return RecordingOwner()
