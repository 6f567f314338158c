"""Softmax over the last axis: ``y_i = exp(x_i) / sum_j exp(x_j)``.

Subtracting the largest entry first changes nothing, as numerator and denominator shrink by the
same factor, and keeps ``exp`` from overflowing.

Backward. With ``dy_i / dx_k = y_i (1[i = k] - y_k)``::

    dx_k = sum_i dy_i y_i (1[i = k] - y_k) = y_k (dy_k - sum_i dy_i y_i)

The sum is one number a row, so the T x T matrix of derivatives is never built.

Entries of ``-inf`` get 0. A row of nothing but ``-inf``, which has no softmax, gives zeros, and
zeros as its gradient.

Source: Bridle 1990, "Probabilistic Interpretation of Feedforward Classification Network Outputs";
in Vaswani et al. 2017 it stands in equation 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_transformer.ops import sums


class Cache(NamedTuple):
    """What ``backward`` needs."""

    y: np.ndarray  # (..., D)


def forward(x: np.ndarray) -> tuple[np.ndarray, Cache]:
    """Turn the last axis into probabilities: ``(..., D)`` to ``(..., D)``.

    Raises ``TypeError`` for integers and ``ValueError`` for an array without axes.

    >>> y, cache = forward(np.array([[0.0, np.log(3.0)], [-np.inf, -np.inf]]))
    >>> y
    array([[0.25, 0.75],
           [0.  , 0.  ]])
    >>> backward(np.array([[1.0, 0.0], [1.0, 0.0]]), cache)
    array([[ 0.1875, -0.1875],
           [ 0.    ,  0.    ]])
    """
    if x.dtype.kind not in "fc":
        raise TypeError(f"softmax: x is {x.dtype}, expected floats")
    if not x.ndim:
        raise ValueError(f"softmax: x is {x.shape}, expected (..., D)")
    largest = x.real.max(axis=-1, keepdims=True, initial=-np.inf)  # (..., 1)
    largest[largest == -np.inf] = 0  # -inf - -inf would be NaN
    y = x - largest  # (..., D)
    np.exp(y, out=y)
    total = sums.over_last(y)  # (..., 1)
    total[total == 0] = 1
    y /= total
    return y, Cache(y)


def backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    """Return ``dx``, ``(..., D)``."""
    y = cache.y
    dx = dy - np.einsum("...d,...d->...", dy, y)[..., None]  # (..., D)
    dx *= y
    return dx
