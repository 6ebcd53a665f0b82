"""X11 forwarding (RFC 4254, section 6.3): a display of this host whose programs show their windows at the client.

The display listens on loopback, where every account of the host can reach it. What connects has to show a cookie that
was made for this session and that only its account can read (``xauth`` keeps it); the client's own cookie takes its
place on the way and is never written down here. Who does not know the cookie opens no channel.
"""

from __future__ import annotations

import errno
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Literal

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReactorTCP, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from teleport_conch import wire
from teleport_conch.errors import AccessDenied, SpawnFailed
from teleport_conch.ssh.connection.channel import OPEN_ADMINISTRATIVELY_PROHIBITED, ChannelRefused, Opener
from teleport_conch.ssh.forwarding.accepting import Accepted, Accepting, stopped
from teleport_conch.ssh.forwarding.splice import StreamChannel
from teleport_conch.wire import Reader, WireError

X11_CHANNEL = b"x11"
COOKIE_PROTOCOL = b"MIT-MAGIC-COOKIE-1"
COOKIE_BYTES = 16
FIRST_DISPLAY = 10
MAX_DISPLAYS = 1000
DISPLAYS = range(FIRST_DISPLAY, FIRST_DISPLAY + MAX_DISPLAYS)
"""The numbers that displays may have; low ones are those of screens that the host has."""
MAX_SCREEN = 255
SETUP_S = 30.0
"""How long a program may take to show its cookie."""
MAX_FIELD_BYTES = 256
"""What the name and the data of a program's authorization may have; a cookie has 16."""

_FIRST_PORT = 6000
_HEAD_BYTES = 12
_ORDERS: Mapping[int, Literal["big", "little"]] = {0x42: "big", 0x6C: "little"}


@frozen
class X11Request:
    """An ``x11-req``: whether one connection is enough, the client's cookie, and the screen to be named."""

    single: bool
    cookie: bytes
    screen: int

    @classmethod
    def parse(cls, reader: Reader) -> X11Request:
        """Raises :class:`WireError` for what no client of X11 has."""
        single, protocol, cookie, screen = reader.boolean(), reader.string(), reader.string(), reader.uint32()
        reader.end()
        if protocol != COOKIE_PROTOCOL or not re.fullmatch(rb"(?:[0-9a-fA-F]{2}){1,64}", cookie):
            raise WireError("X11 without a cookie")
        if screen > MAX_SCREEN:
            raise WireError(f"there is no screen {screen}")
        return cls(single, bytes.fromhex(cookie.decode("ascii")), screen)


def exchanged(received: bytes, expected: bytes, cookie: bytes) -> bytes | None:
    """The beginning of an X11 connection with ``cookie`` in place of ``expected``; None while more has to arrive.

    The setup is a byte order, two version numbers, and the name and data of an authorization, each padded to a multiple
    of four bytes (X Window System Protocol, section 8).

    :raises AccessDenied: it shows another cookie, or none.
    """
    if len(received) < _HEAD_BYTES:
        return None
    order = _ORDERS.get(received[0])
    if order is None:
        raise AccessDenied("That is no program of X11.")
    name_size, data_size = (int.from_bytes(received[at : at + 2], order) for at in (6, 8))
    if max(name_size, data_size) > MAX_FIELD_BYTES:
        raise AccessDenied("The cookie of the program is too long.")
    data_at = _HEAD_BYTES + _padded(name_size)
    end = data_at + _padded(data_size)
    if len(received) < end:
        return None
    name, data = received[_HEAD_BYTES : _HEAD_BYTES + name_size], received[data_at : data_at + data_size]
    if name != COOKIE_PROTOCOL or not hmac.compare_digest(data, expected):
        raise AccessDenied("The program does not show the cookie of this display.")
    sizes = b"".join(len(field).to_bytes(2, order) for field in (COOKIE_PROTOCOL, cookie))
    fields = b"".join(field.ljust(_padded(len(field)), b"\0") for field in (COOKIE_PROTOCOL, cookie))
    return b"".join((received[:6], sizes, received[10:_HEAD_BYTES], fields, received[end:]))


def _padded(size: int) -> int:
    return size + -size % 4


