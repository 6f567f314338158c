"""Embedding: row ``ids[n]`` of a table for each id.

Forward::

    y_n = weight[ids_n]

Backward: row ``v`` was used wherever ``ids_n = v``, and it gets the sum of what arrives there::

    dweight_v = sum over n with ids_n = v of dy_n

Ids have no gradient. A token that stands twice in a batch counts twice: assigning instead of
adding (``dweight[ids] = dy``) is the usual mistake.

Shapes: ``ids`` any, ``weight (V, D)``, ``y (..., D)``.

Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.4. The factor sqrt(D) of that
section belongs to the model (``layers/input_embedding.py``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Cache(NamedTuple):
    """What ``backward`` needs."""

    ids: np.ndarray  # (...)
    weight: np.ndarray  # (V, D), for its shape


def forward(ids: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, Cache]:
    """Look up one row for each id: ``ids (...)``, ``weight (V, D)`` to ``(..., D)``.

    Raises ``TypeError`` for ids that are not integers, ``ValueError`` for a table that is not
    ``(V, D)``, and ``IndexError`` for ids outside 0 to V - 1; negative ids do not count from the
    end.

    >>> table = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]])
    >>> y, cache = forward(np.array([1, 2, 1]), table)
    >>> y
    array([[1., 2.],
           [3., 4.],
           [1., 2.]])
    >>> backward(np.array([[1.0, 1.0], [5.0, 5.0], [10.0, 10.0]]), cache)
    array([[ 0.,  0.],
           [11., 11.],
           [ 5.,  5.]])
    """
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"embedding: ids are {ids.dtype}, expected integers")
    if weight.ndim != 2:
        raise ValueError(f"embedding: the table is {weight.shape}, expected (V, D)")
    if ids.size and (ids.min() < 0 or ids.max() >= len(weight)):
        raise IndexError(
            f"embedding: ids run from {ids.min()} to {ids.max()}, "
            f"but the table {weight.shape} has "
            + (f"rows 0 to {len(weight) - 1}" if len(weight) else "no rows")
        )
    return np.take(weight, ids, axis=0), Cache(ids, weight)  # (..., D)


def backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    """Return ``dweight``, ``(V, D)``."""
    dweight = np.zeros(cache.weight.shape, dy.dtype)  # (V, D)
    ids = cache.ids.reshape(-1)  # (N,)
    if not ids.size:
        return dweight
    # Sorted by id, the rows of one id are neighbours, and reduceat adds up each such run:
    # the same as np.add.at(dweight, ids, dy), but many times faster.
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    first = np.append(0, 1 + np.flatnonzero(ids[1:] != ids[:-1]))  # where each run begins
    rows = dy.reshape(len(ids), -1)[order]  # (N, D)
    dweight[ids[first]] = np.add.reduceat(rows, first, axis=0)
    return dweight
