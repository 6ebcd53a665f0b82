"""A cluster to which nodes hand in recordings, over the API."""

from __future__ import annotations

from pathlib import Path

from teleport_conch.auth.rules.callers import Peer
from teleport_conch.certs.tls import TLSIdentity
from teleport_conch.resources.recording import Recording
from tests.auth.fixture import CLUSTER, NOW, WEB2, Answered, ClusterTestCase, Emitted
from tests.auth.recordings.samples import SID, Sample

SESSIONS = "/v1/namespaces/default/sessions"
RECORDINGS = "/v1/namespaces/default/recordings"


class RecordingsTestCase(ClusterTestCase):
    """:ivar node: the host web1. :ivar other: the host web2."""

    def setUp(self) -> None:
        super().setUp()
        self.node, self.other = self.host(self.join()), self.host(self.join(WEB2, "web2"))
        self.emitted.events.clear()

    def send(self, encoded: bytes, sid: str = SID, peer: Peer | None = None) -> Answered:
        """Hand in a slice."""
        return self.call(peer or self.node, "POST", f"{SESSIONS}/{sid}/slices", encoded)

    def hand_in(self, made: Sample, sid: str = SID, peer: Peer | None = None) -> None:
        """A whole recording."""
        for each in made.slices:
            answer = self.send(each, sid, peer)
            self.assertEqual(answer.status, 200, answer.body)

    def person(self, name: str, *roles: str) -> Peer:
        identity = TLSIdentity("user", name, CLUSTER, roles or ("access",), 2, NOW + 3600, ("root",), not_before=NOW)
        return self.peer_of(identity)

    def recording(self, sid: str = SID) -> Recording:
        """As it is listed."""
        answer = self.call(self.admin(), "GET", f"{RECORDINGS}/{sid}")
        self.assertEqual(answer.status, 200, answer.body)
        return Recording.from_json(answer.body)

    def stream(self, peer: Peer | None, offset: object = 0, sid: str = SID) -> Answered:
        return self.call(peer, "GET", f"{RECORDINGS}/{sid}/stream?offset={offset}")

    def file(self, sid: str = SID) -> Path:
        return self.records / f"{sid}.rec"

    def the_refusal(self) -> Emitted:
        """The one event of a slice that was refused."""
        [event] = self.emitted.named("session.recording.refused")
        self.emitted.events.clear()
        return event
