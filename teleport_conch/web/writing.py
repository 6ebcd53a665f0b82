"""How answers of the web room are written: what each kind looks like in HTTP, and the headers that all of them have."""

from __future__ import annotations

import json
from collections.abc import Iterable
from http import HTTPStatus

from twisted.web.server import Request

from teleport_conch.web import limits
from teleport_conch.web.answers import Answer, Cookie, Data, Elsewhere, Page, StyleSheet
from teleport_conch.web.guard import SECURITY_HEADERS
from teleport_conch.web.layout import html


def write(request: Request, answer: Answer, page_cookies: Iterable[Cookie], cluster_name: str) -> bytes:
    """Set status and headers, and answer the body.

    :param page_cookies: to set where the answer is a page.
    """
    for name, value in SECURITY_HEADERS.items():
        request.setHeader(name, value)
    status, kind, body = _content(answer, cluster_name)
    if isinstance(answer, Elsewhere):
        request.setHeader("Location", answer.path)
    if isinstance(answer, StyleSheet):
        request.setHeader("Cache-Control", f"public, max-age={limits.STYLE_KEPT_S}, immutable")
    else:
        for cookie in (*answer.cookies, *(page_cookies if isinstance(answer, Page) else ())):
            request.responseHeaders.addRawHeader("Set-Cookie", cookie.header())
    request.setResponseCode(status, HTTPStatus(status).phrase.encode())
    request.setHeader("Content-Type", kind)
    request.setHeader("Content-Length", str(len(body)))
    return body


def _content(answer: Answer, cluster_name: str) -> tuple[int, str, bytes]:
    """Status, type and body."""
    match answer:
        case Data():
            return answer.status, "application/json", json.dumps(answer.value).encode()
        case Page():
            return answer.status, "text/html; charset=utf-8", html(answer, cluster_name)
        case Elsewhere():
            return 303, "text/plain; charset=utf-8", b""
        case StyleSheet():
            return 200, "text/css; charset=utf-8", answer.text
