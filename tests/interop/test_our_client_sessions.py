"""Our SSH client against OpenSSH's ``sshd``: sessions, and all of their bytes."""

from __future__ import annotations

import hashlib
from typing import cast

from attrs import evolve

from teleport_conch.errors import TooLarge
from teleport_conch.ssh.client.session import OUT, ClientSession, Ending
from teleport_conch.ssh.connection.channel import ChannelRefused
from teleport_conch.ssh.connection.requests import RequestRefused
from teleport_conch.ssh.session.channel import SessionStart
from teleport_conch.ssh.transport.rekeying import RekeyLimits
from tests.interop.openssh_server import (
    USER,
    free_port,
)
from tests.interop.our_client import MEGABYTES, XTERM, ClientCase, Listening


class SessionTests(ClientCase):
    async def test_exec(self) -> None:
        """Output, errors, status and signal arrive as they are."""
        self.server.start(self)
        client = await self.connected()
        done = await client.run("cat; echo oops >&2; exit 7", b"input")
        self.assertEqual((done.out, done.err, done.ending), (b"input", b"oops\n", Ending(7)))
        killed = (await client.run("kill -TERM $$")).ending
        self.assertEqual((killed.status, killed.signal), (None, "TERM"))

    async def test_signal(self) -> None:
        """A signal that we send arrives."""
        if USER == "root":
            self.skipTest("sshd sends no signals to the sessions of root")
        self.server.start(self)
        session, receiver = await self.listening(await self.connected(), SessionStart("exec", "exec sleep 100"))
        session.signal("KILL")
        await self.until(lambda: receiver.ending is not None)
        self.assertEqual(cast(Ending, receiver.ending).signal, "KILL")

    async def test_terminal(self) -> None:
        """Size, kind and change of size of the terminal, and variables."""
        self.server.start(self)
        begin = SessionStart("shell", "", XTERM, {"LC_TEST": "set"})
        session, receiver = await self.listening(await self.connected(), begin)
        out = receiver.streams[OUT]
        session.write(b"stty size; echo $TERM-$LC_TEST\n")
        await self.until(lambda: b"43 132\r\n" in out and b"xterm-256color-set\r\n" in out)
        session.resize(80, 24)
        session.write(b"stty size; exit 3\n")
        await self.until(lambda: receiver.ending is not None)
        self.assertIn(b"24 80\r\n", out)
        self.assertEqual(receiver.ending, Ending(3))

    async def test_shell_without_a_terminal(self) -> None:
        """A script on standard input."""
        self.server.start(self)
        session, receiver = await self.listening(await self.connected(), SessionStart("shell"))
        session.write(b"echo one; echo two\n")
        session.send_eof()
        await self.until(lambda: receiver.ending is not None)
        self.assertTrue(receiver.streams[OUT].endswith(b"one\ntwo\n"))
        self.assertEqual((receiver.eof, receiver.ending), (True, Ending(0)))

    async def test_sftp(self) -> None:
        """The subsystem answers the version that it speaks."""
        self.server.start(self)
        session, receiver = await self.listening(await self.connected(), SessionStart("subsystem", "sftp"))
        out = receiver.streams[OUT]
        session.write(b"\0\0\0\5\1\0\0\0\3")
        await self.until(lambda: len(out) > 9)
        self.assertEqual(out[4:9], b"\2\0\0\0\3")
        session.close()
        await self.until(lambda: receiver.ending is not None)

    async def test_refused(self) -> None:
        """A subsystem that there is not, a terminal that is not given, and sessions beyond the server's limit."""
        self.server.start(self, PermitTTY="no", MaxSessions=1)
        error = await self.failing(
            (await self.connected()).open_session(SessionStart("subsystem", "nothing"), Listening())
        )
        self.assertEqual((type(error), str(error)), (RequestRefused, "The server does not start what was asked for."))
        error = await self.failing(self.start_it(SessionStart("shell", "", XTERM)))
        self.assertEqual((type(error), str(error)), (RequestRefused, "The server gives this session no terminal."))
        client = await self.connected()
        first, _ = await self.listening(client, SessionStart("exec", "cat"))
        error = await self.failing(client.run("id"))
        self.assertEqual((type(error), str(error)), (ChannelRefused, "open failed"))
        first.close()

    async def start_it(self, begin: SessionStart) -> None:
        await (await self.connected()).open_session(begin, Listening())

    async def failing(self, coroutine: object) -> Exception:
        try:
            await self.start(coroutine)
        except Exception as problem:  # noqa: BLE001  # the test looks at it
            return problem
        raise self.failureException("it did not fail")


