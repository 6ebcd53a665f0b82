"""Accounts of this host: which names are looked up, and what comes back."""

from __future__ import annotations

import os
import pwd
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import NotFound
from teleport_conch.ssh.account import is_account_name, lookup

GOOD = ("root", "www-data", "_apt", "a", "machine$", "first.last", "0day", "x" * 32)

BAD = (
    "",
    "-oProxyCommand=x",
    "root\0x",
    "root\n",
    "../x",
    "a/b",
    "..",
    ".",
    "%u",
    "$(id)",
    "a b",
    "ro\u202eot",
    "r\u00f6\u00f6t",
    "\u0661",
    "$",
    "a$b",
    "x" * 33,
    "x" * 10_000,
    "root:x",
    "a,b",
    "*",
)


class NameTests(SynchronousTestCase):
    """What may be an account name at all."""

    def test_usual_names(self) -> None:
        """Names that Linux distributions make are names."""
        for name in GOOD:
            self.assertTrue(is_account_name(name), name)

    def test_hostile_names(self) -> None:
        """Options, paths, control characters, patterns and other scripts are not."""
        for name in BAD:
            self.assertFalse(is_account_name(name), name)

    @given(st.text())
    def test_any_text(self, name: str) -> None:
        """Whatever is accepted is short, printable ASCII that is neither an option nor a path."""
        if is_account_name(name):
            self.assertLessEqual(len(name), 32)
            self.assertTrue(name.isascii() and name.isprintable())
            self.assertNotIn("/", name)
            self.assertFalse(name.startswith("-"))


class LookupTests(SynchronousTestCase):
    """The host's own database is asked, for names that deserve it."""

    def test_own_account(self) -> None:
        """All fields are those of passwd."""
        entry = pwd.getpwuid(os.getuid())
        account = lookup(entry.pw_name)
        self.assertEqual(
            (account.name, account.uid, account.gid, account.home, account.shell),
            (entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell),
        )

    def test_unknown(self) -> None:
        """The sentence names the account."""
        refusal = self.assertRaises(NotFound, lookup, "nobody-here")
        self.assertEqual(refusal.sentence, "There is no account nobody-here on this host.")

    def test_hostile_name_is_not_looked_up(self) -> None:
        """It is refused before any lookup, and the sentence does not repeat it."""
        with mock.patch("pwd.getpwnam") as getpwnam:
            for name in BAD:
                refusal = self.assertRaises(NotFound, lookup, name)
                self.assertEqual(
                    refusal.sentence,
                    "There is no such account on this host: a name has 1 to 32 letters, digits, dots, underscores and "
                    "hyphens, and does not begin with a hyphen.",
                )
        getpwnam.assert_not_called()

    def test_empty_shell_and_home(self) -> None:
        """passwd(5): an empty shell is /bin/sh. A home that is no whole path is the root directory."""
        entry = pwd.struct_passwd(("web", "x", 12, 34, "", "", ""))
        with mock.patch("pwd.getpwnam", return_value=entry):
            account = lookup("web")
        self.assertEqual((account.shell, account.home), ("/bin/sh", "/"))
