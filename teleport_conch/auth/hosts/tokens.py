"""Join tokens: made, listed, removed, and judged when a host shows one.

Only digests are kept, of :mod:`teleport_conch.auth.hosts.token_digests`. A dynamic token lies under its own until it
expires and some days longer, so that who comes late is told so. Static tokens come from the configuration and are not
stored.
"""

from __future__ import annotations

import binascii
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence

from attrs import define, evolve

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.hosts.labels import check_labels
from teleport_conch.auth.hosts.token_digests import PREFIX, TokenDigests
from teleport_conch.auth.limits import (
    EXPIRED_TOKENS_KEPT_S,
    MAX_TOKEN_TTL_S,
    MAX_TOKENS,
    MIN_TOKEN_CHARS,
    MIN_TOKEN_TTL_S,
)
from teleport_conch.auth.state import storing
from teleport_conch.certs import names
from teleport_conch.durations import format_duration, shown_duration
from teleport_conch.errors import (
    AlreadyExists,
    BadParameter,
    LimitExceeded,
    NotFound,
    TokenExpired,
    TokenRole,
    TokenType,
    TokenUnknown,
)
from teleport_conch.resources.token import ROLES, JoinToken, token_digest
from teleport_conch.storage.backend import IBackend, Item

GENERATED_BYTES = 16
MAX_SECRET_CHARS = 512
_ID = re.compile(r"[0-9a-f]{12}")
_PIN = re.compile(r"sha(1|256|512):", re.IGNORECASE)


def role_named(text: str) -> str:
    """A role of a token as it is written in certificates: ``node`` gives ``Node``.

    :raises BadParameter: no token lets in such a role.
    """
    role = text.strip().capitalize()
    if role not in ROLES:
        raise BadParameter(f"A join token is for the roles {', '.join(ROLES).lower()}, and not {text[:32]!r}.")
    return role


def static_token(roles: Sequence[str], secret: str, created_by: str, now: float) -> JoinToken:
    """A token that never expires and is not stored; its digest is a plain one as yet."""
    return JoinToken(token_digest(secret), tuple(role_named(role) for role in roles), created_by, now)


