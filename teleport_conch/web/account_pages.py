"""The pages of who has an account: login, and what a person may do to their own account."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime

from twisted.web.template import Tag, tags

from teleport_conch.client.people import Credentials, SessionOwner
from teleport_conch.errors import SessionEnded, TeleportError
from teleport_conch.web.answers import Answer, Cookie, Elsewhere, Page, StyleSheet
from teleport_conch.web.gate import DESTINATIONS, LOGIN, Gate, Who, destination
from teleport_conch.web.guard import SESSION_COOKIE
from teleport_conch.web.layout import (
    Field,
    Problem,
    code_field,
    done,
    form,
    hidden,
    password_field,
    style_path,
    style_sheet,
    summary,
    unseen_name,
)
from teleport_conch.web.link_pages import code_of
from teleport_conch.web.visit import Visit

ACCOUNT = DESTINATIONS[0]
_USER = Field(
    "user",
    "User name",
    attributes=(("autocomplete", "username"), ("autocapitalize", "none"), ("spellcheck", "false"), ("maxlength", "64")),
)


def add(gate: Gate) -> None:
    """Register the routes."""
    _add_front(gate)
    _add_login(gate)
    _add_account(gate)


def _add_front(gate: Gate) -> None:
    for path in ("/", "/web"):

        @gate.page("GET", path)
        async def front(visit: Visit) -> Answer:
            return Elsewhere(ACCOUNT if visit.session else LOGIN)

    @gate.page("GET", style_path())
    async def style(visit: Visit) -> Answer:
        return StyleSheet(style_sheet())


# Login.


def _add_login(gate: Gate) -> None:
    people = gate.surroundings.people

    @gate.page("GET", LOGIN)
    async def show(visit: Visit) -> Answer:
        return _login_page(visit, visit.query("next"))

    @gate.page("POST", LOGIN)
    async def log_in(visit: Visit) -> Answer:
        credentials = Credentials(
            visit.fields.get("password", ""), code_of(visit), visit.fields.get("recovery_code", "").strip()
        )
        wanted, user = visit.fields.get("next", ""), visit.fields.get("user", "").strip()
        try:
            session = await people().open_web_session(user, credentials, visit.address)
        except TeleportError as reason:
            return _login_page(visit, wanted, user, reason)
        return Elsewhere(destination(wanted), (Cookie(SESSION_COOKIE, session.session),))

    @gate.page("POST", "/web/logout", Who.PERSON)
    async def log_out(visit: Visit) -> Answer:
        await people().close_web_session(visit.session, visit.address)
        return Elsewhere(LOGIN, (Cookie(SESSION_COOKIE, ""),))


def _login_page(visit: Visit, wanted: str, user: str = "", reason: TeleportError | None = None) -> Page:
    problem = None if reason is None else Problem(reason.sentence)
    fields = (
        Field(_USER.name, _USER.label, value=user, attributes=_USER.attributes).tag(),
        password_field("password", "Password", "current-password").tag(),
        *((code_field(required=False).tag(), _lost(visit)) if visit.asks_for_code else ()),
    )
    sent = form(LOGIN, visit.form_token(), hidden("next", destination(wanted)), *fields, button="Log in")
    return Page("Log in", tags.div(summary(problem), sent), 200 if reason is None else reason.http_status)


def _lost(visit: Visit) -> Tag:
    """The way in without the app."""
    hint = "One of those that you kept; it is good once."
    field = Field("recovery_code", "Recovery code", hint, required=False).tag()
    lost = tags.details(tags.summary("I do not have my authenticator app"), field)
    return lost(open="open") if visit.fields.get("recovery_code") else lost


# The account.


def _add_account(gate: Gate) -> None:
    people = gate.surroundings.people

    @gate.page("GET", ACCOUNT, Who.PERSON)
    async def show(visit: Visit) -> Answer:
        return _account_page(visit)

    @gate.page("POST", "/web/account/password", Who.PERSON)
    async def change_password(visit: Visit) -> Answer:
        old, new = visit.fields.get("old_password", ""), visit.fields.get("new_password", "")
        if new != visit.fields.get("repeated", ""):
            return _account_page(visit, Problem("The two new passwords are not the same.", "repeated"), 400)
        user, code = visit.known.user, code_of(visit)
        refused = await _tried(visit, people().change_password(user, old, new, code, visit.address), "new_password")
        return refused or _account_page(visit, said="Your password was changed.")

    @gate.page("POST", "/web/account/second-factor", Who.PERSON)
    async def renew(visit: Visit) -> Answer:
        credentials = Credentials(
            visit.fields.get("password", ""), code_of(visit), visit.fields.get("recovery_code", "").strip()
        )
        try:
            link = await people().renewal(visit.known.user, credentials, visit.address)
        except SessionEnded:
            raise
        except TeleportError as reason:
            return _account_page(visit, Problem(reason.sentence), reason.http_status)
        return Elsewhere(f"/web/reset/{link.token}")


async def _tried(visit: Visit, work: Awaitable[None], field: str) -> Page | None:
    """The page that says why it did not work; None where it did.

    :param field: that a refused password is about.
    """
    try:
        await work
    except SessionEnded:
        raise
    except TeleportError as reason:
        problem = Problem(reason.sentence, field if reason.code == "PASSWORD_REFUSED" else "")
        return _account_page(visit, problem, reason.http_status)
    return None


def _account_page(visit: Visit, problem: Problem | None = None, status: int = 200, said: str = "") -> Page:
    token = visit.form_token()
    body = tags.div(
        summary(problem),
        done(said) if said else "",
        _who(visit.known),
        form("/web/logout", token, button="Log out", css="quiet"),
        _password_form(visit, token, problem),
        _second_factor_form(visit.known.user, token) if visit.asks_for_code else "",
    )
    return Page("Your account", body, status)


def _who(owner: SessionOwner) -> Tag:
    until = f"{datetime.fromtimestamp(owner.expires_at, UTC):%Y-%m-%d %H:%M} UTC"
    facts = (("User", owner.user), ("Roles", ", ".join(owner.roles) or "none"), ("Logged in here until", until))
    return tags.dl([(tags.dt(name), tags.dd(tags.bdi(value))) for name, value in facts])


def _password_form(visit: Visit, token: str, problem: Problem | None) -> Tag:
    fields = (
        unseen_name(visit.known.user),
        password_field("old_password", "Your password now", "current-password").tag(problem),
        _code("change", problem) if visit.asks_for_code else "",
        password_field("new_password", "New password", "new-password").tag(problem),
        password_field("repeated", "The new password again", "new-password").tag(problem),
    )
    sent = form("/web/account/password", token, *fields, button="Change password")
    return tags.section(tags.h2("Change your password"), sent)


def _second_factor_form(user: str, token: str) -> Tag:
    why = (
        "For a new telephone, or when the recovery codes run out: you choose a password, scan a code and get new codes."
    )
    fields = (
        unseen_name(user),
        password_field("password", "Your password", "current-password").tag(),
        _code("renew", None),
        Field("recovery_code", "Or a recovery code", required=False).tag(),
    )
    sent = form("/web/account/second-factor", token, *fields, button="Begin")
    return tags.section(tags.h2("New authenticator app or recovery codes"), tags.p(why), sent)


def _code(where: str, problem: Problem | None) -> Tag:
    """The field of a code, of which the page has two."""
    return code_field(required=False).tag(problem, place=where)
