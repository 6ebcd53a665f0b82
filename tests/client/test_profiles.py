"""The files of ~/.tsh."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.client.profiles import Home, Profile
from teleport_conch.errors import BadParameter, NotFound, UnsafePath
from tests.cli.tsh.logins import PROXY, login, profile, saved
from tests.client.certificates import CLUSTER, HOST_CA, TRUSTED


class HomeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def test_kept(self) -> None:
        """What is saved is found again, with the authority of the cluster."""
        made = login()
        home = saved(self.folder, made)
        found = home.login(home.profile())
        self.assertEqual(found.profile, made.profile)
        self.assertEqual(found.certificate, made.certificate)
        self.assertEqual(found.identity, evolve(made.identity, ssh_certificate=found.identity.ssh_certificate))
        self.assertEqual(home.authority(made.profile), HOST_CA.public())
        self.assertEqual(home.trusted(PROXY), TRUSTED)
        self.assertFalse(found.expired_at(made.identity.not_after - 1))
        self.assertTrue(found.expired_at(made.identity.not_after))

    def test_layout(self) -> None:
        """The files are those that Teleport has, where it has them; nobody else can read any of them."""
        saved(self.folder, login())
        keys = self.folder / "keys" / PROXY
        names = {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()}
        own = {f"alice{end}" for end in ("", ".pub", "-cert.pub", "-x509.pem")}
        own |= {"certs.pem", f"{CLUSTER}.known_hosts", f"{CLUSTER}.ssh_config"}
        expected = {"current-profile", f"{PROXY}.yaml", "known_hosts", *(f"keys/{PROXY}/{name}" for name in own)}
        self.assertEqual(names, expected)
        for path in (*self.folder.rglob("*"), self.folder):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o700 if path.is_dir() else 0o600, str(path))
        self.assertIn("BEGIN OPENSSH PRIVATE KEY", (keys / "alice").read_text())
        self.assertTrue((keys / "alice.pub").read_text().endswith(" teleport:alice\n"))

    def test_known_hosts(self) -> None:
        """Each cluster has a file of its own, and OpenSSH's default is all of them."""
        saved(self.folder, login(), login("bob", "other.example.org"))
        lines = (self.folder / "known_hosts").read_text().splitlines()
        heads = [line.split()[1] for line in lines]
        self.assertEqual(
            heads,
            [f"*.{CLUSTER},{host},[{host}]:3023" for host in ("other.example.org", PROXY)],
        )

    def test_several_proxies(self) -> None:
        """The last login is the current one and comes first; the others stay."""
        home = saved(self.folder, login(), login("bob", "a.example.org"), login("carol", "b.example.org"))
        self.assertEqual([each.user for each in home.profiles()], ["carol", "bob", "alice"])
        self.assertEqual(home.profile(PROXY).user, "alice")

    def test_forgotten(self) -> None:
        """Of a login that is over nothing secret stays; who is known as the proxy's authority does."""
        home = saved(self.folder, login())
        home.forget(profile())
        self.assertEqual(home.current(), "")
        self.assertEqual(
            sorted(path.name for path in self.folder.rglob("*") if path.is_file()), ["certs.pem", "known_hosts"]
        )
        self.assertEqual((self.folder / "known_hosts").read_text(), "")

    def test_nobody(self) -> None:
        home = Home(self.folder)
        self.assertEqual(list(home.profiles()), [])
        problem = self.assertRaises(NotFound, home.profile)
        self.assertEqual(problem.sentence, "Not logged in. Log in with: tsh login --proxy=proxy.example.com")
        problem = self.assertRaises(NotFound, home.profile, PROXY)
        self.assertEqual(problem.sentence, f"Not logged in at {PROXY}. Log in with: tsh login --proxy={PROXY}")

    def test_removed_key(self) -> None:
        home = saved(self.folder, login())
        home.key(profile()).unlink()
        problem = self.assertRaises(NotFound, home.login, profile())
        self.assertEqual(problem.sentence, f"alice is not logged in at {PROXY}. Log in with: tsh login")

    def test_open_to_others(self) -> None:
        """A key that others can read is used no more."""
        home = saved(self.folder, login())
        home.key(profile()).chmod(0o644)
        self.assertIn("Run: chmod go=", self.assertRaises(UnsafePath, home.login, profile()).sentence)

    def test_of_somebody_else(self) -> None:
        """Root, too, is refused with the folder of somebody else, and with a file in it."""
        home = saved(self.folder, login())
        home.check()
        other = os.geteuid() + 1
        self.patch(os, "geteuid", lambda: other)
        for refused in (home.check, home.profile, lambda: home.login(profile())):
            self.assertIn(" belongs to another account (uid ", self.assertRaises(UnsafePath, refused).sentence)

    def test_broken_profile(self) -> None:
        home = saved(self.folder, login())
        for text in ("[1]", "a: [", "user: alice\n"):
            (self.folder / f"{PROXY}.yaml").write_text(text)
            self.assertRaises(BadParameter, home.profile)

    def test_names_of_files(self) -> None:
        """T80: neither a user nor a proxy leads out of the folder."""
        home = Home(self.folder)
        for user in ("../../x", "a/b", ".ssh", "-x", "", "a\nb", "x" * 300):
            self.assertRaises(BadParameter, home.key, profile(user))
        for host in ("../x", "a/b", "-oProxyCommand=x", "", "a b", "x\n", "x" * 300):
            self.assertRaises(BadParameter, home.keys, host)

    def test_yaml(self) -> None:
        made = Profile("proxy", "proxy:3080", "proxy:3023", "zoë", CLUSTER)
        self.assertEqual(Profile.from_yaml("proxy", made.to_yaml()), made)
