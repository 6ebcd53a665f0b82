"""Names that hosts of the cluster have, so that no certificate from elsewhere speaks for one of them."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from teleport_conch.auth.hosts.hosts import Hosts
from teleport_conch.auth.hosts.inventory import Inventory
from teleport_conch.errors import PrincipalTaken
from teleport_conch.resources.server import Server

_AUTH = "auth server"


@frozen
class HeldNames:
    """All of them.

    :ivar own: names and addresses of auth itself, in their usual form.
    """

    cluster_name: str
    own: frozenset[str]
    _hosts: Hosts
    _inventory: Inventory

    def check(self, names: Iterable[str]) -> None:
        """:param names: in their usual form.

        :raises PrincipalTaken: a host that is registered has one of them, or is reached under it, or auth is; whether
            it is running does not matter.
        """
        for name in names:
            holder = self._holder(name)
            if holder:
                raise PrincipalTaken(
                    f"The name {name!r} is that of the {holder} of this cluster: nobody signs a certificate for it but"
                    " tctl on the auth host.",
                    name=name,
                    holder=holder.partition(" ")[2] if holder != _AUTH else "",
                )

    def _holder(self, name: str) -> str:
        """Who has a name, for a sentence; empty where nobody has."""
        if name in self.own or name.removesuffix(f".{self.cluster_name}") in self.own:
            return _AUTH
        for key in sorted(self._hosts.holders(name), key=str):
            return f"{key.kind} {key.uuid}"
        for server in self._inventory.records():
            if name in _reached_under(server):
                return f"{server.kind} {server.name}"
        return ""


def _reached_under(server: Server) -> Iterable[str]:
    addresses = (server.addr, server.web_addr, *server.public_addrs, *server.web_public_addrs)
    return [address.rpartition(":")[0].strip("[]").lower() for address in addresses if address]
