"""What the C allocator does with the memory of many threads.

glibc learns from the first large blocks to keep them in a heap for each thread, and a hub with dozens of threads that each once held a few
megabytes then keeps them all for ever. One heap is enough: the interpreter lets one thread at a time allocate anyway.
"""

import ctypes

from storage.limits import MIB

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h


def keep_little() -> None:
    """Blocks from a MiB on go back to the system when they are freed, and all threads share one heap (mallopt(3)); where the allocator is
    another one nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MIB)
        mallopt(_M_ARENA_MAX, 1)
