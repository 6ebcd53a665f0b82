"""``twist`` as on a host without OpenSSH's ``sftp-server``: ``python without_openssh.py teleport-node -c FILE``."""

from __future__ import annotations

import sys

from twisted.application.twist._twist import Twist

from teleport_conch.ssh.sftp import program

if __name__ == "__main__":
    program.OPENSSH_SERVERS = ()  # type: ignore[assignment]  # this is what the file is for
    sys.exit(Twist.main())
