"""Puts the programs into the kernel, says which sessions they follow, and answers what they have seen."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import NamedTuple

from teleport_conch.ssh.tracing import commands, kernel, layout, programs
from teleport_conch.ssh.tracing.kernel import Untraceable
from teleport_conch.ssh.tracing.ring import Ring
from teleport_conch.ssh.tracing.routine import Maps, Routine
from teleport_conch.ssh.tracing.tracepoints import Tracepoint, read_tracepoints

ALWAYS: Mapping[str, Callable[[Maps, Tracepoint], Routine]] = {
    "sched/sched_process_fork": programs.fork,
    "sched/sched_process_exec": commands.has_started,
    "sched/sched_process_exit": programs.gone,
    "sock/inet_sock_set_state": programs.connecting,
    "syscalls/sys_enter_execve": commands.starting,
    "syscalls/sys_exit_execve": commands.not_started,
    "syscalls/sys_enter_execveat": commands.starting,
    "syscalls/sys_exit_execveat": commands.not_started,
    "syscalls/sys_enter_openat": programs.opening,
    "syscalls/sys_exit_openat": programs.opened,
}
"""What has to be there."""

WHERE_THERE: Mapping[str, Callable[[Maps, Tracepoint], Routine]] = {
    f"syscalls/sys_{which}_{call}": maker
    for call in ("open", "creat", "openat2")
    for which, maker in (("enter", programs.opening), ("exit", programs.opened))
}
"""Calls that newer machines, or older kernels, do not have."""


class Sizes(NamedTuple):
    """Of the rings, in pages of the machine: powers of two."""

    command: int = 8
    disk: int = 128
    network: int = 8

    def of(self, kind: int) -> int:
        return self[layout.KINDS.index(kind)]


class Unseen(NamedTuple):
    """What was counted instead of told, since a session began.

    :ivar records: of each kind.
    :ivar threads: not followed, with everything that comes of them.
    """

    records: Mapping[int, int]
    threads: int


class Tracer:
    """Follows sessions until it is closed.

    :param tried: whether this is only to find out if it can be done: all programs are verified, and one is attached,
        since each takes the kernel a tenth of a second to let go.
    :raises Untraceable: this host cannot.
    """

    def __init__(self, sizes: Sizes, *, tried: bool = False) -> None:
        kernel.check_host()
        self._tried = tried
        with ExitStack() as undone:
            try:
                with kernel.room_for_maps():
                    self._begin(sizes, undone)
            except OSError as problem:
                raise Untraceable(f"This kernel cannot trace sessions: {_what(problem)}.") from problem
            self._opened = undone.pop_all()

    def _begin(self, sizes: Sizes, undone: ExitStack) -> None:
        def kept(descriptor: int) -> int:
            undone.callback(os.close, descriptor)
            return descriptor

        points = read_tracepoints((*ALWAYS, *WHERE_THERE))
        missing = next((each for each in ALWAYS if each not in points), None)
        if missing is not None:
            raise Untraceable(f"This kernel has no tracepoint {missing}.")
        self.threads = kept(kernel.create_map(kernel.HASH, 4, layout.THREAD.size, layout.MAX_THREADS, "threads"))
        self._sessions = kept(kernel.create_map(kernel.HASH, 4, layout.SESSION.size, layout.MAX_TRACED, "sessions"))
        scratch = kept(kernel.create_map(kernel.ARRAY_PER_PROCESSOR, 4, layout.SCRATCH_BYTES, 1, "scratch"))
        self.rings = {kind: self._ring(sizes.of(kind) * mmap.PAGESIZE, undone) for kind in layout.KINDS}
        rings = {kind: ring.fileno() for kind, ring in self.rings.items()}
        maps = Maps(self.threads, self._sessions, scratch, rings)
        present = {name: maker for name, maker in {**ALWAYS, **WHERE_THERE}.items() if name in points}
        for number, (name, maker) in enumerate(present.items()):
            program = kernel.load(maker(maps, points[name]).assembled(), name.rpartition("/")[2][:15])
            try:
                if not (self._tried and number):
                    kept(kernel.attach(program, points[name].number))
            finally:
                os.close(program)

    @staticmethod
    def _ring(size: int, undone: ExitStack) -> Ring:
        try:
            descriptor = kernel.create_map(kernel.RING, 0, 0, size, "ring")
        except OSError as problem:
            if problem.errno == errno.EINVAL:
                raise Untraceable("This kernel is too old to record sessions: Linux 5.8 or newer does.") from problem
            raise
        try:
            ring = Ring(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise
        undone.callback(ring.close)
        return ring

    def follow(self, number: int, kinds: int) -> None:
        """A session begins, of which these kinds are wanted. Raises OSError where there are too many."""
        value = layout.SESSION.pack(kinds, 0, *(0,) * 8)
        kernel.update(self._sessions, _key(number), value)

    def unseen(self, number: int) -> Unseen:
        """What was counted of a session; nothing where it is not followed."""
        value = kernel.look_up(self._sessions, _key(number), layout.SESSION.size)
        _, _, _, _, _, _, *lost, threads = layout.SESSION.unpack(value or bytes(layout.SESSION.size))
        return Unseen(dict(zip(layout.KINDS, lost, strict=True)), threads)

    def forget(self, number: int) -> None:
        """A session is over; what is left of its processes is not followed any more."""
        kernel.delete(self._sessions, _key(number))

    def close(self) -> None:
        """Takes everything out of the kernel."""
        self._opened.close()


def check(sizes: Sizes) -> None:
    """Whether this host can trace sessions, tried out. Raises :class:`Untraceable`."""
    Tracer(sizes, tried=True).close()


def _key(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _what(problem: OSError) -> str:
    return problem.strerror.strip().splitlines()[-1].rstrip(".") if problem.strerror else str(problem)
