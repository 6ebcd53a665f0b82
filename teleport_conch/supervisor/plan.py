"""What a supervisor is to start."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

from teleport_conch.config.log import STREAMS
from teleport_conch.config.settings import Settings
from teleport_conch.ssh.monitor.orders import Settings as SessionSettings
from teleport_conch.supervisor.account import account_for
from teleport_conch.supervisor.listening import Listener


def _own_words() -> tuple[str, ...]:
    """The command line of this process, to start it again."""
    return (sys.executable, *sys.argv)


KEPT = ".monitor"


@frozen
class Plan:
    """What a supervisor starts.

    :ivar what: the service, as it begins a sentence: ``The node``.
    :ivar storage: where auth keeps its state, if it is on this host.
    :ivar account: of the workers; None for our own.
    :ivar sessions: how a monitor makes sessions; None where workers need none.
    :ivar has_auth: whether auth is one of the workers' services; the storage becomes the account's then.
    :ivar workers: how many.
    :ivar log: the file that all of them write to; empty where they write to our own output.
    :ivar words: the command line of a worker.
    :ivar environment: for workers.
    """

    what: str
    listeners: Sequence[Listener]
    data_dir: Path
    storage: Path
    account: pwd.struct_passwd | None
    sessions: SessionSettings | None = None
    has_auth: bool = False
    workers: int = 1
    log: str = ""
    words: Sequence[str] = field(factory=_own_words)
    environment: Mapping[str, str] = field(factory=lambda: os.environ, repr=False)

    @property
    def kept(self) -> Path:
        """The folder of what is the monitor's, beside ``data_dir``, which is the workers' own."""
        return self.data_dir.with_name(f"{self.data_dir.name}{KEPT}")


def plan_for(
    settings: Settings, what: str, listeners: Sequence[Listener], sessions: SessionSettings | None = None
) -> Plan | None:
    """How services with these settings are supervised; None where one process is all of them.

    :param sessions: how a monitor makes sessions, where there is to be one.
    """
    teleport = settings.teleport
    account = account_for(teleport.account)
    if account is None and teleport.workers == 1:
        return None
    if account is None:
        sessions = None  # a worker that is root has a monitor of its own, and one that is not needs none
    log = "" if teleport.log.output in STREAMS else teleport.log.output
    storage, has_auth = teleport.storage.path, settings.auth.enabled
    return Plan(what, listeners, teleport.data_dir, storage, account, sessions, has_auth, teleport.workers, log)
