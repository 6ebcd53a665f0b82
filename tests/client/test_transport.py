"""Calls over real TLS on loopback: whom the client believes, what it says when that fails, and what it does then."""

from __future__ import annotations

import json
from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase
from twisted.web.server import NOT_DONE_YET, Request

from teleport_conch.client.connections import check_addresses
from teleport_conch.client.exchange import MAX_ANSWER_BYTES, Call
from teleport_conch.client.failures import AUTH, AUTH_OF_STRANGERS
from teleport_conch.client.tls import IClusterPolicy, UnverifiedPolicy, client_options
from teleport_conch.client.transport import MAX_CALLS, Transport
from teleport_conch.errors import (
    AccessDenied,
    BadParameter,
    CertificateAuthorityUnknown,
    CertificateExpired,
    CertificatePrincipal,
    ClockSkew,
    ConnectionProblem,
    HostBarred,
    LimitExceeded,
    TeleportError,
    TooLarge,
)
from tests.client import certificates
from tests.client.certificates import HOUR, NOW, server_certificate
from tests.client.servers import (
    HandClock,
    Server,
    as_json,
    listen,
    never,
    pause,
    peer_name,
    the_reactor,
    unused_address,
)

TRUSTING = client_options(None, certificates.TRUSTED)
PING = Call("GET", "/v1/ping")


def answers_with_time(seconds: float) -> dict[str, object]:
    return {"server_time": seconds, "cluster_name": "example.com", "server_version": "1", "min_client_version": "1"}


class TransportTestCase(TestCase):
    def transport(
        self,
        addresses: Sequence[str],
        policy: IClusterPolicy = TRUSTING,
        reactor: IReactorTime | None = None,
    ) -> Transport:
        transport = Transport(reactor or the_reactor(), addresses, policy, 30.0)
        self.addCleanup(lambda: Deferred.fromCoroutine(transport.close()))
        return transport

    async def refusal(self, address: str, policy: IClusterPolicy = TRUSTING) -> TeleportError:
        try:
            await self.transport([address], policy).call(PING)
        except TeleportError as reason:
            return reason
        raise self.failureException("The call was answered.")


class TrustTests(TransportTestCase):
    """Whom the client believes."""

    async def test_whatever_address(self) -> None:
        """The name in the certificate is the cluster's, not that of the address that was dialled."""
        server = Server(self, as_json({"fine": True}))
        self.assertEqual(await self.transport([server.address]).call(PING), {"fine": True})

    async def test_ipv6(self) -> None:
        """An address of IPv6 is dialled like any other."""
        try:
            server = Server(self, as_json({"fine": True}), host="::1")
        except CannotListenError:
            raise SkipTest("This machine has no IPv6.") from None
        self.assertEqual(await self.transport([server.address]).call(PING), {"fine": True})

    async def test_name(self) -> None:
        """So is a name."""
        server = Server(self, as_json({"fine": True}))
        address = server.address.replace("127.0.0.1", "localhost")
        self.assertEqual(await self.transport([address]).call(PING), {"fine": True})

    async def test_other_authority(self) -> None:
        """A server of a cluster of the same name is another one."""
        server = Server(self, as_json({}), server_certificate(certificates.OTHER_CA))
        reason = await self.refusal(server.address)
        self.assertIsInstance(reason, CertificateAuthorityUnknown)
        self.assertEqual(
            reason.sentence,
            f'The server at "{server.address}" is not an auth server of this cluster: its certificate is not signed by '
            "the host authority that this machine trusts. Is the address right, or was the authority rotated?",
        )

    async def test_other_host_of_the_cluster(self) -> None:
        """A node that listens on the address is no auth server, though the same authority vouches for it."""
        server = Server(self, as_json({}), server_certificate(role="Node"))
        reason = await self.refusal(server.address)
        self.assertIsInstance(reason, CertificatePrincipal)
        self.assertEqual(
            reason.sentence,
            f'The server at "{server.address}" belongs to the cluster and is not an auth server: its certificate is '
            "not for teleport.cluster.local. Is the address right?",
        )

    async def test_no_authority(self) -> None:
        """Without an authority to verify it by, no server is asked."""
        server = Server(self, as_json({}))
        reason = await self.refusal(server.address, client_options(None))
        self.assertEqual(reason.sentence, "This host does not belong to a cluster yet: it knows no authority to trust.")
        self.assertEqual(server.connections, 0)

    async def test_unverified(self) -> None:
        """Before the pin is checked anybody is asked for the authority, and gets to see no certificate."""
        server = Server(
            self, lambda request: json.dumps([peer_name(request)]).encode(), server_certificate(certificates.OTHER_CA)
        )
        self.assertEqual(await self.transport([server.address], UnverifiedPolicy()).call(PING), [""])

    async def test_own_certificate(self) -> None:
        """The server sees whom the identity names."""
        server = Server(self, lambda request: json.dumps([peer_name(request)]).encode())
        identity = certificates.host_identity()
        answer = await self.transport([server.address], client_options(identity)).call(PING)
        self.assertEqual(answer, [f"{identity.host_uuid}.{identity.cluster_name}"])


