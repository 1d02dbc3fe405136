"""Keeps the C library from giving memory back to the system after every training step or prepared case."""

import ctypes
import logging
import platform

logger = logging.getLogger(__name__)

# Parameters of mallopt(3) in glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> None:
    """Let freed memory be used again instead of being returned to the system (Linux with glibc; else nothing).

    A training step on the CPU, or preparing a volume, frees and allocates the same arrays of several megabytes over and
    over. By default glibc returns each to the system, which has to clear and map it again at the next step. The process
    then keeps the largest amount it ever used.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, LARGEST_INT)
        logger.debug("Freed memory is kept for the next step (mallopt).")
