"""Two sums that nearly every backward pass needs, as products with a vector of ones.

The product gives the same sum as ``np.sum``, to rounding, and takes a third of the time or less,
because the matrix library adds many numbers at once where ``np.sum`` over a short axis goes row by
row.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np


def over_last(x: np.ndarray) -> np.ndarray:
    """Sum over the last axis, which stays with extent 1: ``(..., D)`` to ``(..., 1)``.

    >>> over_last(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[3.],
           [7.]])
    """
    return x @ _ones(x.shape[-1], x.dtype)[:, None]  # (..., 1)


def over_rows(x: np.ndarray) -> np.ndarray:
    """Sum over all axes but the last: ``(..., D)`` to ``(D,)``.

    >>> over_rows(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([4., 6.])
    """
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])  # (N, D)
    return _ones(len(rows), x.dtype) @ rows  # (D,)


@lru_cache(maxsize=256)
def _ones(count: int, dtype: np.dtype) -> np.ndarray:
    """A vector of ones: a constant, made once for each size and kept."""
    ones = np.ones(count, dtype)
    ones.setflags(write=False)
    return ones
