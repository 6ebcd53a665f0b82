"""Reads what programs put into a ring of the kernel (``BPF_MAP_TYPE_RINGBUF``, Linux 5.8).

Source: ``Documentation/bpf/ringbuf.rst`` of the kernel. One page holds how far we have read, and is ours to write; the
next how far there is something, with the data behind it, which the kernel maps twice so that no record is cut in two.
"""

from __future__ import annotations

import _thread
import mmap
import os
import struct
from collections.abc import Iterator

PAGE = mmap.PAGESIZE
_BUSY, _DISCARDED = 1 << 31, 1 << 30
_HEAD_BYTES = 8
_LENGTH = struct.Struct("=I")


class Ring:
    """One ring, read by this process alone.

    :param descriptor: of the map.
    :param size: of its data, in bytes: a power of two, and whole pages.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size
        self._ours = mmap.mmap(descriptor, PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        self._theirs = mmap.mmap(descriptor, PAGE + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=PAGE)
        for each in (self._ours, self._theirs):
            each.madvise(mmap.MADV_DONTFORK)  # no session's process gets to see it
        self._read = memoryview(self._ours)[:8].cast("Q")
        self._written = memoryview(self._theirs)[:8].cast("Q")
        self._fence = _thread.allocate_lock()
        self._fence.acquire()

    def fileno(self) -> int:
        """Becomes readable when there is something."""
        return self._descriptor

    def records(self, max_bytes: int) -> Iterator[bytes]:
        """What is there, up to about ``max_bytes``. Each record has left the ring when the next one is asked for."""
        at = self._read[0]
        end = min(self._written[0], at + max_bytes)
        self._order()
        while at < end:
            start = PAGE + (at & (self.size - 1))
            (length,) = _LENGTH.unpack_from(self._theirs, start)
            if length & _BUSY:
                return
            self._order()
            size = length & ~_DISCARDED
            if not length & _DISCARDED:
                yield self._theirs[start + _HEAD_BYTES : start + _HEAD_BYTES + size]
            at += _HEAD_BYTES + (size + 7) // 8 * 8
            self._order()
            self._read[0] = at

    def close(self) -> None:
        """Leaves the kernel's memory, and the map."""
        self._read.release()
        self._written.release()
        self._ours.close()
        self._theirs.close()
        os.close(self._descriptor)

    def _order(self) -> None:
        """What was read before is older than what is read from here on, also on processors that reorder (aarch64).

        A release of a lock and then its acquisition are such a fence; Python has no other.
        """
        self._fence.release()
        self._fence.acquire()
