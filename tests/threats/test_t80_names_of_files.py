"""Threat 80: names of files that lead elsewhere, or are no names.

The server has the rights of the account, and no folder that it keeps anybody in: ``..`` and ``/abs`` lead where they
lead in a shell, as with OpenSSH. What matters here is that a name is bytes, goes to the kernel as it came, and is
neither cut, decoded nor read by a shell on the way.
"""

from __future__ import annotations

import os
import stat

from teleport_conch.ssh.sftp import codec, messages
from teleport_conch.ssh.sftp.messages import BAD_MESSAGE, FLAG_CREATE, FLAG_WRITE, NO_SUCH_FILE, OK
from tests.ssh.sftp import driving

NAMES = (
    b"$(touch pwned)",
    b"`touch pwned`",
    b"; touch pwned",
    b"-rf",
    b"new\nline",
    b"\x1b]0;title\x07",
    b"%s%n",
    b"~root",
    b"\xff\xfe\xfd",
    b"\xe2\x80\xae.txt",
    b" ",
    b"...",
    b"a" * 255,
)


class T80OwnServer(driving.ServerCase):
    """Ours."""

    def test_any_bytes_are_a_name(self) -> None:
        """Written, listed, renamed and removed under exactly this name."""
        for name in NAMES:
            handle = self.server.open(name, FLAG_WRITE | FLAG_CREATE)
            self.assertEqual(self.server.status(messages.CLOSE, handle), OK)
        self.assertEqual(sorted(os.listdir(os.fsencode(self.folder))), sorted(NAMES))
        _, (names,) = self.server.ask(messages.READDIR, self.server.handle(messages.OPENDIR, b"."))
        assert isinstance(names, list)
        self.assertEqual({name for name, _, _ in names}, {b".", b"..", *NAMES})
        for name in NAMES:
            self.assertEqual(self.server.status(messages.RENAME, name, b"moved"), OK)
            self.assertEqual(self.server.status(messages.REMOVE, b"moved"), OK)
        self.assertEqual(os.listdir(self.folder), [])

    def test_no_names(self) -> None:
        """Nothing is opened or made for an empty name, one that is too long, or the folder itself."""
        for name, status in ((b"", NO_SUCH_FILE), (b"x/" * 3000, BAD_MESSAGE), (b"a" * 256, BAD_MESSAGE)):
            opened = self.server.status(messages.OPEN, name, FLAG_WRITE | FLAG_CREATE, codec.Attributes())
            self.assertEqual(opened, status)
            self.assertEqual(self.server.status(messages.MKDIR, name, codec.Attributes()), status)
        self.assertEqual(self.server.status(messages.RMDIR, b"."), BAD_MESSAGE)
        self.assertEqual(os.listdir(self.folder), [])

    def test_up_and_absolute(self) -> None:
        """As in a shell: up is up, and there is nothing above the root."""
        (self.folder / "sub").mkdir()
        self.write("file")
        for name in (b"sub/../file", os.fsencode(self.folder) + b"/sub/../file", b"./sub/.././file"):
            self.assertEqual(self.server.ask(messages.STAT, name)[0], messages.ATTRS)
        _, (names,) = self.server.ask(messages.REALPATH, b"../" * 100 + b"etc")
        self.assertEqual(names, [(b"/etc", b"/etc", codec.Attributes())])

    def test_links_are_not_followed_where_they_are_meant(self) -> None:
        """REMOVE, RENAME and lsetstat mean the link, not what it leads to."""
        victim = self.write("victim")
        os.chmod(victim, 0o600)
        (self.folder / "link").symlink_to("victim")
        self.assertNotEqual(
            self.server.extended_status(messages.LSETSTAT, b"link", codec.Attributes(permissions=0o666)), OK
        )
        self.assertEqual(self.server.status(messages.RENAME, b"link", b"other"), OK)
        self.assertEqual(self.server.status(messages.REMOVE, b"other"), OK)
        self.assertEqual(stat.S_IMODE(os.stat(victim).st_mode), 0o600)

    def test_nul_is_no_part_of_a_name(self) -> None:
        """The name is not cut at a NUL byte: the request is refused, and the next one is answered."""
        self.write("secret")
        kind, found = self.server.ask(messages.STAT, b"secret\0.txt")
        self.assertEqual((kind, found[:2]), (messages.STATUS, [BAD_MESSAGE, b"a name with a NUL byte"]))
        self.assertEqual(self.server.status(messages.OPEN, b"\0", 1, codec.Attributes()), BAD_MESSAGE)
        self.assertEqual(self.server.ask(messages.STAT, b"secret")[0], messages.ATTRS)