class ClockTests(TransportTestCase):
    """A failure of TLS that is only a wrong clock."""

    async def test_behind(self) -> None:
        """A server's certificate from the future means that our clock is behind, by so many seconds."""
        server = Server(self, as_json(answers_with_time(NOW + 10 * HOUR)), server_certificate(now=NOW + 10 * HOUR))
        reason = await self.refusal(server.address)
        self.assertIsInstance(reason, ClockSkew)
        seconds = reason.facts["seconds"]
        assert isinstance(seconds, int)
        self.assertTrue(10 * HOUR - 600 < seconds <= 10 * HOUR)
        self.assertEqual(
            reason.sentence,
            f"The clock of this machine is {seconds} s behind the auth server's, and certificates are good "
            "between clocks that agree. Set the clock; `timedatectl set-ntp true` keeps it right.",
        )

    async def test_ahead(self) -> None:
        """A server's certificate that has expired by our clock alone means that ours is ahead."""
        server = Server(self, as_json(answers_with_time(NOW - 10 * HOUR)), server_certificate(now=NOW - 10 * HOUR))
        reason = await self.refusal(server.address)
        self.assertIsInstance(reason, ClockSkew)
        self.assertIn("s ahead of the auth server's", reason.sentence)
        seconds = reason.facts["seconds"]
        assert isinstance(seconds, int)
        self.assertTrue(-10 * HOUR - 600 < seconds <= -10 * HOUR)

    async def test_expired(self) -> None:
        """Where both clocks agree, the certificate has expired."""
        certificate = server_certificate(now=NOW - 10 * HOUR)
        server = Server(self, as_json(answers_with_time(NOW)), certificate)
        reason = await self.refusal(server.address)
        self.assertIsInstance(reason, CertificateExpired)
        ended = f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC"
        self.assertEqual(
            reason.sentence,
            f'The certificate of the auth server at "{server.address}" expired at {ended}. '
            "Restart that server to renew it.",
        )

    async def test_first_cause(self) -> None:
        """What goes wrong with the question for the time is not what is told."""
        server = Server(self, lambda request: b"no JSON", server_certificate(now=NOW + 10 * HOUR))
        self.assertIsInstance(await self.refusal(server.address), CertificateAuthorityUnknown)

    async def test_other_authority_from_the_future(self) -> None:
        """A stranger's clock is not believed."""
        certificate = server_certificate(certificates.OTHER_CA, now=NOW + 10 * HOUR)
        server = Server(self, as_json(answers_with_time(NOW + 10 * HOUR)), certificate)
        self.assertIsInstance(await self.refusal(server.address), CertificateAuthorityUnknown)

    async def test_other_name_from_the_future(self) -> None:
        """Nor is that of a host which is no auth server."""
        certificate = server_certificate(now=NOW + 10 * HOUR, role="Node")
        server = Server(self, as_json(answers_with_time(NOW + 10 * HOUR)), certificate)
        self.assertNotIsInstance(await self.refusal(server.address), ClockSkew)


class _Greeting(Protocol):
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"SSH-2.0-OpenSSH_9.2p1\r\n")


class _HalfAnAnswer(Protocol):
    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"half": ')
        self.transport.loseConnection()


