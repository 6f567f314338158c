"""A limit to memory and time, for what must never take much of either."""

from __future__ import annotations

import resource
import signal
from contextlib import contextmanager
from pathlib import Path


class TooLong(BaseException):
    """The time is over. It is no ``Exception``, so that no code under test catches it."""


@contextmanager
def limits(megabytes, seconds):
    """Within, more memory raises ``MemoryError`` and more time ``TooLong``.

    The time guards against what would never end, and is far more than is needed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = Path("/proc/self/statm")  # on Linux; elsewhere memory has no limit
    if pages.exists():
        used = int(pages.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20, hard))

    def stop(*_):
        raise TooLong(f"it took more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
