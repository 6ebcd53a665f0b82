"""The web port of a proxy, asked with any server name, from any address of loopback."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from teleport_conch.certs import keys
from teleport_conch.certs.tls import certificate_pem
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


def web_authority(address: str) -> tuple[str, str, str]:
    """A web certificate for an address of an authority of its own, the key of it, and the authority; all PEM."""
    now = datetime.now(UTC)
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of the tests")])
    usual = (
        x509.CertificateBuilder()
        .issuer_name(authority_name)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    root = _signed(usual.subject_name(authority_name), authority_key, authority_key, x509.BasicConstraints(True, None))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    named = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
    own = _signed(usual.subject_name(name), key, authority_key, named)
    return own, keys.private_pem(key), root


def _signed(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> str:
    ready = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    return certificate_pem(ready.add_extension(extension, critical=False).sign(by, hashes.SHA256()))


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
