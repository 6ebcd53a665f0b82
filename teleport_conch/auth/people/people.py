"""How people come to log in: the parts that prove them, invite them, certify them and remember their browsers."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, evolve

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.limits import MAX_PERSONS_CERTIFICATE_S
from teleport_conch.auth.people.attempts import KEY_OF_HASH, Attempts
from teleport_conch.auth.people.credentials import Credentials, Vault
from teleport_conch.auth.people.invites import Invite, Invites
from teleport_conch.auth.people.passwords import Hashing, check_new
from teleport_conch.auth.people.people_certificates import PeopleCertificates
from teleport_conch.auth.people.proving import Given, Proving
from teleport_conch.auth.people.users import Users
from teleport_conch.auth.people.web_sessions import WebSessions
from teleport_conch.auth.rules.locks import LockList
from teleport_conch.auth.state import storing
from teleport_conch.auth.state.authorities import Authorities
from teleport_conch.auth.state.secrets import open_secret
from teleport_conch.errors import CompareFailed, LoginRefused, NotFound
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.user import User
from teleport_conch.storage.backend import IBackend

LONG_CERTIFICATES = "long_certificates/"
CHANGED_MEANWHILE = "The password was changed by somebody else at the same time; log in again."


@define(eq=False)
class People:
    """The parts, and what takes several of them."""

    attempts: Attempts
    vault: Vault
    hashing: Hashing
    proving: Proving
    invites: Invites
    sessions: WebSessions
    certificates: PeopleCertificates
    _clocks: Clocks
    _backend: IBackend
    _emit: Emit

    async def link(
        self, user: str, kind: str, ttl_s: float, by: str, generation: str | None = None
    ) -> tuple[str, Invite]:
        """A link for a user. One to reset makes password, second factor and web sessions worthless at once.

        :param generation: the only one of the user's credentials for which it is good.
        :raises LoginRefused: they are of another one by now, so that another link may be under way, which stays.

        Raises as :meth:`~teleport_conch.auth.people.invites.Invites.create`.
        """
        if generation not in (None, (await self.vault.find(user)).generation):
            raise LoginRefused(CHANGED_MEANWHILE)
        made = await self.invites.create(user, kind, ttl_s, by, generation)
        if kind == "reset":
            await self.vault.put(user, Credentials())
            await self.sessions.end_all(user)
        return made

    async def accept(self, token: str, password: str, otp_token: str, address: str) -> tuple[str, tuple[str, ...]]:
        """See :meth:`~teleport_conch.auth.people.invites.Invites.accept`; no session of a browser outlives it."""
        user, codes = await self.invites.accept(token, password, otp_token, address)
        await self.sessions.end_all(user)
        await self.attempts.forget(self.attempts.counter(user, known=True))
        return user, codes

    async def change_password(self, given: Given, new: str) -> None:
        """Another password for who has the old one; the sessions of browsers end.

        :raises PasswordRefused: the new one is no good.
        :raises: see :meth:`~teleport_conch.auth.people.proving.Proving.prove`.
        """
        data, before = check_new(new, given.name), await self.vault.find(given.name)
        user = (await self.proving.prove(given)).user
        credentials = await self.vault.find(user.name)
        if credentials.generation != before.generation:
            raise LoginRefused(CHANGED_MEANWHILE)
        kept = await self.hashing.make(data)
        try:
            await self.vault.swap(user.name, self.vault.anew(evolve(credentials, password=kept)))
        except (CompareFailed, NotFound):
            raise LoginRefused(CHANGED_MEANWHILE) from None
        await self.sessions.end_all(user.name)
        self._emit("user.password_change", {"user": user.name, "method": "password", "addr.remote": given.address})

    async def unlock(self, user: User) -> None:
        """Forget the failed logins of a user."""
        await self.attempts.forget(self.attempts.counter(user.name, known=True))

    async def note_certificate(self, user: str, ends_at: float) -> None:
        """Remember until when a certificate is good that the administrator signed (POSIX seconds)."""
        if ends_at > await self.certified_until(user):
            await self._backend.put(LONG_CERTIFICATES + user, storing.encode({"until": ends_at}), ends_at)

    async def certified_until(self, user: str) -> float:
        """From when on no certificate can be good that was signed for a user until now, POSIX seconds."""
        usual = self._clocks.wall() + MAX_PERSONS_CERTIFICATE_S
        try:
            fields = Fields(storing.decode(await self._backend.get(LONG_CERTIFICATES + user)), "certificate")
        except NotFound:
            return usual
        return max(usual, fields.number("until"))

    async def forget(self, user: str) -> None:
        """Remove all that there is of a user beside the user."""
        await self.vault.remove(user)
        await self.invites.drop(user)
        await self.sessions.end_all(user)
        await self.attempts.forget(self.attempts.counter(user, known=True))


async def open_people(
    clocks: Clocks,
    backend: IBackend,
    users: Users,
    locks: LockList,
    authorities: Authorities,
    hashing: Hashing,
    second_factor: Callable[[], str],
    emit: Emit,
    random: Callable[[int], bytes],
) -> People:
    """:param second_factor: which one everybody needs: ``otp`` or ``off``."""
    attempts = Attempts(clocks, backend, await open_secret(backend, KEY_OF_HASH, random))
    vault = Vault(backend, random)
    cluster = authorities.cluster_name
    return People(
        attempts,
        vault,
        hashing,
        Proving(clocks, users, vault, hashing, attempts, second_factor, locks, emit),
        Invites(clocks, backend, users, vault, hashing, cluster, second_factor, emit, random),
        WebSessions(clocks, backend, users, vault, locks, random),
        PeopleCertificates(clocks, authorities, emit, random),
        clocks,
        backend,
        emit,
    )
