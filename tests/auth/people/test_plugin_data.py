"""What plugins keep about access requests, through the API."""

from __future__ import annotations

from typing import Any
from unittest import mock

from teleport_conch.auth.limits import PENDING_REQUEST_S
from teleport_conch.auth.people import plugin_data
from teleport_conch.auth.state.shelf import Shelf
from teleport_conch.errors import CompareFailed
from teleport_conch.resources.access_request import RequestState
from teleport_conch.resources.plugin_data import (
    MAX_ENTRIES,
    MAX_NAME_CHARS,
    MAX_PLUGINS,
    MAX_VALUE_CHARS,
    PluginData,
)
from tests.auth.fixture import NOW, Answered
from tests.auth.people.test_access_requests import NOBODY, REQUESTS, RequestTestCase

KEPT = "/v1/plugin_data/access_request"


class PluginDataTests(RequestTestCase):
    def put(self, name: str, plugin: str, put: object, expect: object = None) -> Answered:
        body = {"plugin": plugin, "set": put, "expect": expect or {}}
        return self.call(self.carol, "PUT", f"{KEPT}/{name}", body)

    def kept(self, name: str) -> dict[str, dict[str, str]]:
        answer = self.call(self.carol, "GET", f"{KEPT}/{name}")
        self.assertEqual(answer.status, 200, answer.body)
        return {plugin: dict(data) for plugin, data in PluginData.from_json(answer.body).entries.items()}

    def test_kept(self) -> None:
        """Each plugin keeps its own, through the decision and a new reading of the storage."""
        name = self.asked("dba")
        self.assertEqual(self.kept(name), {})
        self.assertEqual(self.put(name, "chat", {"message": "17", "channel": "ops"}).status, 200)
        answer = self.put(name, "tickets", {"id": "T-1"})
        data = PluginData.from_json(answer.body)
        self.assertEqual((data.name, data.expires_at), (name, NOW + PENDING_REQUEST_S))
        self.assertEqual(self.decide(name).status, 200)
        self.assertEqual(self.cluster.plugin_data.shelf.values[name].expires_at, NOW + 2 * 3600)
        kept = {"chat": {"message": "17", "channel": "ops"}, "tickets": {"id": "T-1"}}
        self.assertEqual(self.kept(name), kept)
        again = plugin_data.open_shelf(self.cluster.backend)
        self.now(again.load())
        self.addCleanup(again.close)
        self.assertEqual(again.values[name].entries, kept)

    def test_compared(self) -> None:
        """What is expected has to be there, and nothing is where nothing is expected; an empty value is none."""
        name = self.asked("dba")
        for put, expect, after in (
            ({"a": "1"}, {"a": ""}, {"chat": {"a": "1"}}),
            ({"a": "2", "b": "x"}, {"a": "1"}, {"chat": {"a": "2", "b": "x"}}),
            ({"a": ""}, {"a": "2", "c": ""}, {"chat": {"b": "x"}}),
            ({"b": ""}, {}, {}),
        ):
            self.assertEqual(self.put(name, "chat", put, expect).status, 200)
            self.assertEqual(self.kept(name), after)
        self.put(name, "chat", {"a": "1"})
        for expect in ({"a": ""}, {"a": "2"}, {"b": "1"}):
            answer = self.put(name, "chat", {"a": "9"}, expect)
            self.assertEqual((answer.status, answer.code), (412, "COMPARE_FAILED"))
            self.assertIn("What the plugin 'chat' keeps about this request under ", answer.sentence)
            self.assertIn(" is not what was expected. Read it again.", answer.sentence)
        self.assertEqual(self.kept(name), {"chat": {"a": "1"}})

    def test_written_meanwhile(self) -> None:
        """A decision is one also where a plugin writes at the same moment, whose next update lasts as long."""
        name, shelf = self.asked("dba"), self.cluster.plugin_data.shelf
        self.put(name, "chat", {"a": "1"})

        replace = Shelf.replace

        async def too_late(self: Shelf[Any], value: Any, revision: int | None = None) -> object:
            if isinstance(value, PluginData):
                raise CompareFailed("It was changed meanwhile.")
            return await replace(self, value, revision)

        with mock.patch.object(Shelf, "replace", too_late):
            answer = self.decide(name)
        self.assertEqual((answer.status, self.found(name).state), (200, RequestState.APPROVED))
        self.assertEqual(self.put(name, "chat", {"b": "2"}).status, 200)
        self.assertEqual(shelf.values[name].expires_at, NOW + 2 * 3600)

    def test_ends(self) -> None:
        """With the request: when it is removed, and when it is over."""
        name, other = self.asked("dba"), self.asked("ops")
        for each in (name, other):
            self.put(each, "chat", {"a": "1"})
        self.assertEqual(self.call(self.admin(), "DELETE", f"{REQUESTS}/{name}").status, 200)
        self.assertEqual(list(self.cluster.plugin_data.shelf.values), [other])
        self.clock.advance(3601)
        for each in (name, other, NOBODY):
            for answer in (self.call(self.carol, "GET", f"{KEPT}/{each}"), self.put(each, "chat", {"a": "1"})):
                self.assertEqual((answer.status, answer.sentence), (404, f"There is no access request '{each}'."))

    def test_refused(self) -> None:
        """Whoever asks does not get at it, and bounds are kept."""
        name = self.asked("dba")
        sentence = "is not authorized to read access_request"
        self.assert_refused(self.call(self.alice, "GET", f"{KEPT}/{name}"), 403, sentence)
        answer = self.call(self.alice, "PUT", f"{KEPT}/{name}", {"plugin": "chat", "set": {"a": "1"}})
        self.assert_refused(answer, 403, "is not authorized to update access_request")
        bounds = f"has at most {MAX_ENTRIES} entries, each with a name of at most {MAX_NAME_CHARS} characters."
        for plugin, put, wrong in (
            ("", {"a": "1"}, "missing parameter plugin_data.plugin"),
            ("x" * (MAX_NAME_CHARS + 1), {}, f"plugin_data.plugin is longer than {MAX_NAME_CHARS} characters."),
            ("chat", {str(each): "1" for each in range(MAX_ENTRIES + 1)}, f"plugin_data.set {bounds}"),
            ("chat", {"": "1"}, f"plugin_data.set {bounds}"),
            ("chat", {"k" * (MAX_NAME_CHARS + 1): "1"}, f"plugin_data.set {bounds}"),
            ("chat", {"a": "v" * (MAX_VALUE_CHARS + 1)}, f"plugin_data.set.a is longer than {MAX_VALUE_CHARS}"),
            ("chat", {"a": 1}, "plugin_data.set.a has to be a string."),
        ):
            self.assert_refused(self.put(name, plugin, put), 400, wrong)
        many = f"At most {MAX_PLUGINS} plugins keep something about a request, each of them {MAX_ENTRIES} entries."
        full = {str(each): "1" for each in range(MAX_ENTRIES)}
        for number in range(MAX_PLUGINS):
            self.assertEqual(self.put(name, str(number), full).status, 200)
        self.assert_refused(self.put(name, "0", {"more": "1"}), 400, many)
        self.assert_refused(self.put(name, "chat", {"a": "1"}), 400, many)
        self.assertEqual(self.put(name, "0", {"0": "", "more": "1"}).status, 200)
