"""``tctl why``: whether somebody may log in to a node, and every reason; or why somebody was refused."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence

from teleport_conch.cli.answer import Answer
from teleport_conch.cli.connection import Connection
from teleport_conch.cli.table import headless, inert
from teleport_conch.errors import BadParameter

_ABOUT = ("time", "event", "code", "user", "login", "addr.remote", "server_hostname", "server_id", "target", "error")
MAX_CERTIFICATE_BYTES = 65_536


async def why(connection: Connection, arguments: Namespace) -> Answer:
    """The command."""
    if arguments.ref:
        return await _refused(connection, arguments.ref)
    login, _, node = arguments.words[-1].rpartition("@")
    question = {"login": login, "node": node, "address": arguments.address}
    if arguments.cert is None:
        question["user"] = arguments.words[0]
    else:
        question["certificate"] = _certificate(arguments.cert.read_bytes()[:MAX_CERTIFICATE_BYTES])
    found = await connection.client.rules.why(question)
    return Answer(lambda: _text(_lines(found.get("lines"))), dict(found))


async def _refused(connection: Connection, reference: str) -> Answer:
    found = await connection.client.rules.denial(reference)
    event = found.get("event")
    about = event if isinstance(event, Mapping) else {}
    rows = [(f"{key}:", str(about[key])) for key in _ABOUT if about.get(key)]
    return Answer(lambda: headless(rows) + _text(_lines(found.get("trace"))), dict(found))


def _certificate(data: bytes) -> str:
    """The line of a certificate in a file: of OpenSSH's, or of an identity file.

    :raises BadParameter: there is none.
    """
    for line in data.decode("utf-8", "replace").splitlines():
        if "-cert-v01@openssh.com " in line and not line.startswith("@"):
            return line.strip()
    raise BadParameter("There is no SSH certificate in that file; it is in FILE-cert.pub, or in an identity file.")


def _lines(value: object) -> Sequence[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{inert(line)}\n" for line in lines)
