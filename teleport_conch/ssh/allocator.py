"""What the C library does with memory that is free again, which decides on the speed of bulk data.

Bulk data comes in pieces of 256 KiB that live for a moment. glibc gives such a piece back to the kernel when it is
free, and each page of the next one is a fault again: 500 MB to a client were 137,000 faults, and two fifths of the
processor time.
"""

from __future__ import annotations

import ctypes

KEPT_BYTES = 4 << 20
"""How much free memory at the top of the heap is kept for the next piece."""
LARGE_BYTES = 1 << 20
"""From this size on, memory is mapped for itself, and given back when it is free."""

_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3


def keep_freed_memory() -> bool:
    """Keeps :data:`KEPT_BYTES` of freed memory, for the whole process; whether the C library can do that.

    Only glibc is asked; others (musl) have no ``mallopt`` and other habits.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_TRIM_THRESHOLD, KEPT_BYTES)) and bool(mallopt(_MMAP_THRESHOLD, LARGE_BYTES))
