"""The pages: what they show, where they lead, and that whatever is echoed stays text.

The number in the names of tests is that of the project's list of attacks.
"""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.template import flattenString

from teleport_conch.client.people import Credentials, OpenedInvite
from teleport_conch.errors import InviteExpired, OTPRefused, PasswordRefused, SessionEnded
from teleport_conch.web.gate import destination, login_path
from teleport_conch.web.qr import BORDER, qr_code
from tests.web.fixture import ADDRESS, NOW, REFUSED, TOKEN, URI, WebTestCase

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>\u202e'
SHOWN = {"kind": "invite", "user": "alice", "otp_secret": "JBSWY3DPEHPK3PXP", "otp_uri": URI}


class PageCase(WebTestCase):
    def assert_inert(self, text: str) -> None:
        """Nothing of :data:`EVIL` is markup."""
        for tag in ("<script", "<img"):
            self.assertNotIn(tag, text)
        self.assertIn("&lt;script&gt;", text)


class FrontTests(PageCase):
    def test_front(self) -> None:
        """To the login, or to the account of who has a session."""
        for path in ("/", "/web"):
            self.assertEqual(self.get(path).headers["Location"], "/web/login")
            self.assertEqual(self.get(path, "5e55a").headers["Location"], "/web/account")

    def test_102_destinations(self) -> None:
        """A login leads to our own pages, whatever is asked for."""
        for asked in ("//evil.example", "https://evil.example", "javascript:alert(1)", "/web/../x", "\\\\evil", ""):
            self.assertEqual(destination(asked), "/web/account")
            self.assertEqual(login_path(asked), "/web/login")
            answer = self.form("/web/login", {"user": "alice", "password": "x", "next": asked})
            self.assertEqual((answer.status, answer.headers["Location"]), (303, "/web/account"))
        self.assertEqual(login_path("/web/account"), "/web/login?next=/web/account")

    def test_shape(self) -> None:
        """A language, a title, a width for telephones, one style sheet, no script, and a label for each field."""
        text = self.get("/web/login").text
        self.assertTrue(text.startswith('<!DOCTYPE html>\n<html lang="en">'))
        self.assertIn("<title>Log in - example.com</title>", text)
        self.assertIn("width=device-width", text)
        self.assertNotIn("<script", text)
        self.assertNotIn("style=", text)
        fields = re.findall(r'<input id="(\w+)"', text)
        self.assertEqual(fields, ["user", "password", "otp_token", "recovery_code"])
        self.assertEqual(re.findall(r'<label for="(\w+)"', text), fields)


class LoginTests(PageCase):
    def test_login(self) -> None:
        """Password and code, which people type with gaps, go to auth with the client's address."""
        self.form("/web/login", {"user": " alice ", "password": " p ", "otp_token": "123 456"})
        self.assertEqual(self.people.asked, [("open_web_session", ("alice", Credentials(" p ", "123456"), ADDRESS))])

    def test_refused(self) -> None:
        """The sentence of auth stands above the form, with the name that was typed and without the password."""
        self.people.failing = REFUSED
        answer = self.form("/web/login", {"user": "alice", "password": "sesame", "recovery_code": "aaaa"})
        self.assertEqual(answer.status, 401)
        self.assertIn("There is a problem", answer.text)
        self.assertIn(REFUSED.sentence, answer.text)
        self.assertIn('value="alice"', answer.text)
        self.assertNotIn("sesame", answer.text)
        self.assertIn('<details open="open">', answer.text)

    def test_without_second_factor(self) -> None:
        """Where the cluster asks for none, there is no field for it."""
        self.second_factor = "off"
        text = self.get("/web/login").text
        self.assertEqual(re.findall(r'<input id="(\w+)"', text), ["user", "password"])
        self.assertNotIn("otp_token", self.get("/web/account", "5e55a").text)

    def test_102_echoed(self) -> None:
        """A name that looks like markup is shown as what it is."""
        self.people.failing = REFUSED
        self.assert_inert(self.form("/web/login", {"user": EVIL, "password": "x"}).text)


