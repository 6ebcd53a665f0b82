"""``python -I -S -c ...``: the monitor and, forked from it before it loads any cryptography, the starter.

The one argument is JSON: the descriptors of the servers' sockets, the settings of sessions, and the folder that is
root's.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import NoReturn

from teleport_conch.ssh.monitor import frames, starter
from teleport_conch.ssh.monitor.frames import Peer
from teleport_conch.ssh.monitor.loop import Loop
from teleport_conch.ssh.monitor.orders import Settings


def main(argument: str) -> None:
    """Runs until the last server has gone (the starter: until its last session has ended, too)."""
    choice = json.loads(argument)
    _set_signals()
    ours, theirs = frames.pair()
    if os.fork() == 0:
        ours.close()
        for fd in choice["servers"]:
            os.close(fd)
        _run_starter(theirs, Settings(**choice["settings"]))
    theirs.close()
    _run_monitor(ours, choice["servers"], choice["folder"])


def _set_signals() -> None:
    """Ends with the servers, and not by a signal. What whoever started us ignores is not ignored in all sessions."""
    for each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        with suppress(OSError):  # some are the C library's own
            signal.signal(each, signal.SIG_DFL)
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)


def _run_starter(end: socket.socket, settings: Settings) -> NoReturn:
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        starter.run(end, settings)
    finally:
        os._exit(0)


def _run_monitor(starter_end: socket.socket, servers: list[int], folder: str) -> None:
    from pathlib import Path

    from teleport_conch.ssh.monitor.anchors import ANCHORS, FollowedAnchors, KeptAnchors
    from teleport_conch.ssh.monitor.host_key import FollowedHostKeys, KeptHostKeys
    from teleport_conch.ssh.monitor.monitor import Monitor

    peers = []
    for fd in servers:
        end = socket.socket(fileno=fd)
        end.set_inheritable(False)
        frames.prepare(end)
        peers.append(Peer(end))
    loop = Loop()
    anchors = KeptAnchors(Path(folder) / ANCHORS, _log) if folder else FollowedAnchors()
    host_keys = KeptHostKeys(folder=Path(folder), log=_log) if folder else FollowedHostKeys()
    Monitor(loop, Peer(starter_end), peers, anchors, host_keys)
    loop.run()


def _log(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()
