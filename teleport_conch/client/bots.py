"""Calls about robots: made and removed by administrators, joining and renewing by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from attrs import field, frozen

from teleport_conch.client.answers import items
from teleport_conch.client.exchange import Call
from teleport_conch.client.people import LoggedIn
from teleport_conch.client.transport import Transport
from teleport_conch.resources.bot import Bot
from teleport_conch.resources.fields import Fields

_BOTS = "/v1/bots"


@frozen
class NewBot:
    """A robot that was just made; its token is shown now and never again, and good once, until ``expires_at``."""

    token: str = field(repr=False)
    bot: Bot
    expires_at: float

    @classmethod
    def from_json(cls, value: object) -> NewBot:
        fields = Fields(value, "answer")
        token, expires_at = fields.text("token", max_chars=512), fields.number("expires")
        return cls(token, Bot.from_json(fields.raw().get("resource")), expires_at)


@frozen
class Renewed:
    """A robot's fresh certificates, and of which generation they are."""

    login: LoggedIn
    generation: int

    @classmethod
    def from_json(cls, value: object) -> Renewed:
        return cls(LoggedIn.from_json(value), int(Fields(value, "answer").number("generation")))


class Bots:
    """Calls of :class:`~teleport_conch.client.api.AuthClient`, over its connections and with its errors."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def all(self) -> tuple[Bot, ...]:
        return items(await self._transport.call(Call("GET", _BOTS)), Bot.from_json)

    async def create(self, name: str, roles: Sequence[str], logins: Sequence[str] = (), ttl_s: float = 0.0) -> NewBot:
        """:param ttl_s: how long the token is good; 0 for the usual time.

        :raises AlreadyExists: there is a robot of this name. :raises NotHeld: the caller holds less than it would.
        """
        body = {"name": name, "roles": list(roles), "logins": list(logins), "ttl": ttl_s}
        return NewBot.from_json(await self._transport.call(Call("POST", _BOTS, body=body, repeatable=False)))

    async def remove(self, name: str) -> None:
        """Remove a robot, and refuse from now on every certificate that it has."""
        await self._transport.call(Call("DELETE", f"{_BOTS}/{quote(name.replace('/', '%'), safe='')}"))

    async def join(self, token: str, public_ssh_key: str, public_tls_key: str) -> Renewed:
        """The first certificates of a robot, for whoever has its token.

        :raises TokenUnknown, TokenExpired, TokenUsed: the token is no good.
        """
        return await self._certified("join", {"token": token}, public_ssh_key, public_tls_key)

    async def renew(self, public_ssh_key: str, public_tls_key: str) -> Renewed:
        """The next certificates of the robot that calls, for other keys.

        A robot that does not hear the answer asks again *with the same keys*, and so keeps them before it asks: with
        others it would look like a copy of itself.

        :raises IdentityCopied: the certificates were renewed before by somebody else; the robot is locked.
        """
        return await self._certified("renew", {}, public_ssh_key, public_tls_key)

    async def _certified(self, how: str, body: Mapping[str, object], ssh_key: str, tls_key: str) -> Renewed:
        keys = {"public_ssh_key": ssh_key, "public_tls_key": tls_key}
        answer = await self._transport.call(Call("POST", f"{_BOTS}/{how}", body={**body, **keys}, repeatable=False))
        return Renewed.from_json(answer)
