"""What a cluster is at its first start, at later ones, and while time passes."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred

from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.opening import Founding, open_cluster
from teleport_conch.auth.state import storing
from teleport_conch.auth.state.authorities import open_authorities, path
from teleport_conch.certs.authority import Authority
from teleport_conch.errors import NotFound, PrincipalForbidden, StorageCorrupt
from teleport_conch.resources.cluster import ClusterConfig, ClusterName
from teleport_conch.storage.memory import MemoryBackend
from tests.auth.fixture import CLUSTER, NOW, WEB1, ClusterTestCase, Recorder, Storage, entropy


class StartTests(ClusterTestCase):
    def again(self, name: str = CLUSTER, general: ClusterConfig | None = None) -> Cluster:
        founding = Founding(name, general or ClusterConfig(), given=frozenset(("heartbeat_interval",)))
        return self.now(open_cluster(self.clocks, self.backend, founding, Recorder(), entropy()))

    def test_first(self) -> None:
        """Name, configuration and both authorities are there, under Teleport's keys."""
        keys = [item.key for item in self.now(self.backend.range(""))]
        self.assertEqual(
            keys,
            [
                f"authorities/host/{CLUSTER}",
                f"authorities/user/{CLUSTER}",
                "cluster_configuration/attempts",
                "cluster_configuration/authentication",
                "cluster_configuration/general",
                "cluster_configuration/name",
                "cluster_configuration/tokens",
            ],
        )

    def test_later(self) -> None:
        """A later start finds the same cluster."""
        again = self.again()
        self.assertEqual(again.configuration.name, self.cluster.configuration.name)
        self.assertEqual(again.authorities.pins(), self.cluster.authorities.pins())

    def test_name_is_fixed(self) -> None:
        """Another name in the file is ignored; the cluster has the one of its first start."""
        again = self.again("other.example.com")
        self.assertEqual(again.name, CLUSTER)
        self.assertEqual(again.authorities.cluster_name, CLUSTER)

    def test_name_that_is_none(self) -> None:
        """A cluster is called like a host."""
        for name in ("*.example.com", "10.0.0.5", "a b", "teleport.cluster.local"):
            founding = Founding(name, ClusterConfig())
            self.refused(
                open_cluster(self.clocks, MemoryBackend(self.clock), founding, Recorder(), entropy()),
                PrincipalForbidden,
            )

    def test_configuration_follows_the_file(self) -> None:
        """It counts at each start, and is written when it differs."""
        revision = self.backend.revision()
        self.again()
        self.assertEqual(self.backend.revision(), revision)
        again = self.again(general=ClusterConfig(heartbeat_interval_s=5.0))
        self.assertEqual(again.configuration.general.heartbeat_interval_s, 5.0)
        stored = storing.decode(self.now(self.backend.get("cluster_configuration/general")))
        self.assertEqual(ClusterConfig.from_json(stored).heartbeat_interval_s, 5.0)

    def test_two_at_once(self) -> None:
        """Of two that start in the same moment one makes the cluster, and both have it."""
        backend = MemoryBackend(self.clock)
        first_got: Deferred[None] = Deferred()

        class Racing(Storage):
            async def create(self, key: str, value: bytes) -> object:
                await first_got
                return await backend.create(key, value)

        founding = Founding(CLUSTER, ClusterConfig())
        slow = Deferred.fromCoroutine(
            open_cluster(self.clocks, Racing(backend, backend.put), founding, Recorder(), entropy())  # type: ignore[arg-type]
        )
        quick = self.now(open_cluster(self.clocks, backend, founding, Recorder(), entropy()))
        first_got.callback(None)
        late = self.successResultOf(slow)
        self.assertEqual(late.authorities.pins(), quick.authorities.pins())
        self.assertEqual(late.configuration.name, quick.configuration.name)

    def test_authority_that_cannot_be_read(self) -> None:
        """A damaged authority stops the start; no new one takes its place."""
        self.now(self.backend.put(path("user", CLUSTER), b"{}"))
        reason = self.refused(open_authorities(self.backend, CLUSTER, NOW, entropy()), StorageCorrupt)
        self.assertIn("The user authority in the database cannot be read", reason.sentence)
        self.assertEqual(self.now(self.backend.get(path("user", CLUSTER))).value, b"{}")

    def test_cluster_name_resource(self) -> None:
        """The id is a UUID, and both are what the API answers."""
        answer = self.call(self.user(), "GET", "/v1/configuration/name")
        name = ClusterName.from_json(answer.body)
        self.assertEqual(name.cluster_name, CLUSTER)
        self.assertRegex(name.cluster_id, "^[0-9a-f]{8}-[0-9a-f]{4}-4")


