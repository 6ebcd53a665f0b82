"""What all pages have in common, and the parts that they are put together from.

Every text goes through Twisted's templates, which escape it; nothing here writes markup as text.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from attrs import frozen
from twisted.python.failure import Failure
from twisted.web.template import Tag, flattenString, tags

from teleport_conch.errors import TeleportError
from teleport_conch.web.answers import Page

_STYLE = Path(__file__).with_name("static") / "style.css"


@cache
def style_sheet() -> bytes:
    """The one there is."""
    return _STYLE.read_bytes()


@cache
def style_path() -> str:
    """Its address, another one whenever it changes."""
    return f"/web/static/{hashlib.sha256(style_sheet()).hexdigest()[:16]}.css"


def html(page: Page, cluster_name: str) -> bytes:
    """The page as it is sent."""
    written: list[bytes] = []
    failed: list[Failure] = []
    flattenString(None, _document(page, cluster_name)).addCallbacks(written.append, failed.append)
    for failure in failed:
        failure.raiseException()
    return b"<!DOCTYPE html>\n" + written[0]


def _document(page: Page, cluster_name: str) -> Tag:
    head = tags.head(
        tags.meta(charset="utf-8"),
        tags.meta(name="viewport", content="width=device-width, initial-scale=1"),
        tags.meta(name="robots", content="noindex"),
        tags.title(f"{page.title} - {cluster_name}"),
        tags.link(rel="stylesheet", href=style_path()),
    )
    body = tags.body(
        tags.header(tags.p("Teleport Conch", class_="product"), tags.p(cluster_name, class_="cluster")),
        Tag("main")(tags.h1(page.title), page.body),
    )
    return tags.html(head, body, lang="en")


@frozen
class Problem:
    """What was wrong with a form.

    :ivar field: the name of the field, empty where it is about none or several.
    """

    sentence: str
    field: str = ""


def summary(problem: Problem | None) -> Tag | str:
    """The problem in front of the form, where screen readers and the eye begin."""
    if problem is None:
        return ""
    said = tags.a(problem.sentence, href=f"#{problem.field}") if problem.field else problem.sentence
    box = tags.div(tags.h2("There is a problem"), tags.p(said), class_="problem", role="alert", tabindex="-1")
    return box(autofocus="autofocus")


@frozen
class Field:
    """A field of a form.

    :ivar attributes: of the input: ``type``, ``autocomplete`` and the like.
    """

    name: str
    label: str
    hint: str = ""
    value: str = ""
    required: bool = True
    attributes: tuple[tuple[str, str], ...] = ()

    def tag(self, problem: Problem | None = None, place: str = "") -> Tag:
        """Label, hint and input.

        :param place: tells it from another field of the same name on the page.
        """
        unique = f"{place}-{self.name}" if place else self.name
        wrong = problem is not None and problem.field == self.name
        box = tags.input(id=unique, name=self.name, value=self.value, **dict(self.attributes))
        marks = {"aria-describedby": f"{unique}-hint"} if self.hint else {}
        marks |= {"aria-invalid": "true"} if wrong else {}
        marks |= {"required": "required"} if self.required else {}
        hint = tags.p(self.hint, id=f"{unique}-hint", class_="hint") if self.hint else ""
        return tags.div(tags.label(self.label, for_=unique), hint, box(**marks), class_="field")


def password_field(name: str, label: str, autocomplete: str, hint: str = "") -> Field:
    """:param autocomplete: ``current-password`` or ``new-password``."""
    kind = (("type", "password"), ("autocomplete", autocomplete), ("maxlength", "128"))
    return Field(name, label, hint, attributes=kind)


def unseen_name(user: str) -> Tag:
    """The user name, for password managers: they keep a password under it."""
    name = tags.input(type="text", value=user, autocomplete="username", readonly="readonly", class_="unseen")
    return name(**{"aria-label": "User name", "tabindex": "-1"})


def code_field(hint: str = "Six digits, from your authenticator app.", required: bool = True) -> Field:
    """For a code of the second factor."""
    kind = (("type", "text"), ("inputmode", "numeric"), ("autocomplete", "one-time-code"), ("maxlength", "16"))
    return Field("otp_token", "Code", hint, required=required, attributes=kind)


def form(action: str, token: str, *parts: Tag | str, button: str, css: str = "") -> Tag:
    """A form that is sent to ``action``, with the token that shows that it comes from its page."""
    hidden_token = hidden("csrf", token)
    sender = tags.button(button, type="submit")
    return tags.form(hidden_token, *parts, sender, action=action, method="post", class_=css or "plain")


def hidden(name: str, value: str) -> Tag:
    """A field that nobody sees."""
    return tags.input(type="hidden", name=name, value=value)


def done(sentence: str) -> Tag:
    """That something has worked."""
    return tags.p(sentence, class_="done", role="status")


def refusal_page(reason: TeleportError) -> Page:
    """A page that says why there is none."""
    body = tags.div(tags.p(reason.sentence), tags.p(tags.a("To the front page", href="/web")))
    title = _TITLES.get(reason.code, "That did not work")
    return Page(title, body, reason.http_status)


_TITLES = {
    "NOT_FOUND": "Page not found",
    "INVITE_UNKNOWN": "This link is not valid",
    "INVITE_EXPIRED": "This link has expired",
    "INVITE_USED": "This link was used already",
    "CROSS_SITE": "This form is not valid",
    "LIMIT_EXCEEDED": "Too many requests",
    "LOCKED_OUT": "Too many failed logins",
    "CONNECTION_PROBLEM": "The cluster cannot be reached",
}
