"""Which sessions of a node are recorded, and what people read where that is not possible."""

from __future__ import annotations

from teleport_conch import wire
from teleport_conch.audit.recording import Kind, Record, Slice
from teleport_conch.audit.upload_spool import UploadSpool
from teleport_conch.errors import ConnectionProblem, StorageFull, TeleportError
from teleport_conch.resources.cluster import ClusterConfig
from tests.certs import samples
from tests.node.guests import CLIENT, USER, NodeCase
from tests.node.test_emergency import sealed

NOT_STARTED = "The session would not be recorded, and is not started. "
DISK = 100 << 20


class RecordedCase(NodeCase):
    async def typed(self, command: str, terminal: bool = True) -> tuple[str, str, int]:
        """Output, errors and exit code of a command."""
        channel = await self.session()
        if terminal:
            self.assertTrue(self.pty(channel))
        self.assertTrue(self.ask(channel, b"exec", wire.text(command)))
        return self.outcome(await self.until_closed())

    def records(self) -> list[Record]:
        """Of the only recording that auth has."""
        ((_, slices),) = self.auth.kept.items()
        return [record for each in slices for record in Slice.decode(each).records]

    def away(self, problem: TeleportError | None = None) -> None:
        answer = problem or ConnectionProblem("Auth is away.")
        self.auth.problem = lambda sid, index: answer

    def fill_disk(self) -> None:
        self.patch(UploadSpool, "check", full)


def full(spool: UploadSpool, emergency: bool = False) -> None:
    """A disk that others need."""
    raise StorageFull("The disk is full.")


class NodeModeTests(RecordedCase):
    async def test_terminal(self) -> None:
        """A session with a terminal is recorded: who, where, and the bytes that the client saw."""
        await self.enter()
        out, _, code = await self.typed("stty size; printf '\\033[1mbold\\033[0m'; exit 3")
        await self.until(lambda: not list(self.recorded.glob("node/*")))
        start, *_, end = self.records()
        (session,) = self.sessions.seen
        self.assertEqual(
            start.fields(),
            {
                "session": {
                    "id": session.id,
                    "user": "alice",
                    "login": USER,
                    "server_id": samples.HOST_UUID,
                    "server_hostname": "web1",
                    "remote_addr": CLIENT,
                },
                "cluster": samples.CLUSTER,
                "started": session.created_at,
                "cols": 80,
                "rows": 24,
                "term": "xterm",
            },
        )
        shown = b"".join(record.data for record in self.records() if record.kind is Kind.OUTPUT)
        self.assertEqual((shown.decode(), code), (out, 3))
        self.assertIn("24 80\r\n", out)
        self.assertEqual(end.fields(), {"exit": "3", "complete": True, "reason": ""})

    async def test_no_terminal(self) -> None:
        """Neither commands without one nor file transfers are."""
        await self.enter()
        await self.typed("echo one", terminal=False)
        await self.run_command(b"subsystem", "sftp")
        self.assertEqual((self.auth.asked, list(self.recorded.glob("node/*"))), ([], []))

    async def test_off(self) -> None:
        """Nor is any session of a cluster that does not want it; that is looked at when it starts."""
        self.configuration = ClusterConfig(session_recording="off")
        await self.enter()
        await self.typed("echo one")
        self.assertEqual(self.auth.asked, [])
        self.configuration = ClusterConfig(session_recording="node")
        await self.typed("echo two")
        self.assertEqual(len(self.auth.kept), 1)

    async def test_disk_full(self) -> None:
        """Without room on the disk, a session with a terminal is refused, which is an event; a command runs."""
        self.fill_disk()
        await self.enter()
        out, err, code = await self.typed("echo one")
        self.assertEqual((out, err, code), ("", f"{NOT_STARTED}The disk is full.\r\n", 255))
        event = self.events.last("session.start")
        self.assertEqual((event["code"], event["error"]), ("T2000W", f"{NOT_STARTED}The disk is full."))
        self.assertEqual((await self.typed("echo one", terminal=False))[0], "one\n")
        self.assertEqual(self.sessions.running, {})

    async def test_auth_away(self) -> None:
        """A session does not notice that auth is away."""
        self.away()
        await self.enter()
        self.assertEqual((await self.typed("echo one"))[0], "one\r\n")
        self.assertEqual(len(list(self.recorded.glob("node/*/000001.slice"))), 1)


class NodeSyncTests(RecordedCase):
    def setUp(self) -> None:
        super().setUp()
        self.configuration = ClusterConfig(session_recording="node-sync")

    async def test_recorded(self) -> None:
        """Nothing is on the disk."""
        await self.enter()
        await self.typed("echo one")
        self.assertEqual(self.records()[-1].kind, Kind.END)
        self.assertEqual(list(self.recorded.glob("node/*")), [])

    async def test_auth_away(self) -> None:
        """Without auth there is no session with a terminal."""
        self.away()
        await self.enter()
        out, err, code = await self.typed("echo one")
        self.assertEqual((out, err, code), ("", f"{NOT_STARTED}Auth is away.\r\n", 255))
        self.assertEqual((await self.typed("echo one", terminal=False))[0], "one\n")

    async def test_disk_full(self) -> None:
        """A full disk of the node is nothing to it."""
        self.fill_disk()
        await self.enter()
        self.assertEqual((await self.typed("echo one"))[0], "one\r\n")


class EmergencyTests(RecordedCase):
    """Logins with certificates for emergencies, while auth is away."""

    def setUp(self) -> None:
        super().setUp()
        self.cluster.away = True
        self.away()

    async def test_spooled(self) -> None:
        """They are recorded on the disk, whatever the mode, and however old what is known of the cluster is."""
        for mode in ("node", "node-sync", "too old"):
            self.configuration = ClusterConfig(session_recording=mode)
            if mode == "too old":
                self.recordings._configuration = self.too_old
            await self.enter(sealed())
            self.assertEqual((await self.typed("echo one"))[0], "one\r\n")
            await self.leave()
        self.assertEqual(len(list(self.recorded.glob("node/*/000001.slice"))), 3)

    def too_old(self) -> ClusterConfig:
        raise ConnectionProblem("Auth was not heard for 21 hours.")

    async def test_not_recorded(self) -> None:
        """Without room they are let in all the same, and that is an event."""
        self.fill_disk()
        await self.enter(sealed())
        self.assertEqual((await self.typed("echo one"))[0], "one\r\n")
        event = self.events.last("session.recording.failed")
        self.assertEqual(
            (event["code"], event["user"], event["login"], event["sid"], event["reason"]),
            ("TJ045W", "alice", USER, self.sessions.seen[0].id, f"{NOT_STARTED}The disk is full."),
        )

    async def test_off(self) -> None:
        self.configuration = ClusterConfig(session_recording="off")
        await self.enter(sealed())
        await self.typed("echo one")
        self.assertEqual(list(self.recorded.glob("node/*")), [])
