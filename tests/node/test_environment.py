"""The variables of a session: the host's, the client's, and those that nobody may change."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.node.environment import (
    DEFAULT_PATH,
    DEFAULT_ROOT_PATH,
    MAX_FILE_BYTES,
    Place,
    accepts,
    host_environment,
    read_bounded,
    session_environment,
)
from teleport_conch.ssh.account import Account

ALICE = Account("alice", 1000, 1000, "/home/alice", "/bin/bash")
ROOT = Account("root", 0, 0, "/root", "/bin/sh")
PLACE = Place(
    user="alice",
    session_id="1111",
    host_uuid="2222",
    cluster="demo.example",
    client=("192.0.2.7", 50000),
    server=("10.0.0.5", 3022),
)


class AcceptTests(SynchronousTestCase):
    def test_allow_list(self) -> None:
        """A client sets what the list names, whole or by its beginning, and nothing else."""
        patterns = ("LANG", "LC_*")
        for name in ("LANG", "LC_ALL", "LC_", "LC_CTYPE"):
            self.assertTrue(accepts(name, patterns), name)
        for name in ("LANGUAGE", "lang", "XLC_ALL", "TERM", ""):
            self.assertFalse(accepts(name, patterns), name)

    def test_dangerous(self) -> None:
        """What makes a program run other code is on no list that does not ask for it (threat 69)."""
        for name in ("LD_PRELOAD", "LD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES", "BASH_ENV", "ENV", "IFS", "GCONV_PATH"):
            self.assertFalse(accepts(name, ("LANG", "LC_*", "GIT_*")), name)

    def test_never(self) -> None:
        """What says who and where one is, is not the client's to say, whatever the list says."""
        for name in ("PATH", "HOME", "USER", "LOGNAME", "SHELL"):
            self.assertFalse(accepts(name, ("*", name)), name)

    def test_names(self) -> None:
        """What no variable can be called is refused, although it begins as the list says."""
        for name in ("LC_ALL=x", "LC_\0", "LC_ ALL", "LC_\n", "LC_-", "LC_\u00e4"):
            self.assertFalse(accepts(name, ("LC_*",)), repr(name))


class HostTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """A host whose files say nothing gives a PATH, another one to root, and no locale."""
        self.assertEqual(host_environment(ALICE, "", []), {"PATH": DEFAULT_PATH})
        self.assertEqual(host_environment(ROOT, "", ["", "# nothing\n"]), {"PATH": DEFAULT_ROOT_PATH})

    def test_login_defs(self) -> None:
        """ENV_PATH is for people, ENV_SUPATH for root, with and without ``PATH=``; comments are none of both."""
        text = "#ENV_PATH PATH=/no\nENV_SUPATH\tPATH=/sbin:/bin\nENV_PATH   /usr/bin:/bin  \nENV_HZ\n"
        self.assertEqual(host_environment(ALICE, text, [])["PATH"], "/usr/bin:/bin")
        self.assertEqual(host_environment(ROOT, text, [])["PATH"], "/sbin:/bin")

    def test_locale(self) -> None:
        """The first file that says anything, however it quotes."""
        text = '#  a comment\nLANG="de_DE.UTF-8"\nexport LC_TIME=\'C\'\nLANGUAGE=de:en\nFOO=bar\nLC_ALL="half\n'
        found = host_environment(ALICE, "", ["", text, "LANG=C\n"])
        self.assertEqual(found, {"PATH": DEFAULT_PATH, "LANG": "de_DE.UTF-8", "LC_TIME": "C", "LANGUAGE": "de:en"})

    @given(st.text(max_size=200), st.text(max_size=200))
    @settings(deadline=None)
    def test_anything(self, login_defs: str, locale: str) -> None:
        """Whatever the files hold, there is a PATH, and nothing but PATH and locale."""
        found = host_environment(ALICE, login_defs, [locale])
        self.assertTrue(found.pop("PATH"))
        self.assertTrue(all(name.startswith("L") for name in found))

    def test_files(self) -> None:
        """A missing file is an empty one, a long one is cut, and one that is no text does no harm."""
        path = Path(self.mktemp())
        self.assertEqual(read_bounded(path), "")
        path.write_bytes(b"LANG=\xff\n" + b"x" * MAX_FILE_BYTES)
        self.assertEqual((len(read_bounded(path)), read_bounded(path)[:5]), (MAX_FILE_BYTES, "LANG="))
        self.assertEqual(read_bounded(Path("/")), "")


class SessionTests(SynchronousTestCase):
    def test_all(self) -> None:
        """The whole table, of reference 5.5 and of sshd."""
        found = session_environment(ALICE, PLACE, {"PATH": "/bin", "LANG": "C"}, {}, {"TERM": "xterm"})
        self.assertEqual(
            found,
            {
                "PATH": "/bin",
                "LANG": "C",
                "HOME": "/home/alice",
                "LOGNAME": "alice",
                "USER": "alice",
                "SHELL": "/bin/bash",
                "MAIL": "/var/mail/alice",
                "SSH_CLIENT": "192.0.2.7 50000 3022",
                "SSH_CONNECTION": "192.0.2.7 50000 10.0.0.5 3022",
                "SSH_SESSION_ID": "1111",
                "SSH_TELEPORT_USER": "alice",
                "SSH_TELEPORT_HOST_UUID": "2222",
                "SSH_TELEPORT_CLUSTER_NAME": "demo.example",
                "TERM": "xterm",
            },
        )

    def test_client(self) -> None:
        """A client's locale wins over the host's; where one is and who one is stays what it is."""
        client = {"LANG": "de_DE.UTF-8", "SSH_TELEPORT_USER": "mallory", "HOME": "/tmp", "SSH_CLIENT": "1.1.1.1 1 1"}
        found = session_environment(ALICE, PLACE, {"PATH": "/bin", "LANG": "C"}, client, {})
        self.assertEqual(found["LANG"], "de_DE.UTF-8")
        self.assertEqual(
            (found["SSH_TELEPORT_USER"], found["HOME"], found["SSH_CLIENT"]),
            ("alice", "/home/alice", "192.0.2.7 50000 3022"),
        )
