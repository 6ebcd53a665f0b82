"""``tctl recordings`` with a real auth service, to which a node has handed recordings in."""

from __future__ import annotations

import json
import time
from pathlib import Path
from uuid import uuid4

from twisted.internet.defer import Deferred

from teleport_conch.audit.recording import digest
from teleport_conch.errors import AccessDenied, AlreadyExists, BadParameter, InUse, NotFound, TeleportError
from teleport_conch.resources.server import Server
from tests.auth.recordings.samples import OTHER_SID, SID, Sample, sample
from tests.cli.auth_host import AuthHostTestCase

WEB1 = Server("node", str(uuid4()), "web1", "10.0.0.5:3022")
DAY_S = 86_400.0


class RecordingTests(AuthHostTestCase):
    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        await super().setUp()
        self.now = time.time()
        self.node = await self.host.joined(WEB1)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.node.close()))
        await self.record(SID, started=self.now - 100 * DAY_S)

    async def record(self, sid: str, slices: int = 3, **more: object) -> Sample:
        """A node has recorded a session, and handed in so many slices of three."""
        made = sample(sid, server_id=WEB1.name, **more)
        for each in made.slices[:slices]:
            await self.node.recordings.send_slice(sid, each)
        return made

    async def fails(self, kind: type[TeleportError], sentence: str, *words: str) -> None:
        with self.assertRaises(kind) as caught:
            await self.tctl(*words)
        self.assertEqual(caught.exception.sentence, sentence)

    async def listed(self, *words: str) -> list[str]:
        found = json.loads(await self.tctl("recordings", "ls", *words, form="json"))
        return [each["metadata"]["name"] for each in found]

    async def test_resources(self) -> None:
        """They are resources as well, of the kind that rules know them by."""
        (found,) = json.loads(await self.tctl("get", f"session/{SID}", form="json"))
        self.assertEqual((found["kind"], found["metadata"]["name"]), ("session", SID))
        self.assertIn(SID, await self.tctl("get", "sessions"))
        await self.fails(BadParameter, "'x' is not a valid session ID (must be GUID).", "get", "session/x")
        self.assertEqual(await self.tctl("rm", f"session/{SID}"), f"session {SID} has been deleted\n")
        self.assertEqual(await self.listed(), [])

    async def test_list(self) -> None:
        """The newest first; by time, person and node; and so many."""
        await self.record(OTHER_SID, slices=1, user="bob", started=self.now - 60)
        head, _, newer, older = (await self.tctl("recordings", "ls")).splitlines()
        self.assertEqual(head.split(), ["Session", "User", "Account", "Started", "(UTC)", "Lasted"])
        self.assertEqual((newer.split()[:3], newer.split()[-1]), ([OTHER_SID, "bob", "root@web1"], "recording"))
        self.assertEqual((older.split()[:3], older.split()[-1]), ([SID, "alice", "root@web1"], "1m"))
        for words, found in (
            (("--from=1h",), [OTHER_SID]),
            (("--to=1h",), [SID]),
            (("--user=alice",), [SID]),
            (("--node=web1",), [OTHER_SID, SID]),
            (("--node=web2",), []),
            (("--limit=1",), [OTHER_SID]),
        ):
            self.assertEqual(await self.listed(*words), found, words)
        self.assertEqual(await self.tctl("recordings", "ls", "--user=carol"), "No recordings found.\n")

    async def test_show(self) -> None:
        """What auth knows, and that the chain is whole."""
        said = await self.tctl("recordings", "show", SID)
        lines = dict(line.split(maxsplit=1) for line in said.splitlines())
        found = json.loads(await self.tctl("recordings", "show", SID, form="json"))
        self.assertEqual((lines["User"], lines["Account"], lines["State"]), ("alice", "root@web1", "complete"))
        self.assertEqual(lines["Head"], found["spec"]["head"])
        self.assertEqual(found["verified"]["head"], found["spec"]["head"])
        self.assertTrue(lines["Slices"].endswith("each of which follows the one before it"))
        self.assertEqual(lines["End"], "there, and nothing is missing, the session ended with 0")

    async def test_show_what_is_made(self) -> None:
        await self.record(OTHER_SID, slices=1)
        said = await self.tctl("recordings", "show", OTHER_SID)
        lines = {line.split()[0]: line.split(maxsplit=1)[1:] for line in said.splitlines()}
        self.assertEqual((lines["State"], lines["End"], lines["Ended"]), (["recording"], ["missing"], []))

    async def test_export_and_verify(self) -> None:
        """The file is what the node made, for its owner alone, and is believed."""
        made = await self.record(OTHER_SID)
        path = Path(self.mktemp()).absolute()
        said = await self.tctl("recordings", "export", OTHER_SID, f"--output={path}")
        head = json.loads(await self.tctl("recordings", "show", OTHER_SID, form="json"))["spec"]["head"]
        size = len(made.whole)
        self.assertEqual(said, f"The recording has been written to {path}: 3 slices, {size} B, head {head}\n")
        self.assertEqual((path.read_bytes(), path.stat().st_mode & 0o777), (made.whole, 0o600))
        sentence = f"{path} exists already. Give another name, or remove it first."
        await self.fails(AlreadyExists, sentence, "recordings", "export", SID, f"--output={path}")

    async def test_changed_on_auth(self) -> None:
        """Who has changed a file on auth is found out; the file as it is then may be had as evidence."""
        made = await self.record(OTHER_SID)
        kept = self.host.folder / "data" / "log" / "records" / f"{OTHER_SID}.rec"
        changed = bytearray(kept.read_bytes())
        changed[len(made.slices[0]) - 1] ^= 1
        kept.write_bytes(changed)
        broken = "Slice 0 of the recording cannot be unpacked, or holds more than slices may."
        await self.fails(BadParameter, broken, "recordings", "show", OTHER_SID)
        path = Path(self.mktemp()).absolute()
        sentence = f"{broken} {path} holds what auth has of it, as it is."
        await self.fails(BadParameter, sentence, "recordings", "export", OTHER_SID, f"--output={path}")
        self.assertEqual(path.read_bytes(), changed)

    async def test_cut_on_auth(self) -> None:
        """So is who has cut off its end."""
        made = await self.record(OTHER_SID)
        kept = self.host.folder / "data" / "log" / "records" / f"{OTHER_SID}.rec"
        kept.write_bytes(b"".join(made.slices[:2]))
        head, due = (digest(each).hex() for each in made.slices[1:])
        sentence = (
            f"The recording ends with the digest {head}, and auth had noted {due}: its end was changed, or is missing."
        )
        await self.fails(BadParameter, sentence, "recordings", "show", OTHER_SID)

    async def test_nothing_is_left_of_a_failure(self) -> None:
        """What is not there is not exported as an empty file."""
        path = Path(self.mktemp()).absolute()
        with self.assertRaises(NotFound):
            await self.tctl("recordings", "export", OTHER_SID, f"--output={path}")
        self.assertFalse(path.exists())

    async def test_remove(self) -> None:
        """For good; never one that is being made."""
        await self.record(OTHER_SID, slices=1)
        said = await self.tctl("recordings", "rm", SID)
        self.assertEqual(said, f"The recording of session {SID} has been deleted\n")
        self.assertEqual(await self.listed(), [OTHER_SID])
        with self.assertRaises(InUse):
            await self.tctl("recordings", "rm", OTHER_SID)
        with self.assertRaises(NotFound):
            await self.tctl("recordings", "rm", SID)

    async def test_remove_old(self) -> None:
        """Those of sessions that began before; what would go is listed first, and what is being made stays."""
        young, going = OTHER_SID, str(uuid4())
        await self.record(young, started=self.now - 10 * DAY_S)
        await self.record(going, slices=1, started=self.now - 99 * DAY_S)
        words = ("recordings", "rm", "--older-than=90d")
        said = await self.tctl(*words)
        self.assertIn(SID, said)
        self.assertNotIn(going, said)
        self.assertRegex(said, r"\n1 recordings, [0-9]+ B\. Nothing was deleted; --yes deletes them\.\n\Z")
        self.assertEqual(len(await self.listed()), 3)
        self.assertRegex(await self.tctl(*words, "--yes"), r"\A1 recordings have been deleted, [0-9]+ B\n\Z")
        self.assertEqual(await self.listed(), [young, going])
        self.assertEqual(await self.tctl(*words, "--yes"), "0 recordings have been deleted, 0 B\n")

    async def test_no_id(self) -> None:
        """Nothing is asked of auth about what is no id."""
        for command in ("show", "rm", "export"):
            sentence = "'../../x' is not a valid session ID (must be GUID)."
            await self.fails(BadParameter, sentence, "recordings", command, "../../x")

    async def test_T83_may_not(self) -> None:
        """Somebody else lists nothing of it, and is shown and given nothing."""
        out = Path(self.mktemp()).absolute()
        await self.tctl("auth", "sign", "--user=mallory", "--logins=root", "--roles=access", f"--out={out}")
        there = ("-i", str(out), f"--auth-server=127.0.0.1:{self.host.port}", "recordings")
        self.assertEqual((await self.host.elsewhere(*there, "ls")).render("json"), "[]\n")
        for words in (("show", SID), ("export", SID), ("rm", SID)):
            with self.assertRaisesRegex(AccessDenied, r"mallory is not authorized to (list|delete) session"):
                await self.host.elsewhere(*there, *words)