class ReachTests(TransportTestCase):
    """Servers that are not there, or are something else."""

    async def test_refused(self) -> None:
        """Nobody listens."""
        address = await unused_address()
        reason = await self.refusal(address)
        self.assertIsInstance(reason, ConnectionProblem)
        self.assertEqual(
            reason.sentence,
            f'Cannot connect to the auth server: connection refused. Is the auth server running on "{address}"?',
        )

    async def test_for_strangers(self) -> None:
        """A proxy tells anybody at all neither the address of auth nor what is wrong with it."""
        addresses = await unused_address(), listen(self, Factory.forProtocol(_Greeting))
        for address in addresses:
            transport = Transport(the_reactor(), [address], TRUSTING, 5.0, AUTH_OF_STRANGERS)
            with self.assertRaises(ConnectionProblem) as caught:
                await transport.call(PING)
            await transport.close()
            self.assertEqual(
                caught.exception.sentence,
                "The auth server of this cluster cannot be reached at the moment; try again in a minute.",
            )

    async def test_barred_for_strangers(self) -> None:
        """Nor that the proxy itself is refused, which is for who looks after it, and with which UUID."""
        barred = HostBarred("The host 11111111-1111-4111-8111-111111111111 was removed from the cluster.")

        def answer(request: Request) -> bytes:
            request.setResponseCode(barred.http_status)
            return json.dumps(barred.to_json()).encode()

        server = Server(self, answer)
        for called, sentence in ((AUTH, barred.sentence), (AUTH_OF_STRANGERS, AUTH_OF_STRANGERS.instead)):
            transport = Transport(the_reactor(), [server.address], TRUSTING, 5.0, called)
            with self.assertRaises(TeleportError) as caught:
                await transport.call(PING)
            await transport.close()
            self.assertEqual(caught.exception.sentence, sentence)

    async def test_no_tls(self) -> None:
        """Something else listens."""
        address = listen(self, Factory.forProtocol(_Greeting))
        reason = await self.refusal(address)
        self.assertIsInstance(reason, ConnectionProblem)
        self.assertEqual(
            reason.sentence,
            f'The server at "{address}" does not speak TLS (wrong version number). '
            "The API of the auth server is on port 3025.",
        )

    async def test_next_address(self) -> None:
        """The second server is asked when the first is not there, and from then on first."""
        first, second = await unused_address(), Server(self, as_json({"fine": True}))
        transport = self.transport([first, second.address])
        for _ in range(3):
            self.assertEqual(await transport.call(PING), {"fine": True})
        self.assertEqual(second.connections, 1)

    async def test_first_address_is_told(self) -> None:
        """When none answers, the first cause is told."""
        first = await unused_address()
        second = Server(self, as_json({}), server_certificate(certificates.OTHER_CA))
        with self.assertRaises(ConnectionProblem) as caught:
            await self.transport([first, second.address]).call(PING)
        self.assertIn(first, caught.exception.sentence)

    async def test_silent(self) -> None:
        """A server that does not answer is not waited for."""
        clock = HandClock()
        server = Server(self, never)
        calling = Deferred.fromCoroutine(self.transport([server.address], reactor=clock).call(PING))
        while not server.connections:
            await pause()
        clock.advance(30)
        with self.assertRaises(ConnectionProblem) as caught:
            await calling
        self.assertEqual(caught.exception.sentence, f'The auth server "{server.address}" did not answer in time.')

    async def test_cancelled(self) -> None:
        """Who does not want the answer any more hears no sentence about it."""
        server = Server(self, never)
        calling = Deferred.fromCoroutine(self.transport([server.address]).call(PING))
        while not server.connections:
            await pause()
        calling.cancel()
        with self.assertRaises(CancelledError):
            await calling


