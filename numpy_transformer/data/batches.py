"""Batches by length: sequences of about the same length together, so that little is padding.

The plan of an epoch follows from the seed and the number of the epoch alone. So a position in the
data is two numbers, the epoch and the index of the next batch, and training can be taken up again
at any of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from numpy_transformer.data.vocabulary import PAD, pad


@dataclass(frozen=True, eq=False)
class Batches:
    """Pairs of sequences of ids, cut into batches of at most ``batch_tokens`` padded tokens.

    >>> batches = Batches([[5], [6, 7], [8]], [[1, 2], [1, 9, 2], [1, 4, 2]], 8, seed=0)
    >>> batches.count(epoch=0)
    2
    >>> source, target = batches.at(epoch=0, index=1)
    >>> len(source) == len(target)
    True
    """

    sources: list[list[int]]
    targets: list[list[int]]
    batch_tokens: int  # padded source and target tokens; a longer pair is a batch by itself
    seed: int
    _plans: dict[int, list[np.ndarray]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check that there is something to cut."""
        if len(self.sources) != len(self.targets) or not self.sources:
            raise ValueError(
                f"{len(self.sources)} sources and {len(self.targets)} targets: "
                "expected the same number of both, at least one"
            )
        if self.batch_tokens < 1:
            raise ValueError(f"batch_tokens is {self.batch_tokens}, expected at least 1")

    def count(self, epoch: int) -> int:
        """The number of batches in an epoch."""
        return len(self.plan(epoch))

    def at(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """One batch: ``source (B, S)`` and ``target (B, T)``, padded."""
        rows = self.plan(epoch)[index]
        return pad([self.sources[i] for i in rows]), pad([self.targets[i] for i in rows])

    def tokens(self, batch: tuple[np.ndarray, ...]) -> int:
        """How many tokens a batch has; padding is none."""
        return sum(int(np.count_nonzero(ids != PAD)) for ids in batch)

    def plan(self, epoch: int) -> list[np.ndarray]:
        """Which pairs stand in which batch, in the order of training."""
        if epoch not in self._plans:
            self._plans.clear()  # one epoch is kept
            self._plans[epoch] = self._make_plan(epoch)
        return self._plans[epoch]

    def _make_plan(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng([self.seed, epoch])
        source_lengths = np.array([len(source) for source in self.sources])
        target_lengths = np.array([len(target) for target in self.targets])
        # Shuffle first, then sort by length: among equal lengths the order stays random.
        order = rng.permutation(len(self.sources))
        order = order[np.lexsort((target_lengths[order], source_lengths[order]))]
        batches, start, longest_target = [], 0, 0
        for end, i in enumerate(order):
            longest_target = max(longest_target, target_lengths[i])
            # Sources come sorted, so this one is the longest yet.
            padded = (end + 1 - start) * (source_lengths[i] + longest_target)
            if padded > self.batch_tokens and end > start:
                batches.append(order[start:end])
                start, longest_target = end, target_lengths[i]
        batches.append(order[start:])
        return [batches[i] for i in rng.permutation(len(batches))]
