"""A cluster with two nodes that many tests of ``tsh`` share, and somebody who is logged in there."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from tests.interop.case import InteropTests
from tests.interop.cluster import Cluster
from tests.interop.programs import installed
from tests.interop.services import temporary_folder
from tests.interop.tsh import Tsher, invited

LABELS = {"web1": {"env": "prod", "tier": "web"}, "web2": {"env": "test", "tier": "web"}}


@cache
def cluster() -> Cluster:
    return Cluster(heartbeat="5s").start("web1", "web2", labels=LABELS)


@cache
def alice() -> Tsher:
    """Somebody who is logged in."""
    who = invited(cluster(), "alice")
    who.log_in_pinned()
    return who


@cache
def without_openssh() -> str:
    """A PATH with ``tsh`` on it, and no program of OpenSSH's."""
    folder = temporary_folder()
    (folder / "tsh").symlink_to(installed("tsh"))
    for program in ("sh", "cat", "env"):
        found = shutil.which(program)
        assert found is not None
        (folder / program).symlink_to(found)
    return str(folder)


class TshCase(InteropTests):
    def setUp(self) -> None:
        self.cluster = cluster()
        self.alice = alice()
        self.here, self.there = (Path(self.mktemp()).absolute() for _ in range(2))
        self.here.mkdir()
        self.there.mkdir()
