"""``python -m teleport_conch.ssh.sftp``: our SFTP server, on standard input and output."""

from teleport_conch.ssh.sftp.server import main

if __name__ == "__main__":
    raise SystemExit(main())
