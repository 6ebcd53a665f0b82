"""One request as handlers of the web room see it, and the parts of it that they and the gate read."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from attrs import define, field
from twisted.web.server import Request

from teleport_conch.client.people import SessionOwner
from teleport_conch.errors import BadParameter
from teleport_conch.https.bodies import decoded
from teleport_conch.https.site import BoundedRequest
from teleport_conch.web import limits
from teleport_conch.web.guard import FORM_COOKIE, SESSION_COOKIE, form_token


@define(eq=False)
class Visit:
    """One request, past the gate.

    :ivar address: of the client's own connection, without the port.
    :ivar owner: whose session it is; None on routes for anybody.
    :ivar asks_for_code: whether the cluster wants a second factor.
    """

    request: BoundedRequest
    address: str
    cookies: Mapping[str, str]
    owner: SessionOwner | None = None
    fields: Mapping[str, str] = field(factory=dict)
    fresh_cookie: str = ""
    asks_for_code: bool = True

    @property
    def known(self) -> SessionOwner:
        assert self.owner is not None, "a route for people with a session only"
        return self.owner

    @property
    def session(self) -> str:
        return self.cookies.get(SESSION_COOKIE, "")

    def form_token(self) -> str:
        """What the forms of a page carry."""
        return form_token(self.form_cookie())

    def form_cookie(self) -> str:
        """The cookie that the forms of this visitor hang on."""
        return (self.session if self.owner else self.cookies.get(FORM_COOKIE, "")) or self.fresh_cookie

    def body(self) -> object:
        """The JSON of the request.

        :raises BadParameter: it is none.
        """
        assert self.request.content is not None
        return decoded(self.request.content.read())

    def query(self, name: str) -> str:
        """The last value of a parameter, empty where there is none."""
        values = self.request.args.get(name.encode("ascii"), [b""])
        last: bytes = values[-1]
        return last.decode("utf-8", "replace")


def header(request: Request, name: str) -> str:
    """A header, empty where there is none. Bytes that are no text stay different from any that is."""
    value = request.getHeader(name.encode("ascii"))
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def bearer(request: Request) -> str:
    """The token of ``Authorization: Bearer``."""
    scheme, _, token = header(request, "authorization").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def form_fields(request: BoundedRequest) -> Mapping[str, str]:
    """The fields of a form, each once.

    :raises BadParameter: it is none, or a field is there twice or too long.
    """
    assert request.content is not None
    try:
        text = request.content.read().decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=limits.MAX_FIELDS, errors="strict")
    except ValueError:
        raise BadParameter("This is not a form that was sent from its page.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs) or any(len(value) > limits.MAX_FIELD_CHARS for value in fields.values()):
        raise BadParameter("A field of the form is there twice, or is too long.")
    return fields