class AuthoritiesTests(ClusterTestCase):
    def add_key(self) -> None:
        """What a rotation begins with: a second key, trusted as the first."""
        host = self.cluster.authorities.host
        new = Authority.generate("host", CLUSTER, NOW)
        both = evolve(host, ssh_keys=(*new.ssh_keys, *host.ssh_keys), tls_keys=(*new.tls_keys, *host.tls_keys))
        self.now(self.backend.put(path("host", CLUSTER), storing.encode(both.to_json(with_secrets=True))))

    def test_two_keys(self) -> None:
        """Whoever wrote them, changes are followed: the first key signs, and both are trusted."""
        old = self.host(self.join())
        self.cluster.start()
        self.addCleanup(lambda: self.now(self.cluster.stop()))
        self.add_key()
        self.assertEqual(self.cluster.authorities.generation, 1)
        self.assertEqual(len(self.cluster.authorities.pins()), 2)
        new = self.host(self.join(role="Proxy"))
        for peer in (old, new):
            self.assertEqual(self.call(peer, "GET", "/v1/configuration").status, 200)
        answer = self.call(old, "GET", "/v1/authorities/host")
        self.assertNotIn("signing_keys", str(answer.body))

    def test_unknown_kind(self) -> None:
        """There are two."""
        self.assertRaises(NotFound, self.cluster.authorities.public, "jwt")
        answer = self.call(self.admin(), "GET", "/v1/authorities/jwt")
        self.assertEqual(answer.sentence, "There is no authority of the type 'jwt'; there are user and host.")

    def test_status(self) -> None:
        """Pins, fingerprints, and who records sessions."""
        body = self.call(self.user(), "GET", "/v1/status").body
        self.assertEqual(body["ca_pins"], list(self.cluster.authorities.pins()))
        self.assertEqual(body["session_recording"], "node")
        self.assertRegex(str(body["user_ca"]), r"^\['SHA256:[A-Za-z0-9+/]{43}'\]$")


class TimeTests(ClusterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.join()
        self.cluster.start()
        self.running = True
        self.addCleanup(self.stop)

    def stop(self) -> None:
        if self.running:
            self.running = False
            self.now(self.cluster.stop())

    def state(self) -> str:
        return self.cluster.inventory.all("node")[0].presence.state.value

    def test_swept(self) -> None:
        """States follow the clock without anybody asking."""
        self.beat()
        for seconds, state in ((22, "online"), (2, "late"), (28, "late"), (2, "offline")):
            self.clock.pump([1.0] * seconds)
            self.assertEqual(self.state(), state)

    def test_flushed(self) -> None:
        """When a host was last seen is written within ten seconds, and when auth stops."""
        self.beat()
        self.clock.pump([1.0] * 11)
        self.assertEqual(self.now(self.backend.get(f"presence/node/{WEB1}")).value, b"1800000000.000")
        self.beat()
        self.stop()
        self.assertEqual(self.now(self.backend.get(f"presence/node/{WEB1}")).value, b"1800000011.000")

    def test_expired(self) -> None:
        """What has ended is deleted, in the storage and in memory."""
        self.clock.advance(31 * 86_400)
        self.clock.pump([1.0] * 11)
        self.assertEqual(list(self.cluster.hosts), [])
        self.assertEqual(self.now(self.backend.range("hosts/")), ())

    def test_old_nodes(self) -> None:
        """Nodes that have been offline for seven days are taken off the list."""
        self.beat()
        self.clock.pump([1.0] * 60)
        self.clock.advance(7 * 86_400)
        self.clock.pump([1.0] * 61)
        self.assertEqual(self.cluster.inventory.all("node"), ())

    def test_stops(self) -> None:
        """Nothing goes on afterwards."""
        self.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_survives_failures(self) -> None:
        """A write of presence that fails is tried again with the next; nothing else suffers."""

        async def full(*args: object) -> None:
            raise StorageCorrupt("The disk is broken.")

        class Broken(Storage):
            put_many = staticmethod(full)

        whole = self.cluster.inventory._backend
        self.cluster.inventory._backend = Broken(self.backend, self.backend.put)  # type: ignore[assignment]
        self.beat()
        self.clock.pump([1.0] * 11)
        self.assertEqual(self.state(), "online")
        self.cluster.inventory._backend = whole
        self.clock.pump([1.0] * 11)
        self.assertEqual(self.now(self.backend.get(f"presence/node/{WEB1}")).value, b"1800000000.000")

    def test_stops_with_a_broken_disk(self) -> None:
        """What cannot be written any more does not keep auth from stopping."""

        async def full(*args: object) -> None:
            raise StorageCorrupt("The disk is broken.")

        class Broken(Storage):
            put_many = staticmethod(full)

        self.beat()
        self.cluster.inventory._backend = Broken(self.backend, full)  # type: ignore[assignment]
        self.stop()
