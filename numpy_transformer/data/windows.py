"""Windows: pieces of the ids of one long text, all of one length, to train a language model on.

Where the windows of a batch lie follows from the seed, the epoch and the number of the batch
alone, so training can be taken up again at any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Windows:
    """Batches of windows, each ``length + 1`` tokens: what the model reads, and one more.

    Each window lies anywhere in the text, drawn with a seed. In an epoch as many tokens are read as
    the text has, rounded down to whole batches.

    >>> windows = Windows(range(100), length=8, rows=4, seed=0)
    >>> windows.count(epoch=0)
    3
    >>> (ids,) = windows.at(epoch=0, index=2)
    >>> ids.shape, bool((np.diff(ids) == 1).all())
    ((4, 9), True)
    """

    ids: Sequence[int]  # of the whole text
    length: int  # T
    rows: int  # B
    seed: int

    def __post_init__(self) -> None:
        """Check that the text is long enough for one window."""
        if self.length < 1 or self.rows < 1:
            raise ValueError(f"{self.rows} rows of {self.length} tokens: expected at least 1 of 1")
        object.__setattr__(self, "ids", np.asarray(self.ids, np.int32))
        if len(self.ids) <= self.length:
            raise ValueError(
                f"the text has {len(self.ids)} tokens, but a window has {self.length + 1}; "
                "give a longer text or a shorter context"
            )

    def count(self, epoch: int) -> int:
        """The number of batches in an epoch."""
        return max(1, len(self.ids) // (self.rows * self.length))

    def at(self, epoch: int, index: int) -> tuple[np.ndarray]:
        """One batch: ``ids (B, T + 1)``."""
        rng = np.random.default_rng([self.seed, epoch, index])
        starts = rng.integers(0, len(self.ids) - self.length, self.rows)  # (B,)
        return (self.ids[starts[:, None] + np.arange(self.length + 1)],)

    def tokens(self, batch: tuple[np.ndarray]) -> int:
        """How many tokens of a batch the model reads."""
        return self.rows * self.length


def consecutive(ids: Sequence[int], length: int, rows: int) -> Iterator[np.ndarray]:
    """The whole text once, in windows side by side, ``(B, T + 1)``.

    Every token but the first is predicted exactly once. The last window may be shorter.

    >>> [batch.tolist() for batch in consecutive(range(8), length=2, rows=2)]
    [[[0, 1, 2], [2, 3, 4]], [[4, 5, 6]], [[6, 7]]]
    """
    ids = np.asarray(ids, np.int32)
    whole = (len(ids) - 1) // length  # windows that are full
    for first in range(0, whole, rows):
        starts = np.arange(first, min(first + rows, whole)) * length  # (B,)
        yield ids[starts[:, None] + np.arange(length + 1)]  # (B, T + 1)
    if whole * length < len(ids) - 1:
        yield ids[None, whole * length :]
