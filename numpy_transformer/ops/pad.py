"""Pad: the rows of all tokens back into a batch of texts, with zeros where padding is.

Forward, with ``places`` the (text, position) of every token, text after text::

    y at places_n = x_n, 0 elsewhere

Backward: each row gets what arrives at its place; what arrives at padding is lost::

    dx_n = dy at places_n

Each pass is the other pass of ``unpad.py``, which says what this is for.

Shapes: ``x (N, D)``, ``tokens (B, T)`` boolean, True where a token is and False where padding is,
N times True in all, ``y (B, T, D)``.

Source: Zeng et al. 2022, "Boosting Distributed Training Performance of the Unpadded BERT Model".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Cache(NamedTuple):
    """What ``backward`` needs."""

    tokens: np.ndarray  # (B, T)


def forward(x: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, Cache]:
    """Put the rows into the batch: ``x (N, D)`` to ``(B, T, D)``.

    Without any padding the batch is a view of ``x``. Raises ``ValueError`` for shapes that do not
    fit and for ``tokens`` that are not boolean.

    >>> x = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> y, cache = forward(x, np.array([[True, False], [True, True]]))
    >>> y
    array([[[1., 2.],
            [0., 0.]],
    <BLANKLINE>
           [[3., 4.],
            [5., 6.]]])
    >>> backward(10 * y, cache)
    array([[10., 20.],
           [30., 40.],
           [50., 60.]])
    """
    if tokens.ndim != 2 or tokens.dtype != bool:
        raise ValueError(
            f"pad: tokens are {tokens.shape} of {tokens.dtype}, "
            "expected (B, T) of bool, True = a token"
        )
    N = np.count_nonzero(tokens)
    if x.ndim != 2 or len(x) != N:
        raise ValueError(
            f"pad: x is {x.shape}, expected (N, D), a row for each of the {N} tokens "
            f"of the batch {tokens.shape}"
        )
    if N == tokens.size:
        return x.reshape(*tokens.shape, x.shape[1]), Cache(tokens)
    y = np.zeros((*tokens.shape, x.shape[1]), x.dtype)  # (B, T, D)
    y[tokens] = x
    return y, Cache(tokens)


def backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    """Return ``dx``, ``(N, D)``."""
    return dy[cache.tokens]
