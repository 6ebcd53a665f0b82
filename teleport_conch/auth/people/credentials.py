"""What is secret of a user: the hash of a password, the secret of the second factor, digests of recovery codes.

They lie under ``credentials/<user>``, apart from the user, and no route answers them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from attrs import define, evolve, field, frozen

from teleport_conch.auth.people.passwords import PasswordHash
from teleport_conch.auth.state import storing
from teleport_conch.errors import NotFound
from teleport_conch.resources.fields import Fields
from teleport_conch.storage.backend import IBackend, Item

PREFIX = "credentials/"
GENERATION_BYTES = 8
_NOBODY = "-nobody"
"""No user has this name, so that asking for a name that is none is asking the storage too."""


@frozen
class Credentials:
    """:ivar password: None where the user has none.
    :ivar otp_secret: in base32, empty where there is no second factor; ``last_period`` is that of the last code.
    :ivar recovery: digests of the recovery codes that are left.
    :ivar generation: another one each time that the password is set or taken away; what was made for who proved to have
        it, a session of a browser say, is worth nothing under another. Empty where no version of this program that
        knows of it has set one.
    :ivar revision: 0 where nothing is stored.
    """

    password: PasswordHash | None = None
    otp_secret: str = field(default="", repr=False)
    last_period: int = -1
    recovery: tuple[str, ...] = field(default=(), repr=False)
    generation: str = ""
    revision: int = 0

    def to_json(self) -> dict[str, object]:
        return {
            "password": self.password.to_text() if self.password else "",
            "otp_secret": self.otp_secret,
            "last_period": self.last_period,
            "recovery": list(self.recovery),
            "generation": self.generation,
        }

    @classmethod
    def of(cls, item: Item) -> Credentials:
        fields = Fields(storing.decode(item), "credentials")
        password = fields.text("password", default="", max_chars=512)
        return cls(
            PasswordHash.from_text(password) if password else None,
            fields.text("otp_secret", default="", max_chars=64),
            int(fields.number("last_period", default=-1.0)),
            fields.texts("recovery", max_items=64, max_chars=64),
            fields.text("generation", default="", max_chars=2 * GENERATION_BYTES),
            item.revision,
        )


@define(eq=False)
class Vault:
    """The credentials of all users.

    :ivar _random: so many random bytes.
    """

    _backend: IBackend
    _random: Callable[[int], bytes]

    async def find(self, user: str) -> Credentials:
        """Of a user; those of who has none are empty. An empty name is that of nobody."""
        try:
            return Credentials.of(await self._backend.get(PREFIX + (user or _NOBODY)))
        except NotFound:
            return Credentials()

    async def put(self, user: str, credentials: Credentials) -> None:
        """In place of whatever there is; with the same write all ends that was made for the former ones."""
        await self._backend.put(PREFIX + user, storing.encode(self.anew(credentials).to_json()))

    async def swap(self, user: str, credentials: Credentials) -> None:
        """In place of those that were read.

        :raises CompareFailed: there are others by now. :raises NotFound: there are none any more.
        """
        value = storing.encode(credentials.to_json())
        await self._backend.compare_and_swap(PREFIX + user, credentials.revision, value)

    def anew(self, credentials: Credentials) -> Credentials:
        """The same in a generation of its own."""
        return evolve(credentials, generation=self._random(GENERATION_BYTES).hex())

    async def remove(self, user: str) -> None:
        """Those that there are, if any."""
        with suppress(NotFound):
            await self._backend.delete(PREFIX + user)
