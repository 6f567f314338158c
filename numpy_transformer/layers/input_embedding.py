"""What a Transformer reads: token embeddings, scaled, plus positions, with dropout.

Forward::

    y = dropout(scale * embedding(ids) + positions)

Backward: the scale multiplies the gradient of the token table as well, not that of the positions.

Shapes: ``ids (B, T)``, ``weight (V, D)``, ``positions (at least T, D)``, ``y (B, T, D)``.

Convention: the encoder-decoder scales by sqrt(D), as the paper does; GPT and BERT do not scale.

Source: Vaswani et al. 2017, "Attention Is All You Need", sections 3.4, 3.5 and 5.4.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_transformer.ops import dropout, embedding
from numpy_transformer.ops import positions as positions_op


class Cache(NamedTuple):
    """What ``backward`` needs."""

    tokens: embedding.Cache
    positions: positions_op.Cache
    dropout: dropout.Cache
    scale: float


def forward(
    ids: np.ndarray,
    weight: np.ndarray,
    positions: np.ndarray,
    scale: float = 1.0,
    dropout_rate: float = 0.0,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, Cache]:
    """Embed the ids and add the first T rows of ``positions``.

    >>> weight, positions = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0.1, 0.1], [0.2, 0.2]])
    >>> y, cache = forward(np.array([[1, 1]]), weight, positions, scale=10.0)
    >>> y
    array([[[30.1, 40.1],
            [30.2, 40.2]]])
    >>> dweight, dpositions = backward(np.ones((1, 2, 2)), cache)
    >>> dweight
    array([[ 0.,  0.],
           [20., 20.]])
    """
    scale = float(scale)  # a NumPy scalar would turn float32 into float64
    x, tokens_cache = embedding.forward(ids, weight)  # (B, T, D)
    x *= scale
    x, positions_cache = positions_op.forward(x, positions)
    y, dropout_cache = dropout.forward(x, dropout_rate, rng)
    return y, Cache(tokens_cache, positions_cache, dropout_cache, scale)


def backward(dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray]:
    """Return ``dweight`` and ``dpositions``."""
    dx = dropout.backward(dy, cache.dropout)
    dx, dpositions = positions_op.backward(dx, cache.positions)
    return embedding.backward(dx * cache.scale, cache.tokens), dpositions
