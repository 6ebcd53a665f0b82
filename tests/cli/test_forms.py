"""Instants and spans of time of resources, as people and programs read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli import documents
from teleport_conch.cli.forms import INSTANTS, SPANS, as_written
from teleport_conch.resources.access_request import AccessRequest
from teleport_conch.resources.bot import Bot
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.recording import Recording
from teleport_conch.resources.server import JoinRecord, Presence, Server, State
from teleport_conch.resources.session import ActiveSession
from teleport_conch.resources.token import JoinToken
from teleport_conch.resources.user import LoginLock, User

AT = 1893456000.25
WRITTEN = "2030-01-01T00:00:00.250000Z"
LOCK = LoginLock(AT, "locked")
JOIN, PRESENCE = JoinRecord("0123", "alice", "10.0.0.5", AT), Presence(State.ONLINE, AT)
#: Of each kind that has instants, one that has all of them.
RESOURCES: Mapping[str, tuple[dict[str, object], Callable[[object], object]]] = {
    "user": (User("a", ("dev",), {}, AT, AT, "boss", LOCK).to_json(), User.from_json),
    "lock": (Lock("l", user="a", expires_at=AT, created_at=AT).to_json(), Lock.from_json),
    "access_request": (AccessRequest("r", "a", ("dev",), AT, AT).to_json(), AccessRequest.from_json),
    "token": (JoinToken("d" * 64, ("Node",), "boss", AT, AT).to_json(), JoinToken.from_json),
    "bot": (Bot("b", ("dev",), ("x",), AT, "boss", renewed_at=AT).to_json(), Bot.from_json),
    "node": (Server("node", "n", "web1", join=JOIN, presence=PRESENCE).to_json(), Server.from_json),
    "proxy": (Server("proxy", "n", "web1", join=JOIN, presence=PRESENCE).to_json(), Server.from_json),
    "session": (Recording("s", "a", "root", "n", "web1", AT, AT).to_json(), Recording.from_json),
    "ssh_session": (ActiveSession("s", "a", "root", "n", "web1", "::1", AT, AT).to_json(), ActiveSession.from_json),
    "cluster_config": (ClusterConfig().to_json(), ClusterConfig.from_json),
}


def numbers(value: object) -> list[float]:
    """All numbers in what JSON holds that could be an instant."""
    if isinstance(value, dict):
        return [found for each in value.values() for found in numbers(each)]
    if isinstance(value, list):
        return [found for each in value for found in numbers(each)]
    return [value] if isinstance(value, float) else []


class FormTests(SynchronousTestCase):
    def test_all_of_them(self) -> None:
        """No instant and no span of time is left a number, whatever the kind."""
        self.assertEqual(set(RESOURCES), {*INSTANTS, *SPANS})
        for kind, (resource, _) in RESOURCES.items():
            self.assertNotEqual(numbers(resource), [], kind)
            self.assertEqual(numbers(as_written(resource)), [], kind)
        self.assertEqual(as_written(RESOURCES["lock"][0])["metadata"]["expires"], WRITTEN)
        spec = as_written(RESOURCES["cluster_config"][0])["spec"]
        self.assertEqual((spec["heartbeat_interval"], spec["offline_nodes_kept"]), ("15s", "168h"))
        self.assertEqual((spec["client_idle_timeout"], spec["keep_alive_count_max"]), ("0s", 3))

    def test_there_and_back(self) -> None:
        """What is printed is read as what it was."""
        for kind, (resource, read) in RESOURCES.items():
            (document,) = documents.read(yaml.safe_dump(as_written(resource)))
            self.assertEqual(read(document.value), read(resource), kind)

    @given(st.floats(min_value=0, max_value=4e9))
    def test_any_instant(self, at: float) -> None:
        """To a millionth of a second."""
        lock: Any = as_written(Lock("l", user="a", expires_at=at).to_json())
        (document,) = documents.read(yaml.safe_dump(lock))
        read = Lock.from_json(document.value).expires_at
        assert read is not None
        self.assertAlmostEqual(read, at, places=5)

    def test_others(self) -> None:
        """What is in no resource, or is no number, stays."""
        label = {
            "kind": "node",
            "metadata": {"labels": {"created": "2030"}, "expires": None},
            "spec": {"created": True},
        }
        for value in ({"expires": 5.0}, [1, "x", None], label, {"kind": 5, "metadata": {"expires": 5}}):
            self.assertEqual(as_written(value), value)

    def test_within(self) -> None:
        """Also a resource that is a part of something, or one of a list."""
        bot = RESOURCES["bot"][0]
        self.assertEqual(as_written({"bot": bot, "all": [bot]})["all"], [as_written({"bot": bot})["bot"]])