class X11Display:
    """The display of one session.

    :param connection: opens the channels.
    :param random: makes so many random bytes.
    :param displays: the numbers that it may have.
    :raises SpawnFailed: no display is free.
    """

    def __init__(
        self,
        tcp: IReactorTCP,
        clock: IReactorTime,
        connection: Opener,
        request: X11Request,
        random: Callable[[int], bytes],
        displays: range = DISPLAYS,
    ) -> None:
        self._connection = connection
        self._request = request
        self._cookie = random(COOKIE_BYTES)
        self._single_used = False
        self._accepting = _X11Accepting(clock, self._open, "a forwarded X11 display", self._cookie, request.cookie)
        self.number, self._ports = _free_display(tcp, displays, self._accepting)

    @property
    def name(self) -> str:
        """What DISPLAY says."""
        return f"localhost:{self.number}.{self._request.screen}"

    @property
    def authority(self) -> str:
        """What ``xauth`` is told, on its standard input."""
        name = f"unix:{self.number}.{self._request.screen}"
        return f"remove {name}\nadd {name} {COOKIE_PROTOCOL.decode()} {self._cookie.hex()}\n"

    def _open(self, channel: StreamChannel, address: object) -> None:
        assert isinstance(address, IPv4Address | IPv6Address)
        if self._request.single and self._single_used:
            raise ChannelRefused(OPEN_ADMINISTRATIVELY_PROHIBITED, "The client wants one connection alone.")
        self._single_used = True
        self._connection.open(X11_CHANNEL, channel, wire.text(address.host) + wire.uint32(address.port))

    async def close(self) -> None:
        """Takes the display away; connections that are open go on until their channels close."""
        ports, self._ports = self._ports, []
        for port in ports:
            await stopped(port)


def _free_display(tcp: IReactorTCP, displays: range, accepting: Accepting) -> tuple[int, list[IListeningPort]]:
    """The first display whose port nobody has, by IPv4 and where this host has it by IPv6, too."""
    for number in displays:
        try:
            ports = [tcp.listenTCP(_FIRST_PORT + number, accepting, interface="127.0.0.1")]
        except CannotListenError:
            continue
        try:
            ports.append(tcp.listenTCP(_FIRST_PORT + number, accepting, interface="::1"))
        except CannotListenError as problem:
            if problem.socketError.errno == errno.EADDRINUSE:
                Deferred.fromCoroutine(stopped(ports[0]))
                continue
        return number, ports
    raise SpawnFailed(f"All {len(displays)} displays that sessions of this host may have are in use.")


class _X11Accepting(Accepting):
    """Accepts programs that show ``expected``, and shows ``cookie`` in its place."""

    def __init__(
        self,
        clock: IReactorTime,
        open_channel: Callable[[StreamChannel, object], None],
        called: str,
        expected: bytes,
        cookie: bytes,
    ) -> None:
        super().__init__(clock, open_channel, called)
        self.expected = expected
        self.cookie = cookie

    def buildProtocol(self, addr: object) -> Accepted:
        return _X11Program(self, addr, StreamChannel(self.clock))


class _X11Program(Accepted):
    """One program: nothing is opened for it before it has shown the cookie."""

    def __init__(self, factory: _X11Accepting, address: object, channel: StreamChannel) -> None:
        super().__init__(factory, address, channel)
        self._cookies = factory.expected, factory.cookie
        self._setup: bytes | None = b""
        self._due: IDelayedCall | None = None

    def accepted(self) -> None:
        """Waits for the cookie."""
        self._due = self._clock.callLater(SETUP_S, self._cut_off, f"no cookie for {SETUP_S:.0f} seconds")

    def dataReceived(self, data: bytes) -> None:
        if self._setup is None:
            super().dataReceived(data)
            return
        self._setup += data
        try:
            setup = exchanged(self._setup, *self._cookies)
        except AccessDenied as refusal:
            self._cut_off(refusal.sentence)
        else:
            if setup is not None:
                self._setup = None
                self._cancel()
                super().accepted()
                super().dataReceived(setup)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._cancel()
        super().connectionLost(reason)

    def _cancel(self) -> None:
        if self._due is not None and self._due.active():
            self._due.cancel()
