"""Every resource survives its own JSON, as text too, and nothing in it is read that is not what its field says."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import TypeVar

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import BadParameter
from teleport_conch.resources.access_request import AccessRequest, RequestState
from teleport_conch.resources.bot import Bot
from teleport_conch.resources.cluster import ClusterConfig, ClusterName
from teleport_conch.resources.joining import Heartbeat, HeartbeatAnswer, JoinAnswer, JoinRequest
from teleport_conch.resources.plugin_data import PluginData
from teleport_conch.resources.preference import SECOND_FACTORS, TYPES, AuthPreference
from teleport_conch.resources.recording import Recording, RecordingState
from teleport_conch.resources.server import KINDS, CommandLabel, JoinRecord, Presence, Server, State
from teleport_conch.resources.session import ActiveSession
from teleport_conch.resources.token import JoinToken, token_digest
from teleport_conch.resources.user import LoginLock, User

Value = TypeVar("Value")

letters = st.characters(codec="utf-8")
words = st.text(letters, min_size=1, max_size=32)
texts = st.text(letters, max_size=32)
seconds = st.floats(0, 4e9, allow_nan=False)
labels = st.dictionaries(words, texts, max_size=4)
lists = st.lists(words, max_size=4).map(tuple)

presences = st.builds(Presence, st.sampled_from(State), st.none() | seconds, texts)
commands = st.builds(CommandLabel, lists, st.integers(0, 10**7).map(float) | st.just(0.25), texts)
servers = st.builds(
    Server,
    kind=st.sampled_from(KINDS),
    name=words,
    hostname=words,
    addr=texts,
    public_addrs=lists,
    web_addr=texts,
    web_public_addrs=lists,
    labels=labels,
    cmd_labels=st.dictionaries(words, commands, max_size=3),
    version=texts,
    join=st.none() | st.builds(JoinRecord, texts, texts, texts, seconds),
    presence=presences,
)
tokens = st.builds(
    JoinToken,
    digest=words.map(token_digest),
    roles=lists,
    created_by=texts,
    created_at=seconds,
    expires_at=st.none() | seconds,
    node_name=texts,
    principals=lists,
    labels=labels,
)
sessions = st.builds(ActiveSession, words, words, words, words, words, texts, seconds, seconds, st.booleans())
recordings = st.builds(
    Recording,
    *(words, words, words, words, words, seconds, st.none() | seconds, lists),
    *(st.integers(0, 1 << 30), st.integers(0, 1 << 20), texts, st.sampled_from(RecordingState), texts),
    *(st.integers(0, 9999), st.integers(0, 9999), texts),
)
requests = st.builds(JoinRequest, words, words, words, words, words, words, lists, lists)
authorities = st.dictionaries(words, st.text(letters, max_size=5) | st.integers(), max_size=3)
answers = st.builds(JoinAnswer, words, words, words, words, st.lists(authorities, max_size=2).map(tuple), labels)
configurations = st.builds(
    ClusterConfig, words, seconds, seconds, seconds, st.integers(0, 1000), seconds, st.booleans(), seconds
)
users = st.builds(
    User,
    name=words,
    roles=lists,
    traits=st.dictionaries(words, lists, max_size=3),
    expires_at=st.none() | seconds,
    created_at=seconds,
    created_by=texts,
    lock=st.none() | st.builds(LoginLock, seconds, texts),
    revision=st.integers(0, 10**18 - 1).map(str),
)
bots = st.builds(
    Bot,
    words,
    lists,
    lists,
    seconds,
    texts,
    st.integers(0, 10**9),
    st.none() | seconds,
    texts,
    revision=st.just("7"),
)


annotated = st.dictionaries(words, lists, max_size=3)
plugin_data = st.builds(
    PluginData, words, st.dictionaries(words, st.dictionaries(words, texts, max_size=3), max_size=3), seconds
)
access_requests = st.builds(
    AccessRequest,
    words,
    words,
    lists,
    seconds,
    seconds,
    st.sampled_from(RequestState),
    texts,
    texts,
    annotated,
    annotated,
)


def again(value: dict[str, object]) -> object:
    """What is left of a JSON value when it has been sent."""
    return json.loads(json.dumps(value, allow_nan=False))


class RoundTripTests(SynchronousTestCase):
    def check(self, value: Value, to_json: dict[str, object], from_json: Callable[[object], Value]) -> None:
        self.assertEqual(from_json(again(to_json)), value)

    @given(servers)
    @settings(deadline=None)
    def test_servers(self, server: Server) -> None:
        self.check(server, server.to_json(), Server.from_json)

    @given(tokens)
    @settings(deadline=None)
    def test_tokens(self, token: JoinToken) -> None:
        self.check(token, token.to_json(), JoinToken.from_json)

    @given(sessions)
    @settings(deadline=None)
    def test_sessions(self, session: ActiveSession) -> None:
        self.check(session, session.to_json(), ActiveSession.from_json)

    @given(recordings)
    @settings(deadline=None)
    def test_recordings(self, recording: Recording) -> None:
        self.check(recording, recording.to_json(), Recording.from_json)

    @given(users)
    @settings(deadline=None)
    def test_users(self, user: User) -> None:
        self.check(user, user.to_json(), User.from_json)
        self.assertEqual(User.from_json(again(user.to_json())).revision, user.revision)

    @given(bots)
    @settings(deadline=None)
    def test_bots(self, bot: Bot) -> None:
        self.check(bot, bot.to_json(), Bot.from_json)

    @given(access_requests)
    @settings(deadline=None)
    def test_access_requests(self, request: AccessRequest) -> None:
        self.check(request, request.to_json(), AccessRequest.from_json)

    @given(plugin_data)
    def test_plugin_data(self, data: PluginData) -> None:
        self.check(data, data.to_json(), PluginData.from_json)

    @given(requests)
    @settings(deadline=None)
    def test_join_requests(self, request: JoinRequest) -> None:
        self.check(request, request.to_json(), JoinRequest.from_json)

    @given(answers)
    @settings(deadline=None)
    def test_join_answers(self, answer: JoinAnswer) -> None:
        self.check(answer, answer.to_json(), JoinAnswer.from_json)

    @given(words, servers)
    @settings(deadline=None)
    def test_heartbeats(self, instance: str, server: Server) -> None:
        """A beat carries what the host says of itself, and neither how it joined nor whether it is there."""
        sent = Heartbeat.from_json(again(Heartbeat(instance, server).to_json()))
        self.assertEqual(sent, Heartbeat(instance, server.announced()))
        self.assertEqual((sent.server.join, sent.server.presence), (None, Presence(State.UNKNOWN)))

    @given(st.builds(HeartbeatAnswer, seconds, labels, texts))
    @settings(deadline=None)
    def test_heartbeat_answers(self, answer: HeartbeatAnswer) -> None:
        self.check(answer, answer.to_json(), HeartbeatAnswer.from_json)

    @given(words, words)
    @settings(deadline=None)
    def test_cluster_names(self, name: str, uuid: str) -> None:
        self.check(ClusterName(name, uuid), ClusterName(name, uuid).to_json(), ClusterName.from_json)

    @given(configurations)
    @settings(deadline=None)
    def test_configurations(self, configuration: ClusterConfig) -> None:
        self.check(configuration, configuration.to_json(), ClusterConfig.from_json)

    @given(st.builds(AuthPreference, st.sampled_from(TYPES), st.sampled_from(SECOND_FACTORS)))
    @settings(deadline=None)
    def test_preferences(self, preference: AuthPreference) -> None:
        self.check(preference, preference.to_json(), AuthPreference.from_json)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
READERS: tuple[Callable[[object], object], ...] = (
    Server.from_json,
    JoinToken.from_json,
    ActiveSession.from_json,
    User.from_json,
    Bot.from_json,
    AccessRequest.from_json,
    PluginData.from_json,
    JoinRequest.from_json,
    JoinAnswer.from_json,
    Heartbeat.from_json,
    HeartbeatAnswer.from_json,
    ClusterName.from_json,
    ClusterConfig.from_json,
    AuthPreference.from_json,
    Presence.from_json,
    JoinRecord.from_json,
)
SAMPLES: tuple[dict[str, object], ...] = (
    Server("node", "uuid", "web1", cmd_labels={"a": CommandLabel(("id",), 5.0)}).to_json(),
    JoinToken(token_digest("x"), ("Node",), "alice", 1.0, 2.0).to_json(),
    ActiveSession("id", "alice", "root", "uuid", "web1", "192.0.2.7:5", 1.0, 2.0).to_json(),
    JoinRequest("uuid", "web1", "Node", "tls", "ssh", "token").to_json(),
    User("alice", ("access",), {"logins": ("root",)}, lock=LoginLock(5.0, "why"), revision="7").to_json(),
    Bot("ci", ("access",), ("deploy",), 5.0, "bob", 2, 7.0, "192.0.2.7").to_json(),
    AccessRequest("uuid", "alice", ("dba",), 1.0, 2.0, system_annotations={"a": ("b",)}).to_json(),
    PluginData("uuid", {"chat": {"message": "17"}}, 2.0).to_json(),
    ClusterName("demo", "uuid").to_json(),
    ClusterConfig().to_json(),
    AuthPreference().to_json(),
)


class RefusedTests(SynchronousTestCase):
    @given(st.sampled_from(READERS), json_values)
    @settings(deadline=None, max_examples=200)
    def test_anything(self, reader: Callable[[object], object], value: object) -> None:
        """Whatever JSON is sent, it is read or refused with a sentence, and nothing else is raised."""
        try:
            reader(value)
        except BadParameter as refusal:
            self.assertTrue(refusal.sentence)

    @given(st.sampled_from(READERS), st.sampled_from(SAMPLES), st.data())
    @settings(deadline=None, max_examples=300)
    def test_nearly_right(
        self, reader: Callable[[object], object], sample: dict[str, object], data: st.DataObject
    ) -> None:
        """The same for what is right but for one value."""
        changed = json.loads(json.dumps(sample))
        place = changed
        while True:
            key = data.draw(st.sampled_from(sorted(place)))
            if not isinstance(place[key], dict) or not place[key] or data.draw(st.booleans()):
                break
            place = place[key]
        place[key] = data.draw(json_values)
        try:
            reader(changed)
        except BadParameter as refusal:
            self.assertTrue(refusal.sentence)

    def refused(self, reader: Callable[[object], object], value: object, sentence: str) -> None:
        refusal = self.assertRaises(BadParameter, reader, value)
        self.assertEqual(refusal.sentence, sentence)

    def test_servers(self) -> None:
        """Only the three kinds of hosts there are; the period of a command is a number of seconds."""
        self.refused(Server.from_json, {"kind": "role"}, "server.kind has to be one of node, proxy, auth_server.")
        for period in ("soon", "nan", "inf", "-1s", "1_0s"):
            sample = Server("node", "uuid", "web1", cmd_labels={"a": CommandLabel(("id",), 5.0)}).to_json()
            assert isinstance(sample["spec"], dict)
            sample["spec"]["cmd_labels"]["a"]["period"] = period
            self.refused(
                Server.from_json,
                sample,
                "server.spec.cmd_labels.a.period has to be a number of seconds such as 60s.",
            )

    def test_keys(self) -> None:
        """Public keys come as base64 of a text."""
        good = JoinRequest("uuid", "web1", "Node", "tls", "ssh", "token").to_json()
        for bad in ("no base64!", "Zm9v\u00e9", base64.b64encode(b"\xff\xfe").decode(), "Zm9", "Zm 9v"):
            self.refused(
                JoinRequest.from_json,
                {**good, "public_ssh_key": bad},
                "request.public_ssh_key has to be base64 of a text.",
            )

    def test_token(self) -> None:
        """A request to join needs its token, and one to renew has none, whatever it says."""
        value = JoinRequest("uuid", "web1", "Node", "tls", "ssh", "secret").to_json()
        self.assertEqual(JoinRequest.from_json(value, with_token=False).token, "")
        self.refused(JoinRequest.from_json, {**value, "token": ""}, "missing parameter request.token")
        self.assertNotIn("secret", repr(JoinRequest.from_json(value)))


class MeaningTests(SynchronousTestCase):
    def test_labels(self) -> None:
        """A label of the configuration wins over a command of the same name."""
        server = Server(
            "node",
            "uuid",
            "web1",
            labels={"a": "1"},
            cmd_labels={"a": CommandLabel(("x",), 1.0, "2"), "b": CommandLabel(("x",), 1.0, "3")},
        )
        self.assertEqual(server.all_labels, {"a": "1", "b": "3"})

    def test_announced(self) -> None:
        """A host cannot say of itself how it joined or that it is there."""
        join = JoinRecord("token", "alice", "192.0.2.7", 1.0)
        server = Server("node", "uuid", "web1", join=join, presence=Presence(State.ONLINE, 1.0))
        self.assertEqual(server.announced(), evolve(server, join=None, presence=Presence(State.UNKNOWN)))

    def test_unknown_state(self) -> None:
        """A state that a newer auth has invented is no state that we know."""
        self.assertEqual(Presence.from_json({"state": "asleep", "last_seen": 5}), Presence(State.UNKNOWN, 5.0))

    def test_tokens(self) -> None:
        """The secret is nowhere in a token: its digest finds it, and the beginning of that names it."""
        token = JoinToken(token_digest("secret"), ("Node",), "alice", 1.0)
        self.assertEqual((token.id, token.static), (token_digest("secret")[:12], True))
        self.assertFalse(evolve(token, expires_at=5.0).static)
        self.assertNotIn("secret", json.dumps(token.to_json()))

    def test_users(self) -> None:
        """Services hear of a user's roles, and of no trait; the revision is the resource's id, and no part of it."""
        user = User("alice", ("access",), {"logins": ("root",)}, 9.0, 5.0, "admin", LoginLock(7.0), revision="3")
        self.assertEqual(user.narrow(), User("alice", ("access",), {}, 9.0, 5.0))
        self.assertEqual(user, evolve(user, revision="4"))
        self.assertEqual(user.to_json()["metadata"]["id"], "3")  # type: ignore[index]  # it is an object
        self.assertEqual((user.logins, user.in_force_at(8.9), user.in_force_at(9.0)), (("root",), True, False))
        self.assertTrue(evolve(user, expires_at=None).in_force_at(1e12))

    def test_bots(self) -> None:
        """A robot is a user of another name; what it counts is whole."""
        self.assertEqual(Bot("ci", ()).user, "bot-ci")
        odd = {**Bot("ci", ()).to_json(), "status": {"generation": 1.5}}
        refused = self.assertRaises(BadParameter, Bot.from_json, odd)
        self.assertEqual(refused.sentence, "bot.status.generation has to be a whole number.")

    def test_users_refused(self) -> None:
        """A name is short, and traits are bounded lists."""
        good = User("alice", ("access",)).to_json()
        for metadata, spec, sentence in (
            ({"name": "a"}, {"traits": {"x": "root"}}, "user.spec.traits.x has to be a list."),
            (
                {"name": "a"},
                {"traits": {str(number): [] for number in range(65)}},
                "user.spec.traits has at most 64 entries, each with a name.",
            ),
            ({"name": "a" * 65}, {}, "user.metadata.name is longer than 64 characters."),
        ):
            refused = self.assertRaises(BadParameter, User.from_json, {**good, "metadata": metadata, "spec": spec})
            self.assertEqual(refused.sentence, sentence)

    def test_defaults(self) -> None:
        """A configuration that says nothing is the usual one."""
        self.assertEqual(ClusterConfig.from_json({"kind": "cluster_config"}), ClusterConfig())
