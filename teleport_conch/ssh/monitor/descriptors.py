"""What a session reads from and writes to: three pipes, or a terminal."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from contextlib import ExitStack, suppress

from teleport_conch.ssh import terminal_setup
from teleport_conch.ssh.monitor.host import Refusal
from teleport_conch.ssh.monitor.orders import Account, Order

MAX_CELLS = 4096
DEFAULT_COLS, DEFAULT_ROWS = 80, 25
PIPE_BYTES = 1 << 20


def descriptors(order: Order, theirs: ExitStack, ours: ExitStack) -> tuple[tuple[int, int, int], tuple[int, ...], str]:
    """The session's three ends, what the server gets (input, output, error; or the terminal's master), and the tty."""
    if order.program.terminal is not None:
        return _terminal(order, theirs, ours)
    stdin, to_it = _pipe(order.account, theirs, ours)
    from_it, stdout = _pipe(order.account, ours, theirs)
    complaints, stderr = _pipe(order.account, ours, theirs)
    return (stdin, stdout, stderr), (to_it, from_it, complaints), ""


def _pipe(account: Account, readers: ExitStack, writers: ExitStack) -> tuple[int, int]:
    """A pipe whose ends two owners close; the account may open it again as ``/dev/stdout``."""
    reading, writing = os.pipe()
    readers.callback(os.close, reading)
    writers.callback(os.close, writing)
    if os.geteuid() == 0:
        os.fchown(reading, account.uid, account.gid)
    with suppress(OSError):
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return reading, writing


def _terminal(order: Order, theirs: ExitStack, ours: ExitStack) -> tuple[tuple[int, int, int], tuple[int, ...], str]:
    wanted = order.program.terminal
    assert wanted is not None
    master, slave = os.openpty()
    ours.callback(os.close, master)
    theirs.callback(os.close, slave)
    size = (wanted.rows or DEFAULT_ROWS, wanted.cols or DEFAULT_COLS, wanted.xpixel, wanted.ypixel)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *(min(each, MAX_CELLS) for each in size)))
    try:
        terminal_setup.apply_modes(slave, terminal_setup.decode(wanted.modes))
    except (ValueError, termios.error) as problem:
        raise Refusal(f"This host could not prepare a terminal: {problem.args[-1]}", "BAD_PARAMETER") from None
    if os.geteuid() == 0:
        terminal_setup.give_to(slave, order.account.uid, order.account.gid)
    return (slave, slave, slave), (master,), os.ttyname(slave)
