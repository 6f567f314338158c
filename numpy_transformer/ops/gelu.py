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

from numpy_transformer.ops import normal
from numpy_transformer.ops.blocks import blocks
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
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate is {approximate!r}, expected 'none' or 'tanh'")
    flat = x.reshape(-1)  # (N,)
    probability, y = np.empty_like(flat), np.empty_like(flat)
    for part in blocks(flat.size):
        distribution(flat[part], approximate, out=probability[part])
        np.multiply(flat[part], probability[part], out=y[part])
    shape = x.shape or (1,)
    cache = Cache(flat.reshape(shape), probability.reshape(shape), approximate)
    return y.reshape(x.shape), cache


def backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    """Return ``dx``."""
    x, probability, dy_flat = (array.reshape(-1) for array in (cache.x, cache.probability, dy))
    dx = np.empty_like(dy_flat)  # (N,)
    for part in blocks(dx.size):
        slope = _density(x[part], probability[part], cache.approximate)  # P'(x)
        slope *= x[part]
        slope += probability[part]
        np.multiply(dy_flat[part], slope, out=dx[part])
    return dx.reshape(dy.shape)


def distribution(x: np.ndarray, approximate: str, out: np.ndarray) -> None:
    """Put ``P(x)`` into ``out``, which has the shape and dtype of ``x``.

    >>> out = np.empty(3)
    >>> distribution(np.array([-1.0, 0.0, 2.0]), "tanh", out)
    >>> out.round(3)
    array([0.159, 0.5  , 0.977])
    """
    if approximate == "none" and x.dtype == np.float32:
        normal.probability(x, out)
        return
    if approximate == "none":
        out[...] = erf(x * math.sqrt(0.5))
    else:
        np.multiply(x, x, out=out)  # x**3 is over 20 times slower
        out *= _ROOT * _CUBIC
        out += _ROOT
        out *= x  # u
        np.tanh(out, out=out)
    out += 1
    out *= 0.5


def _density(x: np.ndarray, probability: np.ndarray, approximate: str) -> np.ndarray:
    """``P'(x)``, a new array."""
    density = x * x
    if approximate == "none":
        density *= -0.5
        np.exp(density, out=density)
        density *= math.sqrt(0.5 / math.pi)
    else:
        density *= 2 * 3 * _CUBIC * _ROOT
        density += 2 * _ROOT  # 2 u'
        density *= probability
        density *= 1 - probability
    return density