@define(eq=False)
class Tokens:
    """All join tokens of the cluster.

    :ivar _static: with the digests that ``_digests`` makes.
    :ivar _random: so many random bytes, such as :func:`os.urandom`.
    """

    _clocks: Clocks
    _backend: IBackend
    _digests: TokenDigests
    _static: tuple[JoinToken, ...]
    _random: Callable[[int], bytes]

    async def create(
        self,
        *,
        roles: Sequence[str],
        ttl_s: float,
        created_by: str,
        secret: str = "",
        node_name: str = "",
        principals: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
    ) -> tuple[str, JoinToken]:
        """A new dynamic token, which any number of hosts may use until it expires.

        :param secret: a value of the administrator's choice; empty has one made.
        :param node_name: the only name that a host with this token may have; empty leaves it free. Likewise
            ``principals`` (the only ones beside those that follow from name and UUID) and ``labels``.
        :return: the secret, which is not kept, and the token.
        """
        secret = secret or binascii.hexlify(self._random(GENERATED_BYTES)).decode("ascii")
        _check_secret(secret)
        now, bound = self._clocks.wall(), (node_name, tuple(principals), labels or {})
        token = _checked(JoinToken(self._digests.of(secret), tuple(roles), created_by, now, now + _ttl(ttl_s), *bound))
        return secret, await self._keep(token)

    async def replace(self, name: str, wanted: JoinToken, revision: int | None) -> JoinToken:
        """Change what a token allows and until when; its secret stays.

        :param name: its id or its secret.
        :param wanted: whose roles, end, name, principals and labels it gets.
        :raises NotFound: there is none. :raises BadParameter: it is static, or would be no good.
        :raises CompareFailed: it is not of that revision any more.
        """
        self._check_not_static(name, "changed")
        item, before = await self._stored(name)
        if wanted.expires_at is not None and wanted.expires_at != before.expires_at:
            _ttl(wanted.expires_at - self._clocks.wall())
        else:
            wanted = evolve(wanted, expires_at=before.expires_at)
        digest, by, at = before.digest, before.created_by, before.created_at
        token = _checked(evolve(wanted, digest=digest, created_by=by, created_at=at, revision=""))
        value, until = storing.encode(token.to_json()), _kept_until(token)
        stored = await self._backend.compare_and_swap(
            item.key, item.revision if revision is None else revision, value, until
        )
        return evolve(token, revision=str(stored.revision))

    async def _keep(self, token: JoinToken) -> JoinToken:
        if len(await storing.everything(self._backend, PREFIX)) >= MAX_TOKENS:
            raise LimitExceeded(f"There are {MAX_TOKENS} join tokens; remove some with 'tctl tokens rm'.")
        key, value, until = PREFIX + token.digest, storing.encode(token.to_json()), _kept_until(token)
        try:
            if self._static_with(token.digest) or not await self._expired(key):
                raise AlreadyExists("A token with this value exists already; choose another one.")
            stored = await self._backend.put(key, value, until)
        except NotFound:
            stored = await self._backend.create(key, value, until)
        return evolve(token, revision=str(stored.revision))

    async def _expired(self, key: str) -> bool:
        token = JoinToken.from_json(json.loads((await self._backend.get(key)).value))
        return token.expires_at is not None and token.expires_at <= self._clocks.wall()

    async def all(self) -> tuple[JoinToken, ...]:
        """The static tokens, then the dynamic ones that have not expired, the first to expire first."""
        now, found = self._clocks.wall(), list[JoinToken]()
        for item in await storing.everything(self._backend, PREFIX):
            value = json.loads(item.value)
            if value.get("kind") == "token":
                found.append(evolve(JoinToken.from_json(value), revision=str(item.revision)))
        usable = [token for token in found if (token.expires_at or 0.0) > now]
        return self._static + tuple(sorted(usable, key=lambda token: token.expires_at or 0.0))

    async def remove(self, name: str) -> JoinToken:
        """Remove a token by its id or its secret; hosts that came in with it stay.

        :raises NotFound: there is none; the sentence does not repeat what may be a secret.
        :raises BadParameter: the token is static.
        """
        self._check_not_static(name, "removed")
        item, token = await self._stored(name)
        await self._backend.delete(item.key)
        return token

    def _check_not_static(self, name: str, done: str) -> None:
        """A short secret is not recognised: who may remove tokens could try all of them, and this one never expires."""
        digest = self._digests.of(name) if len(name) >= MIN_TOKEN_CHARS else ""
        for token in self._static:
            if name == token.id or hmac.compare_digest(token.digest, digest):
                raise BadParameter(
                    f"token {token.id} is statically configured and cannot be {done}: edit auth_service.tokens and"
                    " restart the auth server"
                )

    async def _stored(self, name: str) -> tuple[Item, JoinToken]:
        prefix = PREFIX + (name if _ID.fullmatch(name) else self._digests.of(name))
        items = await self._backend.range(prefix, limit=1)
        if not items:
            raise NotFound("There is no such token; 'tctl tokens ls' lists them by their ids.")
        return items[0], JoinToken.from_json(json.loads(items[0].value))

    async def redeem(self, secret: str, role: str, host: str) -> JoinToken:
        """The token that a host showed, once it is good for the role.

        :param host: how refusals call the host: nodename and UUID.
        :raises JoinRefused: one of its subclasses, each with its own code.
        """
        refused = f"{host} can not join the cluster with role {role}"
        digest = self._digests.of(secret)
        token = self._static_with(digest) or await self._dynamic_with(digest, secret, refused)
        if token.expires_at is not None and token.expires_at <= self._clocks.wall():
            ago = round(self._clocks.wall() - token.expires_at)
            raise TokenExpired(
                f"{refused}: the token expired {ago} seconds ago. Make a new one with 'tctl nodes add'.",
                seconds=ago,
                token=token.id,
            )
        if role not in token.roles:
            raise TokenRole(
                f'{refused}: the token does not allow "{role}" role. It is good for {", ".join(token.roles)}.',
                token=token.id,
                allowed=list(token.roles),
            )
        return token

    def _static_with(self, digest: str) -> JoinToken | None:
        found = None
        for token in self._static:
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found

    async def _dynamic_with(self, digest: str, secret: str, refused: str) -> JoinToken:
        try:
            value = json.loads((await self._backend.get(PREFIX + digest)).value)
        except NotFound:
            raise await self._unknown(secret, refused) from None
        if value.get("kind") != "token":
            raise TokenType(f"{refused}: this is a secret for something else, not a join token.")
        return JoinToken.from_json(value)

    async def _unknown(self, secret: str, refused: str) -> TokenType | TokenUnknown:
        if _PIN.match(secret):
            return TokenType(
                f"{refused}: this is a CA pin, not a join token. It belongs to ca_pin, the token to auth_token."
            )
        if _ID.fullmatch(secret) and await self._backend.range(PREFIX + secret, limit=1):
            return TokenType(
                f"{refused}: this is the id of a token, not the token. Whoever made it was shown the token."
            )
        return TokenUnknown(
            f"{refused}, the token is not valid: there is none like it, or it was removed."
            " Make one with 'tctl nodes add'."
        )


def _checked(token: JoinToken) -> JoinToken:
    """The same with roles and names as they are written in certificates.

    :raises BadParameter: what it says cannot be.
    """
    if not token.roles:
        raise BadParameter("missing parameter roles: a join token is for at least one role")
    return evolve(
        token,
        roles=tuple(dict.fromkeys(map(role_named, token.roles))),
        node_name=names.host_name(token.node_name) if token.node_name else "",
        principals=tuple(dict.fromkeys(map(names.host_name, token.principals))),
        labels=check_labels(token.labels),
    )


def _kept_until(token: JoinToken) -> float:
    assert token.expires_at is not None
    return token.expires_at + EXPIRED_TOKENS_KEPT_S


def _check_secret(secret: str) -> None:
    if not MIN_TOKEN_CHARS <= len(secret) <= MAX_SECRET_CHARS:
        raise BadParameter(f"A token has {MIN_TOKEN_CHARS} to {MAX_SECRET_CHARS} characters.")
    if not secret.isascii() or not secret.isprintable() or " " in secret or "/" in secret:
        raise BadParameter("A token is made of printable ASCII characters, without spaces and slashes.")


def _ttl(ttl_s: float) -> float:
    if not MIN_TOKEN_TTL_S <= ttl_s <= MAX_TOKEN_TTL_S:
        least, most = format_duration(MIN_TOKEN_TTL_S), format_duration(MAX_TOKEN_TTL_S)
        raise BadParameter(f"A join token lives for {least} to {most}, and not for {shown_duration(ttl_s)}.")
    return ttl_s
