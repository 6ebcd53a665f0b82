"""How a process becomes one of a session's, before it is anything else."""

from __future__ import annotations

import os
from typing import NamedTuple

from teleport_conch.ssh.tracing import kernel, layout


class Followed(NamedTuple):
    """The session that a process is to belong to.

    :ivar threads: :attr:`teleport_conch.ssh.tracing.tracer.Tracer.threads`, as the process has inherited it.
    """

    threads: int
    number: int

    def join(self) -> None:
        """This thread, and all that come of it, belong to the session.

        :raises OSError: there are too many already.
        """
        entry = layout.THREAD.pack(self.number, os.getppid(), 0, 0, 0, 0)
        try:
            kernel.update(self.threads, os.getpid().to_bytes(4, "little"), entry)
        except OSError as problem:
            sentence = f"its threads would be more than the {layout.MAX_THREADS} that this host can record"
            raise OSError(problem.errno, sentence) from None
