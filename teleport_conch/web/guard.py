"""What keeps other sites out: where a request may come from, and a token that only our own pages know.

A browser sends cookies along with whatever another site makes it send. So whatever changes something needs, beside the
cookie, something that the other site cannot read or set: a token made of the cookie, in the form or in a header.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from attrs import frozen

from teleport_conch.errors import AccessDenied

SESSION_COOKIE = "__Host-session"
"""The session of a person. Browsers take a cookie of that prefix from this host only, over TLS, for all paths."""
FORM_COOKIE = "__Host-form"
"""Random; for the forms of people without a session."""

SECURITY_HEADERS: Mapping[str, str] = {
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
}
"""Of every answer; style sheets may be kept."""

_PURPOSE = b"teleport-conch form token 1"
_NOT_ANOTHER_SITE = ("same-origin", "none")


class CrossSite(AccessDenied):
    """Another site made the browser send the request, or a form is too old."""

    code = "CROSS_SITE"


@frozen
class Origin:
    """What a browser says of where a request comes from; empty where it says nothing.

    :ivar host: that it was sent to.
    """

    fetch_site: str
    origin: str
    host: str

    def check(self) -> None:
        """:raises CrossSite: another site sent it."""
        if self.fetch_site:
            foreign = self.fetch_site not in _NOT_ANOTHER_SITE
        else:  # an old browser, or none; with Referrer-Policy "no-referrer" forms of our own say null
            foreign = self.origin not in ("", "null", f"https://{self.host}")
        if foreign:
            raise CrossSite("The request comes from another site, and is refused. Open the page itself, and try again.")


def form_token(cookie: str) -> str:
    """What a form, or a header, has to carry beside this cookie."""
    return hmac.new(cookie.encode(), _PURPOSE, hashlib.sha256).hexdigest()


def check_token(cookie: str, token: str) -> None:
    """:raises CrossSite: the token was not made of this cookie."""
    # Bytes, as texts with other characters than ASCII cannot be compared so.
    if not cookie or not hmac.compare_digest(form_token(cookie).encode(), token.encode("utf-8", "replace")):
        raise CrossSite("The form is too old, or was not sent from its page. Load the page again, and try again.")
