"""The sentence for each way in which a call gets no answer."""

from __future__ import annotations

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import defer, error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import RequestTransmissionFailed, ResponseFailed, ResponseNeverReceived

from teleport_conch.client.failures import AUTH_BEHIND_PROXY, NETWORK_ERRORS, Unanswered, unanswered, within
from teleport_conch.errors import CertificateAuthorityUnknown, CertificatePrincipal, ConnectionProblem

ADDRESS = "auth.example.com:3025"
CONNECT = "Cannot connect to the auth server:"


def tls(*words: str) -> SSL.Error:
    return SSL.Error([("SSL routines", "", words[0])] if words else [])


def wrapped(kind: type[Exception], *reasons: Exception) -> Exception:
    made = kind([Failure(reason) for reason in reasons])
    assert isinstance(made, Exception)
    return made


class SentenceTests(SynchronousTestCase):
    def told(self, reason: Exception) -> Unanswered:
        self.assertIsInstance(reason, NETWORK_ERRORS)
        return unanswered(reason, ADDRESS)

    def test_not_connected(self) -> None:
        """Nothing was sent, so the call may be made elsewhere."""
        for reason, sentence in (
            (
                error.ConnectionRefusedError(),
                f'{CONNECT} connection refused. Is the auth server running on "{ADDRESS}"?',
            ),
            (
                error.DNSLookupError("no results for hostname lookup: auth.example.com"),
                f'{CONNECT} the name in "{ADDRESS}" is not known to this machine. Is it spelt right?',
            ),
            (
                error.UnknownHostError(),
                f'{CONNECT} the name in "{ADDRESS}" is not known to this machine. Is it spelt right?',
            ),
            (
                error.TimeoutError(),
                f'{CONNECT} nothing answers. Is "{ADDRESS}" right, and does a firewall let it through?',
            ),
            (
                error.ConnectError(OSError(113, "No route to host")),
                f'{CONNECT} No route to host. Is "{ADDRESS}" the right address?',
            ),
            (error.ConnectError(), f'{CONNECT} no way there. Is "{ADDRESS}" the right address?'),
        ):
            found = self.told(reason)
            self.assertEqual((found.delivered, found.lost, found.tls), (False, False, False))
            self.assertEqual((type(found.error), str(found.error)), (ConnectionProblem, sentence))

    def test_lost(self) -> None:
        """The server may have acted, and did not say so."""
        for reason in (
            wrapped(ResponseNeverReceived, error.ConnectionLost()),
            wrapped(ResponseNeverReceived, error.ConnectionDone()),
            wrapped(RequestTransmissionFailed, error.ConnectionLost()),
        ):
            found = self.told(reason)
            self.assertEqual((found.delivered, found.lost, found.tls), (True, True, False))
            self.assertEqual(str(found.error), f'The auth server "{ADDRESS}" closed the connection without an answer.')

    def test_lost_behind_a_proxy(self) -> None:
        """It is there, and passes nothing on: whoever reads of it is told what that means."""
        found = unanswered(wrapped(ResponseNeverReceived, error.ConnectionLost()), ADDRESS, AUTH_BEHIND_PROXY)
        self.assertTrue(found.lost)
        self.assertEqual(str(found.error), "The proxy cannot reach the auth server of its cluster at the moment.")
        found = unanswered(error.ConnectionRefusedError(), ADDRESS, AUTH_BEHIND_PROXY)
        self.assertEqual(
            str(found.error), f'Cannot connect to the proxy: connection refused. Is the proxy running on "{ADDRESS}"?'
        )

    def test_half(self) -> None:
        found = self.told(wrapped(ResponseFailed, error.ConnectionDone()))
        self.assertEqual((found.delivered, found.lost, found.tls), (True, False, False))
        self.assertEqual(
            str(found.error), f'The auth server "{ADDRESS}" stopped in the middle of an answer, or does not speak HTTP.'
        )

    def test_late(self) -> None:
        found = self.told(defer.TimeoutError())
        self.assertEqual((found.delivered, found.lost, found.tls), (True, False, False))
        self.assertEqual(str(found.error), f'The auth server "{ADDRESS}" did not answer in time.')

    def test_tls(self) -> None:
        """A handshake that fails is before the call."""
        for cause, kind, sentence in (
            (tls("certificate verify failed"), CertificateAuthorityUnknown, "is not an auth server of this cluster"),
            (VerificationError(errors=[]), CertificatePrincipal, "belongs to the cluster and is not an auth server"),
            (tls("wrong version number"), ConnectionProblem, "does not speak TLS (wrong version number)"),
            (tls("tlsv1 alert unknown ca"), ConnectionProblem, "ended the TLS connection: tlsv1 alert unknown ca."),
            (tls(), ConnectionProblem, "does not speak TLS (the connection was closed during the handshake)"),
        ):
            for reason in (cause, wrapped(ResponseNeverReceived, cause), wrapped(RequestTransmissionFailed, cause)):
                found = self.told(reason)
                self.assertEqual((type(found.error), found.delivered, found.tls), (kind, False, True))
                self.assertIn(sentence, str(found.error))


class WithinTests(SynchronousTestCase):
    """A bounded wait, over an HTTP client that reports being cancelled as if the answer had been lost."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.answer: Deferred[int] = Deferred(
            lambda answer: answer.errback(wrapped(ResponseNeverReceived, CancelledError()))
        )
        self.waiting = Deferred.fromCoroutine(within(self.clock, 10.0, self.ask()))

    async def ask(self) -> int:
        return await self.answer

    def test_in_time(self) -> None:
        self.answer.callback(7)
        self.assertEqual(self.successResultOf(self.waiting), 7)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_late(self) -> None:
        self.clock.advance(10)
        self.failureResultOf(self.waiting, defer.TimeoutError)

    def test_cancelled(self) -> None:
        self.waiting.cancel()
        self.failureResultOf(self.waiting, CancelledError)

    def test_failed(self) -> None:
        self.answer.errback(error.ConnectionRefusedError())
        self.failureResultOf(self.waiting, error.ConnectionRefusedError)
