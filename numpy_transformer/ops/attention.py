"""Scaled dot-product attention.

Forward, for each leading index (batch, head)::

    scores  = query key^T / sqrt(K)                  (T, S)
    weights = softmax(scores where mask, -inf elsewhere)
    dropped = dropout(weights)
    y       = dropped value                          (T, K)

Backward, line for line in reverse::

    ddropped = dy value^T
    dvalue   = dropped^T dy
    dweights = through the dropout's mask
    dscores  = weights * (dweights - sum_s dweights * weights) / sqrt(K)
    dquery   = dscores key
    dkey     = dscores^T query

Note the two forms of the weights: softmax's derivative needs them as they were before dropout,
dvalue after it.

Shapes: ``query (..., T, K)``, ``key (..., S, K)``, ``value (..., S, Kv)``, ``y (..., T, Kv)``, with
the same leading axes, usually ``(B, H)``; ``mask`` is boolean, ``True`` = may attend, and
broadcasts to ``(..., T, S)``. A query that may attend to nothing gets weights, output and
gradients of zero, never NaN.

Source: Vaswani et al. 2017, "Attention Is All You Need", equation 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from numpy_transformer.ops import dropout, softmax


class Cache(NamedTuple):
    """What ``backward`` needs."""

    query: np.ndarray  # (..., T, K)
    key: np.ndarray  # (..., S, K)
    value: np.ndarray  # (..., S, Kv)
    weights: np.ndarray  # (..., T, S), after softmax, before dropout
    dropped: np.ndarray  # (..., T, S), the weights after dropout
    dropout: dropout.Cache


def forward(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    mask: np.ndarray | None = None,
    dropout_rate: float = 0.0,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, Cache]:
    """Mix the values, for each query by how well its key fits.

    Raises ``ValueError`` when shapes do not fit or K is 0, and ``TypeError`` for a mask that is
    not boolean.

    >>> query, key = np.array([[2.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> y, cache = forward(query, key, value=np.array([[1.0], [5.0]]))
    >>> cache.weights.round(3), y.round(3)
    (array([[0.804, 0.196]]), array([[1.782]]))
    >>> dquery, dkey, dvalue = backward(np.array([[1.0]]), cache)
    >>> dvalue.round(3)
    array([[0.804],
           [0.196]])
    """
    _check(query, key, value, mask)
    scores = query @ key.swapaxes(-1, -2)  # (..., T, S)
    scores *= 1 / math.sqrt(query.shape[-1])
    if mask is not None:
        real = scores.real.dtype.type
        scores += np.where(mask, real(0), real(-np.inf))
    weights, _ = softmax.forward(scores)  # (..., T, S)
    dropped, dropout_cache = dropout.forward(weights, dropout_rate, rng)
    y = _product(dropped, value, like=query)  # (..., T, Kv)
    return y, Cache(query, key, value, weights, dropped, dropout_cache)


def backward(dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``dquery``, ``dkey`` and ``dvalue``."""
    query, key, value, weights, dropped, dropout_cache = cache
    dvalue = _product(dropped.swapaxes(-1, -2), dy, like=value)  # (..., S, Kv)
    ddropped = dy @ value.swapaxes(-1, -2)  # (..., T, S)
    dweights = dropout.backward(ddropped, dropout_cache)
    dscores = softmax.backward(dweights, softmax.Cache(weights))  # (..., T, S)
    dscores *= 1 / math.sqrt(query.shape[-1])
    dquery = _product(dscores, key, like=query)  # (..., T, K)
    dkey = _product(dscores.swapaxes(-1, -2), query, like=key)  # (..., S, K)
    return dquery, dkey, dvalue


def _product(a: np.ndarray, b: np.ndarray, like: np.ndarray) -> np.ndarray:
    """``a @ b``, laid out in memory as ``like``.

    Heads are usually views ``(B, H, T, K)`` into ``(B, T, H, K)``. A result in the same layout
    can be viewed as ``(B, T, H * K)`` again without a copy.
    """
    shape = a.shape[:-1] + b.shape[-1:]
    dtype = a.dtype if a.dtype == b.dtype else np.result_type(a, b)
    return np.matmul(a, b, out=np.empty_like(like, dtype=dtype, shape=shape))


def _check(query, key, value, mask) -> None:
    fit = (
        min(query.ndim, key.ndim, value.ndim) >= 2
        and query.shape[:-2] == key.shape[:-2] == value.shape[:-2]
        and query.shape[-1] == key.shape[-1]
        and key.shape[-2] == value.shape[-2]
    )
    if query.dtype.kind not in "fc":
        raise TypeError(f"attention: the query is {query.dtype}, expected floats")
    if not fit:
        raise ValueError(
            f"attention: query {query.shape}, key {key.shape} and value {value.shape} do not fit: "
            "expected (..., T, K), (..., S, K) and (..., S, Kv) with the same leading axes"
        )
    if not query.shape[-1]:
        raise ValueError(
            f"attention: query {query.shape} and key {key.shape} have no columns to compare: "
            "expected (..., T, K) and (..., S, K) with K at least 1"
        )
    if mask is None:
        return
    if mask.dtype != bool:
        raise TypeError(f"attention: the mask is {mask.dtype}, expected bool, True = may attend")
    scores = query.shape[:-1] + key.shape[-2:-1]
    trailing = scores[len(scores) - mask.ndim :]
    if mask.ndim > len(scores) or any(m not in (1, s) for m, s in zip(mask.shape, trailing)):
        raise ValueError(
            f"attention: the mask is {mask.shape}, which does not broadcast to the scores {scores}"
        )
