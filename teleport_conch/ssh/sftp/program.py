"""Which program serves SFTP, as a command line for the shell of the account."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from teleport_conch.ssh.sftp import server

OPENSSH_SERVERS = (
    "/usr/lib/openssh/sftp-server",  # Debian, Ubuntu
    "/usr/libexec/openssh/sftp-server",  # Fedora, Red Hat
    "/usr/lib/ssh/sftp-server",  # Arch, Alpine, openSUSE
    "/usr/libexec/sftp-server",
)
AUTOMATIC, OWN = "automatic", "own"

_START = "import sys; sys.path.append(sys.argv[1]); from teleport_conch.ssh.sftp.server import main; sys.exit(main())"
"""What ``-m teleport_conch.ssh.sftp`` does, in half the time: without ``site``, whose packages the server does not
need, and without ``runpy``.
"""

_CHECK = (
    'if test -x "$1" && test -r "$2"; then exec "$1" -I -S -c "$3" "$4"; fi; '
    'echo "This account cannot use the SFTP server of the node: it may not read $1 or $2. '
    'Install the package openssh-sftp-server on the node, or Python and teleport-conch where all may read them." >&2; '
    "exit 126"
)
"""It is the account that asks, as nobody else knows what it may read."""


def command_line(choice: str, installed: Callable[[str], object]) -> str:
    """What the shell is to run.

    :param choice: :data:`AUTOMATIC` (OpenSSH's server where it is installed, ours elsewhere), :data:`OWN`, or the path
        of a program.
    :param installed: whether there is a program with this path.
    """
    if choice == AUTOMATIC:
        choice = next(filter(installed, OPENSSH_SERVERS), OWN)
    return own_command_line() if choice == OWN else shlex.quote(choice)


def own_command_line(python: str = sys.executable) -> str:
    """Our own server, in the words of any shell, or a sentence for an account that may not read it."""
    here = Path(server.__file__)
    words = ["/bin/sh", "-c", _CHECK, "sftp", python, str(here), _START, str(here.parents[3])]
    return "exec " + shlex.join(words)
