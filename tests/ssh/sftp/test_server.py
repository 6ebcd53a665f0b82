"""Our server and OpenSSH's, under the same tests; and what is ours alone."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.sftp import codec, messages, server
from teleport_conch.ssh.sftp.messages import FLAG_READ
from tests.ssh.sftp import driving, requests
from tests.ssh.sftp.requests import NOTHING

Requests = requests.Requests
del requests.Requests


class OurTests(Requests):
    """The server of this package."""


class OpenSSHTests(Requests):
    """OpenSSH's ``sftp-server``, where it is installed: what the other class asks of ours is not made up."""

    def argv(self) -> list[str]:
        return driving.openssh()


del Requests


class OwnTests(driving.ServerCase):
    """Where ours does more, or says more, than OpenSSH's."""

    def test_all_extensions(self) -> None:
        self.assertEqual(self.extensions, dict(messages.EXTENSIONS))

    def test_sentences(self) -> None:
        """A status says what the operating system said, which the code alone does not."""
        path = self.write("file")
        for request, why in (
            ((messages.MKDIR, path, NOTHING), b"File exists"),
            ((messages.RMDIR, path), b"Not a directory"),
            ((messages.OPEN, self.path("none"), FLAG_READ, NOTHING), b"No such file or directory"),
            ((messages.READ, b"????", 0, 1), b"no handle of a file"),
            ((messages.READDIR, b"????"), b"no handle of a directory"),
            ((messages.CLOSE, b"????"), b"no handle"),
        ):
            kind, found = self.server.ask(*request)
            self.assertEqual((kind, found[1]), (messages.STATUS, why))

    def test_same_lines_as_openssh(self) -> None:
        """A listing's lines are OpenSSH's, letter for letter, of everything there is in ``/etc`` and here."""
        os.mkfifo(self.folder / "pipe")
        (self.folder / "old").touch()
        os.utime(self.folder / "old", (0, 10**9))
        (self.folder / "future").touch()
        os.utime(self.folder / "future", (0, 2**32 + 5))
        (self.folder / "bits").touch()
        os.chmod(self.folder / "bits", 0o7654)  # noqa: S103 - all the bits that a listing shows in ways of their own
        os.chown(self.folder / "bits", 12345, 123456789)
        theirs = driving.Served(driving.openssh(), self.folder)
        self.addCleanup(theirs.end)
        theirs.begin()
        for folder in (b".", b"/etc"):
            self.assertEqual(self.lines(self.server, folder), self.lines(theirs, folder))

    def lines(self, which: driving.Served, folder: bytes) -> dict[bytes, bytes]:
        """Of all files; the folders themselves are not looked at, as another test may use them."""
        found: dict[bytes, bytes] = {}
        handle = which.handle(messages.OPENDIR, folder)
        while (answer := which.ask(messages.READDIR, handle))[0] == messages.NAME:
            (names,) = answer[1]
            assert isinstance(names, list)
            found |= {name: line for name, line, _ in names if name not in (b".", b"..")}
        return found

    def test_home_directory(self) -> None:
        """Of whoever runs the server, where OpenSSH 9.2 fails."""
        home = pwd.getpwuid(os.getuid()).pw_dir.encode()
        _, (names,) = self.server.extended(messages.HOME_DIRECTORY, b"")
        self.assertEqual(names, [(home, home, NOTHING)])


class WritingTests(SynchronousTestCase):
    def test_short_writes(self) -> None:
        """What the operating system did not take at once is written all the same."""

        def three_bytes(fd: int, parts: Sequence[bytes]) -> int:
            return os.write(fd, b"".join(parts)[:3])

        self.patch(os, "writev", three_bytes)
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        answering = server.Server(writer)
        answering.received(memoryview(codec.message(messages.INIT, None, 3, {}))[4:])
        answering.received(memoryview(codec.message(messages.REALPATH, 1, b"/"))[4:])
        answering.flush()
        os.close(writer)
        answers = os.read(reader, 1 << 16)
        second = codec.message(messages.NAME, 1, [(b"/", b"/", NOTHING)])
        self.assertEqual(answers, codec.message(messages.FXP_VERSION, None, 3, dict(messages.EXTENSIONS)) + second)

    def test_many_small_answers(self) -> None:
        """More answers than one call can write are written in their order."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        answering = server.Server(writer)
        answering.received(memoryview(codec.message(messages.INIT, None, 3, {}))[4:])
        for number in range(server.MAX_PARTS + 100):
            answering.received(memoryview(codec.message(messages.CLOSE, number, b"none"))[4:])
        answering.flush()
        os.close(writer)
        at, found = 0, []
        answers = os.read(reader, 1 << 20)
        while at < len(answers):
            size = int.from_bytes(answers[at : at + 4], "big")
            found.append(codec.parse(memoryview(answers)[at + 4 : at + 4 + size])[1])
            at += 4 + size
        self.assertEqual(found, [None, *range(server.MAX_PARTS + 100)])


class StartTests(driving.ServerCase):
    def test_imports_little(self) -> None:
        """Neither Twisted nor attrs, nor what else would make each transfer wait."""
        code = "import sys; sys.path.append(sys.argv[1]); import teleport_conch.ssh.sftp.server; print(*sys.modules)"
        root = str(Path(server.__file__).parents[3])
        done = subprocess.run([sys.executable, "-I", "-S", "-c", code, root], capture_output=True, check=True)
        loaded = done.stdout.decode().split()
        self.assertIn("teleport_conch.ssh.sftp.server", loaded)
        heavy = {"attr", "attrs", "twisted", "typing", "re", "collections", "enum", "functools", "site", "runpy"}
        self.assertEqual(heavy & set(loaded), set())
        self.assertLess(len(loaded), 55)

    def test_as_a_module(self) -> None:
        """``python -m teleport_conch.ssh.sftp`` is the same server."""
        served = driving.Served([sys.executable, "-m", "teleport_conch.ssh.sftp"], self.folder)
        self.addCleanup(served.end)
        self.assertEqual(served.begin(), dict(messages.EXTENSIONS))
