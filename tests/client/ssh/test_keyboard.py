"""What comes through a pipe or a terminal is sent, up to and with its end."""

from __future__ import annotations

import os
import tty
from typing import cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from teleport_conch.client.ssh.terminal import Keyboard, Window
from teleport_conch.ssh.connection.channel import Channel


class Taking:
    """A channel that keeps what it is given."""

    def __init__(self) -> None:
        self.data = b""
        self.is_closed = False
        self.ended: Deferred[None] = Deferred()

    def registerProducer(self, producer: object) -> None:
        """Never pauses it."""

    def unregisterProducer(self) -> None:
        """Nothing to undo."""

    def write(self, data: bytes) -> None:
        self.data += data

    def close(self) -> None:
        self.is_closed = True

    def send_eof(self) -> None:
        self.ended.callback(None)


class PipeTests(TestCase):
    timeout = 60

    async def sent(self, data: bytes) -> bytes:
        """What a channel gets of a pipe that holds ``data`` and has nobody at its other end."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        os.write(writing, data)
        os.close(writing)
        channel = Taking()
        keyboard = Keyboard(reactor, cast(Channel, channel), reading)
        keyboard.start()
        await channel.ended
        keyboard.stop()
        return channel.data

    async def test_end(self) -> None:
        """The reactor tells of a closed pipe in another way than of data; the program hears of its end anyhow."""
        self.assertEqual(await self.sent(b"input"), b"input")

    async def test_nothing(self) -> None:
        self.assertEqual(await self.sent(b""), b"")

    async def test_much(self) -> None:
        self.assertEqual(len(await self.sent(b"x" * 60_000)), 60_000)


class TerminalTests(TestCase):
    def test_typed_ahead(self) -> None:
        """What was typed before the terminal was taken is not thrown away."""
        master, slave = os.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        tty.setcbreak(slave)
        os.write(master, b"typed ahead")
        window = Window(slave, lambda *_: None)
        window.take(reactor)
        os.set_blocking(slave, False)
        self.assertEqual(os.read(slave, 100), b"typed ahead")
        window.give_back()

    async def typed(self, keys: bytes, **settings: bool) -> Taking:
        """What a program on a terminal gets of some keys."""
        master, slave = os.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        channel = Taking()
        keyboard = Keyboard(reactor, cast(Channel, channel), slave, Window(slave, lambda *_: None), **settings)
        tty.setraw(slave)
        os.write(master, keys)
        keyboard.doRead()
        return channel

    async def test_escapes(self) -> None:
        """``~.`` ends the connection; where that is not wanted, it is for the program."""
        found = await self.typed(b"a\r~.b")
        self.assertEqual((found.data, found.is_closed), (b"a\r", True))
        found = await self.typed(b"a\r~.b", escapes=False)
        self.assertEqual((found.data, found.is_closed), (b"a\r~.b", False))
