"""Dropout: while training, each entry is set to 0 with probability ``rate``.

What is kept is divided by ``1 - rate``, so that the expectation stays the same and nothing has to
be rescaled when dropout is off ("inverted" dropout)::

    keep_i = 0 with probability rate, else 1
    y_i = x_i * keep_i / (1 - rate)

Backward: the mask is a constant::

    dx_i = dy_i * keep_i / (1 - rate)

Each call draws a mask of its own from the generator that it is given. The masks are drawn with
16 random bits an entry, four times faster than with floats; so the probability of a zero is
``rate`` rounded to a multiple of 1/65536.

Source: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from
Overfitting", section 10 for the scaling while training.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Cache(NamedTuple):
    """What ``backward`` needs; ``keep`` is ``None`` where nothing was dropped."""

    keep: np.ndarray | None  # bool, the shape of x
    scale: float  # 1 / (1 - rate)


def forward(
    x: np.ndarray, rate: float, rng: np.random.Generator | None
) -> tuple[np.ndarray, Cache]:
    """Drop entries of ``x``; with ``rate`` 0 or without a generator, return ``x`` itself.

    Raises ``ValueError`` for a rate that is not in [0, 1).

    >>> y, cache = forward(np.ones(8), 0.5, np.random.default_rng(1))
    >>> y
    array([2., 0., 2., 2., 2., 2., 2., 2.])
    >>> backward(np.arange(8.0), cache)
    array([ 0.,  0.,  4.,  6.,  8., 10., 12., 14.])
    """
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: the rate is {rate}, expected at least 0 and less than 1")
    if rate == 0 or rng is None:
        return x, Cache(None, 1.0)
    keep = _random_bits(x.size, rng) >= round(rate * 2**16)  # (x.size,)
    keep = keep.reshape(x.shape)
    scale = 1 / (1 - rate)
    y = np.asarray(x * keep)  # an array, so that a 0-d float32 stays one in NumPy 1.26
    y *= scale
    return y, Cache(keep, scale)


def backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    """Return ``dx``."""
    if cache.keep is None:
        return dy
    dx = np.asarray(dy * cache.keep)
    dx *= cache.scale
    return dx


def _random_bits(count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` random integers of 16 bits, four from each number of 64 bits that is drawn."""
    words = rng.integers(0, 2**64, size=-(-count // 4), dtype=np.uint64)
    return words.view(np.uint16)[:count]  # (count,)
