"""What every process that trains or answers sets before it computes."""

import ctypes
import sys

import pyarrow as pa
import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""as malloc.h numbers them"""
KEPT_BYTES = 2**30
"""freed at the end of the heap before some goes back to the system"""
LARGEST_IN_HEAP = 2**25
"""bytes of one tensor, the most that the C library allows; larger ones come from the system and go back to it"""


def begin_computing() -> None:
    """One thread, so that sums run in the same order everywhere; and one heap, which keeps what is freed.

    A step asks for as much memory as the step before gave back. The C library returns freed memory to the system, which
    clears it anew, page by page: up to a sixth of a step with batches of 8,192 rows. And what Arrow or another
    thread freed is not used again while each has a heap of its own.
    """
    torch.set_num_threads(1)
    pa.set_memory_pool(pa.system_memory_pool())
    if sys.platform != "linux":
        return
    allocate = getattr(ctypes.CDLL(None), "mallopt", None)
    if allocate is not None:  # it is glibc's
        for option, value in ((M_ARENA_MAX, 1), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_MMAP_THRESHOLD, LARGEST_IN_HEAP)):
            allocate(option, value)
