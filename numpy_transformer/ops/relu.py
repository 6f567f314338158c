"""ReLU: ``y = max(x, 0)``.

Backward: the slope is 1 where ``x > 0`` and 0 where ``x < 0``. At 0 there is no derivative; here,
as nearly everywhere, it is taken as 0. ::

    dx = dy where y > 0, else 0

``y > 0`` exactly where ``x > 0``, so the output is all that has to be kept.

Source: Vaswani et al. 2017, "Attention Is All You Need", equation 2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Cache(NamedTuple):
    """What ``backward`` needs."""

    y: np.ndarray  # any shape


def forward(x: np.ndarray) -> tuple[np.ndarray, Cache]:
    """Replace what is negative by 0; any shape.

    >>> y, cache = forward(np.array([-1.0, 0.0, 2.0]))
    >>> y
    array([0., 0., 2.])
    >>> backward(np.array([5.0, 5.0, 5.0]), cache)
    array([0., 0., 5.])
    """
    # A row of zeros, not the number 0: NumPy compares two arrays several numbers at a time, an
    # array and a number one by one. Complex numbers are compared by their real part first.
    zeros = np.zeros(x.shape[-1:], x.dtype)  # (D,)
    y = np.maximum(x, zeros)
    return y, Cache(y)


def backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    """Return ``dx``."""
    return dy * (cache.y.real > 0)
