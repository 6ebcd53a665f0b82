"""Unix sockets that are made and connected as an account: what the kernel lets that account do, and no more."""

from __future__ import annotations

import os
import signal
import socket
import stat
from pathlib import Path
from unittest import skipUnless

from attrs import evolve
from twisted.internet.defer import Deferred

from teleport_conch.errors import AccessDenied, TeleportError
from teleport_conch.ssh.account import Account, lookup
from teleport_conch.ssh.forwarding.accepting import peer_uid
from teleport_conch.ssh.forwarding.account_sockets import BrokeredSockets
from tests.ssh.engine import USER, fds
from tests.ssh.engine import sockets as adopting
from tests.ssh.streams import FarEnds, StreamCase, clock

NOBODY = "nobody"


class SocketsCase(StreamCase):
    def setUp(self) -> None:
        # Not in trial's folder: the paths of sockets are short, and the account has to reach it.
        self.folder = Path(os.path.realpath("/tmp")) / f"_conch_{os.getpid()}_{id(self)}"  # made at once
        self.folder.mkdir(mode=0o700)
        self.addCleanup(self.clear)

    def clear(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()

    def sockets(self, account: Account | None = None) -> BrokeredSockets:
        own = lookup(USER)
        made = BrokeredSockets(fds, adopting, clock, account or own)
        self.addCleanup(lambda: Deferred.fromCoroutine(made.stop()))
        return made

    def path(self, name: str = "s") -> str:
        return str(self.folder / name)

    def serve(self, name: str = "s") -> socket.socket:
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        server.bind(self.path(name))
        server.listen(1)
        return server

    async def refused(self, coroutine: object) -> str:
        with self.assertRaises(TeleportError) as refusal:
            await coroutine  # type: ignore[misc]  # whichever it is
        sentence: str = refusal.exception.sentence
        return sentence


class OwnAccountTests(SocketsCase):
    async def test_listening(self) -> None:
        """A socket for the account alone, which goes when it is not wanted, and at the end."""
        sockets, ends = self.sockets(), FarEnds(b"hello")
        one, two = self.path("one"), self.path("two")
        stop = await sockets.listen(one, ends)
        await sockets.listen(two, ends)
        self.assertEqual([stat.S_IMODE(os.lstat(path).st_mode) for path in (one, two)], [0o600, 0o600])
        for path in (one, two, two):
            client = await self.connected(path)
            self.assertEqual(client.recv(5), b"hello")
        await stop()
        self.assertEqual(os.listdir(self.folder), ["two"])
        await sockets.stop()
        await stop()
        self.assertEqual(os.listdir(self.folder), [])
        for end in ends.made:
            end.transport.abortConnection()
        await self.until(lambda: all("lost" in end.ends for end in ends.made))

    async def connected(self, path: str) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(path)
        await self.turns()
        return client

    async def test_connect(self) -> None:
        """A connection to whatever listens; several, one after the other and at once; no program inherits them."""
        server = self.serve()
        server.listen(16)
        sockets, ends = self.sockets(), FarEnds(b"hello")
        asked = [Deferred.fromCoroutine(sockets.connect(self.path(), ends)) for _ in range(8)]
        for each in asked:
            await each
            accepted, _ = server.accept()
            self.addCleanup(accepted.close)
            await self.turns(2)
            self.assertEqual(accepted.recv(5), b"hello")
        for end in ends.made:
            descriptor = end.transport.fileno()  # type: ignore[attr-defined]  # Twisted's have it
            self.assertEqual((os.get_inheritable(descriptor), os.get_blocking(descriptor)), (False, False))
            end.transport.abortConnection()
        await self.until(lambda: all("lost" in end.ends for end in ends.made))

    async def test_refused(self) -> None:
        """The reason is the kernel's, and the end of a sentence."""
        self.serve().close()
        Path(self.path("file")).touch()
        sockets, ends = self.sockets(), FarEnds()
        for coroutine, sentence in (
            (sockets.connect(self.path(), ends), "Connection refused"),
            (sockets.connect(self.path("none"), ends), "No such file or directory"),
            (sockets.listen(self.path("file"), ends), "Address already in use"),
            (sockets.listen(self.path("none/none"), ends), "No such file or directory"),
            (sockets.listen("relative", ends), "that is no absolute path"),
            (sockets.connect("\0abstract", ends), "that is no absolute path"),
            (sockets.connect("/" + 107 * "x", ends), "the path of a socket has at most 107 bytes"),
        ):
            self.assertEqual(await self.refused(coroutine), sentence)

    async def test_what_is_not_ours(self) -> None:
        """What has been put in the place of a socket of ours stays."""
        sockets = self.sockets()
        await sockets.listen(self.path(), FarEnds())
        os.unlink(self.path())
        Path(self.path()).write_text("another's")
        await sockets.stop()
        self.assertEqual(Path(self.path()).read_text(), "another's")

    async def test_a_broker_that_ends(self) -> None:
        """Who waits hears of it, and the next one is made by a new process."""
        sockets = self.sockets()
        await sockets.listen(self.path("one"), FarEnds())
        os.kill(self.broker(), signal.SIGKILL)
        refusal = await self.refused(sockets.listen(self.path("two"), FarEnds()))
        self.assertEqual(refusal, "the process that makes sockets has ended")
        await sockets.listen(self.path("two"), FarEnds())

    def broker(self) -> int:
        """The process that makes the sockets."""
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        (pid,) = (pid for pid in children if b"socket_broker.py" in Path(f"/proc/{pid}/cmdline").read_bytes())
        return int(pid)

    async def test_given_up(self) -> None:
        """A socket that comes when nobody waits for it any more is closed."""
        server = self.serve()
        sockets = self.sockets()
        await self.refused(sockets.connect(self.path("none"), FarEnds()))
        asked = Deferred.fromCoroutine(sockets.connect(self.path(), FarEnds()))
        asked.addErrback(lambda _: None)
        asked.cancel()
        await self.refused(sockets.connect(self.path("none"), FarEnds()))
        accepted, _ = server.accept()
        with accepted:
            self.assertEqual(accepted.recv(1), b"")


class OtherAccountTests(SocketsCase):
    @skipUnless(os.geteuid() == 0, "Only root starts processes of other accounts.")
    async def test_rights(self) -> None:
        """The account's rights are those that count, not ours; what it makes is its own."""
        nobody = lookup(NOBODY)
        self.serve()
        sockets, ends = self.sockets(nobody), FarEnds()
        self.assertEqual(await self.refused(sockets.connect(self.path(), ends)), "Permission denied")
        os.chmod(self.folder, 0o755)  # noqa: S103  # the socket alone is in the way now
        os.chmod(self.path(), 0o600)
        self.assertEqual(await self.refused(sockets.connect(self.path(), ends)), "Permission denied")
        self.assertEqual(await self.refused(sockets.listen(self.path("two"), ends)), "Permission denied")
        os.chown(self.folder, nobody.uid, nobody.gid)
        await sockets.listen(self.path("two"), ends)
        status = os.lstat(self.path("two"))
        self.assertEqual((status.st_uid, status.st_gid), (nobody.uid, nobody.gid))

    @skipUnless(os.geteuid() == 0, "Only root starts processes of other accounts.")
    async def test_who_connects(self) -> None:
        """Who listens sees the account at the other end, not the service."""
        nobody = lookup(NOBODY)
        os.chmod(self.folder, 0o755)  # noqa: S103
        server, ends = self.serve(), FarEnds()
        os.chmod(self.path(), 0o666)  # noqa: S103
        await self.sockets(nobody).connect(self.path(), ends)
        with server.accept()[0] as accepted:
            self.assertEqual(peer_uid(accepted), nobody.uid)
        await self.until(lambda: bool(ends.made[0].ends))
        ends.made[0].transport.abortConnection()
        await self.turns()

    async def test_not_root(self) -> None:
        """Without root's rights only one's own account is possible."""
        self.patch(os, "geteuid", lambda: 12345)
        account = evolve(lookup("root"), name="somebody", uid=54321)
        with self.assertRaises(AccessDenied) as refusal:
            await self.sockets(account).connect("/x", FarEnds())
        self.assertEqual(
            refusal.exception.sentence, "This service does not run as root and cannot make sockets as somebody."
        )