class BytesTests(ClientCase):
    async def test_whole(self) -> None:
        """Eight megabytes arrive whole, up, down, and both at once."""
        self.server.start(self)
        client = await self.connected()
        data = hashlib.shake_256(b"data").digest(MEGABYTES)
        done = await client.run("tee /dev/stderr", data)
        self.assertEqual((done.out == data, done.err == data, done.ending), (True, True, Ending(0)))
        self.assertEqual((await client.run("wc -c", data)).out, b"%d\n" % MEGABYTES)

    async def test_rekey(self) -> None:
        """So they do while both sides change keys with every megabyte."""
        self.server.start(self, RekeyLimit="1M", LogLevel="DEBUG1")
        options = evolve(self.options(), rekey_limits=RekeyLimits(data_bytes=1 << 20))
        client = await self.connected(options)
        data = hashlib.shake_256(b"data").digest(MEGABYTES)
        self.assertTrue((await client.run("cat", data)).out == data)
        self.assertGreater(self.server.said("SSH2_MSG_NEWKEYS received"), 8)

    async def test_rekey_by_one_side(self) -> None:
        """Or only one of them."""
        data = hashlib.shake_256(b"data").digest(MEGABYTES)
        self.server.start(self)
        ours = await self.connected(evolve(self.options(), rekey_limits=RekeyLimits(data_bytes=1 << 20)))
        self.assertTrue((await ours.run("cat", data)).out == data)
        self.server.port = free_port()
        self.server.start(self, RekeyLimit="1M", LogLevel="DEBUG1")
        theirs = await self.connected()
        self.assertTrue((await theirs.run("cat", data)).out == data)
        self.assertGreater(self.server.said("SSH2_MSG_NEWKEYS received"), 8)

    async def test_back_pressure(self) -> None:
        """A program that says more than is used has to wait, and goes on when it is."""
        self.server.start(self)
        session, receiver = await self.listening(
            await self.connected(), SessionStart("exec", "head -c 8000000 /dev/zero"), hungry=False
        )
        await self.until(lambda: receiver.unused == session.receive_window.size)
        await self.turns(50)
        self.assertEqual(receiver.unused, 2 << 20)
        receiver.hungry = True
        receiver.use(session)
        await self.until(lambda: receiver.ending is not None)
        self.assertEqual((len(receiver.streams[OUT]), receiver.ending), (MEGABYTES, Ending(0)))

    async def test_too_much(self) -> None:
        """A program that says more than is to be kept is hung up on."""
        self.server.start(self)
        client = await self.connected()
        with self.assertRaisesRegex(TooLarge, "The program says more than 1000 bytes, which is the limit."):
            await client.run("yes", max_bytes=1000)

    async def test_our_producer_waits(self) -> None:
        """Who writes is paused while the program does not read."""
        self.server.start(self)
        session, receiver = await self.listening(
            await self.connected(), SessionStart("exec", "read go; exec cat >/dev/null")
        )
        writer = Writer(session)
        session.registerProducer(writer)
        writer.resumeProducing()
        await self.until(lambda: writer.paused)
        self.assertLess(writer.written, 6 << 20)
        session.unregisterProducer()
        session.close()
        await self.until(lambda: receiver.ending is not None)


class Writer:
    """Writes until it is paused."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session
        self.written = 0
        self.paused = False

    def resumeProducing(self) -> None:
        self.paused = False
        while not self.paused and self.written < 64 << 20:
            self.written += 1 << 16
            self.session.write(bytes(1 << 16))

    def pauseProducing(self) -> None:
        self.paused = True

    def stopProducing(self) -> None:
        self.paused = True
