"""The threads in which passwords are hashed: few, and of a lower priority than all else that the service does."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from teleport_conch.auth.limits import HASHING_THREADS

NICENESS = 5


def threads_for(processors: int) -> int:
    """How many hash at one time on a host with so many processors, one of which is left for all else."""
    return max(1, min(HASHING_THREADS, processors - 1))


def _pool() -> ThreadPool:
    return ThreadPool(0, threads_for(len(os.sched_getaffinity(0))), "passwords")


@define(eq=False)
class HashingThreads:
    """An :data:`~teleport_conch.auth.people.passwords.InPool`, from :meth:`start` to :meth:`stop`."""

    _reactor: IReactorFromThreads
    _pool: ThreadPool = field(init=False, factory=_pool)

    def start(self) -> None:
        self._pool.start()

    def stop(self) -> None:
        """Wait for what is being hashed; it takes less than a second."""
        self._pool.stop()

    def __call__(self, call: Callable[[], bytes]) -> Awaitable[bytes]:
        hashed: Deferred[bytes] = deferToThreadPool(self._reactor, self._pool, _yielding, call)
        return hashed


def _yielding(call: Callable[[], bytes]) -> bytes:
    """Done by a thread that everything else goes before. Linux has a priority for each thread."""
    thread = threading.get_native_id()
    if os.getpriority(os.PRIO_PROCESS, thread) < NICENESS:
        os.setpriority(os.PRIO_PROCESS, thread, NICENESS)
    return call()
