"""Settings of a process that works on brackets."""

from __future__ import annotations

import ctypes
from functools import cache

import cv2

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
NEVER, LARGE = -1, 32 << 20
"""Arguments of glibc's mallopt. Freed memory is never returned to the kernel; arrays of at least
`LARGE` bytes, the largest value that mallopt takes, are returned as soon as they are freed."""


def set_up_worker() -> None:
    """Use one thread, since there are as many workers as cores, and keep freed memory."""
    cv2.setNumThreads(1)
    _keep_freed_memory()


@cache
def _keep_freed_memory() -> None:
    """Let the C library keep freed memory, where it has a setting for that.

    A tile allocates and frees arrays by the hundred. The kernel clears every page that it hands
    out again, which takes a tenth of the time of a build.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(M_TRIM_THRESHOLD, NEVER)
    mallopt(M_MMAP_THRESHOLD, LARGE)
