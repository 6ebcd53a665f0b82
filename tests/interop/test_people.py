"""``tsh login`` against a real proxy: whom it believes, what it asks, and what becomes of what is typed."""

from __future__ import annotations

import re
import stat
from functools import cache

from tests.interop.case import InteropTests
from tests.interop.cluster import CLUSTER_NAME, Cluster, at
from tests.interop.programs import eventually
from tests.interop.services import LOCALHOST, free_port, temporary_folder, write_private
from tests.interop.tsh import ENTER, PASSWORD, SecondFactor, Tsher, invited
from tests.interop.web import ask, web_authority

RISK = "WARNING: this proxy was not verified."


@cache
def cluster() -> Cluster:
    """Its proxy has a web certificate that an authority signed which nobody knows, unless they are told."""
    made = Cluster(heartbeat="5s")
    folder = made.folder
    certificates, key, authority = web_authority(LOCALHOST)
    (folder / "web.pem").write_text(certificates)
    (folder / "authority.pem").write_text(authority)
    write_private(folder / "web.key", key)
    section = made.proxy.settings["proxy_service"]
    section |= {"https_cert_file": str(folder / "web.pem"), "https_key_file": str(folder / "web.key")}
    return made.start()


_WAITING = re.compile(r"Logging in \.\.\.\r\x1b\[K")


class LoginCase(InteropTests):
    def setUp(self) -> None:
        self.cluster = cluster()

    def refused(self, who: Tsher, *words: str, password: str = PASSWORD, code: str = "") -> str:
        """What appears at a login that fails, but for what comes and goes while auth takes its time."""
        with who.on_terminal("login", f"--proxy={who.proxy}", f"--user={who.name}", *words) as terminal:
            who.answer(terminal, password, code)
            self.assertEqual(terminal.ended(), 1)
        return _WAITING.sub("", terminal.seen.decode())

    def unasked(self, who: Tsher, *words: str, **more: str) -> str:
        """The sentence with which a login fails before anything is asked."""
        with who.on_terminal("login", f"--proxy={who.proxy}", f"--user={who.name}", *words, **more) as terminal:
            self.assertEqual(terminal.ended(), 1)
        said = terminal.seen.decode()
        self.assertNotIn("password for", said)
        return said


