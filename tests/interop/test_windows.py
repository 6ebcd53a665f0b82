"""``ssh -X`` and ``-Y`` to a node: programs of X11 there, and a display here."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from attrs import frozen

from tests.interop.accounts import guest_account, is_root
from tests.interop.case import InteropTests
from tests.interop.certificates import signed_by_cluster
from tests.interop.cluster import LOGIN
from tests.interop.person import Person
from tests.interop.programs import Done, check, environment, run
from tests.interop.requirements import require
from tests.interop.shared import FIRST_DISPLAY, alice, open_alice, open_cluster

REFUSED = "X11 forwarding request failed"


@frozen
class Screen:
    """An X server with a cookie.

    :ivar name: what DISPLAY says.
    """

    name: str
    authority: Path

    @property
    def environment(self) -> dict[str, str]:
        return environment(DISPLAY=self.name, XAUTHORITY=str(self.authority))


class WindowCase(InteropTests):
    def screen(self) -> Screen:
        """A screen that nobody sees, and that ends with the test."""
        authority = Path(tempfile.mkdtemp(prefix="screen-")) / "authority"
        self.xauth(authority, ":0")  # the server takes the cookie of any display
        # A screen that is left by its last program begins anew, and sends away who comes at that moment.
        own = ("-noreset", "-nolisten", "tcp", "-displayfd", "1", "-auth", str(authority))
        line = [require("Xvfb", "xvfb"), *own]
        server = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        assert server.stdout is not None
        screen = Screen(f":{server.stdout.readline().decode().strip()}", authority)
        server.stdout.close()
        self.xauth(authority, screen.name)
        return screen

    def xauth(self, authority: Path, display: str) -> None:
        """Keeps a cookie for the display, the same for all."""
        check(run(require("xauth", "xauth"), "-f", str(authority), "add", display, ".", "0123456789abcdef" * 2))

    def ssh(self, screen: Screen, person: Person, *words: str) -> Done:
        """``ssh`` at this screen."""
        located = f"XAuthLocation={require('xauth', 'xauth')}"
        line = (require("ssh", "openssh-client"), "-F", str(person.jump_config), "-o", located, *words)
        return run(*line, env=screen.environment)


class WindowTests(WindowCase):
    """A node that forwards X11, and a certificate that permits it."""

    def person(self) -> Person:
        """Whose windows these are."""
        return open_alice()

    def login(self) -> str:
        return guest_account().pw_name if is_root() else LOGIN

    def test_trusted(self) -> None:
        """``-Y``: programs there reach the screen here, one by one; DISPLAY and cookie are the session's own."""
        require("xdpyinfo", "x11-utils")
        done = self.ssh(
            self.screen(), self.person(), "-Y", "-l", self.login(), "web1", "xdpyinfo; xdpyinfo; xauth list"
        )
        self.assertEqual(done.code, 0, done)
        shown = re.findall(r"name of display: +localhost:(\d+)\.0\n", done.text)
        self.assertEqual(len(shown), 2, done)
        self.assertGreaterEqual(int(shown[0]), FIRST_DISPLAY)
        self.assertIn("X.Org", done.text)
        self.assertNotIn("0123456789abcdef", done.text)

    def test_untrusted(self) -> None:
        """``-X``: the same with a cookie of which the screen knows that it is not to be trusted."""
        require("xdpyinfo", "x11-utils")
        done = self.ssh(self.screen(), self.person(), "-X", "-l", self.login(), "web1", "xdpyinfo")
        self.assertEqual(done.code, 0, done)
        self.assertIn("name of display:    localhost:", done.text)

    def test_another_cookie(self) -> None:
        """Who can reach the port and not read the cookie gets no window."""
        require("xdpyinfo", "x11-utils")
        done = self.ssh(self.screen(), self.person(), "-Y", "-l", self.login(), "web1",
                        "XAUTHORITY=/dev/null xdpyinfo; echo $?")  # fmt: skip
        self.assertEqual(done.text, "1\n", done)
        self.assertIn("unable to open display", done.complaint)

    def test_not_asked_for(self) -> None:
        """Without ``-X`` there is no display."""
        done = self.ssh(self.screen(), self.person(), "-x", "web1", "echo ${DISPLAY-none}")
        self.assertEqual(done.text, "none\n", done)


class RefusalTests(WindowCase):
    """Threat 72: node and certificate have to permit it; the session goes on without."""

    def refused(self, person: Person) -> Done:
        done = self.ssh(self.screen(), person, "-Y", "web1", "echo ${DISPLAY-none}")
        self.assertEqual((done.text, done.code), ("none\n", 0), done)
        self.assertIn(REFUSED, done.complaint)
        return done

    def test_node(self) -> None:
        """A node that is not told to forward X11 does not."""
        self.refused(alice())

    def test_certificate(self) -> None:
        """A certificate without ``permit-X11-forwarding``, whatever its roles; the event says why."""
        bob = signed_by_cluster(open_cluster(), "bob", "-O", "no-x11-forwarding")
        self.refused(bob)
        event = open_cluster().event("x11-forward", lambda event: event["user"] == "bob", "bob's was refused")
        self.assertEqual(event["error"], "The certificate does not permit X11 forwarding.")
        self.assertFalse(event["success"])
