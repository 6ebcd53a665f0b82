"""What ``tsh cert explain`` says, of one's own certificate and of those of others."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh import cert, places
from teleport_conch.cli.tsh.main import parse
from teleport_conch.errors import BadParameter, CertificateMalformed, NotFound
from tests.cli.tsh.logins import login, saved
from tests.interop.requirements import require


class ExplainTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(mode=0o700)
        self.patch(os, "environ", os.environ | {"TELEPORT_HOME": str(self.folder / "home")})

    def said(self, *words: str) -> str:
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        try:
            cert.explain(parse(["cert", "explain", *words]))
        finally:
            self.patch(sys, "stdout", sys.__stdout__)
        return out.getvalue()

    def test_own(self) -> None:
        """Without a file it is that of the current login."""
        home = saved(self.folder / "home", login())
        self.patch(places, "home", lambda: home)
        said = self.said()
        self.assertIn("a certificate for a person", said)
        self.assertIn("logins: it logs in as root", said)
        self.assertIn("roles: access", said)

    def test_nobody(self) -> None:
        self.patch(places, "home", lambda: saved(self.folder / "nobody"))
        self.assertRaises(NotFound, self.said)

    def test_of_others(self) -> None:
        """One that ``ssh-keygen`` made, with an option that nobody here knows."""
        keygen = require("ssh-keygen", "openssh-client")
        for name in ("ca", "key"):
            subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)], check=True)
        words = (
            "-s",
            str(self.folder / "ca"),
            "-I",
            "joe",
            "-n",
            "deploy",
            "-V",
            "+1h",
            "-O",
            "source-address=10.0.0.0/8",
        )
        subprocess.run([keygen, "-q", *words, str(self.folder / "key.pub")], check=True)
        said = self.said(str(self.folder / "key-cert.pub"))
        self.assertIn("joe (key id)", said)
        self.assertIn("only from 10.0.0.0/8", said)
        self.assertIn("roles: not named", said)

    def test_stdin(self) -> None:
        """An identity file through a pipe: the certificate is found among the rest."""
        text = f"-----BEGIN PRIVATE KEY-----\n@cert-authority * x\n{login().identity.ssh_certificate}\n"
        self.patch(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
        self.assertIn("logins: it logs in as root", self.said("-"))

    def test_refused(self) -> None:
        """No certificate, rubbish that looks like one, and more than any certificate has."""
        path = self.folder / "file"
        path.write_text("ssh-ed25519 AAAA nothing\n")
        self.assertRaises(BadParameter, self.said, str(path))
        path.write_text("ssh-ed25519-cert-v01@openssh.com AAAA\n")
        self.assertRaises(CertificateMalformed, self.said, str(path))
        path.write_bytes(b"x" * (cert.MAX_FILE_BYTES + 1))
        problem = self.assertRaises(BadParameter, self.said, str(path))
        self.assertEqual(problem.sentence, "A file with a certificate has at most 65536 bytes.")
