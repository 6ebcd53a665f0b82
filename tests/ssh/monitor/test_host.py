"""What a host without PAM says of accounts, and its records of logins."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import teleport_conch
from teleport_conch.ssh.monitor import host, records
from teleport_conch.ssh.monitor.host import Refusal, Shadow
from teleport_conch.ssh.monitor.orders import Account
from teleport_conch.ssh.monitor.records import Files, Login

ALICE = Account("alice", 1000, 1000, "/home/alice", "/bin/sh")
SOMEBODY = Login(4711, "pts/7", "alice", 1000, "192.0.2.7")


class AccountTests(SynchronousTestCase):
    """The rules of ``sshd`` without PAM."""

    def refusal(self, check: object, *arguments: object) -> str:
        error: Refusal = self.assertRaises(Refusal, check, *arguments)
        return error.sentence

    def test_good(self) -> None:
        """A password that nobody knows, or none that can be, locks no account; nor does a missing entry."""
        for shadow in (None, Shadow("*", -1), Shadow("", -1), Shadow("$y$x", 20_000), Shadow("x", 0)):
            host.check_login(ALICE, shadow, today=20_000)

    def test_locked(self) -> None:
        for password in ("!", "!!", "!$y$x"):
            sentence = self.refusal(host.check_login, ALICE, Shadow(password, -1))
            self.assertEqual(sentence, "The account alice is locked on this host.")

    def test_expired(self) -> None:
        """An account expires when its day is over."""
        host.check_login(ALICE, Shadow("*", 20_000), 20_000)
        sentence = self.refusal(host.check_login, ALICE, Shadow("*", 20_000), 20_001)
        self.assertEqual(sentence, "The account alice has expired on this host.")

    def test_shell(self) -> None:
        host.check_shell(ALICE)
        sentence = self.refusal(host.check_shell, ALICE._replace(shell="/no/shell"))  # noqa: S604
        self.assertEqual(sentence, "The shell /no/shell of the account alice does not exist.")
        for path in ("/etc/passwd", "/etc"):
            sentence = self.refusal(host.check_shell, ALICE._replace(shell=path))
            self.assertEqual(sentence, f"The shell {path} of the account alice is not executable.")

    def test_nologin(self) -> None:
        """People read the file, as far as it goes; root does not have to."""
        path = Path(self.mktemp())
        host.check_nologin(ALICE, path)
        path.write_text("Closed until noon.\n")
        self.assertEqual(self.refusal(host.check_nologin, ALICE, path), "Closed until noon.")
        host.check_nologin(ALICE._replace(uid=0), path)
        path.write_text("")
        self.assertEqual(self.refusal(host.check_nologin, ALICE, path), "This host takes no logins now.")
        path.write_text("x" * 10_000)
        self.assertEqual(len(self.refusal(host.check_nologin, ALICE, path)), host.MAX_TEXT_BYTES)


class RecordsTests(SynchronousTestCase):
    """The layouts are those that glibc and its programs read."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.files = Files(folder / "utmp", folder / "wtmp", folder / "lastlog")
        for path in self.files:
            path.touch()

    def entries(self, path: Path) -> list[tuple[int, int, str, str, str]]:
        """Type, number, line, user and host of each entry."""
        found = []
        for at in range(0, len(path.read_bytes()), 384):
            kind, pid, line, _, user, place = struct.unpack_from("=h2xi32s4s32s256s", path.read_bytes(), at)
            found.append((kind, pid, *(part.rstrip(b"\0").decode() for part in (line, user, place))))
        return found

    def test_login_and_logout(self) -> None:
        """A terminal has one entry in utmp, and every login and logout one in wtmp."""
        other = SOMEBODY._replace(pid=4712, line="pts/8", user="bob", uid=1001)
        for who in (SOMEBODY, other):
            records.login(self.files, who)
        records.logout(self.files, SOMEBODY)
        inside = (7, 4712, "pts/8", "bob", "192.0.2.7")
        outside = (8, 4711, "pts/7", "", "")
        self.assertEqual(self.entries(self.files.utmp), [outside, inside])
        self.assertEqual(self.entries(self.files.wtmp), [(7, 4711, "pts/7", "alice", "192.0.2.7"), inside, outside])

    def test_last_login(self) -> None:
        self.assertIsNone(records.last_login(self.files, 1000))
        records.login(self.files, SOMEBODY)
        found = records.last_login(self.files, 1000)
        assert found is not None
        self.assertEqual(found[1], "192.0.2.7")
        self.assertIsNone(records.last_login(self.files, 999))
        self.assertIsNone(records.last_login(self.files, 5000))

    def test_line(self) -> None:
        self.assertEqual(records.last_login_line(None), "")
        self.assertRegex(
            records.last_login_line((0.0, "a")), r"^Last login: \w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4} from a\n$"
        )
        self.assertNotIn("from", records.last_login_line((0.0, "")))

    def test_no_files(self) -> None:
        """Where a host keeps no records, none are made."""
        for path in self.files:
            path.unlink()
        records.login(self.files, SOMEBODY)
        records.logout(self.files, SOMEBODY)
        self.assertEqual([path.exists() for path in self.files], [False] * 3)


class ImportTests(SynchronousTestCase):
    """What the processes with root's rights load."""

    def loaded(self, module: str) -> set[str]:
        """The packages in a fresh process that has imported ``module``."""
        path = [str(Path(teleport_conch.__file__).parent.parent), *sys.path]
        program = f"import sys; sys.path[:0] = {path!r}; import {module}; print(*sys.modules)"
        said = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, check=True, text=True)
        return {name.partition(".")[0] for name in said.stdout.split()}

    def test_starter(self) -> None:
        """The starter has the standard library and our own codecs: it forks in a millisecond, and knows no key."""
        found = self.loaded("teleport_conch.ssh.monitor.program")
        self.assertEqual(
            found & {"twisted", "cryptography", "attr", "attrs", "zope", "asyncio", "ssl", "logging"}, set()
        )

    def test_monitor(self) -> None:
        """The monitor has cryptography as well, and no network and no Twisted."""
        found = self.loaded("teleport_conch.ssh.monitor.monitor")
        self.assertIn("cryptography", found)
        self.assertEqual(found & {"twisted", "zope", "asyncio", "ssl", "http"}, set())
