"""Linear map: ``y = x W + b``.

Forward, for each row ``x_n`` of the input::

    y_nj = sum_i x_ni W_ij + b_j

Backward. A change of ``x_ni`` moves every ``y_nj`` by ``W_ij``; a change of ``W_ij`` moves
``y_nj`` by ``x_ni`` in every row ``n``; a change of ``b_j`` moves ``y_nj`` by 1 in every row.
Collecting what arrives::

    dx_ni = sum_j dy_nj W_ij        dx = dy W^T
    dW_ij = sum_n x_ni dy_nj        dW = x^T dy
    db_j  = sum_n dy_nj

Shapes: ``x (..., in)``, ``weight (in, out)``, ``bias (out,)``, ``y (..., out)``.

Convention: the weight is ``(in, out)``, as in GPT-2's checkpoints. PyTorch's ``Linear`` keeps
``(out, in)``, the transpose.

Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.3 (equation 2 is two of them).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from numpy_transformer.ops import sums
from numpy_transformer.ops.products import few_rows


class Cache(NamedTuple):
    """What ``backward`` needs."""

    x: np.ndarray  # (..., in)
    weight: np.ndarray  # (in, out)
    has_bias: bool


def forward(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None
) -> tuple[np.ndarray, Cache]:
    """Map the last axis of ``x``: ``(..., in)`` to ``(..., out)``. ``bias`` may be ``None``.

    Raises ``ValueError`` when the extents do not fit.

    >>> x = np.array([[1.0, 2.0]])
    >>> weight = np.array([[1.0, 0.0, 3.0], [0.0, 1.0, 1.0]])
    >>> y, cache = forward(x, weight, np.array([10.0, 20.0, 30.0]))
    >>> y
    array([[11., 22., 35.]])
    >>> dx, dweight, dbias = backward(np.array([[1.0, 0.0, 2.0]]), cache)
    >>> dx, dbias
    (array([[7., 2.]]), array([1., 0., 2.]))
    """
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[0]:
        raise ValueError(
            f"linear: x {x.shape} and weight {weight.shape} do not fit: "
            "expected x (..., in) and weight (in, out)"
        )
    if bias is not None and bias.shape != weight.shape[1:]:
        raise ValueError(f"linear: bias is {bias.shape}, expected {weight.shape[1:]} (out,)")
    y = few_rows(_rows(x), weight)  # x W, the same as _rows(x) @ weight: (N, out)
    if bias is not None:
        # In place, unless the bias has a dtype of its own (complex, for a complex step).
        y = np.add(y, bias, out=y if y.dtype == bias.dtype else None)
    y = y.reshape(x.shape[:-1] + weight.shape[1:])  # (..., out)
    return y, Cache(x, weight, bias is not None)


def backward(
    dy: np.ndarray, cache: Cache
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return ``dx``, ``dweight`` and ``dbias`` (``None`` where there was no bias)."""
    dy_rows = _rows(dy)  # (N, out)
    dx = (dy_rows @ cache.weight.T).reshape(cache.x.shape)  # (..., in)
    # dweight gets the memory layout of the weight, which may be a transposed (tied) matrix.
    dweight = np.empty_like(cache.weight, dtype=dy.dtype)
    np.matmul(_rows(cache.x).T, dy_rows, out=dweight)  # (in, out)
    dbias = sums.over_rows(dy_rows) if cache.has_bias else None  # (out,)
    return dx, dweight, dbias


def _rows(x: np.ndarray) -> np.ndarray:
    """All leading axes as one: one large matrix product is faster than many small ones."""
    rows = math.prod(x.shape[:-1])  # not -1, which is undefined where an extent is 0
    return x.reshape(rows, x.shape[-1])  # (N, D)
