"""Which names a host may be given a certificate for, as far as that does not depend on who else is there."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from attrs import frozen

from teleport_conch.certs import names
from teleport_conch.errors import BadParameter, PrincipalForbidden


def is_loopback(name: str) -> bool:
    """Whether a name in its usual form means "this machine" everywhere."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


@frozen
class NameRules:
    """The names that are reserved in a cluster.

    :ivar other_clusters: names of clusters that this one trusts; theirs end in them.
    :ivar allow_loopback: true where auth itself listens on loopback only, so that all hosts are one machine.
    """

    cluster_name: str
    other_clusters: tuple[str, ...] = ()
    allow_loopback: bool = False

    def usual(self, wanted: Iterable[str], host_uuid: str, address: str, role: str = "") -> tuple[str, ...]:
        """The additional names that a host asks for, in their usual form, each once.

        :param address: of the host; it takes the place of ``0.0.0.0`` and ``::``, by which a host means "mine".
        :raises PrincipalForbidden: one of them is no name, or reserved.
        """
        found = dict.fromkeys(names.host_name(address if _unspecified(name) else name) for name in wanted)
        for name in found:
            self.check(name, host_uuid, address, role)
        return tuple(found)

    def check(self, name: str, host_uuid: str, address: str = "", role: str = "") -> None:
        """Whether a host may have a name, given in its usual form.

        People call the door of a cluster by the cluster's name, and a cluster on one machine has that machine's name:
        so a proxy may have it, and whoever joins from the machine of the auth server itself.

        :param address: where the host comes from.
        :param role: that it joins with.
        :raises PrincipalForbidden: it may not.
        """
        if name == self.cluster_name and role != "Proxy" and not is_loopback(address):
            raise PrincipalForbidden(
                f"The name {name!r} is that of the cluster; no node on another machine may have it."
                " Set another nodename."
            )
        for other in self.other_clusters:
            if name == other or name.endswith(f".{other}"):
                raise PrincipalForbidden(f"The name {name!r} belongs to the cluster {other}.")
        if is_loopback(name) and not self.allow_loopback:
            raise PrincipalForbidden(
                f"The name {name!r} means every machine to itself, so that no host gets a certificate for it."
                " Set nodename, advertise_ip or public_addr to what others call this host."
            )
        first = name.partition(".")[0]
        if _is_uuid(first) and first != host_uuid:
            raise PrincipalForbidden(f"The name {name!r} has the form of another host's UUID.")


def _unspecified(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_unspecified
    except ValueError:
        return False


def _is_uuid(text: str) -> bool:
    try:
        return bool(names.host_uuid(text))
    except BadParameter:
        return False
