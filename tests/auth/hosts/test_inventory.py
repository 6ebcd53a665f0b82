"""The list of nodes and proxies, and what hosts may say of themselves."""

from __future__ import annotations

from attrs import evolve

from teleport_conch.auth.hosts import inventory
from teleport_conch.auth.hosts.presence import HostKey
from teleport_conch.errors import (
    AccessDenied,
    BadParameter,
    HostDuplicate,
    NotFound,
    PrincipalForbidden,
    StorageFull,
    TeleportError,
)
from teleport_conch.resources.joining import Heartbeat
from teleport_conch.resources.server import CommandLabel, State
from teleport_conch.storage.backend import Item
from tests.auth.fixture import ADDRESS, GATEWAY, NOW, WEB1, WEB2, ClusterTestCase, Storage, heartbeat

WEB = HostKey("node", WEB1)


class InventoryTestCase(ClusterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.join()

    def says(self, beat: Heartbeat) -> None:
        registration = self.registration()
        self.now(self.cluster.inventory.beat(registration, beat, ADDRESS))

    def refuses(self, kind: type[TeleportError], beat: Heartbeat, address: str = ADDRESS) -> TeleportError:
        registration = self.registration()
        return self.refused(self.cluster.inventory.beat(registration, beat, address), kind)

    def record(self) -> Item:
        return self.now(self.backend.get(f"nodes/default/{WEB1}"))

    def silent(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.cluster.presence.sweep()


class BeatTests(InventoryTestCase):
    def test_listed(self) -> None:
        """A node is listed from its first beat on, with what it says, how it came in, and its presence."""
        self.assertEqual(self.cluster.inventory.all("node"), ())
        self.beat()
        [server] = self.cluster.inventory.all("node")
        self.assertEqual((server.hostname, server.addr, server.labels), ("web1", "10.0.0.5:3022", {"env": "prod"}))
        self.assertEqual((server.presence.state, server.presence.last_seen_at), (State.ONLINE, NOW))
        self.assertEqual(self.cluster.inventory.all("proxy"), ())

    def test_written_only_when_it_changes(self) -> None:
        """A beat that says nothing new costs no write; one that does is written."""
        self.beat()
        revision = self.backend.revision()
        for _ in range(3):
            self.beat()
        self.assertEqual(self.backend.revision(), revision)
        self.says(heartbeat(labels={"env": "dev"}))
        self.assertEqual(self.record().revision, revision + 1)

    def test_every_interface(self) -> None:
        """A node that listens on every interface and advertises nothing is dialled where it beats from."""
        for announced in ("0.0.0.0:3022", "[::]:3022"):
            beat = heartbeat()
            self.says(evolve(beat, server=evolve(beat.server, addr=announced, web_addr=announced)))
            [server] = self.cluster.inventory.all("node")
            self.assertEqual((server.addr, server.web_addr), (f"{ADDRESS}:3022", f"{ADDRESS}:3022"))

    def test_written_once_after_a_restart(self) -> None:
        """What a host says after a restart of auth is compared with what was stored."""
        self.beat()
        revision = self.backend.revision()
        self.open()
        self.beat()
        self.assertEqual(self.backend.revision(), revision)

    def test_presence_is_not_the_hosts_to_say(self) -> None:
        """A host that says how it came in, or that it is online, is not listened to."""
        value = heartbeat().to_json()
        server = value["server"]
        assert isinstance(server, dict)
        server.update({"join": {"token": "forged"}, "status": {"state": "offline"}})
        self.says(Heartbeat.from_json(value))
        found = self.cluster.inventory.get(WEB)
        assert found.join is not None
        self.assertNotEqual(found.join.token_id, "forged")
        self.assertEqual(found.presence.state, State.ONLINE)

    def test_answer(self) -> None:
        """The time of auth, the labels that the token bound, and whether the node can be dialled."""
        self.register(self.request(WEB2, "web2", token=self.token(labels={"env": "prod"})))
        registration = self.registration(WEB2)
        beat = heartbeat(WEB2, "web2")
        answer = self.now(self.cluster.inventory.beat(registration, beat, ADDRESS))
        self.assertEqual((answer.server_time, answer.labels, answer.unreachable), (NOW, {"env": "prod"}, ""))
        self.cluster.inventory.set_unreachable(HostKey("node", WEB2), "no route to host", "gate")
        answer = self.now(self.cluster.inventory.beat(registration, beat, ADDRESS))
        self.assertEqual(answer.unreachable, "no route to host")
        [event] = self.emitted.named("node.unreachable")
        self.assertEqual((event.fields["node_name"], event.fields["error"]), ("web2", "no route to host"))


class ForgeryTests(InventoryTestCase):
    """Threats 93 and 94."""

    def test_93_another_host(self) -> None:
        """A beat names the host that sends it, under its own kind."""
        for beat in (heartbeat(WEB2), heartbeat(kind="proxy")):
            reason = self.refuses(AccessDenied, beat)
            self.assertEqual(reason.sentence, f"The node {WEB1} may announce itself only.")
        self.assertEqual(self.cluster.inventory.all("node"), ())

    def test_93_another_name(self) -> None:
        """A node that came in under one name is not found under another."""
        reason = self.refuses(PrincipalForbidden, heartbeat(name="db1"))
        self.assertIn("joined as 'web1' and announces itself as 'db1'", reason.sentence)

    def test_93_bound_labels_win(self) -> None:
        """Labels that the token bound are neither changed nor shadowed by the result of a command."""
        token = self.token(labels={"env": "staging"})
        self.clock.advance(60)
        self.cluster.presence.sweep()
        self.register(self.request(token=token))
        command = {"env": CommandLabel(("/bin/env",), 60.0, "prod")}
        self.says(heartbeat(labels={"env": "prod", "own": "x"}, cmd_labels=command))
        server = self.cluster.inventory.get(WEB)
        self.assertEqual(server.labels, {"env": "staging", "own": "x"})
        self.assertEqual(server.all_labels["env"], "staging")

    def test_93_labels_are_bounded(self) -> None:
        """Number, length and characters."""
        many = {f"k{number}": "v" for number in range(65)}
        for labels, sentence in (
            (many, "at most 64 labels, and this one would have 65"),
            ({"env": "x" * 1025}, "is longer than 1024 bytes"),
            ({"env": "é" * 513}, "is longer than 1024 bytes"),
            ({"e nv": "x"}, "has other characters than letters"),
            ({"": "x"}, "has other characters than letters"),
            ({"k" * 257: "x"}, "has other characters than letters"),
            ({"env": "\x1b[2J"}, "cannot be printed"),
        ):
            self.assertIn(sentence, self.refuses(BadParameter, heartbeat(labels=labels)).sentence)
            commands = {key: CommandLabel(("x",), 1.0, value) for key, value in labels.items()}
            self.assertIn(sentence, self.refuses(BadParameter, heartbeat(labels={}, cmd_labels=commands)).sentence)
        self.assertRaises(BadParameter, Heartbeat.from_json, heartbeat(labels={"env": "x" * 1_000_000}).to_json())
        self.assertEqual(self.cluster.inventory.all("node"), ())

    def test_inert(self) -> None:
        """Nothing that a terminal would obey gets into the list."""
        for record in (
            {"addr": "10.0.0.5:3022\x1b[2J"},
            {"version": "0.1\n"},
            {"public_addrs": ("db\u202e:3022",)},
            {"cmd_labels": {"load": CommandLabel(("up\x07",), 1.0)}},
        ):
            reason = self.refuses(BadParameter, heartbeat(**record))
            self.assertEqual(reason.sentence, "The record of a host holds characters that cannot be printed.")
        self.beat()
        peer = self.host(self.join(GATEWAY, "gate", "Proxy"))
        path = f"/v1/namespaces/default/nodes/{WEB1}/reachability"
        self.assertEqual(self.call(peer, "POST", path, {"error": "no\x1b[2J route"}).status, 200)
        self.assertEqual(self.cluster.inventory.get(WEB).presence.unreachable, "no\\x1b[2J route")

    def test_94_alarm(self) -> None:
        """A second machine with one identity is refused, and reported once."""
        self.beat()
        for _ in range(3):
            self.refuses(HostDuplicate, heartbeat(instance="clone"), "10.0.0.66")
        [event] = self.emitted.named("node.duplicate")
        self.assertEqual((event.fields["addr.remote"], event.fields["addr"]), ("10.0.0.66", ADDRESS))
        self.assertEqual(event.fields["node_name"], "web1")
        self.refuses(HostDuplicate, heartbeat(instance="clone2"), "10.0.0.66")
        self.assertEqual(len(self.emitted.named("node.duplicate")), 2)
        self.flushLoggedErrors()

    def test_94_alarms_are_bounded(self) -> None:
        """However many processes are refused, no more than some are remembered."""
        self.patch(inventory, "MAX_ALARMS", 2)
        self.beat()
        for number in range(5):
            self.refuses(HostDuplicate, heartbeat(instance=f"clone{number}"), "10.0.0.66")
        self.assertEqual(len(self.cluster.inventory._alarmed), 2)


class StateTests(InventoryTestCase):
    def states(self) -> list[object]:
        return [event.fields["state"] for event in self.emitted.named("node.state")]

    def test_events(self) -> None:
        """Going and coming back are events; being late, and the first beat after joining, are not."""
        self.beat()
        self.silent(23)
        self.assertEqual(self.states(), [])
        self.silent(30)
        self.assertEqual(self.states(), ["offline"])
        self.beat()
        self.assertEqual(self.states(), ["offline", "online"])
        self.assertEqual(self.emitted.named("node.state")[0].fields["last_seen"], NOW)

    def test_goodbye(self) -> None:
        """A clean stop."""
        self.beat()
        self.cluster.inventory.goodbye(WEB, "one")
        self.assertEqual(self.states(), ["offline"])

    def test_restart_of_auth(self) -> None:
        """After a restart all are unknown for a window, with the time they were last seen; coming back is no event."""
        self.beat()
        self.now(self.cluster.inventory.flush())
        self.clock.advance(100)
        self.open()
        server = self.cluster.inventory.get(WEB)
        self.assertEqual((server.presence.state, server.presence.last_seen_at), (State.UNKNOWN, NOW))
        self.beat()
        self.assertEqual(self.cluster.inventory.get(WEB).presence.state, State.ONLINE)
        self.assertEqual(self.states(), [])

    def test_gone_during_a_restart(self) -> None:
        """A node that was there shortly before auth restarted and does not come back is reported."""
        self.beat()
        self.now(self.cluster.inventory.flush())
        self.clock.advance(5)
        self.open()
        self.silent(53)
        self.assertEqual(self.states(), ["offline"])

    def test_long_gone_before_a_restart(self) -> None:
        """One that was offline before is not reported at each restart."""
        self.beat()
        self.now(self.cluster.inventory.flush())
        self.clock.advance(86_400)
        self.open()
        self.silent(53)
        self.assertEqual(self.states(), [])

    def test_flush_is_one_batch(self) -> None:
        """Presence is written in batches, and nothing but when hosts were last seen."""
        self.beat()
        before = self.backend.revision()
        self.now(self.cluster.inventory.flush())
        self.now(self.cluster.inventory.flush())
        self.assertEqual(self.backend.revision(), before + 1)
        self.assertEqual(self.now(self.backend.get(f"presence/node/{WEB1}")).value, b"1800000000.000")

    def test_old_ones_are_dropped(self) -> None:
        """After seven days offline a node is off the list; it is still registered, and comes back with a beat."""
        self.beat()
        self.silent(60)
        self.clock.advance(7 * 86_400 - 61)
        self.now(self.cluster.inventory.drop_old(7 * 86_400))
        self.assertEqual(len(self.cluster.inventory.all("node")), 1)
        self.clock.advance(2)
        self.now(self.cluster.inventory.drop_old(7 * 86_400))
        self.assertEqual(self.cluster.inventory.all("node"), ())
        self.assertEqual(self.now(self.backend.range("nodes/")) + self.now(self.backend.range("presence/")), ())
        self.beat()
        self.assertEqual(self.cluster.inventory.get(WEB).presence.state, State.ONLINE)

    def test_never_seen(self) -> None:
        """A host that joined and never beat is not dropped before its time, nor reported."""
        self.silent(60)
        self.now(self.cluster.inventory.drop_old(7 * 86_400))
        self.assertIn(WEB, list(self.cluster.presence))
        self.assertEqual(self.states(), [])


class RemovalTests(InventoryTestCase):
    def test_remove(self) -> None:
        """Record, registration and presence are gone, in memory and in the storage."""
        self.beat()
        self.now(self.cluster.inventory.flush())
        self.now(self.cluster.inventory.remove(WEB, "alice"))
        self.assertEqual(self.cluster.inventory.all("node"), ())
        for prefix in ("nodes/", "hosts/", "presence/"):
            self.assertEqual(self.now(self.backend.range(prefix)), ())
        self.assertIn(
            f"There is no node '{WEB1}'", self.refused(self.cluster.inventory.remove(WEB, "x"), NotFound).sentence
        )

    def test_offline_only(self) -> None:
        """Those that are there, or may be, are left alone; so are hosts of the other kind."""
        self.join(GATEWAY, "gate", "Proxy")
        self.beat()
        self.beat(GATEWAY, "gate", "proxy")
        self.silent(60)
        self.join(WEB2, "web2")
        self.assertEqual(self.now(self.cluster.inventory.remove_offline("node", "alice")), (WEB1,))
        self.assertEqual([host.host_uuid for host in self.cluster.hosts], [GATEWAY, WEB2])

    def test_change_that_cannot_be_written(self) -> None:
        """The record stays as it was, and the next beat tries again."""
        self.beat()

        async def full(*args: object) -> None:
            raise StorageFull("The disk is full.")

        changed = heartbeat(labels={"env": "dev"})
        whole = self.cluster.inventory._backend
        self.cluster.inventory._backend = Storage(whole, full)  # type: ignore[assignment]  # all that is used of it
        self.refuses(StorageFull, changed)
        self.assertEqual(self.cluster.inventory.get(WEB).labels, {"env": "prod"})
        self.cluster.inventory._backend = whole
        self.says(changed)
        self.assertEqual(self.cluster.inventory.get(WEB).labels, {"env": "dev"})

    def test_removed_while_it_beats(self) -> None:
        """A beat that is being written when its host is removed does not bring it back."""
        registration = self.registration()
        put = self.backend.put

        async def slow(*args: object) -> object:
            await self.cluster.inventory.remove(WEB, "alice")
            return await put(*args)  # type: ignore[arg-type]

        self.patch(self.cluster.inventory, "_backend", Storage(self.backend, slow))
        self.now(self.cluster.inventory.beat(registration, heartbeat(), ADDRESS))
        self.assertEqual(self.cluster.inventory.all("node"), ())
        self.assertEqual(self.now(self.backend.range("nodes/")), ())
