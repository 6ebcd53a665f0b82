"""What both servers, OpenSSH's and ours, answer alike: the tests that they share."""

from __future__ import annotations

import os
import pwd
import re
import stat
from pathlib import Path

from teleport_conch.ssh.sftp import codec, messages
from teleport_conch.ssh.sftp.codec import Attributes
from teleport_conch.ssh.sftp.messages import (
    BAD_MESSAGE,
    EOF,
    FAILURE,
    FLAG_APPEND,
    FLAG_CREATE,
    FLAG_EXCLUSIVE,
    FLAG_READ,
    FLAG_TRUNCATE,
    FLAG_WRITE,
    NO_SUCH_FILE,
    OK,
    OP_UNSUPPORTED,
    PERMISSION_DENIED,
)
from tests.ssh.sftp.driving import ServerCase

NOTHING = Attributes()
BAD = b"\xff\xff\xff\xff"


class Requests(ServerCase):
    """Every request, what it does and what it refuses."""

    def test_extensions(self) -> None:
        """What OpenSSH 9.2 announces, both announce, in the same versions."""
        expected = dict(messages.EXTENSIONS)
        self.assertEqual({name: expected.get(name) for name in self.extensions}, self.extensions)
        self.assertLessEqual(set(expected) - set(self.extensions), {messages.COPY_DATA})

    # Files.

    def test_write_and_read(self) -> None:
        """Bytes at any place, in any order, and holes."""
        ask = self.server.ask
        handle = self.server.open(self.path("file"), FLAG_READ | FLAG_WRITE | FLAG_CREATE)
        self.assertEqual(self.server.status(messages.WRITE, handle, 10, b"later"), OK)
        self.assertEqual(self.server.status(messages.WRITE, handle, 0, b"first"), OK)
        self.assertEqual(ask(messages.READ, handle, 0, 100), (messages.DATA, [b"first" + bytes(5) + b"later"]))
        self.assertEqual(ask(messages.READ, handle, 12, 2), (messages.DATA, [b"te"]))
        self.assertEqual(ask(messages.READ, handle, 3, 0), (messages.DATA, [b""]))
        self.assertEqual(self.server.status(messages.READ, handle, 15, 1), EOF)
        self.assertEqual(self.server.status(messages.CLOSE, handle), OK)
        self.assertEqual((self.folder / "file").read_bytes(), b"first" + bytes(5) + b"later")

    def test_large_pieces(self) -> None:
        """The longest read and write there are; a longer read is answered with that much."""
        data = os.urandom(messages.MAX_DATA_BYTES)
        handle = self.server.open(self.path("file"), FLAG_READ | FLAG_WRITE | FLAG_CREATE)
        for at in (0, len(data)):
            self.assertEqual(self.server.status(messages.WRITE, handle, at, data), OK)
        for wanted in (len(data), 2**32 - 1):
            self.assertEqual(self.server.ask(messages.READ, handle, 0, wanted), (messages.DATA, [data]))

    def test_many_at_once(self) -> None:
        """Requests that come together are answered in their order."""
        self.write("file", bytes(range(256)) * 1000)
        handle = self.server.open(self.path("file"), FLAG_READ)
        asked = [(number, number * 997, 500 + number) for number in range(300)]
        self.server.send(b"".join(codec.message(messages.READ, n, handle, at, size) for n, at, size in asked))
        for number, at, size in asked:
            found = (bytes(range(256)) * 1000)[at : at + size]
            expected = (messages.DATA, number, [found]) if found else (messages.STATUS, number, [EOF])
            answer = self.server.receive()
            self.assertEqual((answer[0], answer[1], answer[2][:1]), expected)

    def test_open_flags(self) -> None:
        """What each flag does to a file that is there, and to one that is not."""
        write = FLAG_WRITE | FLAG_CREATE
        self.assertEqual(self.server.status(messages.OPEN, self.path("none"), FLAG_WRITE, NOTHING), NO_SUCH_FILE)
        self.write("there", b"before")
        self.assertEqual(
            self.server.status(messages.OPEN, self.path("there"), write | FLAG_EXCLUSIVE, NOTHING), FAILURE
        )
        self.server.open(self.path("there"), write)
        self.assertEqual((self.folder / "there").read_bytes(), b"before")
        self.server.open(self.path("there"), write | FLAG_TRUNCATE)
        self.assertEqual((self.folder / "there").read_bytes(), b"")
        self.server.open(self.path("new"), write | FLAG_EXCLUSIVE, Attributes(permissions=0o640))
        self.assertEqual(stat.S_IMODE((self.folder / "new").stat().st_mode), 0o640)
        reading = self.server.open(self.path("new"), FLAG_READ)
        self.assertEqual(self.server.status(messages.WRITE, reading, 0, b"x"), NO_SUCH_FILE)

    def test_append(self) -> None:
        """Goes to the end, whatever place the client names."""
        self.write("log", b"one\n")
        handle = self.server.open(self.path("log"), FLAG_WRITE | FLAG_APPEND)
        for line in (b"two\n", b"three\n"):
            self.assertEqual(self.server.status(messages.WRITE, handle, 0, line), OK)
        self.assertEqual((self.folder / "log").read_bytes(), b"one\ntwo\nthree\n")

    def test_no_space(self) -> None:
        """What cannot be written is a failure."""
        handle = self.server.open(b"/dev/full", FLAG_WRITE)
        self.assertEqual(self.server.status(messages.WRITE, handle, 0, b"x"), FAILURE)

    def test_directory_as_file(self) -> None:
        handle = self.server.open(self.folder, FLAG_READ)
        self.assertEqual(self.server.status(messages.READ, handle, 0, 10), FAILURE)

    # Attributes.

    def test_stat(self) -> None:
        """Of a file, of a link, of what a link leads to."""
        path = self.write("file", b"12345")
        (self.folder / "link").symlink_to("file")
        found = os.stat(path)
        expected = Attributes(5, found.st_uid, found.st_gid, found.st_mode, int(found.st_atime), int(found.st_mtime))
        self.assertEqual(self.server.ask(messages.STAT, self.path("link")), (messages.ATTRS, [expected]))
        handle = self.server.open(path, FLAG_WRITE)
        self.assertEqual(self.server.ask(messages.FSTAT, handle), (messages.ATTRS, [expected]))
        _, (link,) = self.server.ask(messages.LSTAT, self.path("link"))
        assert isinstance(link, Attributes) and link.permissions is not None
        self.assertTrue(stat.S_ISLNK(link.permissions))
        self.assertEqual(self.server.status(messages.STAT, self.path("none")), NO_SUCH_FILE)
        self.assertEqual(self.server.status(messages.STAT, path + b"/x"), NO_SUCH_FILE)
        self.assertEqual(self.server.status(messages.STAT, b"x" * 300), BAD_MESSAGE)

    def test_setstat(self) -> None:
        """Size, permissions, times, owner, by name and by handle."""
        path = self.write("file", b"12345")
        own = os.stat(path)
        wanted = Attributes(3, own.st_uid, own.st_gid, 0o100604, 1_000_000_000, 1_500_000_000)
        handle = self.server.open(path, FLAG_WRITE)
        for ask in ((messages.SETSTAT, path), (messages.FSETSTAT, handle)):
            self.write("file", b"12345")
            self.assertEqual(self.server.status(*ask, wanted), OK)
            found = os.stat(path)
            self.assertEqual((found.st_size, stat.S_IMODE(found.st_mode)), (3, 0o604))
            self.assertEqual((found.st_atime, found.st_mtime), (1e9, 1.5e9))
        self.assertEqual(self.server.status(messages.SETSTAT, path, NOTHING), OK)
        self.assertEqual(self.server.status(messages.SETSTAT, path, Attributes(size=2**63)), BAD_MESSAGE)
        self.assertEqual(self.server.status(messages.SETSTAT, path, Attributes(uid=2**32 - 1, gid=2**32 - 1)), OK)
        self.assertEqual(self.server.status(messages.SETSTAT, self.path("none"), wanted), NO_SUCH_FILE)

    def test_setstat_goes_on(self) -> None:
        """What cannot be set does not keep the rest from being set."""
        (self.folder / "sub").mkdir(mode=0o700)
        wanted = Attributes(size=1, permissions=0o755)
        self.assertEqual(self.server.status(messages.SETSTAT, self.path("sub"), wanted), FAILURE)
        self.assertEqual(stat.S_IMODE((self.folder / "sub").stat().st_mode), 0o755)

    def test_lsetstat(self) -> None:
        """The link itself; it has no size."""
        path = self.write("file")
        before = os.stat(path).st_mtime
        (self.folder / "link").symlink_to("file")
        ask, link = self.server.extended_status, self.path("link")
        self.assertEqual(ask(messages.LSETSTAT, link, Attributes(atime=1_000_000_000, mtime=1_000_000_000)), OK)
        self.assertEqual((os.lstat(link).st_mtime, os.stat(path).st_mtime), (1e9, before))
        self.assertEqual(ask(messages.LSETSTAT, link, Attributes(permissions=0o600)), FAILURE)
        self.assertEqual(ask(messages.LSETSTAT, link, Attributes(size=0)), BAD_MESSAGE)
        self.assertEqual(os.stat(path).st_size, 4)

    # Directories and names.

    def listed(self, path: bytes | Path) -> list[tuple[bytes, bytes, Attributes]]:
        """All that READDIR says, batch by batch."""
        handle, found = self.server.handle(messages.OPENDIR, os.fsencode(path)), []
        while (answer := self.server.ask(messages.READDIR, handle))[0] == messages.NAME:
            (names,) = answer[1]
            assert isinstance(names, list) and len(names) <= 100
            found += names
        self.assertEqual(answer[1][0], EOF)
        self.assertEqual(self.server.status(messages.READDIR, handle), EOF)
        self.assertEqual(self.server.status(messages.CLOSE, handle), OK)
        return found

    def test_listing(self) -> None:
        """Each name once, with its attributes and its line; names are bytes, and may be anything."""
        names = {b"\xff\xfe", b"new\nline", b" ", b"-rf", b"a" * 255, "ü".encode()} | {b"%d" % n for n in range(250)}
        for name in names:
            Path(os.fsdecode(os.path.join(os.fsencode(self.folder), name))).write_bytes(b"12")
        found = self.listed(self.folder)
        self.assertEqual(sorted(name for name, _, _ in found), sorted({b".", b"..", *names}))
        line, attributes = next((line, each) for name, line, each in found if name == b"7")
        owner = pwd.getpwuid(os.getuid()).pw_name.encode()
        self.assertTrue(re.fullmatch(rb"-rw-r--r--    1 %b +\S+ +2 \w{3} [ \d]\d \d\d:\d\d 7" % owner, line), line)
        self.assertEqual(attributes.size, 2)

    def test_opendir_refused(self) -> None:
        self.assertEqual(self.server.status(messages.OPENDIR, self.write("file")), NO_SUCH_FILE)
        self.assertEqual(self.server.status(messages.OPENDIR, self.path("none")), NO_SUCH_FILE)

    def test_directories(self) -> None:
        self.assertEqual(self.server.status(messages.MKDIR, self.path("sub"), Attributes(permissions=0o750)), OK)
        self.assertEqual(stat.S_IMODE((self.folder / "sub").stat().st_mode), 0o750)
        self.assertEqual(self.server.status(messages.MKDIR, self.path("sub"), NOTHING), FAILURE)
        self.write("sub/file")
        self.assertEqual(self.server.status(messages.RMDIR, self.path("sub")), FAILURE)
        self.assertEqual(self.server.status(messages.REMOVE, self.path("sub/file")), OK)
        self.assertEqual(self.server.status(messages.RMDIR, self.path("sub")), OK)
        self.assertEqual(self.server.status(messages.RMDIR, self.path("sub")), NO_SUCH_FILE)
        self.assertEqual(self.server.status(messages.REMOVE, self.path("sub")), NO_SUCH_FILE)

    def test_rename(self) -> None:
        """Never onto what is there, whatever it is."""
        one, two = self.write("one", b"1"), self.write("two", b"2")
        self.assertEqual(self.server.status(messages.RENAME, one, two), FAILURE)
        self.assertEqual((self.folder / "two").read_bytes(), b"2")
        self.assertEqual(self.server.status(messages.RENAME, one, self.path("three")), OK)
        self.assertEqual((self.folder / "three").read_bytes(), b"1")
        self.assertEqual(self.server.status(messages.RENAME, one, self.path("four")), NO_SUCH_FILE)
        for name in ("here", "there"):
            (self.folder / name).mkdir()
        self.assertEqual(self.server.status(messages.RENAME, self.path("here"), self.path("there")), FAILURE)
        self.assertEqual(self.server.status(messages.RENAME, self.path("here"), self.path("moved")), OK)
        self.assertEqual(sorted(os.listdir(self.folder)), ["moved", "there", "three", "two"])

    def test_posix_rename(self) -> None:
        one, two = self.write("one", b"1"), self.write("two", b"2")
        self.assertEqual(self.server.extended_status(messages.POSIX_RENAME, one, two), OK)
        self.assertEqual((self.folder / "two").read_bytes(), b"1")
        self.assertEqual(self.server.extended_status(messages.POSIX_RENAME, one, two), NO_SUCH_FILE)

    def test_links(self) -> None:
        """A symbolic link is asked for with its target first, as OpenSSH does and the draft does not."""
        path = self.write("file")
        self.assertEqual(self.server.status(messages.SYMLINK, b"any/target", self.path("link")), OK)
        self.assertEqual(os.readlink(self.folder / "link"), "any/target")
        self.assertEqual(self.server.status(messages.SYMLINK, b"any/target", self.path("link")), FAILURE)
        answer = (messages.NAME, [[(b"any/target", b"any/target", NOTHING)]])
        self.assertEqual(self.server.ask(messages.READLINK, self.path("link")), answer)
        self.assertEqual(self.server.status(messages.READLINK, path), BAD_MESSAGE)
        self.assertEqual(self.server.extended_status(messages.HARDLINK, path, self.path("second")), OK)
        self.assertTrue(os.path.samefile(path, self.path("second")))
        self.assertEqual(self.server.extended_status(messages.HARDLINK, path, self.path("second")), FAILURE)

    def name(self, answer: tuple[int, list[object]]) -> bytes:
        """The one name of an answer."""
        kind, found = answer
        self.assertEqual(kind, messages.NAME, found)
        assert isinstance(found[0], list)
        ((name, line, attributes),) = found[0]
        self.assertEqual((line, attributes), (name, NOTHING))
        assert isinstance(name, bytes)
        return name

    def test_realpath(self) -> None:
        """Without dots and links; only the last part may be missing."""
        (self.folder / "sub").mkdir()
        (self.folder / "sub" / "up").symlink_to("..")
        (self.folder / "dangling").symlink_to("nowhere")
        (self.folder / "circle").symlink_to("circle")
        here = os.fsencode(self.folder)
        for path, real in (
            (b"", here),
            (b".", here),
            (b"/", b"/"),
            (b"//", b"/"),
            (b"/../..", b"/"),
            (b"sub/./up/sub//", here + b"/sub"),
            (b"sub/up/none", here + b"/none"),
            (b"dangling", here + b"/nowhere"),
            (here + b"/sub/..", here),
            (b"\xff", here + b"/\xff"),
        ):
            self.assertEqual(self.name(self.server.ask(messages.REALPATH, path)), real, path)
        self.write("file")
        for path in (b"none/more", b"file/more", b"none/", b"circle"):
            self.assertEqual(self.server.status(messages.REALPATH, path), NO_SUCH_FILE, path)
        self.assertEqual(self.server.status(messages.REALPATH, b"/" * 5000), BAD_MESSAGE)

    def test_expand_path(self) -> None:
        """``~`` is where the server was started, ``~user`` a home directory."""
        here, home = os.fsencode(self.folder), os.path.realpath(pwd.getpwuid(0).pw_dir).encode()
        for path, real in (
            (b"", here),
            (b"~", here),
            (b"~/x", here + b"/x"),
            (b"x", here + b"/x"),
            (b"~root", home),
            (b"~root/x", home + b"/x"),
            (b"/tmp/~", b"/tmp/~"),
        ):
            self.assertEqual(self.name(self.server.extended(messages.EXPAND_PATH, path)), real, path)
        self.assertEqual(self.server.extended_status(messages.EXPAND_PATH, b"~no-such-user"), NO_SUCH_FILE)

    # The other extensions.

    def test_home_directory(self) -> None:
        self.assertEqual(self.name(self.server.extended(messages.HOME_DIRECTORY, b"root")), b"/root")
        self.assertEqual(self.server.extended_status(messages.HOME_DIRECTORY, b"no-such-user"), FAILURE)

    def test_users_groups(self) -> None:
        """Names by number, an empty one where there is none."""
        if messages.USERS_GROUPS not in self.extensions:
            return
        kind, (answer,) = self.server.extended(messages.USERS_GROUPS, bytes(4) + b"\x7f" * 4, bytes(4))
        expected = codec.pack("ss", codec.pack("ss", b"root", b""), codec.pack("s", b"root"))
        self.assertEqual((kind, answer), (messages.EXTENDED_REPLY, expected))

    def test_limits(self) -> None:
        kind, (answer,) = self.server.extended(messages.LIMITS)
        assert isinstance(answer, bytes)
        packet, read, write, handles = codec.unpack("QQQQ", memoryview(answer))
        self.assertEqual((kind, packet, read, write), (messages.EXTENDED_REPLY, 262144, 261120, 261120))
        assert isinstance(handles, int)
        self.assertGreater(handles, 100)

    def test_statvfs(self) -> None:
        """The file system's sizes; two answers in a row may differ in what is free."""
        handle = self.server.open(self.write("file"), FLAG_READ)
        found = os.statvfs(self.folder)
        for ask in ((messages.STATVFS, self.path("")), (messages.FSTATVFS, handle)):
            kind, (answer,) = self.server.extended(*ask)
            assert isinstance(answer, bytes)
            values = codec.unpack("QQQQQQQQQQQ", memoryview(answer))
            self.assertEqual(
                (kind, values[:3]), (messages.EXTENDED_REPLY, [found.f_bsize, found.f_frsize, found.f_blocks])
            )
            self.assertEqual((values[8], values[10]), (found.f_fsid, found.f_namemax))
        self.assertEqual(self.server.extended_status(messages.STATVFS, self.path("none")), NO_SUCH_FILE)

    def test_fsync(self) -> None:
        handle = self.server.open(self.write("file"), FLAG_WRITE)
        self.assertEqual(self.server.extended_status(messages.FSYNC, handle), OK)

    def test_copy_data(self) -> None:
        """A part, or everything up to the end; never a file into itself."""
        if messages.COPY_DATA not in self.extensions:
            return
        data = os.urandom(3_000_000)
        source = self.server.open(self.write("one", data), FLAG_READ | FLAG_WRITE)
        target = self.server.open(self.path("two"), FLAG_WRITE | FLAG_CREATE)
        copy = self.server.extended_status
        self.assertEqual(copy(messages.COPY_DATA, source, 1, 0, target, 0), OK)
        self.assertEqual((self.folder / "two").read_bytes(), data[1:])
        self.assertEqual(copy(messages.COPY_DATA, source, 0, 5, target, 2), OK)
        self.assertEqual((self.folder / "two").read_bytes(), data[1:3] + data[:5] + data[8:])
        self.assertEqual(copy(messages.COPY_DATA, source, 2_999_999, 10_000_000, target, 0), EOF)
        self.assertEqual(copy(messages.COPY_DATA, source, 0, 0, source, 5), FAILURE)
        again = self.server.open(self.path("one"), FLAG_WRITE)
        self.assertEqual(copy(messages.COPY_DATA, source, 0, 0, again, 5), FAILURE)
        self.assertIn(copy(messages.COPY_DATA, source, 0, 0, BAD, 5), (NO_SUCH_FILE, FAILURE))  # FAILURE in OpenSSH 9.2
        end = self.server.open(self.path("two"), FLAG_WRITE | FLAG_APPEND)
        self.assertEqual(copy(messages.COPY_DATA, source, 0, 4, end, 0), OK)
        self.assertEqual((self.folder / "two").read_bytes()[-5:], data[-1:] + data[:4])

    # Refusals.

    def test_bad_handles(self) -> None:
        """A handle that was never given, one that is closed, and one of the other kind."""
        folder = self.server.handle(messages.OPENDIR, self.path(""))
        file = self.server.open(self.write("file"), FLAG_READ)
        closed = self.server.open(self.path("file"), FLAG_READ)
        self.assertEqual(self.server.status(messages.CLOSE, closed), OK)
        self.assertEqual(self.server.status(messages.CLOSE, closed), NO_SUCH_FILE)
        status, extended = self.server.status, self.server.extended_status
        for handle in (BAD, b"", b"longer than four", closed, folder):
            self.assertEqual(status(messages.READ, handle, 0, 10), FAILURE)
            self.assertEqual(status(messages.WRITE, handle, 0, b"x"), FAILURE)
            self.assertEqual(status(messages.FSTAT, handle), FAILURE)
            self.assertEqual(status(messages.FSETSTAT, handle, NOTHING), FAILURE)
            self.assertEqual(extended(messages.FSTATVFS, handle), FAILURE)
            self.assertEqual(extended(messages.FSYNC, handle), NO_SUCH_FILE)
        for handle in (BAD, b"", file):
            self.assertEqual(status(messages.READDIR, handle), FAILURE)

    def test_unknown_extension(self) -> None:
        self.assertEqual(self.server.status(messages.EXTENDED, b"no@example.org", b"data"), OP_UNSUPPORTED)

    def test_permission_denied(self) -> None:
        """What the kernel refuses also to root: a second name for a directory."""
        (self.folder / "sub").mkdir()
        paths = (self.path("sub"), self.path("other"))
        self.assertEqual(self.server.extended_status(messages.HARDLINK, *paths), PERMISSION_DENIED)

    def test_end(self) -> None:
        """The server goes when there is no more to read, and says nothing."""
        self.server.open(self.write("file"), FLAG_READ)
        self.assertEqual(self.server.end(), (0, ""))
