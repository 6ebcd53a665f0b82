"""The tokens of robots: each lets one robot in, once. Their digests lie under ``bot_tokens/<digest>``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from attrs import define, frozen

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.limits import BOT_TOKEN_TTL_S, EXPIRED_TOKENS_KEPT_S, MAX_TOKEN_TTL_S, MIN_TOKEN_TTL_S
from teleport_conch.auth.people.invites import digest_of
from teleport_conch.auth.state import storing
from teleport_conch.durations import format_duration, shown_duration
from teleport_conch.errors import BadParameter, CompareFailed, NotFound, TokenExpired, TokenUnknown, TokenUsed
from teleport_conch.resources.bot import MAX_NAME_CHARS
from teleport_conch.resources.fields import Fields
from teleport_conch.storage.backend import IBackend, Item

PREFIX = "bot_tokens/"
TOKEN_BYTES = 16


@frozen
class BotToken:
    """Of a robot: whose it is, and whether it was used."""

    name: str
    expires_at: float
    used: bool
    item: Item

    @classmethod
    def of(cls, item: Item) -> BotToken:
        fields = Fields(storing.decode(item), "token")
        name = fields.text("bot", max_chars=MAX_NAME_CHARS)
        return cls(name, fields.number("expires"), fields.boolean("used", default=False), item)


@define(eq=False)
class BotTokens:
    """All of them.

    :ivar _random: so many random bytes.
    """

    _clocks: Clocks
    _backend: IBackend
    _random: Callable[[int], bytes]

    async def create(self, name: str, ttl_s: float) -> tuple[str, float]:
        """A new token of a robot, which is not kept, and when it expires, in POSIX seconds."""
        secret, expires_at = self._random(TOKEN_BYTES).hex(), self._clocks.wall() + ttl_s
        body = {"bot": name, "expires": expires_at}
        kept_until = expires_at + EXPIRED_TOKENS_KEPT_S
        await self._backend.create(PREFIX + digest_of(secret), storing.encode(body), kept_until)
        return secret, expires_at

    async def find(self, secret: str) -> BotToken:
        """:raises TokenUnknown: there is none. :raises TokenExpired: it is too late for it."""
        try:
            token = BotToken.of(await self._backend.get(PREFIX + digest_of(secret)))
        except NotFound:
            raise unknown() from None
        ago = round(self._clocks.wall() - token.expires_at)
        if ago >= 0:
            sentence = f"The token of this robot expired {ago} seconds ago; remove the robot, and make it again."
            raise TokenExpired(sentence, seconds=ago)
        return token

    async def use(self, token: BotToken) -> None:
        """From now on the token is used. Of two who show it, one comes past here.

        :raises TokenUsed: it was used before.
        """
        if token.used:
            raise _used()
        value = storing.encode({"bot": token.name, "expires": token.expires_at, "used": True})
        try:
            item = token.item
            await self._backend.compare_and_swap(item.key, item.revision, value, item.expires_at)
        except (CompareFailed, NotFound):
            raise _used() from None

    async def drop(self, name: str) -> None:
        """Forget the tokens of a robot."""
        for item in await storing.everything(self._backend, PREFIX):
            if BotToken.of(item).name == name:
                with suppress(NotFound):
                    await self._backend.delete(item.key)


def life(ttl_s: float) -> float:
    """How long a token lives, if so much is asked for; 0 asks for the usual time.

    :raises BadParameter: that is too short or too long.
    """
    if ttl_s and not MIN_TOKEN_TTL_S <= ttl_s <= MAX_TOKEN_TTL_S:
        least, most = format_duration(MIN_TOKEN_TTL_S), format_duration(MAX_TOKEN_TTL_S)
        raise BadParameter(f"The token of a robot lives for {least} to {most}, and not for {shown_duration(ttl_s)}.")
    return ttl_s or BOT_TOKEN_TTL_S


def unknown() -> TokenUnknown:
    return TokenUnknown("There is no such token of a robot, or the robot was removed. 'tctl bots add' makes one.")


def _used() -> TokenUsed:
    return TokenUsed(
        "This token was used already, and is good once. If that was not this robot, remove the robot with"
        " 'tctl bots rm' and make it again."
    )
