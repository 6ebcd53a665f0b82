"""Starting the process of the monitor (:mod:`teleport_conch.ssh.monitor`)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.internet.interfaces import IReactorFDSet, IReactorTime

import teleport_conch
from teleport_conch.ssh.monitor import frames
from teleport_conch.ssh.monitor.orders import Settings
from teleport_conch.ssh.processes.monitored import Monitor

_BOOT = "import sys; sys.path[:0] = {path!r}; from teleport_conch.ssh.monitor.program import main; main(sys.argv[1])"


def start(
    reactor: IReactorFDSet, clock: IReactorTime, settings: Settings, folder: Path | None, gone: Callable[[], None]
) -> Monitor:
    """Starts a monitor that serves this process alone.

    :param folder: see :func:`launch`.
    :param gone: called if the monitor ends before we do.
    """
    ours, theirs = frames.pair()
    with theirs:
        process = launch([theirs], settings, folder)
    return Monitor(reactor, clock, ours, gone, process)


def launch(servers: Sequence[socket.socket], settings: Settings, folder: Path | None) -> subprocess.Popen[bytes]:
    """Starts the monitor's process, which serves these sockets and ends when all of them are closed.

    :param folder: where the host key and the trust anchors are, where the servers may not change them; None where they
        may, and bring their own.

    It gets nothing of our environment but the time zone, and no package but ours and those that we use.
    """
    fds = [each.fileno() for each in servers]
    choice = {"servers": fds, "settings": settings._asdict(), "folder": str(folder or "")}
    path = [str(Path(teleport_conch.__file__).parent.parent), *(each for each in sys.path if each)]
    words = [sys.executable, "-I", "-S", "-c", _BOOT.format(path=path), json.dumps(choice)]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"} | {n: os.environ[n] for n in ("TZ",) if n in os.environ}
    return subprocess.Popen(
        words, pass_fds=fds, env=environment, cwd="/", stdin=subprocess.DEVNULL, start_new_session=True
    )
