"""Copies without OpenSSH: what a node may say that its folders hold, and what progress looks like."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.client.ssh.copying import Copying, OnTerminal, Silent, checked, remote
from teleport_conch.client.ssh.sftp import SFTPClient
from teleport_conch.errors import AccessDenied, BadParameter, NotFound, TooLarge
from teleport_conch.ssh.sftp.codec import Attributes

FOLDER, FILE = Attributes(permissions=stat.S_IFDIR | 0o755), Attributes(permissions=stat.S_IFREG | 0o4755, size=4)
EVIL = (b"..", b"../x", b"/etc/passwd", b"a/../../b", b"", b"a/b", b"a\nb", b"\x1b[2Jx")


class Node(SFTPClient):
    """A node that says of its folders what the test wants.

    :param folders: the names in each; every other path is a file with the content ``data``.
    """

    def __init__(self, folders: Mapping[bytes, list[bytes]]) -> None:
        super().__init__()
        self._folders = folders

    async def stat(self, path: bytes) -> Attributes:
        return FOLDER if path in self._folders else FILE

    async def names(self, path: bytes) -> list[tuple[bytes, Attributes]]:
        return [(name, FILE) for name in self._folders[path]]

    async def download(self, path: bytes, write: Callable[[bytes | memoryview], object]) -> None:
        write(b"data")


class CopyingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.here = Path(self.mktemp()).absolute()
        self.here.mkdir()

    def get(self, node: Node, *sources: str, recursive: bool = True) -> None:
        copying = Copying(node, Silent(), recursive)
        self.successResultOf(Deferred.fromCoroutine(copying.get(sources, self.here)))

    def refused(self, kind: type[Exception], node: Node, *sources: str, recursive: bool = True) -> str:
        copying = Copying(node, Silent(), recursive)
        done = Deferred.fromCoroutine(copying.get(sources, self.here))
        return str(self.failureResultOf(done, kind).value)

    def test_folder(self) -> None:
        self.get(Node({b"tree": [b".", b"..", b"one", b"inner"], b"tree/inner": [b"two"]}), "tree")
        self.assertEqual((self.here / "tree" / "one").read_bytes(), b"data")
        self.assertEqual((self.here / "tree" / "inner" / "two").read_bytes(), b"data")

    def test_T80_names(self) -> None:
        """A name that would lie elsewhere, or that a terminal obeys, ends the copy; nothing is written outside."""
        for name in EVIL:
            if name == b"..":
                continue  # stands in every folder, and is passed over
            said = self.refused(AccessDenied, Node({b"tree": [name]}), "tree")
            self.assertIn("which cannot be in a folder. Nothing more is copied.", said)
            self.assertTrue(said.isprintable())
        self.assertEqual([path.name for path in self.here.rglob("*")], ["tree"])

    def test_T80_checked(self) -> None:
        for name in EVIL:
            self.assertRaises(AccessDenied, checked, name)
        self.assertEqual(checked("ümläut .txt".encode()), "ümläut .txt".encode())

    def test_T80_links_here(self) -> None:
        """Below the folder that is copied, nothing is written through a link that lies here."""
        outside = Path(self.mktemp()).absolute()
        outside.mkdir()
        (self.here / "tree").mkdir()
        (self.here / "tree" / "inner").symlink_to(outside)
        node = Node({b"tree": [b"inner"], b"tree/inner": [b"taken"]})
        self.assertIn("is a link, and nothing is written through it.", self.refused(AccessDenied, node, "tree"))
        (self.here / "tree" / "inner").unlink()
        (self.here / "tree" / "file").symlink_to(outside / "taken")
        self.refused(OSError, Node({b"tree": [b"file"]}), "tree")
        self.assertEqual(list(outside.iterdir()), [])

    def test_special_modes(self) -> None:
        """A file is not made set-user-ID because the node's is."""
        self.get(Node({}), "file")
        self.assertEqual(stat.S_IMODE((self.here / "file").stat().st_mode) & 0o7000, 0)

    def test_refused(self) -> None:
        """Folders without -r, several files to what is no folder, and folders in folders without end."""
        self.assertIn("-r copies folders", self.refused(BadParameter, Node({b"tree": []}), "tree", recursive=False))
        copying = Copying(Node({}), Silent())
        done = Deferred.fromCoroutine(copying.get(["a", "b"], self.here / "nothing"))
        self.failureResultOf(done, NotFound)
        deep = {b"/".join([b"d"] * count): [b"d"] for count in range(1, 70)}
        self.assertIn("64 folders", self.refused(TooLarge, Node(deep), "d"))

    def test_remote(self) -> None:
        """Below the home, unless it begins with a slash."""
        for typed, path in (("", b"."), ("~", b"."), ("~/a", b"a"), ("/a", b"/a"), ("a b", b"a b")):
            self.assertEqual(remote(typed), path)


class ProgressTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """A line is written twice a second at most, and once at the end; the name is inert."""
        now, written = [0.0], list[str]()
        shown = OnTerminal(written.append, lambda: now[0])
        shown.begin("a\x1b[2Jb", 2_000_000)
        shown.moved(500_000)
        now[0] = 1.0
        shown.moved(500_000)
        now[0] = 2.0
        shown.moved(1_000_000)
        shown.end()
        self.assertEqual(len(written), 3)
        self.assertIn(" 50%    1.0 MB    1.0 MB/s", written[0])
        self.assertIn("100%    2.0 MB    1.0 MB/s\n", written[2])
        self.assertNotIn("\x1b", "".join(written))

    def test_empty(self) -> None:
        written = list[str]()
        shown = OnTerminal(written.append, lambda: 0.0)
        shown.begin("empty", 0)
        shown.end()
        self.assertIn("100%", written[0])
