"""Progress for people: one line that renews itself on a terminal, plain lines in a file."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO


class Progress:
    """Writes what is going on to a stream.

    On a terminal a status replaces the one before it, several times a second. In a file or a pipe
    it is a plain line, at most one every ``every`` seconds. A message always stays.
    """

    def __init__(self, stream: TextIO | None = None, every: float = 10.0) -> None:
        """Write to ``stream``, by default the standard error."""
        self.stream = sys.stderr if stream is None else stream
        self.terminal = self.stream.isatty()
        self.every = 0.2 if self.terminal else every
        self.written = -float("inf")
        self.on_line = False  # whether a status stands on the terminal's current line

    def due(self) -> bool:
        """Whether it is time for a new status."""
        return time.monotonic() - self.written >= self.every

    def status(self, text: str) -> None:
        """Show where things stand."""
        self.written = time.monotonic()
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            self.stream.write("\r\x1b[K" + text[:width])
            self.on_line = True
        else:
            self.stream.write(text + "\n")
        self.stream.flush()

    def message(self, text: str) -> None:
        """Say something that stays."""
        self.close()
        self.stream.write(text + "\n")
        self.stream.flush()

    def close(self) -> None:
        """Leave the terminal's line clear for whoever writes next."""
        if self.on_line:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
            self.on_line = False


def duration(seconds: float) -> str:
    """A time for people.

    >>> duration(42), duration(125), duration(7300)
    ('42 s', '2 min 05 s', '2 h 01 min')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
