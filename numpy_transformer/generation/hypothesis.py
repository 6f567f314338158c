"""An answer and how likely the model finds it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Hypothesis(NamedTuple):
    """One answer to one source."""

    ids: tuple[int, ...]  # without <bos> and <eos>
    score: float  # log probability in nats, in beam search divided by the length penalty
    ended: bool  # whether <eos> came before the limit of the length


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log probabilities ``(..., V)``, in float64, as scores are sums of many.

    >>> log_softmax(np.array([0.0, np.log(3.0)])).round(4)
    array([-1.3863, -0.2877])
    """
    x = logits.astype(np.float64)
    x -= x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
