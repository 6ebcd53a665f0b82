"""Connections for ``direct-tcpip``: what is asked for, and what is there before the channel is."""

from __future__ import annotations

import socket

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IHostnameResolver,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IStreamClientEndpoint,
)
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from teleport_conch import wire
from teleport_conch.ssh.connection.channel import ChannelRefused
from teleport_conch.ssh.forwarding.direct import DIAL_TIMEOUT_S, DirectTCPIP, connect
from teleport_conch.ssh.forwarding.splice import StreamChannel
from teleport_conch.wire import WireError
from tests.ssh.streams import StreamCase, clock, tcp


def payload(host: str, port: int) -> bytes:
    return wire.text(host) + wire.uint32(port) + wire.text("10.0.0.1") + wire.uint32(54321)


class DirectTCPIPTests(SynchronousTestCase):
    def test_parsed(self) -> None:
        """The four fields of RFC 4254, section 7.2."""
        self.assertEqual(DirectTCPIP.parse(payload("web1", 22)), DirectTCPIP("web1", 22, "10.0.0.1", 54321))
        for host in ("2001:db8::1", "env=prod", "bücher.example", "x" * 255):
            self.assertEqual(DirectTCPIP.parse(payload(host, 65535)).host, host)

    def test_refused(self) -> None:
        """What can be no host or port, or is no request."""
        for host in ("", "x" * 256, "a b", "a\nb", "a\0b", "a\x1b[2J", "a\u202eb"):
            refusal = self.assertRaises(WireError, DirectTCPIP.parse, payload(host, 22))
            self.assertEqual(str(refusal), "that is no host name")
        refusal = self.assertRaises(WireError, DirectTCPIP.parse, payload("web1", 65536))
        self.assertEqual(str(refusal), "there is no port 65536")
        whole = payload("web1", 22)
        for broken in (*(whole[:length] for length in range(len(whole))), whole + b"!"):
            self.assertRaises(WireError, DirectTCPIP.parse, broken)


@implementer(IStreamClientEndpoint)
class Endpoint:
    """One that answers when and as the test says."""

    def __init__(self) -> None:
        self.cancelled = False
        self.answer: Deferred[IProtocol] = Deferred(self._cancel)

    def _cancel(self, answer: Deferred[IProtocol]) -> None:
        self.cancelled = True

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return self.answer


class RefusedTests(SynchronousTestCase):
    def dial(self, endpoint: IStreamClientEndpoint) -> Deferred[StreamChannel]:
        self.clock = Clock()
        return Deferred.fromCoroutine(connect(self.clock, endpoint, "web1:80"))

    def assert_refused(self, dialling: Deferred[StreamChannel], sentence: str) -> None:
        refusal = self.failureResultOf(dialling, ChannelRefused).value
        self.assertEqual((refusal.reason, refusal.sentence), (2, sentence))

    def test_reasons(self) -> None:
        """A refusal says why, in words."""
        for problem, why in (
            (Refused(111, "Connection refused"), "Connection refused"),
            (
                DNSLookupError("no results for hostname lookup: web1"),
                "DNS lookup failed: no results for hostname lookup: web1",
            ),
            (ValueError("invalid hostname: a..b"), "invalid hostname: a..b"),
            (OverflowError(), "OverflowError"),
        ):
            endpoint = Endpoint()
            dialling = self.dial(endpoint)
            endpoint.answer.errback(problem)
            self.assert_refused(dialling, f"web1:80 cannot be reached: {why}.")

    def test_silence(self) -> None:
        """A host that answers nothing is waited for as long as is said, and then the client gets an answer."""
        endpoint = Endpoint()
        dialling = self.dial(endpoint)
        self.clock.advance(DIAL_TIMEOUT_S)
        self.assertTrue(endpoint.cancelled)
        self.assert_refused(dialling, "web1:80 cannot be reached: there was no answer for 30 seconds.")

    def test_silence_of_a_name(self) -> None:
        """So is one whose name is never found: Twisted's endpoint says something else when it is given up."""
        dialling = self.dial(HostnameEndpoint(NoAnswer(), "web1", 80))
        self.clock.advance(DIAL_TIMEOUT_S)
        self.assert_refused(dialling, "web1:80 cannot be reached: there was no answer for 30 seconds.")

    def test_given_up(self) -> None:
        """Where the client goes while its connection is made, the attempt ends, and is no refusal."""
        endpoint = Endpoint()
        dialling = self.dial(endpoint)
        dialling.cancel()
        self.failureResultOf(dialling, CancelledError)
        self.assertEqual((endpoint.cancelled, self.clock.getDelayedCalls()), (True, []))


@implementer(IReactorPluggableNameResolver)
class NoAnswer:
    """A reactor whose resolver never answers."""

    @property
    def nameResolver(self) -> NoAnswer:
        return self

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """There is none but this."""
        return resolver

    def resolveHostName(self, receiver: object, *args: object, **kwargs: object) -> object:
        receiver.resolutionBegan(object())  # type: ignore[attr-defined]
        return object()


class RealTests(StreamCase):
    async def test_refused_port(self) -> None:
        """A port on which nobody listens is a refusal, not a channel that ends at once."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with self.assertRaises(ChannelRefused) as refused:
            await connect(clock, TCP4ClientEndpoint(tcp, "127.0.0.1", port), f"127.0.0.1:{port}")
        self.assertEqual(refused.exception.sentence, f"127.0.0.1:{port} cannot be reached: Connection refused.")

    async def test_names_that_are_none(self) -> None:
        """Names that no resolver takes are refusals, too."""
        for host in ("a..b", "x" * 64 + ".example", "-"):
            with self.assertRaises(ChannelRefused):
                await connect(clock, HostnameEndpoint(tcp, host, 80), host)
