"""The pages behind a link: an invitation, or a link for another password and second factor."""

from __future__ import annotations

from twisted.web.template import Tag, tags

from teleport_conch.client.people import AcceptedInvite, OpenedInvite
from teleport_conch.errors import BadParameter, InviteRefused, TeleportError
from teleport_conch.web.answers import Answer, Page
from teleport_conch.web.gate import LOGIN, Gate
from teleport_conch.web.layout import Problem, code_field, form, hidden, password_field, summary, unseen_name
from teleport_conch.web.qr import qr_code
from teleport_conch.web.visit import Visit

KINDS = ("invite", "reset")
MAX_URI_CHARS = 640
"""Of what a QR code is drawn for, which takes the longer the more it is: our own have less, and ASCII only."""
_URI_START = "otpauth://totp/"
_TITLES = {
    "invite": "Set up your account",
    "reset": "Set a new password",
    "renew": "Change password and second factor",
}
_FIELD_OF = {"PASSWORD_REFUSED": "password", "OTP_REFUSED": "otp_token"}


def add(gate: Gate) -> None:
    """Register the routes."""
    for kind in KINDS:
        _add_kind(gate, f"/web/{kind}/<token>")


def _add_kind(gate: Gate, path: str) -> None:
    people = gate.surroundings.people

    @gate.page("GET", path)
    async def show(visit: Visit, token: str) -> Answer:
        opened = await people().open_invite(token, visit.address)
        return _page(visit, opened)

    @gate.page("POST", path)
    async def use(visit: Visit, token: str) -> Answer:
        shown = _shown(visit)
        password = visit.fields.get("password", "")
        if password != visit.fields.get("repeated", ""):
            return _page(visit, shown, Problem("The two passwords are not the same.", "repeated"), 400)
        code = code_of(visit)
        try:
            accepted = await people().accept_invite(token, password, code, visit.address)
        except InviteRefused:
            raise
        except TeleportError as reason:
            problem = Problem(reason.sentence, _FIELD_OF.get(reason.code, ""))
            return _page(visit, shown, problem, reason.http_status)
        return _accepted(accepted)


def code_of(visit: Visit) -> str:
    """The code of the second factor; apps show it with a gap in the middle."""
    return "".join(visit.fields.get("otp_token", "").split())


def _shown(visit: Visit) -> OpenedInvite:
    """What the page had shown, by its own hidden fields: opening the link again would ask for a new QR code to be read.

    Nothing of it is believed by auth; it is shown to who sent it, and to nobody else.
    """
    secret, uri = visit.fields.get("otp_secret", ""), visit.fields.get("otp_uri", "")
    kind, user = visit.fields.get("kind", ""), visit.fields.get("user", "")
    could_be_ours = uri.startswith(_URI_START) and uri.isascii() and len(uri) <= MAX_URI_CHARS
    if (uri and not could_be_ours) or kind not in _TITLES:
        raise BadParameter("This is not a form that was sent from its page.")
    return OpenedInvite(user, kind, 0.0, "otp" if uri else "off", secret, uri)


def _page(visit: Visit, shown: OpenedInvite, problem: Problem | None = None, status: int = 200) -> Page:
    intro = tags.p("Welcome, " if shown.kind == "invite" else "For the user ", tags.bdi(shown.user), ".")
    kept = [hidden(name, value) for name, value in (
        ("kind", shown.kind), ("user", shown.user), ("otp_secret", shown.otp_secret), ("otp_uri", shown.otp_uri),
    )]  # fmt: skip
    sections = [_password(shown, problem), *([_second_factor(shown, problem)] if shown.otp_uri else [])]
    button = "Set up the account" if shown.kind == "invite" else "Save"
    action = visit.request.path.decode("ascii", "replace")
    body = tags.div(summary(problem), intro, form(action, visit.form_token(), *kept, *sections, button=button))
    return Page(_TITLES.get(shown.kind, _TITLES["reset"]), body, status)


def _password(shown: OpenedInvite, problem: Problem | None) -> Tag:
    hint = "12 or more characters; several words in a row are good. No rule about digits or signs."
    return tags.fieldset(
        tags.legend("Choose a password"),
        unseen_name(shown.user),
        password_field("password", "Password", "new-password", hint).tag(problem),
        password_field("repeated", "The same password again", "new-password").tag(problem),
    )


def _second_factor(shown: OpenedInvite, problem: Problem | None) -> Tag:
    secret = " ".join(shown.otp_secret[start : start + 4] for start in range(0, len(shown.otp_secret), 4))
    steps = tags.ol(
        tags.li("Open an authenticator app on your telephone, such as Aegis, FreeOTP+ or a password manager."),
        tags.li("Scan this code with it.", tags.div(qr_code(shown.otp_uri, "QR code for the app"), class_="frame")),
        tags.li("Or type this key into it (time-based, 6 digits, SHA-1): ", tags.code(secret, class_="secret")),
        tags.li("Type the six digits that the app shows."),
    )
    return tags.fieldset(tags.legend("Add a second factor"), steps, code_field().tag(problem))


def _accepted(accepted: AcceptedInvite) -> Page:
    if not accepted.recovery_codes:
        return Page("All done", tags.div(tags.p(f"The password of {accepted.user} is set."), _to_login("Log in")))
    codes = tags.ol([tags.li(tags.code(code)) for code in accepted.recovery_codes], class_="codes")
    body = tags.div(
        tags.p(
            "Each of these codes replaces the second factor once, for when the telephone is lost. ",
            tags.strong("They are shown only now."),
            " Print this page, or copy them to where your telephone is not.",
        ),
        codes,
        tags.p(f"For {accepted.user}.", class_="print-only"),
        tags.p(
            "To log in, wait for the next code that the app shows: each is good once, and the last one has been used."
        ),
        _to_login("I have kept them. Log in"),
    )
    return Page("Keep your recovery codes", body)


def _to_login(text: str) -> Tag:
    return tags.p(tags.a(text, href=LOGIN, class_="button"))