class AnswerTests(TransportTestCase):
    """What a server may answer."""

    async def test_error(self) -> None:
        """An error is raised as the class that it was, with its facts."""

        def answer(request: Request) -> bytes:
            request.setResponseCode(429)
            return json.dumps(LimitExceeded("Slower, please.", limit=10).to_json()).encode()

        with self.assertRaises(LimitExceeded) as caught:
            await self.transport([Server(self, answer).address]).call(PING)
        self.assertEqual((caught.exception.sentence, caught.exception.facts), ("Slower, please.", {"limit": 10}))

    async def test_no_json(self) -> None:
        """Something else speaks HTTPS."""
        reason = await self.refusal(Server(self, lambda request: b"<html>").address)
        self.assertEqual(
            reason.sentence,
            "The server answered 200 and something that is not JSON. Is this an auth server's address?",
        )

    async def test_redirect(self) -> None:
        """A redirection is an error, and is not followed."""
        elsewhere = Server(self, as_json({}))

        def answer(request: Request) -> bytes:
            request.redirect(f"https://{elsewhere.address}/".encode())
            return b"{}"

        reason = await self.refusal(Server(self, answer).address)
        self.assertEqual(reason.sentence, "The other side failed without saying why.")
        self.assertEqual(elsewhere.connections, 0)

    async def test_too_large(self) -> None:
        """An answer beyond the bound is refused while it arrives."""
        reason = await self.refusal(Server(self, lambda request: b" " * (MAX_ANSWER_BYTES + 1)).address)
        self.assertIsInstance(reason, TooLarge)
        self.assertEqual(reason.sentence, "The auth server's answer is larger than 8 MiB and was not read.")

    async def test_cut_off(self) -> None:
        """Half an answer is none."""
        server = Server(self, Factory.forProtocol(_HalfAnAnswer))
        reason = await self.refusal(server.address)
        self.assertEqual(
            reason.sentence,
            f'The auth server "{server.address}" stopped in the middle of an answer, or does not speak HTTP.',
        )

    async def test_skew(self) -> None:
        """Each answer tells how far the clocks are apart."""

        def answer(request: Request) -> bytes:
            request.setHeader(b"x-teleport-time", f"{clock.seconds() + 40:.3f}".encode())
            return b"{}"

        clock = HandClock()
        transport = self.transport([Server(self, answer).address], reactor=clock)
        self.assertIs(transport.skew_s, None)
        await transport.call(PING)
        self.assertEqual(transport.skew_s, 40.0)

    async def test_own_certificate_and_wrong_clock(self) -> None:
        """Auth refuses our certificate for its times: it is our clock that made us think it good."""

        def answer(request: Request) -> bytes:
            request.setHeader(b"x-teleport-time", f"{NOW + 2 * HOUR:.3f}".encode())
            request.setResponseCode(401)
            return json.dumps(CertificateExpired("It has expired.").to_json()).encode()

        identity = certificates.host_identity(ttl_s=HOUR)
        reason = await self.refusal(Server(self, answer).address, client_options(identity))
        self.assertIsInstance(reason, CertificateExpired, "it had expired by the true clock: the answer stands")
        late = certificates.host_identity(now=NOW + 1.5 * HOUR)
        reason = await self.refusal(Server(self, answer).address, client_options(late))
        self.assertIsInstance(reason, ClockSkew)
        self.assertIn("s behind the auth server's", reason.sentence)


class ConnectionTests(TransportTestCase):
    """How connections are used."""

    async def test_kept(self) -> None:
        """One call after the other uses one connection."""
        server = Server(self, as_json({}))
        transport = self.transport([server.address])
        for _ in range(3):
            await transport.call(PING)
        self.assertEqual(server.connections, 1)

    async def test_bounded(self) -> None:
        """No more than so many calls are under way at once; the others wait."""
        requests: list[Request] = []

        def answer(request: Request) -> int:
            requests.append(request)
            return NOT_DONE_YET

        transport = self.transport([Server(self, answer).address])
        calling = [Deferred.fromCoroutine(transport.call(PING)) for _ in range(MAX_CALLS + 1)]
        while len(requests) < MAX_CALLS:
            await pause()
        await pause()
        self.assertEqual(len(requests), MAX_CALLS)
        for request in requests:
            request.write(b"{}")
            request.finish()
        while len(requests) == MAX_CALLS:
            await pause()
        requests[-1].write(b"{}")
        requests[-1].finish()
        await gatherResults(calling)

    async def test_new_identity(self) -> None:
        """A new identity is used from the next connection on; a call under way ends on its old one."""
        slow: list[Request] = []

        def answer(request: Request) -> bytes | int:
            if request.path == b"/v1/slow":
                slow.append(request)
                return NOT_DONE_YET
            return json.dumps(peer_name(request)).encode()

        first = certificates.host_identity()
        second = certificates.host_identity(host_uuid="12345678-1234-4234-8234-123456789012")
        transport = self.transport([Server(self, answer).address], client_options(first))
        self.assertEqual(await transport.call(PING), f"{first.host_uuid}.example.com")
        calling = Deferred.fromCoroutine(transport.call(Call("GET", "/v1/slow")))
        while not slow:
            await pause()
        transport.use_policy(client_options(second))
        self.assertEqual(await transport.call(PING), f"{second.host_uuid}.example.com")
        slow[0].write(json.dumps(peer_name(slow[0])).encode())
        slow[0].finish()
        self.assertEqual(await calling, f"{first.host_uuid}.example.com")
        self.assertEqual(await transport.call(PING), f"{second.host_uuid}.example.com")

    async def test_lost(self) -> None:
        """A call whose connection ended without a word is made once more, unless it must not happen twice."""
        seen: list[bytes] = []

        def answer(request: Request) -> bytes | int:
            seen.append(request.path)
            if len(seen) == 1:
                server.cut()
                return NOT_DONE_YET
            return b'{"fine": true}'

        server = Server(self, answer)
        transport = self.transport([server.address])
        self.assertEqual(await transport.call(PING), {"fine": True})
        self.assertEqual(len(seen), 2)
        seen.clear()
        with self.assertRaises(ConnectionProblem) as caught:
            await transport.call(Call("POST", "/v1/tokens", body={}, repeatable=False))
        self.assertEqual(
            caught.exception.sentence, f'The auth server "{server.address}" closed the connection without an answer.'
        )
        self.assertEqual(len(seen), 1)

    async def test_lost_again(self) -> None:
        """It is made once more, and not for ever."""

        def answer(request: Request) -> int:
            seen.append(request.path)
            server.cut()
            return NOT_DONE_YET

        seen: list[bytes] = []
        server = Server(self, answer)
        await self.refusal(server.address)
        self.assertEqual(len(seen), 2)

    async def test_no_second_server(self) -> None:
        """What may have happened at the first server is not asked of the second, if it must not happen twice."""

        def answer(request: Request) -> int:
            first.cut()
            return NOT_DONE_YET

        first, second = Server(self, answer), Server(self, as_json({}))
        transport = self.transport([first.address, second.address])
        with self.assertRaises(ConnectionProblem):
            await transport.call(Call("POST", "/v1/tokens", body={}, repeatable=False))
        self.assertEqual(second.connections, 0)
        self.assertEqual(await transport.call(PING), {})


