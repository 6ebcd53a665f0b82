"""What to do with a new join token, in the words of a command line that can be copied."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from attrs import field, frozen

from teleport_conch.cli.instants import span
from teleport_conch.cli.table import inert
from teleport_conch.resources.token import JoinToken


@frozen
class Invitation:
    """A token that was just made; its secret is shown now and never again.

    :ivar ttl_s: how long it lives, in seconds.
    :ivar auth_servers: where a host that joins finds auth.
    :ivar web: the public address of a proxy's web port, which passes calls on to auth; empty where none is set.
    """

    secret: str = field(repr=False)
    token: JoinToken
    ttl_s: float
    ca_pins: Sequence[str]
    auth_servers: Sequence[str]
    web: str = ""

    def command(self) -> Sequence[str]:
        """The words to start a service with on the new host."""
        roles = ",".join(role.lower() for role in self.token.roles)
        name = [f"--nodename={self.token.node_name}"] if self.token.node_name else []
        pin = [f"--ca-pin={self.ca_pins[0]}"] if self.ca_pins else []
        servers = [f"--auth-server={address}" for address in self.auth_servers]
        return ["teleport", "start", f"--roles={roles}", f"--token={self.secret}", *name, *pin, *servers]

    def text(self) -> str:
        """What ``tctl nodes add`` says."""
        head, *flags = self.command()[1:]
        lines = " \\\n".join(f"    {shlex.quote(inert(flag))}" for flag in flags)
        notes = "".join(f"  - {note}\n" for note in self._notes())
        return (
            f"{self.short()}\nRun this on the new host to join the cluster:\n\n> teleport {head} \\\n{lines}\n\n"
            f"Please note:\n\n{notes}"
        )

    def short(self) -> str:
        """The token and its life."""
        return f"The invite token: {inert(self.secret)}\nThis token will expire in {self._life()}\n"

    def _life(self) -> str:
        minutes, odd = divmod(round(self.ttl_s), 60)
        if odd:
            return span(self.ttl_s)
        return f"{minutes} minute{'' if minutes == 1 else 's'}"

    def _notes(self) -> Iterator[str]:
        yield "any number of hosts may use this token until it expires; 'tctl tokens rm' ends it sooner"
        only_here = all(map(_is_loopback, self.auth_servers))
        reason = ", which is this very machine: auth listens on loopback" if only_here else ""
        yield f"the new host has to reach {' or '.join(self.auth_servers)}{reason}"
        if self.web and "Proxy" not in self.token.roles:
            yield f"where it cannot, --auth-server={inert(self.web)} goes through the proxy"
        if self.token.principals:
            yield f"it may be called {', '.join(self.token.principals)} beside its nodename, and nothing else"
        if self.token.labels:
            yield "it gets the labels of the token, whatever its configuration says"


def _is_loopback(address: str) -> bool:
    return address.startswith(("127.", "[::1]", "localhost:"))
