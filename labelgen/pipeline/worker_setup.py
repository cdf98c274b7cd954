"""What a process that works on brackets is told before it begins."""

from __future__ import annotations

import ctypes
from functools import cache

import cv2

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
NEVER, LARGE = -1, 32 << 20
"""glibc's mallopt: what was freed is never given back, but arrays of so many bytes (the most that
can be said) are, as soon as they are freed."""


def set_up_worker() -> None:
    """One thread, since there are as many workers as cores; and freed memory stays at hand."""
    cv2.setNumThreads(1)
    _keep_freed_memory()


@cache
def _keep_freed_memory() -> None:
    """Keep what is freed, where the C library can be told to.

    Arrays of a tile come and go by the hundred. Given back, and got anew, each page of them is
    cleared by the kernel: a tenth of the time of a build.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(M_TRIM_THRESHOLD, NEVER)
    mallopt(M_MMAP_THRESHOLD, LARGE)
