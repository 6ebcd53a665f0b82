"""The API of auth, asked as the administrator of its host: quick enough to be asked ten times a second."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path

from teleport_conch.certs.identity import HostIdentity
from teleport_conch.certs.names import SERVER_NAME
from tests.interop.failing import Failed

TIMEOUT_S = 30.0


def get(host: str, port: int, data_dir: Path, path: str) -> Mapping[str, object]:
    """The answer to a GET.

    :param data_dir: of auth, where it left the administrator's identity.
    """
    return ask(host, port, data_dir, "GET", path)


def ask(host: str, port: int, data_dir: Path, method: str, path: str, body: object = None) -> Mapping[str, object]:
    """The answer to any call; ``body`` is sent as JSON."""
    identity = HostIdentity.from_json(json.loads((data_dir / "identities" / "admin.json").read_text()))
    with socket.create_connection((host, port), TIMEOUT_S) as connection:
        secured = _context(identity).wrap_socket(connection, server_hostname=SERVER_NAME)
        client = http.client.HTTPConnection(host, port)
        client.sock = secured
        client.request(method, path, None if body is None else json.dumps(body))
        answer = client.getresponse()
        content = json.loads(answer.read())
        client.close()
    if answer.status != http.client.OK:
        raise Failed(f"{path} was answered {answer.status}: {content}")
    assert isinstance(content, dict), content
    return content


def _context(identity: HostIdentity) -> ssl.SSLContext:
    """Believes the cluster's host authority, and shows the administrator's certificate."""
    authorities = [pem for each in identity.authorities if each.kind == "host" for pem in each.tls_certificates]
    context = ssl.create_default_context(cadata="\n".join(authorities))
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # the module reads certificates from files only
        file.write(identity.tls_key + identity.tls_certificate)
        file.flush()
        context.load_cert_chain(file.name)
    return context
