"""Pseudo-terminals: size, modes and owner (RFC 4254, sections 6.2, 6.7 and 8)."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from collections.abc import Mapping

from attrs import define

from teleport_conch.errors import BadParameter, SpawnFailed
from teleport_conch.ssh import terminal_setup
from teleport_conch.ssh.account import Account
from teleport_conch.ssh.terminal_setup import apply_modes, give_to

DEFAULT_ROWS = 25
DEFAULT_COLS = 80
"""Where the client says zero, as Teleport has it."""

MAX_CELLS = 4096
"""Most rows, and most columns. Programs allocate the product, and recordings are drawn with it."""

MAX_PIXELS = 0xFFFF


def decode_modes(encoded: bytes) -> dict[int, int]:
    """See :mod:`teleport_conch.ssh.terminal_setup`. Raises :class:`BadParameter` for what is malformed."""
    try:
        return terminal_setup.decode(encoded)
    except ValueError as problem:
        raise BadParameter(str(problem)) from None


@define
class Terminal:
    """A pseudo-terminal that the session's process gets as its controlling terminal.

    ``slave`` is held open until the process has it: with no slave open at all, a read from the master would say that
    the session is over.
    """

    name: str
    """The path of the slave side, the session's ``SSH_TTY``."""

    master: int
    slave: int

    @classmethod
    def open(
        cls, account: Account, rows: int, cols: int, xpixel: int = 0, ypixel: int = 0, modes: bytes = b""
    ) -> Terminal:
        """A new terminal for ``account``, with the size and the encoded modes of a ``pty-req``.

        :raises BadParameter: the modes are malformed.
        :raises SpawnFailed: the host has no terminals or no descriptors left.
        """
        decoded = decode_modes(modes)
        try:
            terminal = cls("", *os.openpty())
        except OSError as error:
            raise SpawnFailed(f"This host could not open a terminal: {error.strerror}.") from error
        try:
            terminal.name = os.ttyname(terminal.slave)
            terminal._prepare(account, rows, cols, xpixel, ypixel, decoded)
        except (OSError, termios.error) as error:
            terminal.close()
            raise SpawnFailed(f"This host could not prepare a terminal: {error.args[-1]}.") from error
        return terminal

    def _prepare(
        self, account: Account, rows: int, cols: int, xpixel: int, ypixel: int, modes: Mapping[int, int]
    ) -> None:
        self.resize(rows or DEFAULT_ROWS, cols or DEFAULT_COLS, xpixel, ypixel)
        apply_modes(self.slave, modes)
        if os.geteuid() == 0:
            give_to(self.slave, account.uid, account.gid)

    def resize(self, rows: int, cols: int, xpixel: int, ypixel: int) -> None:
        """The client's window has another size; the foreground processes get ``SIGWINCH``.

        A dimension of zero leaves that dimension as it is (RFC 4254, section 6.2), one above :data:`MAX_CELLS` is cut.
        """
        if self.master < 0:
            return
        old_rows, old_cols, _, _ = self.size()
        size = struct.pack(
            "HHHH",
            _within(rows, MAX_CELLS) or old_rows,
            _within(cols, MAX_CELLS) or old_cols,
            _within(xpixel, MAX_PIXELS),
            _within(ypixel, MAX_PIXELS),
        )
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def size(self) -> tuple[int, int, int, int]:
        """Rows, columns, and width and height in pixels."""
        rows, cols, xpixel, ypixel = struct.unpack("HHHH", fcntl.ioctl(self.master, termios.TIOCGWINSZ, bytes(8)))
        return rows, cols, xpixel, ypixel

    def close_slave(self) -> None:
        """The process has its own descriptor of the slave side now."""
        if self.slave >= 0:
            os.close(self.slave)
            self.slave = -1

    def close(self) -> None:
        """Close both sides. With the last descriptor of the master the kernel hangs the session up."""
        self.close_slave()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


def _within(value: int, limit: int) -> int:
    return max(0, min(value, limit))
