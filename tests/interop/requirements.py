"""The programs that an interop test drives, and what happens where one is missing."""

from __future__ import annotations

import os
import shutil
import unittest
from typing import NoReturn

# sshd, ip and their like lie where only root's PATH leads.
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def require(program: str, package: str) -> str:
    """The path of a program that a test cannot do without.

    :param program: the command as it is typed, ``rsync`` say.
    :param package: the Debian package that holds it.
    :raises unittest.SkipTest: it is not installed; the reason is the line that installs it.
    :raises AssertionError: it is not installed, and ``CI=true`` is set, where nothing may be left out unseen.
    """
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS))
    found = shutil.which(program, path=path)
    if found is None:
        lack(f"{program} is missing: apt-get install {package}")
    return found


def lack(reason: str) -> NoReturn:
    """What a test needs is not there.

    :raises unittest.SkipTest: with the reason.
    :raises AssertionError: ``CI=true`` is set, where nothing may be left out unseen.
    """
    if os.environ.get("CI") == "true":
        raise AssertionError(reason)
    raise unittest.SkipTest(reason)
