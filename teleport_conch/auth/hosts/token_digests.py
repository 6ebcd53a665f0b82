"""What is kept, listed and told in place of a join token: a digest with a key of the cluster's own.

A token that a person chose can be guessed, and a plain digest would say of each guess whether it is right, to whoever
has seen a list or an event. This one says nothing to who does not have the key.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from contextlib import suppress

from attrs import evolve, field, frozen

from teleport_conch.auth.state import storing
from teleport_conch.auth.state.secrets import open_secret
from teleport_conch.errors import AlreadyExists, NotFound
from teleport_conch.resources.token import JoinToken, token_digest
from teleport_conch.storage.backend import IBackend

PREFIX = "join_tokens/"
"""Where tokens lie under their digests."""
PREFIX_OF_PLAIN = "tokens/"
"""Where an early version of this program kept them under plain ones."""


@frozen
class TokenDigests:
    """Makes them."""

    _key: bytes = field(repr=False)

    def of(self, secret: str) -> str:
        """Sixty-four hexadecimal digits. Equal digests mean equal secrets."""
        return self._keyed(token_digest(secret))

    def token(self, plain: JoinToken) -> JoinToken:
        """One that has a plain digest as yet."""
        return evolve(plain, digest=self._keyed(plain.digest))

    def _keyed(self, digest: str) -> str:
        return hmac.digest(self._key, digest.encode(), hashlib.sha256).hex()


async def open_digests(backend: IBackend, random: Callable[[int], bytes]) -> TokenDigests:
    """With the key that the storage holds; tokens under plain digests are put where they belong.

    :param random: so many random bytes.
    """
    digests = TokenDigests(await open_secret(backend, "tokens", random))
    for item in await storing.everything(backend, PREFIX_OF_PLAIN):
        token = digests.token(JoinToken.from_json(storing.decode(item)))
        with suppress(AlreadyExists):
            await backend.create(PREFIX + token.digest, storing.encode(token.to_json()), item.expires_at)
        with suppress(NotFound):
            await backend.delete(item.key)
    return digests
