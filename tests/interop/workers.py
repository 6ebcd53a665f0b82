"""Services whose network side runs as an account of its own, and which process does what."""

from __future__ import annotations

import atexit
import os
import pwd
import shlex
import unittest
from functools import cache
from pathlib import Path

from tests.interop.accounts import is_root
from tests.interop.case import InteropTests
from tests.interop.open_home import opened
from tests.interop.programs import check, installed, run
from tests.interop.requirements import require
from tests.interop.services import Service

ACCOUNT = f"tc-worker-{os.getpid()}"


@cache
def account() -> None:
    """Makes the workers' account."""
    check(run(require("useradd", "passwd"), "--system", "--shell", "/usr/sbin/nologin", ACCOUNT))
    atexit.register(lambda: run(require("userdel", "passwd"), "--force", ACCOUNT))


def supervised(service: Service) -> Service:
    """The same service with that account, which has to be able to run our programs and to read the configuration."""
    account()
    service.settings["teleport"]["account"] = ACCOUNT
    script = f'chmod 711 {service.folder}; chown {ACCOUNT} "$2"; exec {installed("twist")} {service.plugin} -c "$2"'
    service.line = f"{shlex.join(opened())} /bin/sh -c {shlex.quote(script)} sh"
    return service


class WorkerCase(InteropTests):
    """Tests of one supervised service, which a subclass sets."""

    service: Service

    def setUp(self) -> None:
        if not is_root():
            raise unittest.SkipTest("a supervisor needs root")
        opened()

    def workers(self) -> list[int]:
        """The processes that serve, or did and go on for those who are there."""
        account = pwd.getpwnam(ACCOUNT).pw_uid
        return [pid for pid in children(self.main()) if uid(pid) == account and alive(pid)]

    def worker(self) -> int:
        """The process that serves."""
        (pid,) = self.workers()
        return pid

    def new_worker(self, *old: int) -> bool:
        """Whether there is another than these."""
        return not set(self.workers()) <= set(old)

    def main(self) -> int:
        """The supervisor."""
        assert self.service.process is not None
        return self.service.process.pid


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def uid(pid: int) -> int:
    """The account that a process runs as; -1 where it has gone."""
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except FileNotFoundError:
        return -1


def alive(pid: int) -> bool:
    """Whether it runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
