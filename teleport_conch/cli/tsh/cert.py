"""``tsh cert explain``: what a certificate allows, in words, whoever made it."""

from __future__ import annotations

import sys
import time
from argparse import Namespace

from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.explanation import explain as explained
from teleport_conch.cli.tsh import places
from teleport_conch.errors import BadParameter

MAX_FILE_BYTES = 1 << 16
_MARK = "-cert-v01@openssh.com "


def explain(arguments: Namespace) -> None:
    """The command: one's own certificate where no file is named, and standard input for ``-``."""
    if arguments.file:
        certificate = SSHCertificate.from_line(line_in(_read(arguments.file)))
    else:
        home = places.home()
        certificate = home.login(places.chosen_profile(arguments, home)).certificate
    for line in explained(certificate, time.time()):
        print(line.text())


def _read(path: str) -> str:
    """:raises BadParameter: it is too long for a certificate."""
    if path == "-":
        data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    else:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise BadParameter(f"A file with a certificate has at most {MAX_FILE_BYTES} bytes.")
    return data.decode("utf-8", "replace")


def line_in(text: str) -> str:
    """The first certificate of a text: of FILE-cert.pub, of an identity file, or of ``ssh-keygen``'s.

    :raises BadParameter: there is none.
    """
    for line in text.splitlines():
        if _MARK in line and not line.startswith("@"):
            return line.strip()
    raise BadParameter("There is no SSH certificate in this file. OpenSSH keeps them in files called FILE-cert.pub.")
