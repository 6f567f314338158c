"""Unpad: the vectors of all tokens of a batch as rows, padding left out.

Forward, with ``places`` the (text, position) of every token, text after text::

    y_n = x at places_n

Backward: what arrives at a row goes back to where it came from, and padding gets nothing::

    dx at places_n = dy_n, 0 elsewhere

which is the forward pass of ``pad.py``, as this is the backward pass of that one.

Everything but attention treats each token by itself. So it may as well work on the rows alone,
which saves the work for padding.

Shapes: ``x (B, T, D)``, ``tokens (B, T)`` boolean, True where a token is and False where padding
is, ``y (N, D)`` with N tokens in all.

Source: Zeng et al. 2022, "Boosting Distributed Training Performance of the Unpadded BERT Model".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_transformer.ops import pad


class Cache(NamedTuple):
    """What ``backward`` needs."""

    tokens: np.ndarray  # (B, T)


def forward(x: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, Cache]:
    """Take the tokens out of the batch: ``x (B, T, D)`` to ``(N, D)``.

    Without any padding the rows are a view of ``x``. Raises ``ValueError`` for shapes that do not
    fit and for ``tokens`` that are not boolean.

    >>> x = np.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    >>> y, cache = forward(x, np.array([[True, True], [True, False]]))
    >>> y
    array([[1., 2.],
           [3., 4.],
           [5., 6.]])
    >>> backward(y, cache)
    array([[[1., 2.],
            [3., 4.]],
    <BLANKLINE>
           [[5., 6.],
            [0., 0.]]])
    """
    if x.ndim != 3 or x.shape[:2] != tokens.shape or tokens.dtype != bool:
        raise ValueError(
            f"unpad: x is {x.shape} and tokens {tokens.shape} of {tokens.dtype}, "
            "expected (B, T, D), and (B, T) of bool, True = a token"
        )
    y = x.reshape(tokens.size, x.shape[-1]) if tokens.all() else x[tokens]  # (N, D)
    return y, Cache(tokens)


def backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    """Return ``dx``, ``(B, T, D)``."""
    return pad.forward(dy, cache.tokens)[0]
