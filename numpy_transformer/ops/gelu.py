"""GELU, the Gaussian error linear unit: ``y = x * P(x)``, P the normal distribution function.

Two forms, which differ by up to 5e-4. With ``approximate="none"``, exact (BERT)::

    P(x) = (1 + erf(x / sqrt(2))) / 2
    P'(x) = exp(-x^2 / 2) / sqrt(2 pi)

With ``approximate="tanh"`` (GPT-2)::

    P(x) = (1 + tanh(u)) / 2,    u = sqrt(2/pi) * (x + 0.044715 x^3)
    P'(x) = (1 - tanh(u)^2) / 2 * u',    u' = sqrt(2/pi) * (1 + 3 * 0.044715 x^2)
          = 2 P(x) (1 - P(x)) * u'

Backward, by the product rule::

    dx = dy * (P(x) + x P'(x))

Source: Hendrycks and Gimpel 2016, "Gaussian Error Linear Units", section 2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from numpy_transformer.ops.erf import erf

_ROOT = math.sqrt(2 / math.pi)
_CUBIC = 0.044715


class Cache(NamedTuple):
    """What ``backward`` needs."""

    x: np.ndarray  # any shape but (), for which (1,) stands
    probability: np.ndarray  # P(x), the shape of x
    approximate: str


def forward(x: np.ndarray, approximate: str = "none") -> tuple[np.ndarray, Cache]:
    """Weigh every entry by the probability that a normal variable lies below it; any shape.

    ``approximate`` is ``"none"`` (exact) or ``"tanh"``; anything else raises ``ValueError``.

    >>> y, cache = forward(np.array([-1.0, 0.0, 2.0]))
    >>> y.round(4)
    array([-0.1587,  0.    ,  1.9545])
    >>> backward(np.ones(3), cache).round(4)
    array([-0.0833,  0.5   ,  1.0852])
    """
    shape, x = x.shape, np.atleast_1d(x)  # of a 0-d float32, NumPy 1.26 would make a float64
    if approximate == "none":
        probability = erf(x * math.sqrt(0.5))
    elif approximate == "tanh":
        probability = np.tanh(_ROOT * (x + _CUBIC * (x * x * x)))  # x**3 is over 20 times slower
    else:
        raise ValueError(f"gelu: approximate is {approximate!r}, expected 'none' or 'tanh'")
    probability = 0.5 * (1 + probability)
    return (x * probability).reshape(shape), Cache(x, probability, approximate)


def backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    """Return ``dx``."""
    x, probability = cache.x, cache.probability
    if cache.approximate == "none":
        density = np.exp(-0.5 * (x * x)) * math.sqrt(0.5 / math.pi)
    else:
        du = _ROOT * (1 + 3 * _CUBIC * (x * x))
        density = 2 * probability * (1 - probability) * du
    return (dy * (probability + x * density)).reshape(dy.shape)
