"""Listening sockets: bound by a supervisor, or by a service that has none.

Several workers get a socket each at the same address, among which the kernel spreads the connections. The supervisor
keeps a copy of each, so that connections wait, and are not refused, while a worker is exchanged.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import cast

from attrs import frozen
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorSocket

from teleport_conch.config.addresses import Address
from teleport_conch.errors import PortInUse, StartError, TeleportError
from teleport_conch.starting import Reactor, holder_of
from teleport_conch.starting import listen as listen_ourselves
from teleport_conch.supervisor.given import Given

BACKLOG = 1024
"""Connections that wait for a worker, at each socket."""


@frozen
class Listener:
    """Where a service listens.

    :ivar name: by which a worker finds its socket.
    :ivar what: the service, as it begins a sentence: ``The node``.
    """

    name: str
    what: str
    address: Address


async def listen(
    reactor: Reactor, listener: Listener, given: Given | None, factory: IProtocolFactory
) -> IListeningPort:
    """Listens with the socket that a supervisor bound, or with an own one.

    :raises PortInUse: with who has the port.
    """
    if given is None:
        return await listen_ourselves(reactor, listener.address.endpoint(), factory, listener.what)
    fd = given.listening[listener.name]
    port = cast(IReactorSocket, reactor).adoptStreamPort(fd, _family(listener.address), factory)  # type: ignore[arg-type]  # any factory
    os.close(fd)
    return port


def bind(listener: Listener, count: int) -> list[socket.socket]:
    """So many sockets that listen at one address, each with connections of its own.

    :raises PortInUse: somebody else has the port.
    """
    with ExitStack() as opened:
        try:
            made = list(_bound(listener.address, count, opened))
            for each in made:
                each.listen(BACKLOG)
                each.setblocking(False)  # which Twisted does to sockets of its own only
        except OSError as problem:
            raise _cannot_listen(listener, problem) from problem
        opened.pop_all()
        return made


def _bound(address: Address, count: int, opened: ExitStack) -> Iterator[socket.socket]:
    """The first is bound alone, so that it fails where others have the port, also those who would share it."""
    where = (address.host, address.port)
    for number in range(count):
        made = opened.enter_context(socket.socket(_family(address), socket.SOCK_STREAM))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if number:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(where)
        if count > 1:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        where = (address.host, made.getsockname()[1])
        yield made


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


def _cannot_listen(listener: Listener, problem: OSError) -> TeleportError:
    where = f"port {listener.address.port} of {listener.address.host}"
    holder = holder_of(listener.address.port)
    if holder:
        why = f"{listener.what} cannot listen on {where}: it is in use by {holder}."
        return PortInUse(f"{why} Stop that, or set another listen_addr.")
    return StartError(f"{listener.what} cannot listen on {where}: {problem.strerror}.")
