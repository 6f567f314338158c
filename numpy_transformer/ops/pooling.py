"""Pooling: one vector for a whole text, out of the vectors of its tokens.

Forward, with ``n`` the number of tokens that the mask allows::

    how="first":  y = x_0                          the first token's, BERT's [CLS]
    how="mean":   y = sum over allowed t of x_t / n

Backward::

    how="first":  dx_0 = dy, all others 0
    how="mean":   dx_t = dy / n at allowed t, all others 0

Shapes: ``x (B, T, D)``, ``mask (B, T)`` boolean, True where a token counts, ``y (B, D)``.

Convention: a text without any token that counts has the mean 0, and its gradient is 0.

Source: Devlin et al. 2019, "BERT", section 3.1, for the first token; Reimers and Gurevych 2019,
"Sentence-BERT", section 3, for the mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

WAYS = ("first", "mean")


class Cache(NamedTuple):
    """What ``backward`` needs."""

    shape: tuple[int, int, int]  # of x
    share: np.ndarray | None  # (B, T, 1), what of each token is in the mean; None for the first


def forward(x: np.ndarray, mask: np.ndarray, how: str = "mean") -> tuple[np.ndarray, Cache]:
    """Pool ``x (B, T, D)`` to ``(B, D)``.

    Raises ``ValueError`` for shapes that do not fit, for texts without tokens and for another
    ``how``.

    >>> x = np.array([[[1.0, 2.0], [3.0, 6.0], [9.0, 9.0]]])
    >>> y, cache = forward(x, np.array([[True, True, False]]))
    >>> y
    array([[2., 4.]])
    >>> backward(np.array([[1.0, 8.0]]), cache)
    array([[[0.5, 4. ],
            [0.5, 4. ],
            [0. , 0. ]]])
    """
    mask = np.asarray(mask)
    if x.ndim != 3 or mask.shape != x.shape[:2] or mask.dtype != bool or not x.shape[1]:
        raise ValueError(
            f"pooling: x is {x.shape} and the mask {mask.shape} of {mask.dtype}, "
            "expected (B, T, D) with T at least 1, and (B, T) of bool"
        )
    if how == "first":
        return x[:, 0].copy(), Cache(x.shape, None)
    if how != "mean":
        raise ValueError(f"pooling: how is {how!r}, expected one of {WAYS}")
    n = np.maximum(mask.sum(axis=1, keepdims=True), 1)  # (B, 1)
    share = (mask / n).astype(x.real.dtype)[..., None]  # (B, T, 1)
    return (share * np.where(mask[..., None], x, 0)).sum(axis=1), Cache(x.shape, share)  # (B, D)


def backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    """Return ``dx``, ``(B, T, D)``."""
    if cache.share is not None:
        return cache.share * dy[:, None, :]
    dx = np.zeros(cache.shape, dy.dtype)  # (B, T, D)
    dx[:, 0] = dy
    return dx
