"""Options of OpenSSH where there is no OpenSSH."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh.options import Options, parse_options
from teleport_conch.errors import BadParameter


class OptionsTests(SynchronousTestCase):
    def read(self, *texts: str) -> tuple[Options, Sequence[str]]:
        warnings: list[str] = []
        return parse_options(texts, warnings.append), warnings

    def refused(self, text: str) -> str:
        return str(self.assertRaises(BadParameter, self.read, text).sentence)

    def test_honoured(self) -> None:
        """In any case of their letters, with ``=`` or a space, and the first of several counts."""
        found, warnings = self.read(
            "requesttty=Force",
            "ForwardAgent yes",
            "AddKeysToAgent = yes",
            'StrictHostKeyChecking="yes"',
            "RequestTTY=no",
        )
        self.assertEqual((found, warnings), (Options("force", "yes", "yes"), []))
        self.assertEqual(found.words(), ["-o", "RequestTTY=force", "-o", "ForwardAgent=yes"])
        self.assertEqual(self.read()[0].words(), [])

    def test_not_supported(self) -> None:
        """What OpenSSH knows is warned of."""
        found, warnings = self.read("serveraliveinterval=5", "ControlMaster=auto")
        self.assertEqual(found, Options())
        self.assertEqual(
            warnings,
            [
                "Option 'ServerAliveInterval' is not supported here.\n",
                "Option 'ControlMaster' is not supported here.\n",
            ],
        )

    def test_unknown(self) -> None:
        for text in ("Nonsense=yes", "", "=yes"):
            self.assertEqual(self.refused(text), f"{text!r} is no option of OpenSSH: write -o Key=Value.")

    def test_values(self) -> None:
        self.assertEqual(
            self.refused("RequestTTY=maybe"), "RequestTTY is one of yes, no, force, auto here, and not 'maybe'."
        )
        self.assertEqual(self.refused("ForwardAgent"), "ForwardAgent is one of yes, no here, and not ''.")

    def test_hosts_are_always_verified(self) -> None:
        for value in ("no", "off", "accept-new", "ask"):
            self.assertEqual(
                self.refused(f"StrictHostKeyChecking={value}"),
                "StrictHostKeyChecking is 'yes' here, and nothing else: hosts are always verified by the authority of"
                " the cluster.",
            )


class TerminalTests(SynchronousTestCase):
    def test_asked_for(self) -> None:
        """By flags, which win, and by the option."""
        from teleport_conch.cli.tsh.own_client import wants_terminal  # installs no reactor, but loads much

        self.patch(sys, "stdin", io.StringIO())
        for flags, asked, wanted in (
            (0, "", None),
            (0, "auto", None),
            (0, "no", False),
            (0, "yes", False),
            (0, "force", True),
            (1, "force", False),
            (2, "no", True),
        ):
            self.assertIs(wants_terminal(flags, asked), wanted, (flags, asked))
