"""What the C allocator does with large blocks.

glibc learns from the first large ones to keep them in a heap for each thread, and a hub with dozens of threads that each once held a few
megabytes then keeps them all for ever.
"""

import ctypes

from storage.limits import MIB

_M_MMAP_THRESHOLD = -3  # malloc.h


def return_large_blocks() -> None:
    """Blocks from a MiB on go back to the system when they are freed (mallopt(3)); where the allocator is another one nothing changes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MIB)