class StreamTests(TransportTestCase):
    """The answer that does not end."""

    async def test_lines(self) -> None:
        """Each line is handed on as it comes, and the end is no error."""

        def answer(request: Request) -> int:
            request.write(b'{"n": 1}\n{"n"')
            the_reactor().callLater(0, self.finish, request)
            return NOT_DONE_YET

        lines: list[dict[str, object]] = []
        await self.transport([Server(self, answer).address]).stream(Call("GET", "/v1/watch"), lines.append)
        self.assertEqual(lines, [{"n": 1}, {"n": 2}])

    def finish(self, request: Request) -> None:
        request.write(b": 2}\n")
        request.finish()

    async def test_refused(self) -> None:
        """A refusal is raised as any other."""

        def answer(request: Request) -> bytes:
            request.setResponseCode(403)
            return json.dumps(AccessDenied("No.").to_json()).encode()

        with self.assertRaises(AccessDenied):
            await self.transport([Server(self, answer).address]).stream(Call("GET", "/v1/watch"), self.fail)

    async def test_lost(self) -> None:
        """A stream that breaks is an error with a sentence."""

        def answer(request: Request) -> int:
            request.write(b'{"n": 1}\n')
            return NOT_DONE_YET

        server = Server(self, answer)
        with self.assertRaises(ConnectionProblem) as caught:
            await self.transport([server.address]).stream(Call("GET", "/v1/watch"), lambda line: server.cut())
        self.assertIn("stopped in the middle of an answer", caught.exception.sentence)

    async def test_silent(self) -> None:
        """Silence is an end."""
        clock = HandClock()

        def answer(request: Request) -> int:
            request.write(b'{"n": 1}\n')
            return NOT_DONE_YET

        transport = self.transport([Server(self, answer).address], reactor=clock)

        def wait(line: dict[str, object]) -> None:
            the_reactor().callLater(0, clock.advance, 31)

        with self.assertRaises(ConnectionProblem) as caught:
            await transport.stream(Call("GET", "/v1/watch"), wait)
        self.assertEqual(caught.exception.sentence, "The auth server was silent for 30 s in a watch.")


class AddressTests(SynchronousTestCase):
    def test_good(self) -> None:
        check_addresses(["auth.example.com:3025", "10.0.0.1:3025", "[::1]:3025", "localhost:1"])

    def test_none(self) -> None:
        refused = self.assertRaises(BadParameter, check_addresses, [])
        self.assertEqual(
            refused.sentence, "No address of an auth server is given; set teleport.auth_servers in the configuration."
        )

    def test_bad(self) -> None:
        """What could be taken for another part of a URL is no address."""
        for address in ("auth", "auth:x", "https://auth:3025", "a@b:1", "a b:1", "a:1/x", "a:1#", "", ":3025", "a:1\n"):
            refused = self.assertRaises(BadParameter, check_addresses, [address])
            self.assertEqual(
                refused.sentence, f"{address!r} is not the address of an auth server, such as auth.example.com:3025."
            )
