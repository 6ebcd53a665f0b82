"""Join tokens as documents, which are the resources of files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from attrs import frozen

from teleport_conch.client.answers import as_object, items
from teleport_conch.client.exchange import Call
from teleport_conch.client.transport import Transport
from teleport_conch.errors import AlreadyExists, BadParameter, NotFound
from teleport_conch.resources.fields import Fields, envelope

KEYS = ("roles", "node_name", "principals", "labels")
"""Of ``spec``, what one may choose."""
TOLD = ("digest", "created_by", "created")
"""Of ``spec``, what auth tells beside that."""
_ID = re.compile(r"[0-9a-f]{12}")


@frozen
class TokenDocuments:
    """The calls that :class:`~teleport_conch.client.rules.Collection` has, for tokens."""

    transport: Transport

    def read(self, document: object) -> Mapping[str, object]:
        """The body of the call that makes such a token.

        :raises BadParameter: it is none, or has a key that no token has.
        """
        _, metadata, spec = envelope(document, "token")
        for key in spec.raw():
            if key not in (*KEYS, *TOLD):
                raise BadParameter(f"token.spec.{key[:64]!a} is not known.")
        body: dict[str, object] = {key: spec.raw()[key] for key in KEYS if spec.raw().get(key)}
        if not spec.texts("roles", max_items=8, max_chars=32):
            raise BadParameter("missing parameter token.spec.roles")
        expires, revision = metadata.instant("expires"), metadata.text("id", default="")
        return body | ({} if expires is None else {"expires": expires}) | ({"id": revision} if revision else {})

    async def document(self, name: str) -> Mapping[str, object]:
        """:raises NotFound: there is none of this id."""
        for found in items(await self.transport.call(Call("GET", "/v1/tokens")), as_object):
            if _metadata(found).text("name") == name:
                return found
        raise NotFound("There is no such token; 'tctl tokens ls' lists them by their ids.")

    async def create(self, document: Mapping[str, object], force: bool = False) -> Mapping[str, object]:
        """A new one, whose secret is ``metadata.name``; the answer is what auth made of it, which goes by its id.

        :raises AlreadyExists: there is one. :raises BadParameter: its name is an id, which is no secret.
        """
        body, secret = self.read(document), _metadata(document).text("name", max_chars=512)
        if _is_of_auth(document):
            await self._check_gone(secret)
        if _is_of_auth(document) or _ID.fullmatch(secret):
            raise BadParameter("token.metadata.name is the id of a token: write a secret there that nobody knows.")
        call = Call("POST", "/v1/tokens", body={**body, "token": secret}, repeatable=False)
        return as_object(as_object(await self.transport.call(call)).get("resource"))

    async def _check_gone(self, name: str) -> None:
        try:
            await self.document(name)
        except NotFound:
            return
        raise AlreadyExists(f"There is a token {name} already.")

    async def replace(self, name: str, document: Mapping[str, object], force: bool = False) -> Mapping[str, object]:
        """What a token allows, and until when; its secret stays.

        In a document of auth ``metadata.name`` is the token's id, in one that somebody wrote it is the secret.

        :raises NotFound: there is none. :raises CompareFailed: it was changed since the document was read.
        """
        path = f"/v1/tokens/{quote(_metadata(document).text('name', max_chars=512), safe='')}"
        return as_object(await self.transport.call(Call("PUT", path, body=self.read(document), repeatable=False)))


def _metadata(document: Mapping[str, object]) -> Fields:
    return Fields(document, "token").child("metadata")


def _is_of_auth(document: Mapping[str, object]) -> bool:
    """Whether auth wrote it, which does not know the secret."""
    spec = document.get("spec")
    return isinstance(spec, Mapping) and "digest" in spec
