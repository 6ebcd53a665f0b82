"""A link for a person, and what they do after it, in words and commands that can be copied."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from attrs import field, frozen

from teleport_conch.cli.instants import rfc3339, span
from teleport_conch.cli.table import inert
from teleport_conch.client.people import Invite
from teleport_conch.resources.server import Server, State

PATHS = {"invite": "invite", "reset": "reset", "renew": "reset"}
UNKNOWN = "<proxy>:3080"


@frozen
class WebAddress:
    """Where people reach the proxy with a browser.

    :ivar public: whether that is what the proxy was told to be called, and not only where it listens.
    """

    address: str = UNKNOWN
    public: bool = False

    @classmethod
    def of(cls, proxies: Sequence[Server]) -> WebAddress:
        """Of all proxies: one with a public address if there is one, and one that is there rather than not."""
        for proxy in sorted(proxies, key=lambda each: (not each.web_public_addrs, each.presence.state != State.ONLINE)):
            if proxy.web_public_addrs:
                return cls(proxy.web_public_addrs[0], public=True)
            if proxy.web_addr:
                return cls(proxy.web_addr)
        return cls()

    def warning(self) -> str:
        """What is wrong with it; empty where nothing is."""
        if self.public:
            return ""
        if self.address == UNKNOWN:
            return "no proxy of this cluster serves people yet: put its address in place of <proxy>"
        return (
            "no proxy has proxy_service.public_addr set, so this is only where one listens; set it to what people dial"
        )


@frozen
class PersonsLink:
    """A link that was just made, for the administrator to hand on.

    :ivar ttl_s: how long it lives, in seconds. ``pin`` is that of the cluster's authority.
    """

    user: str
    invite: Invite = field(repr=False)
    ttl_s: float
    web: WebAddress
    pin: str

    @property
    def url(self) -> str:
        return f"https://{self.web.address}/web/{PATHS[self.invite.kind]}/{self.invite.token}"

    def command(self) -> str:
        """What the person logs in with, at a server that is verified."""
        pin = [f"--ca-pin={self.pin}"] if self.pin else []
        return shlex.join(["tsh", "login", f"--proxy={self.web.address}", f"--user={self.user}", *pin])

    def text(self) -> str:
        """What ``tctl users add`` and ``tctl users reset`` say."""
        done = "has been reset" if self.invite.kind == "reset" else "has been created but requires a password"
        head = (
            f'User "{inert(self.user)}" {done}. Share this link with the user, who sets password\n'
            f"and second factor there; it is good once, for {span(self.ttl_s)}:"
        )
        notes = "".join(f"  - {note}\n" for note in self._notes())
        return (
            f"{head}\n\n    {inert(self.url)}\n\nThen the user logs in with:\n\n    {inert(self.command())}\n\n"
            f"Please note:\n\n{notes}"
        )

    def _notes(self) -> Iterator[str]:
        warning = self.web.warning()
        if warning:
            yield f"WARNING: {warning}"
        yield "whoever has the link can be this user: send it in a way that only the user reads"
        if self.pin:
            yield "with --ca-pin a password goes to no other server than a proxy of this cluster"

    def to_json(self) -> dict[str, object]:
        return {
            "user": self.user,
            "kind": self.invite.kind,
            "token": self.invite.token,
            "expires": rfc3339(self.invite.expires_at),
            "url": self.url,
            "login": self.command(),
            "warning": self.web.warning(),
        }
