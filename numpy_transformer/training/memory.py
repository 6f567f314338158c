"""Keep freed memory in the process, where the next array can have it.

A step of training frees and allocates the same large arrays again and again. By default the C
library of Linux hands large blocks back to the system at once, and the system clears every page
of the next block before its first use: for an elementwise operation that costs several times as
much as the operation itself. This is a setting of the allocator; it changes no result.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of mallopt(3)


def keep_freed_memory() -> bool:
    """Ask the allocator to keep what is freed; return whether it could be asked.

    Elsewhere than on Linux with glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # Older versions refuse to keep blocks above 32 MB.
    kept = mallopt(_MMAP_THRESHOLD, 2**30) or mallopt(_MMAP_THRESHOLD, 2**25)
    return bool(kept and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
