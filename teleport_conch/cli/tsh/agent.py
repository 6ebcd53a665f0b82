"""Keys of ``tsh`` in a running ssh-agent. An agent that will not take them is told of, and costs nobody a login."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

from teleport_conch.client.profiles import Home, Login, Profile

#: Seconds that an agent may take for one answer.
ANSWER_S = 5.0
_SOCKET = "SSH_AUTH_SOCK"
_PROGRAM = "ssh-add"


def renew(home: Home, login: Login) -> None:
    """Puts the key and its certificate into the agent, until the certificate ends; what was there of ``tsh`` goes."""
    if not _may():
        return
    left_s = int(login.identity.not_after - time.time())
    if left_s <= 0:
        return
    problem = _ssh_add("-q", "-t", str(left_s), str(home.key(login.profile)))
    if problem:
        sys.stderr.write(f"note: the ssh-agent did not take the key ({problem}); tsh works without it\n")


def forget(home: Home, profile: Profile) -> None:
    """Takes the key out of the agent, while its file is still there."""
    if _may() and home.key(profile).exists():
        _ssh_add("-q", "-d", str(home.key(profile)))


def _may() -> bool:
    return bool(os.environ.get(_SOCKET)) and shutil.which(_PROGRAM) is not None


def _ssh_add(*words: str) -> str:
    """Runs ``ssh-add``, and answers what it complains of."""
    try:
        done = subprocess.run(
            [_PROGRAM, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWER_S, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        return "it does not answer"
    except OSError as reason:
        return reason.strerror or "ssh-add cannot be run"
    said = (done.stderr.strip().splitlines() or ["it failed"])[-1]
    return "" if done.returncode == 0 else "".join(char for char in said[:200] if char.isprintable())
