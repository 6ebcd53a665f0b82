"""The first day in a cluster of three processes: invited in a browser, and at work with tsh and plain ssh."""

from __future__ import annotations

from tests.interop.browser import Browser
from tests.interop.case import InteropTests
from tests.interop.cluster import LOGIN, Cluster
from tests.interop.programs import check, run
from tests.interop.services import LOCALHOST, temporary_folder, write_private
from tests.interop.tsh import PASSWORD, SecondFactor, Tsher, token_in

LABELS = {"web1": {"env": "prod"}, "web2": {"env": "test"}}


class FirstDayTests(InteropTests):
    def invited_in_browser(self, cluster: Cluster, name: str) -> Tsher:
        """A new user, who follows the link and types into the page what it asks for."""
        added = cluster.tctl("users", "add", name, "--roles=access", f"--logins={LOGIN}").text
        browser = Browser.start()
        self.addCleanup(browser.stop)
        browser.go(f"https://{LOCALHOST}:{cluster.web_port}/web/invite/{token_in(added)}")
        factor = SecondFactor(browser.text(".secret"))
        for place, text in (("#password", PASSWORD), ("#repeated", PASSWORD), ("#otp_token", factor.code())):
            browser.type(place, text)
        browser.click("button")
        self.assertEqual(browser.title, "Keep your recovery codes")
        return Tsher(name, cluster, factor, [])

    def test_from_invitation_to_work(self) -> None:
        """A password and a second factor chosen in Chromium are good for tsh, and its certificate for plain ssh."""
        alice = self.invited_in_browser(Cluster().start("web1", "web2", labels=LABELS), "alice")
        self.assertIn("Logged in as: alice", alice.log_in_pinned())
        self.assertEqual(alice.tsh("ls", "-f", "names").text.split(), ["web1", "web2"])
        self.assertEqual(alice.tsh("ls", "-f", "names", "env=test").text.split(), ["web2"])
        self.assertEqual(alice.tsh("ssh", "web1", "echo from there").text, "from there\n")
        file = temporary_folder() / "file"
        file.write_text("what was copied\n")
        alice.tsh("scp", str(file), f"web1:{file}.there")
        self.assertEqual((file.parent / "file.there").read_text(), "what was copied\n")
        config = write_private(temporary_folder() / "config", alice.tsh("config").text)
        plain = run("ssh", "-F", str(config), alice.host("web2"), "echo plain", env=alice.environment())
        self.assertEqual(check(plain).text, "plain\n")