class VerifiedTests(LoginCase):
    def test_pin(self) -> None:
        """A pin, and from then on the authority that was verified by it."""
        who = invited(self.cluster, "anna")
        self.assertIn("Logged in as: anna", who.log_in_pinned())
        who.tsh("logout")
        self.assertFalse(who.certificate.exists())
        self.assertIn("Logged in as: anna", who.log_in())

    def test_already(self) -> None:
        """Who is logged in is only told so."""
        who = invited(self.cluster, "already")
        who.log_in_pinned()
        before = who.certificate.read_text()
        self.assertIn("Logged in as: already", who.tsh("login").text)
        self.assertEqual(who.certificate.read_text(), before)

    def test_another_port(self) -> None:
        """Another port of the host is another proxy: who is logged in at the first is not taken for logged in there."""
        who = invited(self.cluster, "port")
        who.log_in_pinned()
        other = f"{LOCALHOST}:{free_port()}"
        for words in (("login", f"--proxy={other}"), ("ls", f"--proxy={other}")):
            done = who.tsh(*words, code=1)
            self.assertIn(other, done.complaint)
            self.assertNotIn("Logged in as", done.text)
        self.assertEqual(who.tsh("status", f"--proxy={other}", code=1).text, f"Not logged in at {other}.\n")
        self.assertIn("Logged in as: port", who.tsh("status", f"--proxy={who.proxy}").text)

    def test_out(self) -> None:
        """A login for a file is good with that file, and leaves no other trace."""
        who = invited(self.cluster, "out")
        path = temporary_folder() / "identity"
        self.assertIn(f"The credentials have been written to {path}", who.log_in_pinned(f"--out={path}"))
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertFalse(who.home.exists())
        with_file = (f"--identity={path}", f"--proxy={who.proxy}")
        self.assertEqual(who.tsh(*with_file, "clusters", "-q").text, f"{CLUSTER_NAME} online\n")
        with who.on_terminal("login", f"--proxy={who.proxy}", f"--out={path}") as terminal:
            self.assertEqual(terminal.ended(), 1)
        self.assertIn(b"exists already. Give --overwrite to replace it", terminal.seen)
        self.assertNotIn(b"password for", terminal.seen)

    def test_files(self) -> None:
        """Everything in ~/.tsh is for its owner alone."""
        who = invited(self.cluster, "files")
        who.log_in_pinned()
        for path in (who.home, *who.home.rglob("*")):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o700 if path.is_dir() else 0o600, path)

    def test_96_wrong_pin(self) -> None:
        """Another pin, and one that is none: nothing is asked."""
        who = invited(self.cluster, "ben")
        self.assertIn("error: ", self.unasked(who, f"--ca-pin=sha256:{'0' * 64}"))
        self.assertIn("error: ", self.unasked(who, "--ca-pin=sha256:abc"))

    def test_system_trust(self) -> None:
        """A web certificate of an authority that this computer trusts."""
        who = invited(self.cluster, "cleo")
        who.variables["SSL_CERT_FILE"] = str(self.cluster.folder / "authority.pem")
        said = who.log_in()
        self.assertIn("Logged in as: cleo", said)
        self.assertNotIn(RISK, said)
        who.tsh("ls")

    def test_unverified(self) -> None:
        """Without pin and trust nothing is asked; the sentence says how to go on."""
        said = self.unasked(invited(self.cluster, "dora"))
        self.assertIn(f"The proxy {LOCALHOST}:{self.cluster.web_port} cannot be verified", said)
        self.assertIn("'tctl status' prints", said)

    def test_insecure(self) -> None:
        """Only ``--insecure`` overrides, and it says what it risks."""
        who = invited(self.cluster, "emil")
        said = who.log_in("--insecure")
        self.assertIn("Logged in as: emil", said)
        who = invited(self.cluster, "emil2")
        with who.on_terminal("login", f"--proxy={who.proxy}", "--user=emil2", "--insecure") as terminal:
            self.assertIn(RISK.encode(), terminal.read_until(b"Enter password"))

    def test_another_cluster(self) -> None:
        """A proxy whose authority is another than the last time gets no password, whatever ``--insecure`` says."""
        who, other = invited(self.cluster, "finn"), Cluster()
        who.log_in_pinned()
        who.tsh("logout")
        self.addCleanup(other.stop)
        other.start()
        who.cluster = other
        said = self.unasked(who, "--insecure")
        self.assertIn("If the cluster was set up anew, log in with --ca-pin=sha256:...", said)

    def test_nobody_there(self) -> None:
        who = invited(self.cluster, "greta")
        done = who.tsh("login", f"--proxy={LOCALHOST}:1", "--user=greta", code=1)
        self.assertIn("error: Cannot connect to the proxy: connection refused.", done.complaint)

    def test_facts(self) -> None:
        """What ``tsh`` reads of a proxy before it asks anything."""
        facts = ask(self.cluster.web_port, "/webapi/ping").json()
        self.assertEqual(at(facts, "auth", "second_factor"), "otp")
        self.assertEqual(at(facts, "proxy", "ssh", "listen_addr"), f"{LOCALHOST}:{self.cluster.proxy_port}")


