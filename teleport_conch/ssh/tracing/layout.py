"""What the programs in the kernel write down, and what the service writes for them: the bytes of each, in one place.

All numbers are as the machine has them, which is little-endian on every machine that is known to
:mod:`teleport_conch.ssh.tracing.kernel`.
"""

from __future__ import annotations

import struct

COMMAND, DISK, NETWORK = 1, 2, 4
"""Kinds of what is traced; together as a mask of bits."""

KINDS = (COMMAND, DISK, NETWORK)
NAMES = {"command": COMMAND, "disk": DISK, "network": NETWORK}
"""As the option ``enhanced_recording`` of roles names them."""

MAX_PATH_BYTES = 1024
MAX_ARGUMENT_BYTES = 128
MAX_ARGUMENTS = 32
"""What is kept of a path, an argument and all arguments, each text with the zero byte that ends it."""

MAX_THREADS = 65_536
"""Threads of all traced sessions of a host; one that is born beyond them is not followed, and counted."""

MAX_TRACED = 16_384
"""Sessions of a host that are traced at one time."""

PERIOD_S = 10
MAX_PER_PERIOD = {COMMAND: 1000, DISK: 2000, NETWORK: 1000}
"""Records of one kind and session in so many seconds; what comes beyond them is counted."""

# threads: thread id -> the session that it belongs to.
THREAD = struct.Struct("<2I2Q2I")
"""Number of the session, process that started this one, pointer and flags of the file that is being opened, and what
became of the record of the command that is being started."""

OF_SESSION, STARTED_BY, PATH_AT, FLAGS, ASKED = 0, 4, 8, 16, 24
NOTHING, TOLD, UNTOLD = 0, 1, 2
"""What ASKED says."""

# sessions: number -> what is wanted, and what was counted.
SESSION = struct.Struct("<2I8Q")
"""Mask of kinds, when the period began (nanoseconds of the kernel), records in it of each kind, records of each kind
that were lost, and threads that are not followed."""

WANTED, BEGAN, COUNTED, LOST = 0, 8, 16, 40
LOST_THREADS = LOST + 8 * len(KINDS)

# Records.
HEAD = struct.Struct("<6IQ16s")
"""Sort, session, thread, process, the process that started it, result, number of the cgroup, name of the program."""

SORT, NUMBER, TASK, PARENT, RESULT, CGROUP, NAME = 0, 4, 8, 16, 20, 24, 32
NAME_BYTES = 16
AFTER_HEAD = HEAD.size

STARTING, HAS_STARTED, NOT_STARTED, OPENED, CONNECTED = range(1, 6)
"""Sorts of records: a program is to be started (with path and arguments), it was (with the path), it was not; a file
was opened or not (with its path); a connection was begun."""

TEXTS = struct.Struct("<2I")
"""Before texts, each with a zero byte behind it: flags (of the opening, or :data:`MORE` and :data:`UNREAD`), and how
many arguments there are."""

AFTER_TEXTS = AFTER_HEAD + TEXTS.size
MORE, UNREAD = 1, 2
"""There were more arguments than are kept; one of them, or the path, was not in memory, and could not be read."""

SOCKET = struct.Struct("<2HI4s4s16s16s")
"""Family, port, nothing, addresses of IPv4 and IPv6, ours first."""

SCRATCH_BYTES = 8192
"""Room for one record on each processor, in which it is put together."""