class LinkTests(PageCase):
    def test_show(self) -> None:
        """A QR code, the same as text, and where to type."""
        text = self.get(f"/web/invite/{TOKEN}").text
        self.assertIn("Set up your account", text)
        self.assertIn("JBSW Y3DP EHPK 3PXP", text)
        self.assertIn('<svg xmlns="http://www.w3.org/2000/svg"', text)
        self.assertEqual(self.people.asked, [("open_invite", (TOKEN, ADDRESS))])

    def test_without_second_factor(self) -> None:
        """Where the cluster asks for none, there is none to set up."""
        self.people.opened = OpenedInvite("alice", "reset", NOW, "off")
        text = self.get(f"/web/reset/{TOKEN}").text
        self.assertIn("Set a new password", text)
        self.assertNotIn("<svg", text)
        self.assertNotIn("otp_token", text)

    def test_use(self) -> None:
        """The recovery codes are shown, once."""
        answer = self.form(f"/web/invite/{TOKEN}", {**SHOWN, "password": "p", "repeated": "p", "otp_token": "12 34 56"})
        self.assertEqual(self.people.asked, [("accept_invite", (TOKEN, "p", "123456", ADDRESS))])
        self.assertIn("aaaa-bbbb", answer.text)
        self.assertIn("wait for the next code that the app shows", answer.text)
        self.assertEqual(answer.headers["Cache-Control"], "no-store")

    def test_problems(self) -> None:
        """What is wrong is said at its field; the code that was scanned stays, and the link is not opened again."""
        for failing, field in ((PasswordRefused("Too short."), "password"), (OTPRefused("Wrong."), "otp_token")):
            self.people.failing, self.people.asked = failing, []
            answer = self.form(f"/web/invite/{TOKEN}", {**SHOWN, "password": "sesame", "repeated": "sesame"})
            self.assertEqual(answer.status, failing.http_status)
            self.assertIn(f'<a href="#{field}">{failing.sentence}</a>', answer.text)
            self.assertIn("JBSW Y3DP EHPK 3PXP", answer.text)
            self.assertNotIn("sesame", answer.text)
            self.assertEqual([name for name, _ in self.people.asked], ["accept_invite"])
        answer = self.form(f"/web/invite/{TOKEN}", {**SHOWN, "password": "a", "repeated": "b"})
        self.assertIn("The two passwords are not the same.", answer.text)

    def test_ended(self) -> None:
        """A link that is worth nothing says why in its title, and shows no form."""
        self.assertIn("This link is not valid", self.get("/web/invite/other").text)
        self.people.failing = InviteExpired("The link has expired. Ask for another.")
        answer = self.get(f"/web/reset/{TOKEN}")
        self.assertEqual(answer.status, 403)
        self.assertIn("This link has expired", answer.text)
        self.assertNotIn("<form", answer.text)

    def test_102_echoed(self) -> None:
        """The hidden fields are a stranger's text, too; an address that is no key of an app is refused."""
        self.people.failing = OTPRefused("Wrong.")
        answer = self.form(f"/web/invite/{TOKEN}", {**SHOWN, "user": EVIL, "otp_secret": EVIL})
        self.assert_inert(answer.text)
        uris = ("javascript:alert(1)", URI + "x" * 640, URI + "\u2603" * 500)
        for changed in (*({"otp_uri": uri} for uri in uris), {"kind": EVIL}):
            self.assertEqual(self.form(f"/web/invite/{TOKEN}", {**SHOWN, **changed}).status, 400)

    def test_95_names(self) -> None:
        """Nor does what auth answers become markup."""
        self.people.opened = OpenedInvite(EVIL, "invite", NOW, "otp", EVIL, URI)
        self.assert_inert(self.get(f"/web/invite/{TOKEN}").text)


class AccountTests(PageCase):
    def test_show(self) -> None:
        """Who it is, and until when."""
        text = self.get("/web/account", "5e55b").text
        self.assertIn("<dd><bdi>bob</bdi></dd>", text)
        self.assertIn("<dd><bdi>2027-01-15 08:30 UTC</bdi></dd>", text)

    def test_nobody(self) -> None:
        """Without a session one logs in first, and comes back."""
        answer = self.get("/web/account")
        self.assertEqual((answer.status, answer.headers["Location"]), (303, "/web/login?next=/web/account"))
        answer = self.get("/web/account", "5e55f")
        self.assertIn("Max-Age=0", answer.cookies[0])

    def test_password(self) -> None:
        """One's own, by the session and not by the form."""
        fields = {"old_password": "a", "new_password": "b", "repeated": "b", "otp_token": "1", "user": "alice"}
        answer = self.form("/web/account/password", fields, "5e55b")
        self.assertEqual(self.people.asked[-1], ("change_password", ("bob", "a", "b", "1", ADDRESS)))
        self.assertIn("Your password was changed.", answer.text)
        self.people.failing = PasswordRefused("Too short.")
        answer = self.form("/web/account/password", fields, "5e55b")
        self.assertIn('<a href="#new_password">Too short.</a>', answer.text)
        self.people.failing = SessionEnded("It has ended.")
        answer = self.form("/web/account/password", fields, "5e55b")
        self.assertEqual((answer.status, answer.headers["Location"]), (303, "/web/login"))

    def test_second_factor(self) -> None:
        """A link that is only for who has the old one."""
        answer = self.form("/web/account/second-factor", {"password": "a", "otp_token": "1"}, "5e55b")
        self.assertEqual(self.people.asked[-1], ("renewal", ("bob", Credentials("a", "1"), ADDRESS)))
        self.assertEqual(answer.headers["Location"], f"/web/reset/{TOKEN}")
        self.people.failing = REFUSED
        answer = self.form("/web/account/second-factor", {"password": "a"}, "5e55b")
        self.assertIn(REFUSED.sentence, answer.text)


class QRTests(SynchronousTestCase):
    def test_drawn(self) -> None:
        """Every dark module is there once, and a quiet border around them."""
        written: list[bytes] = []
        flattenString(None, qr_code("otpauth://totp/a", 'a "label"')).addCallback(written.append)
        text = written[0].decode()
        squares = {(int(x), int(y)) for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", text)}
        self.assertLessEqual({(BORDER + each, BORDER) for each in range(7)}, squares)
        self.assertEqual(min(min(square) for square in squares), BORDER)
        self.assertIn("&quot;label&quot;", text)
