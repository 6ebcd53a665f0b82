"""Network addresses of a configuration: ``host``, ``host:port``, ``[::1]:port``, and networks."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from attrs import frozen

Network = IPv4Network | IPv6Network

#: The IPv4 address that stands for every interface.
EVERY_INTERFACE = "0.0.0.0"  # noqa: S104 - Teleport's default, and what a server that others reach has to do

#: The length of a host name (RFC 1035 section 2.3.4), in characters.
MAX_HOST_LENGTH = 253
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_SCHEME = re.compile(r"(tcp|http|https)://", re.IGNORECASE)


@frozen
class Address:
    """A host (IP address without brackets, or lower-case name) and a TCP port.

    Port 0 stands for "any free one" where a service listens, and for "the port the service listens on" in
    ``teleport.advertise_ip``; no other address has it.
    """

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def endpoint(self) -> str:
        """The string that :func:`twisted.internet.endpoints.serverFromString` makes a listener of.

        A colon separates arguments there, so those of an IPv6 address are escaped.
        """
        host = self.host.replace("\\", "\\\\").replace(":", "\\:")
        return f"tcp:{self.port}:interface={host}"


def as_ip(host: str) -> IPv4Address | IPv6Address | None:
    """The IP address that ``host`` is, or None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def parse_host(text: str) -> str:
    """An IP address in its canonical form, or a host name in lower case without a dot at the end.

    :raises ValueError: with a sentence.
    """
    address = as_ip(text)
    if address is not None:
        return str(address)
    name = text.lower().removesuffix(".")
    if not name.isascii():
        raise ValueError(f"the host name '{name[:MAX_HOST_LENGTH]}' is not ASCII: write its xn-- form")
    if len(name) > MAX_HOST_LENGTH or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(f"'{name[:MAX_HOST_LENGTH]}' is not a host name or an IP address")
    if name.rsplit(".", maxsplit=1)[-1].isdigit():
        raise ValueError(f"'{name}' is not an IP address")
    return name


def parse_address(text: str, default_port: int) -> Address:
    """An address of the form ``host``, ``host:port``, ``[v6]:port`` or ``tcp://host:port``.

    :raises ValueError: with a sentence.
    """
    host, port = _split(_SCHEME.sub("", text).removesuffix("/"))
    return Address(parse_host(host), default_port if port is None else _port(port, lowest=1))


def parse_listen_address(text: str, default_port: int) -> Address:
    """An address to listen on: its host is an IP address, and port 0 asks for any free one.

    ``:3022`` listens on every IPv4 interface, as in Go.

    :raises ValueError: with a sentence.
    """
    host, port = _split(_SCHEME.sub("", text).removesuffix("/"))
    host = parse_host(host or EVERY_INTERFACE)
    if as_ip(host) is None:
        raise ValueError(f"'{host}' is a name, and a service listens on an IP address: write 127.0.0.1, ::1 or 0.0.0.0")
    return Address(host, default_port if port is None else _port(port, lowest=0))


def parse_advertised(text: str) -> Address:
    """The address under which others reach a service: never multicast or unspecified; port 0 if it names none.

    :raises ValueError: with a sentence.
    """
    address = parse_address(text, 0)
    ip = as_ip(address.host)
    if ip is not None and (ip.is_multicast or ip.is_unspecified):
        raise ValueError(f"nobody can connect to {address.host}: write the address under which others reach this host")
    return address


def parse_network(text: str) -> Network | str:
    """A network in CIDR form (one address is a network of one), or one exact host name.

    :raises ValueError: with a sentence.
    """
    if "/" not in text:
        host = parse_host(text)
        return host if as_ip(host) is None else ip_network(host)
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(_not_a_network(text)) from None


def _not_a_network(text: str) -> str:
    try:
        return f"'{text}' has bits set beyond its mask: write {ip_network(text, strict=False)}"
    except ValueError:
        return f"'{text[:MAX_HOST_LENGTH]}' is not a network: write it like 10.0.0.0/24 or fd00::/8"


def _split(text: str) -> tuple[str, str | None]:
    """Host and port text (None if there is none) of an address; a bare IPv6 address has no port."""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")) or ":" not in host:
            raise ValueError(f"'{text[:MAX_HOST_LENGTH]}' is not an address: an IPv6 address with a port is [::1]:3025")
        return host, rest[1:] if rest else None
    if text.count(":") != 1:
        return text, None
    host, _, port = text.partition(":")
    return host, port


def _port(text: str, lowest: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and lowest <= int(text) <= 65535):
        raise ValueError(f"'{text[:16]}' is not a port: write a number from {lowest} to 65535")
    return int(text)
