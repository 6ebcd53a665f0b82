"""A missing program: a skip with the line that installs it, and on CI a failure."""

from __future__ import annotations

import os
import unittest
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from tests.interop import requirements
from tests.interop.requirements import require


class RequireTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        environment = mock.patch.dict(os.environ, {"PATH": str(self.folder)})
        environment.start()
        self.addCleanup(environment.stop)
        os.environ.pop("CI", None)
        self.patch(requirements, "_SYSTEM_FOLDERS", (str(self.folder / "sbin"),))

    def install(self, path: Path) -> str:
        path.parent.mkdir(exist_ok=True)
        path.touch(mode=0o755)
        return str(path)

    def test_found_on_the_path(self) -> None:
        """A program that is there is answered with its whole path."""
        path = self.install(self.folder / "rsync")
        self.assertEqual(require("rsync", "rsync"), path)

    def test_found_outside_the_path(self) -> None:
        """sshd is found for people whose PATH has no sbin."""
        path = self.install(self.folder / "sbin" / "sshd")
        self.assertEqual(require("sshd", "openssh-server"), path)

    def test_missing(self) -> None:
        """On a developer's machine the test is skipped, and says how to have it run."""
        skip = self.assertRaises(unittest.SkipTest, require, "ip", "iproute2")
        self.assertEqual(str(skip), "ip is missing: apt-get install iproute2")

    def test_missing_on_ci(self) -> None:
        """With CI=true a missing program is a failure, in the same words."""
        os.environ["CI"] = "true"
        failure = self.assertRaises(AssertionError, require, "ip", "iproute2")
        self.assertEqual(str(failure), "ip is missing: apt-get install iproute2")
