"""The proxy's pages in a real browser: from an invitation to the account, and what they refuse."""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path

from teleport_conch.resources.user import User
from tests.interop import api
from tests.interop.browser import Browser
from tests.interop.case import InteropTests
from tests.interop.cluster import LOGIN, Cluster
from tests.interop.services import LOCALHOST
from tests.interop.tsh import PASSWORD, STEP_S, code_at


@cache
def cluster() -> Cluster:
    return Cluster().start()


def code_of(secret: str, at: float | None = None) -> str:
    """The six digits of RFC 6238 for a secret as the page shows it."""
    return code_at(secret, int((at or time.time()) // STEP_S))


class PageCase(InteropTests):
    def setUp(self) -> None:
        self.cluster = cluster()
        self.base = f"https://{LOCALHOST}:{self.cluster.web_port}"
        self.browser = Browser.start()
        self.addCleanup(self.browser.stop)

    def ask(self, method: str, path: str, body: object) -> dict[str, object]:
        auth = self.cluster.auth
        return dict(api.ask(LOCALHOST, self.cluster.auth_port, auth.data_dir, method, path, body))

    def link(self, name: str, kind: str = "invite") -> str:
        """The path of a link for a user, who is made for it."""
        if kind == "invite":
            self.ask("POST", "/v1/users", User(name, ("access",), {"logins": (LOGIN,)}).to_json())
        invite = self.ask("POST", f"/v1/users/{name}/invites", {"kind": kind, "ttl": 600})
        return f"{self.base}/web/{kind}/{invite['token']}"

    def secret(self) -> str:
        return self.browser.text(".secret")

    def set_up(self, name: str) -> tuple[str, list[str]]:
        """A user with a password: the secret of the second factor, and the recovery codes."""
        browser = self.browser
        browser.go(self.link(name))
        secret = self.secret()
        self.choose(PASSWORD, code_of(secret))
        self.assertEqual(browser.title, "Keep your recovery codes")
        codes = browser.look("[...document.querySelectorAll('.codes code')].map(each => each.innerText)")
        assert isinstance(codes, list), codes
        return secret, codes

    def choose(self, password: str, code: str, repeated: str = "") -> None:
        self.browser.type("#password", password)
        self.browser.type("#repeated", repeated or password)
        self.browser.type("#otp_token", code)
        self.browser.click("button")

    def log_in(self, name: str, password: str, code: str) -> None:
        self.browser.type("#user", name)
        self.browser.type("#password", password)
        self.browser.type("#otp_token", code)
        self.browser.click("button")

    def picture(self, name: str) -> None:
        """What it looks like, where somebody wants to see it: a folder named by TELEPORT_CONCH_PICTURES."""
        folder = os.environ.get("TELEPORT_CONCH_PICTURES")
        if not folder:
            return
        for size, dark in (((1280, 900), False), ((390, 844), False), ((390, 844), True)):
            self.browser.resize(*size, dark=dark)
            self.browser.picture(Path(folder) / f"{name}-{size[0]}{'-dark' if dark else ''}.png")


class JourneyTests(PageCase):
    def test_from_invitation_to_account(self) -> None:
        """A new user sets password and second factor, keeps the recovery codes, logs in, and logs out."""
        browser = self.browser
        browser.go(self.link("alice"))
        self.assertEqual(browser.title, "Set up your account")
        secret = self.secret()
        self.picture("invite")
        self.choose(PASSWORD, code_of(secret))
        self.assertEqual(browser.title, "Keep your recovery codes")
        codes = browser.look("[...document.querySelectorAll('.codes code')].map(each => each.innerText)")
        assert isinstance(codes, list)
        self.assertEqual(len(set(codes)), 10)
        self.picture("codes")
        browser.click("a.button")
        self.assertEqual(browser.title, "Log in")
        self.picture("login")
        self.log_in("alice", PASSWORD, code_of(secret, time.time() + STEP_S))
        self.assertEqual((browser.title, browser.path), ("Your account", "/web/account"))
        self.assertIn("alice", browser.text("dl"))
        self.picture("account")
        browser.click(".quiet button")
        self.assertEqual(browser.title, "Log in")
        browser.go(f"{self.base}/web/account")
        self.assertEqual(browser.title, "Log in")
        self.assertEqual(browser.errors, [])

    def test_recovery_and_renewal(self) -> None:
        """A recovery code takes the place of the app; with a new app, the old codes are worthless."""
        browser = self.browser
        secret, codes = self.set_up("bob")
        browser.go(f"{self.base}/web/login")
        self.log_in_with_recovery("bob", codes[0])
        self.assertEqual(browser.title, "Your account")
        browser.type("section:last-of-type input[name=password]", PASSWORD)
        browser.type("#renew-otp_token", code_of(secret, time.time() + STEP_S))
        browser.click("section:last-of-type button")
        self.assertEqual(browser.title, "Change password and second factor")
        fresh = self.secret()
        self.assertNotEqual(fresh, secret)
        self.choose("another good long password", code_of(fresh))
        self.assertEqual(browser.title, "Keep your recovery codes")
        browser.go(f"{self.base}/web/login")
        self.log_in_with_recovery("bob", codes[1])
        self.assertIn("There is a problem", browser.text(".problem"))

    def log_in_with_recovery(self, name: str, code: str) -> None:
        self.browser.look("document.querySelector('details').open = true")
        self.browser.type("#recovery_code", code)
        self.browser.type("#user", name)
        self.browser.type("#password", PASSWORD)
        self.browser.click("button")

    def test_change_of_password(self) -> None:
        """With the old password and a code; what is wrong is said beside the form."""
        browser = self.browser
        secret, _ = self.set_up("carol")
        browser.go(f"{self.base}/web/login")
        self.log_in("carol", PASSWORD, code_of(secret, time.time() + STEP_S))
        for old, new, again, said in (
            (PASSWORD, "new good long password", "new good long passwort", "The two new passwords are not the same."),
            ("wrong wrong wrong", "new good long password", "", "Invalid user name, password or second factor"),
        ):
            browser.type("#old_password", old)
            browser.type("#new_password", new)
            browser.type("#repeated", again or new)
            browser.click("section:first-of-type button")
            self.assertIn(said, browser.text(".problem"))


class RefusedTests(PageCase):
    def test_bad_link(self) -> None:
        """A link that never was, and one that was used, say so and no more."""
        browser = self.browser
        browser.go(f"{self.base}/web/invite/{'0' * 32}")
        self.assertEqual(browser.title, "This link is not valid")
        link = self.link("dave")
        browser.go(link)
        self.choose(PASSWORD, code_of(self.secret()))
        browser.go(link)
        self.assertEqual(browser.title, "This link was used already")
        browser.go(f"{self.base}/web/nothing")
        self.assertEqual(browser.title, "Page not found")
        self.picture("missing")

    def test_wrong_code_and_weak_password(self) -> None:
        """What is wrong is said, and the QR code stays the one that was scanned."""
        browser = self.browser
        browser.go(self.link("erin"))
        secret = self.secret()
        for password, code, repeated, said in (
            ("short", code_of(secret), "", "12"),
            (PASSWORD, code_of(secret), "something else entirely", "The two passwords are not the same."),
            (PASSWORD, "000000", "", "code"),
        ):
            self.choose(password, code, repeated)
            self.assertIn(said, browser.text(".problem"))
            self.assertEqual(self.secret(), secret)
        self.picture("problem")
        self.choose(PASSWORD, code_of(secret))
        self.assertEqual(browser.title, "Keep your recovery codes")

    def test_102_inert(self) -> None:
        """What somebody types comes back as text, whatever it looks like; a login leads to no other site."""
        browser = self.browser
        browser.go(f"{self.base}/web/login?next=//evil.example/%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
        self.assertEqual(browser.look("document.querySelector('[name=next]').value"), "/web/account")
        name = '"><img src=x onerror=alert(1)>\u202e'
        self.log_in(name, PASSWORD, "000000")
        self.assertEqual(browser.look("document.querySelector('#user').value"), name)
        self.assertEqual(browser.look("document.images.length + document.scripts.length"), 0)
        self.assertIn("There is a problem", browser.text(".problem"))
        self.assertEqual(browser.look("document.activeElement.className"), "problem")
        self.picture("refused")

    def test_100_other_site(self) -> None:
        """A page of another origin that sends a form here, with the browser's own cookies, is refused with an event."""
        browser = self.browser
        secret, _ = self.set_up("frank")
        browser.go(f"{self.base}/web/login")
        self.log_in("frank", PASSWORD, code_of(secret, time.time() + STEP_S))
        browser.go("about:blank")
        action = f"{self.base}/web/account/password"
        browser.look(
            f'document.body.innerHTML = \'<form method=post action="{action}"><input name=csrf value=x></form>'
            '<button onclick="document.forms[0].submit()">x</button>\''
        )
        browser.click("button")
        self.assertEqual(browser.title, "This form is not valid")
        event = self.cluster.event(
            "web.refused", lambda each: each["action"] == "POST /web/account/password", "of the other site"
        )
        self.assertEqual((event["code"], event["addr.remote"]), ("TJ041W", LOCALHOST))
