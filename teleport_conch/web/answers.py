"""What handlers of the web room answer; how it is written stands in :mod:`teleport_conch.web.gate`."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen
from twisted.web.template import Tag

from teleport_conch.web.limits import MAX_COOKIE_CHARS


@frozen
class Cookie:
    """A cookie to set; an empty value removes it."""

    name: str
    value: str = field(repr=False)

    def header(self) -> str:
        """``Set-Cookie``, as strict as there is: for this host, over TLS, out of reach of scripts and other sites."""
        ends = "" if self.value else "; Max-Age=0"
        return f"{self.name}={self.value}; Path=/; Secure; HttpOnly; SameSite=Strict{ends}"


def cookies_in(header: str) -> Mapping[str, str]:
    """The cookies of a request; of two of one name, neither (RFC 6265 leaves open which of them counts)."""
    found: dict[str, str] = {}
    twice = set()
    for part in header.split(";"):
        name, equals, value = part.strip().partition("=")
        if name in found:
            twice.add(name)
        if equals and len(value) <= MAX_COOKIE_CHARS:
            found[name] = value
    return {name: value for name, value in found.items() if name not in twice}


@frozen
class Data:
    """JSON."""

    value: Mapping[str, object] | list[object] = field(repr=False)
    status: int = 200
    cookies: tuple[Cookie, ...] = ()


@frozen
class Page:
    """HTML.

    :ivar title: of the page, and its heading.
    """

    title: str
    body: Tag = field(repr=False)
    status: int = 200
    cookies: tuple[Cookie, ...] = ()


@frozen
class Elsewhere:
    """The browser goes on to one of our own pages."""

    path: str
    cookies: tuple[Cookie, ...] = ()


@frozen
class StyleSheet:
    """The one file that may be kept."""

    text: bytes


Answer = Data | Page | Elsewhere | StyleSheet
