"""The web port of a proxy, asked with any server name, from any address of loopback."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping

from attrs import field, frozen
from cryptography import x509

from tests.interop.services import LOCALHOST

TIMEOUT_S = 30.0


@frozen
class Answer:
    """An answer, and the certificate that the server showed."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str]
    certificate: x509.Certificate

    def json(self) -> dict[str, object]:
        found = json.loads(self.body)
        assert isinstance(found, dict), found
        return found


def context(authorities: str = "") -> ssl.SSLContext:
    """Of a client that believes these authorities; without any it takes whatever it is shown."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authorities:
        made.load_verify_locations(cadata=authorities)
    else:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    made.set_alpn_protocols(["h2", "http/1.1"])
    return made


def ask(
    port: int,
    path: str,
    *,
    server_name: str = "localhost",
    authorities: str = "",
    source: str = LOCALHOST,
    method: str = "GET",
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request over a connection of its own. ``body`` is sent as JSON."""
    raw = socket.create_connection((LOCALHOST, port), TIMEOUT_S, source_address=(source, 0))
    with raw, context(authorities).wrap_socket(raw, server_hostname=server_name) as wire:
        shown = wire.getpeercert(binary_form=True)
        assert shown is not None and wire.selected_alpn_protocol() == "http/1.1", wire.selected_alpn_protocol()
        client = http.client.HTTPConnection(LOCALHOST, port)
        client.sock = wire
        sent = {"Content-Type": "application/json"} if body is not None else {}
        data = json.dumps(body) if body is not None else None
        client.request(method, path, data, {**sent, **(headers or {})})
        answer = client.getresponse()
        content = answer.read()
    certificate = x509.load_der_x509_certificate(shown)
    return Answer(answer.status, content, dict(answer.getheaders()), certificate)
