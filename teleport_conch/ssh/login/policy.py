"""Who may log in: the questions that a server asks, and the values in which they are asked and answered.

A :class:`LoginPolicy` decides. It says no to everything, until a subclass overrides what it wants to allow. A login in
several steps is a chain of policies: the first answers with :class:`Partial`, which holds the policy for what is left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from attrs import frozen

from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.public_key import PublicKey
from teleport_conch.errors import AccessDenied, TeleportError
from teleport_conch.ssh.connection.channel import ChannelOwner
from teleport_conch.ssh.login.proof import LoginProof


class _FromSomewhere:
    """What comes from a client at ``host:port``."""

    __slots__ = ()
    client_address: str

    @property
    def client(self) -> tuple[str, int]:
        """The client's address in its parts."""
        host, _, port = self.client_address.rpartition(":")
        return host.strip("[]"), int(port)


@frozen
class Attempt(_FromSomewhere):
    """Who wants to log in, before anything is known of them: the user name, and the client's ``host:port``."""

    user: str
    client_address: str


@frozen
class Claim(_FromSomewhere):
    """Who says to be whom: the user name of the SSH connection, the certificate, and the client's ``host:port``.

    :ivar proof: the signature that was verified; None as long as the certificate is only offered.
    """

    user: str
    certificate: SSHCertificate
    client_address: str
    proof: LoginProof | None = None


@frozen
class KeyClaim(_FromSomewhere):
    """The same with a plain key, of which nobody says whose it is."""

    user: str
    key: PublicKey
    client_address: str
    proof: LoginProof | None = None


@frozen
class Partial:
    """A step of the login was good, and is not enough (RFC 4252, section 5.1).

    ``then`` decides about what is left, and knows what was proven so far: what a certificate limits has to hold for the
    owner that ``then`` answers. It is dropped when the client goes on under another user name.
    """

    then: LoginPolicy


Answer = ChannelOwner | Partial
"""A login is allowed by the owner of its channels."""


@frozen
class Question:
    """One line that a person is to answer; ``echo`` says whether the answer may be seen while it is typed."""

    text: str
    echo: bool = False


class Ask(Protocol):
    """Asks the person at the keyboard, and answers with what was typed, in order (RFC 4256)."""

    async def __call__(self, *questions: Question, name: str = "", instruction: str = "") -> tuple[str, ...]:
        """``name`` heads the questions and ``instruction`` stands above them; without questions it is just said.

        Each answer has at most ``MAX_ANSWER_BYTES`` and no NUL; one that has not is a wrong one, as is a wrong number
        of them.

        :raises AccessDenied: the login failed for such a reason; nothing has to be done about it.
        """


class LoginPolicy:
    """Decides who may log in to a server. Refusals are any :class:`TeleportError`; every method may be overridden.

    :cvar banner: text that everybody reads before they log in; empty for none.
    :cvar plain_keys: whether :meth:`check_key` and :meth:`login_with_key` are asked at all.
    """

    banner: str = ""
    plain_keys: bool = False

    def methods(self, user: str) -> Sequence[str]:
        """The methods by which ``user`` may log in: of ``publickey``, ``keyboard-interactive`` and ``password``.

        Should be the same whether or not there is such a user, or it tells.
        """
        return ("publickey",)

    def check(self, claim: Claim) -> Awaitable[None] | None:
        """Whether ``claim`` would be good, once signed, so that nobody is asked for a touch or passphrase in vain."""
        raise AccessDenied("Certificates are not accepted here.")

    async def login(self, claim: Claim) -> Answer:
        """The claim was proven (:attr:`Claim.proof`): what its holder may do."""
        raise AccessDenied("Certificates are not accepted here.")

    def check_key(self, claim: KeyClaim) -> Awaitable[None] | None:
        """Whether a plain key would be good, once signed."""
        raise AccessDenied("Plain keys are not accepted here.")

    async def login_with_key(self, claim: KeyClaim) -> Answer:
        """The holder of a plain key has signed."""
        raise AccessDenied("Plain keys are not accepted here.")

    async def interact(self, attempt: Attempt, ask: Ask) -> Answer:
        """A login by questions and answers, which may come in several rounds."""
        raise AccessDenied("Nobody is asked anything here.")

    async def password(self, attempt: Attempt, password: str) -> Answer:
        """A login with a password, which is neither empty nor longer than ``MAX_ANSWER_BYTES``, and holds no NUL."""
        raise AccessDenied("Passwords are not accepted here.")

    def refused(self, claim: Claim | Attempt, error: TeleportError) -> None:
        """A certificate was refused, by this policy or for its signature; for the audit log.

        It is an :class:`Attempt` where what was shown as a certificate cannot be read as one.
        """