class TypedTests(LoginCase):
    def test_wrong(self) -> None:
        """A wrong password, a wrong code and a user that is none are told in the same words."""
        who = invited(self.cluster, "hanna")
        pin = f"--ca-pin={self.cluster.pin()}"
        said = [self.refused(who, pin, password="wrong wrong wrong"), self.refused(who, pin, code="000000")]
        who.name = "nobody-of-this-name"
        said.append(self.refused(who, pin, code="000000"))
        for each in said:
            self.assertIn("error: invalid user name, password or second factor", each)
            self.assertEqual(each, said[0])
            self.assertNotIn(PASSWORD, each)
        self.assertFalse(who.home.exists())

    def test_unseen(self) -> None:
        """What is typed does not appear."""
        who = invited(self.cluster, "ida")
        with who.on_terminal("login", f"--proxy={who.proxy}", "--user=ida", f"--ca-pin={who.cluster.pin()}") as seen:
            seen.read_until(b"Enter password for Teleport user ida: ")
            seen.type(PASSWORD + ENTER)
            self.assertNotIn(PASSWORD.encode(), seen.read_until(b"Enter your OTP token: "))

    def test_recovery(self) -> None:
        """A recovery code in place of the app, once."""
        who = invited(self.cluster, "jan")
        words = (f"--proxy={who.proxy}", "--user=jan", f"--ca-pin={who.cluster.pin()}", "--recovery")
        for code, status in ((who.recovery_codes[0], 0), (who.recovery_codes[0], 1)):
            with who.on_terminal("login", *words) as terminal:
                terminal.read_until(b"Enter password")
                terminal.type(PASSWORD + ENTER)
                terminal.read_until(b"Enter a recovery code:")
                terminal.type(code + ENTER)
                self.assertEqual(terminal.ended(), status, terminal.seen)
            who.tsh("logout")

    def test_no_terminal(self) -> None:
        """A password is asked for on a terminal only, and never read from a pipe."""
        who = invited(self.cluster, "kim")
        words = ("login", f"--proxy={who.proxy}", "--user=kim", f"--ca-pin={who.cluster.pin()}")
        done = who.tsh(*words, stdin=f"{PASSWORD}\n".encode(), code=1)
        self.assertIn("error: A password is due, and there is no terminal to ask for it.", done.complaint)

    def test_interrupted(self) -> None:
        """Ctrl-C and Ctrl-D at a question end it, and the terminal shows again what is typed."""
        who = invited(self.cluster, "lea")
        for key in ("\x03", "\x04"):
            words = f"trap : INT; tsh login --proxy={who.proxy} --user=lea --ca-pin={who.cluster.pin()}; stty -a"
            with who.in_shell(words) as terminal:
                terminal.read_until(b"Enter password for Teleport user lea: ")
                terminal.type(key)
                terminal.read_until(b"error: Interrupted.")
                self.assertEqual(terminal.ended(), 0)
            self.assertRegex(terminal.seen.decode(), r"[^-]\becho\b")

    def test_locked_out(self) -> None:
        """After five that were wrong even the right one is refused, and the sentence is the one of auth."""
        who = invited(self.cluster, "moritz")
        pin = f"--ca-pin={self.cluster.pin()}"
        said = [self.refused(who, pin, password="wrong wrong wrong", code="000000") for _ in range(6)]
        self.assertIn("error: ", said[-1])
        self.assertIn("error: ", self.refused(who, pin))


class TimeTests(LoginCase):
    def test_ttl(self) -> None:
        """What is asked for, as far as the roles allow."""
        who = invited(self.cluster, "nina")
        who.log_in_pinned("--ttl=10")
        self.assertRegex(who.tsh("status").text, r"\[valid for (9m\d+s|10m|10m1s)\]")  # ends with a whole second
        who.log_in("--ttl=100000")
        self.assertRegex(who.tsh("status").text, r"\[valid for (1d6h|1d5h)")

    def test_too_short(self) -> None:
        """Less than a minute is refused before anything happens."""
        for text in ("0", "-5", "30s", "soon"):
            done = Tsher("otto", self.cluster, SecondFactor(""), []).tsh("login", f"--ttl={text}", code=2)
            self.assertIn(f"error: argument --ttl: '{text}' is not a time of a minute or more", done.complaint)


class PasswordOnlyTests(InteropTests):
    def test_second_factor_off(self) -> None:
        """Where there is no second factor, none is asked for."""
        cluster = Cluster().without_second_factor()
        self.addCleanup(cluster.stop)
        cluster.start()
        eventually(lambda: at(ask(cluster.web_port, "/webapi/ping").json(), "auth", "second_factor") == "off", "off")
        who = invited(cluster, "paul")
        with who.on_terminal("login", f"--proxy={who.proxy}", "--user=paul", f"--ca-pin={cluster.pin()}") as terminal:
            terminal.read_until(b"Enter password")
            terminal.type(PASSWORD + ENTER)
            self.assertEqual(terminal.ended(), 0)
        self.assertIn("Logged in as: paul", terminal.seen.decode())
