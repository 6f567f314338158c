"""The hyperbolic tangent, elementwise.

Forward::

    y = tanh(x)

Backward. ``tanh' = 1 - tanh^2``, so the output is all that is needed::

    dx = dy (1 - y^2)

Shapes: ``x``, ``y`` any.

Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers", whose code
puts it behind the dense layer of the pooled output (``models/classifier.py``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Cache(NamedTuple):
    """What ``backward`` needs."""

    y: np.ndarray  # (...)


def forward(x: np.ndarray) -> tuple[np.ndarray, Cache]:
    """Apply it to every entry.

    >>> y, cache = forward(np.array([0.0, 1.0]))
    >>> y.round(4), backward(np.array([1.0, 1.0]), cache).round(4)
    (array([0.    , 0.7616]), array([1.  , 0.42]))
    """
    y = np.tanh(x)  # (...)
    return y, Cache(y)


def backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    """Return ``dx``."""
    # Not dy (1 - y^2): in NumPy 1.26, 1 minus a float32 without axes is a float64.
    return dy - dy * (cache.y * cache.y)
