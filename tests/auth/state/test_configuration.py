"""The configuration of the cluster while it runs: what the file says wins, the rest can be changed, by revisions."""

from __future__ import annotations

from attrs import evolve

from teleport_conch.auth.hosts.presence import HostKey
from teleport_conch.auth.state import storing
from teleport_conch.auth.state.configuration import GENERAL
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.preference import AuthPreference
from teleport_conch.resources.server import State
from tests.auth.fixture import WEB1, Answered, ClusterTestCase

CONFIGURATION, PREFERENCE = "/v1/configuration", "/v1/authentication/preference"


class ConfigurationCase(ClusterTestCase):
    def restart(self, general: ClusterConfig, *given: str) -> None:
        """With a file that gives these keys of ``auth_service``."""
        self.general, self.given = general, frozenset(given)
        self.open()


class ConfigurationTests(ConfigurationCase):
    def put(self, general: ClusterConfig, revision: object = "") -> Answered:
        body = general.to_json()
        return self.call(
            self.admin(), "PUT", CONFIGURATION, {**body, "metadata": {"name": "cluster-config", "id": revision}}
        )

    def test_changed(self) -> None:
        """A change is kept, told to whoever follows, and an event."""
        changed = ClusterConfig(client_idle_timeout_s=900.0, disconnect_expired_cert=True)
        answer = self.put(changed)
        self.assertEqual(answer.status, 200)
        self.assertEqual(self.call(self.admin(), "GET", CONFIGURATION).body, answer.body)
        self.assertEqual(ClusterConfig.from_json(storing.decode(self.now(self.backend.get(GENERAL)))), changed)
        [event] = self.emitted.named("config.updated")
        self.assertEqual(event.fields, {"name": "cluster_config", "user": "tctl on the auth host"})

    def test_restart(self) -> None:
        """What was changed outlives a restart, as far as the file does not say otherwise."""
        self.put(ClusterConfig(client_idle_timeout_s=900.0, keep_alive_count_max=5))
        self.restart(ClusterConfig(keep_alive_count_max=7), "keep_alive_count_max")
        general = self.cluster.configuration.general
        self.assertEqual((general.client_idle_timeout_s, general.keep_alive_count_max), (900.0, 7))
        self.restart(ClusterConfig())
        self.assertEqual(self.cluster.configuration.general, general)

    def test_file_wins(self) -> None:
        """What the file sets is not changed, and the sentence says where it is set; the rest of it may be."""
        self.restart(ClusterConfig(client_idle_timeout_s=60.0), "client_idle_timeout", "enabled")
        answer = self.put(ClusterConfig(client_idle_timeout_s=900.0))
        self.assertEqual((answer.status, answer.code), (400, "BAD_PARAMETER"))
        self.assertEqual(
            answer.sentence,
            "cluster_config.spec.client_idle_timeout is set in the file of the auth server"
            " (auth_service.client_idle_timeout), which wins. Change it there and start auth again, or take it out of"
            " the file.",
        )
        self.assertEqual(self.put(ClusterConfig(client_idle_timeout_s=60.0, keep_alive_count_max=9)).status, 200)
        self.assertEqual(self.cluster.configuration.general.keep_alive_count_max, 9)

    def test_revisions(self) -> None:
        """Of two changes of one revision the second is refused."""
        revision = self.call(self.admin(), "GET", CONFIGURATION).body["metadata"]["id"]  # type: ignore[index]
        self.assertEqual(self.put(ClusterConfig(keep_alive_count_max=4), revision).status, 200)
        answer = self.put(ClusterConfig(keep_alive_count_max=5), revision)
        self.assertEqual((answer.status, answer.code), (412, "COMPARE_FAILED"))
        self.assertIn("The cluster_config was changed meanwhile.", answer.sentence)
        self.assertEqual(self.cluster.configuration.general.keep_alive_count_max, 4)

    def test_mistakes(self) -> None:
        """A value out of bounds, a mode that is not built, a key that is not known: nothing is changed."""
        before = self.cluster.configuration.general
        for changed, sentence in (
            (evolve(before, heartbeat_interval_s=0.01), "heartbeat_interval has to be from 1 to 3600, and not 0.01"),
            (
                evolve(before, session_recording="x"),
                "session_recording is 'x'; it has to be one of node, node-sync, off.",
            ),
            (evolve(before, session_recording="proxy"), "proxy is not built; there are node, node-sync, off."),
            (
                evolve(before, session_recording="proxy-sync"),
                "proxy-sync is not built; there are node, node-sync, off.",
            ),
        ):
            answer = self.put(changed)
            self.assertEqual(answer.status, 501 if "not built" in sentence else 400)
            self.assertIn(sentence, answer.sentence)
        misspelt = {**before.to_json(), "spec": {"client_idle_timeot": 60}}
        answer = self.call(self.admin(), "PUT", CONFIGURATION, misspelt)
        self.assertEqual(answer.sentence, "cluster_config.spec.'client_idle_timeot' is not known.")
        self.assertEqual(self.cluster.configuration.general, before)

    def test_beats(self) -> None:
        """Auth itself goes by what it says: a host that is told to beat more often is missed sooner."""
        self.join()
        self.beat()
        self.put(evolve(self.cluster.configuration.general, heartbeat_interval_s=1.0))
        self.clock.advance(4)
        self.cluster.presence.sweep()
        self.assertIs(self.cluster.presence.get(HostKey("node", WEB1)).state, State.OFFLINE)


class PreferenceTests(ConfigurationCase):
    def prefer(self, **spec: str) -> Answered:
        return self.call(self.admin(), "PUT", PREFERENCE, {"kind": "cluster_auth_preference", "spec": spec})

    def test_second_factor(self) -> None:
        """It counts from now on, and after a restart."""
        self.assertEqual(self.cluster.people.proving.second_factor, "otp")
        self.assertEqual(self.prefer(second_factor="off").status, 200)
        self.assertEqual(self.cluster.people.proving.second_factor, "off")
        self.restart(ClusterConfig())
        self.assertEqual(self.cluster.configuration.preference, AuthPreference("local", "off"))
        [event] = self.emitted.named("config.updated")
        self.assertEqual(event.fields["name"], "cluster_auth_preference")

    def test_section_of_the_file(self) -> None:
        """Where the file has the section, it is what counts."""
        self.prefer(second_factor="off")
        self.restart(ClusterConfig(), "authentication")
        self.assertEqual(self.cluster.configuration.preference.second_factor, "otp")
        answer = self.prefer(second_factor="off")
        self.assertIn("second_factor is set in the file of the auth server (auth_service.auth", answer.sentence)

    def test_nonsense(self) -> None:
        """What is not built, and what is not known."""
        for spec, status, sentence in (
            ({"second_factor": "u2f"}, 501, "second_factor 'u2f' is not built; there are otp and off."),
            ({"type": "saml"}, 501, "type 'saml' is not built; there is local."),
            ({"second_facto": "off"}, 400, "cluster_auth_preference.spec.'second_facto' is not known."),
        ):
            answer = self.prefer(**spec)
            self.assertEqual(answer.status, status)
            self.assertIn(sentence, answer.sentence)
        self.assertEqual(self.cluster.configuration.preference, AuthPreference())
