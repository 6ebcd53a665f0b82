"""What every answer of the API has in common, and what bodies do not get through."""

from __future__ import annotations

import json
from io import BytesIO

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import FileBodyProducer

from teleport_conch.auth.routes.calls import Call, Needs
from teleport_conch.errors import BadParameter, CertificateExpired, StorageFull
from teleport_conch.https.bodies import decoded
from tests.auth.fixture import NOW, WEB1, AtOnce, ClusterTestCase, Storage, heartbeat


class AnswerTests(ClusterTestCase):
    def test_headers(self) -> None:
        """Every answer tells auth's time and is kept by nobody, refusals too."""
        for path in ("/v1/ping", "/v1/tokens", "/nowhere"):
            headers = self.call(None, "GET", path).headers
            self.assertEqual(headers.getRawHeaders("x-teleport-time"), [f"{NOW:.3f}"])
            self.assertEqual(headers.getRawHeaders("cache-control"), ["no-store"])
            self.assertEqual(headers.getRawHeaders("content-type"), ["application/json"])

    def test_done(self) -> None:
        """Success without anything to say."""
        peer = self.host(self.join())
        self.beat()
        answer = self.call(peer, "DELETE", f"/v1/presence/node/{WEB1}", {"instance": "one"})
        self.assertEqual((answer.status, answer.body), (200, {"message": "ok"}))

    def test_refusal(self) -> None:
        """An error of ours: its status, its code, its sentence, its facts."""
        answer = self.call(None, "POST", "/v1/tokens/register", {})
        self.assertEqual(answer.status, 400)
        self.assertEqual(
            answer.body, {"error": {"code": "BAD_PARAMETER", "message": "missing parameter request.hostID"}}
        )

    def test_certificate_that_is_refused(self) -> None:
        """Routes that need a caller say what is wrong with the certificate; the others do not care."""

        def expired(request: object) -> None:
            raise CertificateExpired("The certificate expired 412 seconds ago.", seconds=412)

        self.patch(self.gate, "_peer_of", expired)
        answer = self.call(None, "GET", "/v1/tokens")
        self.assertEqual((answer.status, answer.code), (401, "CERT_EXPIRED"))
        self.assertEqual(self.call(None, "GET", "/v1/ping").status, 200)

    def test_what_nobody_foresaw(self) -> None:
        """A mistake in the program is logged, and nothing of it is answered."""

        @self.gate.route("GET", "/v1/broken", Needs("read", "cluster_name"))
        async def broken(call: Call) -> None:
            raise KeyError("secret of the inside")

        answer = self.call(self.admin(), "GET", "/v1/broken")
        self.assertEqual((answer.status, answer.code), (500, "INTERNAL"))
        self.assertNotIn("secret", str(answer.body))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_full_disk(self) -> None:
        """A write that the disk refused is an error of its own, and what was there is still there."""

        async def full(*args: object, **options: object) -> None:
            raise StorageFull("The disk is full: the write was refused.")

        peer = self.host(self.join())
        self.beat()
        self.patch(self.cluster.inventory, "_backend", Storage(self.backend, full))
        changed = heartbeat(labels={"env": "dev"}).to_json()
        answer = self.call(peer, "POST", f"/v1/presence/node/{WEB1}", changed)
        self.assertEqual((answer.status, answer.code), (507, "STORAGE_FULL"))

    def test_client_that_leaves(self) -> None:
        """What was begun is done, though nobody hears of it any more; only a watch ends with its client."""
        writing: Deferred[None] = Deferred()

        async def slow(*args: object) -> object:
            await writing
            return await self.backend.put(*args)  # type: ignore[arg-type]

        self.peer = self.host(self.join())
        self.patch(self.cluster.inventory, "_backend", Storage(self.backend, slow))
        agent = RequestTraversalAgent(self.gate.resource())
        body = FileBodyProducer(BytesIO(json.dumps(heartbeat().to_json()).encode()), cooperator=AtOnce())
        asked = agent.request(b"POST", f"https://x/v1/presence/node/{WEB1}".encode(), None, body)
        agent.flush()
        self.assertNoResult(asked)
        asked.cancel()
        agent.flush()
        self.failureResultOf(asked)
        writing.callback(None)
        self.assertEqual([item.key for item in self.now(self.backend.range("nodes/"))], [f"nodes/default/{WEB1}"])

    def test_namespaces(self) -> None:
        """There is one."""
        answer = self.call(self.admin(), "GET", "/v1/namespaces/other/nodes")
        self.assertEqual(answer.sentence, "There is no namespace 'other'; there is default.")

    def test_hosts_are_named_by_uuid(self) -> None:
        """What is no UUID is no node, whatever it holds."""
        for name in ("web1", "..%2f..%2ftokens", "%00", "x" * 500):
            answer = self.call(self.admin(), "GET", f"/v1/namespaces/default/nodes/{name}")
            self.assertEqual(answer.status, 404)
            self.assertTrue(answer.sentence.isprintable())

    def test_offline_nodes_only(self) -> None:
        """All nodes at once are removed only if they are offline."""
        answer = self.call(self.admin(), "DELETE", "/v1/namespaces/default/nodes")
        self.assertIn("say offline=1", answer.sentence)

    def test_denials_are_bounded(self) -> None:
        """Somebody who tries again and again is refused each time, and fills no log."""
        for _ in range(70):
            self.assertEqual(self.call(self.user(), "GET", "/v1/tokens").status, 403)
        self.assertEqual(len(self.emitted.named("api.denied")), 60)


class BodyTests(SynchronousTestCase):
    def test_json(self) -> None:
        """What is JSON."""
        values: list[object] = [{"a": [1, 2.5, None, True, "\u20ac"]}, [], "x", {"emoji": "\U0001f600"}]
        for value in values:
            self.assertEqual(decoded(json.dumps(value).encode()), value)
            self.assertEqual(decoded(json.dumps(value, ensure_ascii=False).encode()), value)

    def test_what_is_not(self) -> None:
        """Numbers that are none, halves of characters, other encodings, endless nesting, nothing."""
        halves = (b'"\\ud800"', b'"\xed\xa0\x80"', '"\ud800"'.encode("utf-16", "surrogatepass"))
        for text in (*halves, b"", b"{", b"NaN", b"[Infinity]", b'"\xff"', b"[" * 100_000, b"{} {}", b"'x'"):
            reason = self.assertRaises(BadParameter, decoded, text)
            self.assertEqual(reason.sentence, "The body of the request is not JSON.")
