"""Layer normalisation over the last axis.

Forward, for each row of D entries::

    mean   = sum(x) / D
    var    = sum((x - mean)^2) / D            biased, as everywhere in the field
    rstd   = 1 / sqrt(var + eps)              eps inside the root
    normed = (x - mean) * rstd
    y      = weight * normed + bias

Backward. ``g = dy * weight`` is what arrives at ``normed``. Write ``c = x - mean``, so that
``normed = c * rstd``. As ``d rstd = -rstd^3 sum(c dc) / D``::

    d normed = rstd dc - c rstd^3 sum(c dc) / D = rstd (dc - normed * sum(normed dc) / D)

The map from ``dc`` to ``d normed`` is symmetric, so gradients go back through the same map, and
the mean that was subtracted is subtracted from the gradient as well (``sum(normed)`` is 0)::

    dx      = rstd (g - sum(g) / D - normed * sum(g normed) / D)
    dweight = sum over rows of dy * normed
    dbias   = sum over rows of dy

Shapes: ``x``, ``y`` ``(..., D)``; ``weight``, ``bias`` ``(D,)``; ``rstd`` ``(..., 1)``.

Convention: PyTorch's. The Annotated Transformer has the unbiased deviation and adds eps outside
the root; BERT has eps 1e-12.

Source: Ba, Kiros and Hinton 2016, "Layer Normalization", equation 4.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_transformer.ops import sums


class Cache(NamedTuple):
    """What ``backward`` needs."""

    normed: np.ndarray  # (..., D)
    rstd: np.ndarray  # (..., 1)
    weight: np.ndarray  # (D,)


def init(width: int, dtype: type = np.float32) -> dict[str, np.ndarray]:
    """The parameters at the start of training: weight 1, bias 0, each ``(D,)``."""
    return {"weight": np.ones(width, dtype), "bias": np.zeros(width, dtype)}


def forward(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5
) -> tuple[np.ndarray, Cache]:
    """Bring each row of ``x`` to mean 0 and variance 1, then scale it and shift it.

    Raises ``ValueError`` when weight or bias does not have the extent of the last axis, and for
    rows without entries, which have no mean.

    >>> y, cache = forward(np.array([[1.0, 3.0]]), np.array([1.0, 2.0]), np.array([0.0, 10.0]))
    >>> y.round(3)
    array([[-1., 12.]])
    >>> dx, dweight, dbias = backward(np.array([[1.0, 1.0]]), cache)
    >>> dweight.round(3), dbias
    (array([-1.,  1.]), array([1., 1.]))
    """
    D = x.shape[-1] if x.ndim else 0
    if not D:
        raise ValueError(f"layer_norm: x is {x.shape}, expected (..., D) with D at least 1")
    if weight.shape != (D,) or bias.shape != (D,):
        raise ValueError(
            f"layer_norm: x is {x.shape}, so weight and bias must be ({D},); "
            f"given weight {weight.shape} and bias {bias.shape}"
        )
    normed = x - sums.over_last(x) / D  # (..., D), not yet divided by the deviation
    var = np.einsum("...d,...d->...", normed, normed)[..., None] / D  # (..., 1)
    rstd = 1 / np.sqrt(var + eps)  # (..., 1)
    normed *= rstd
    y = normed * weight  # (..., D)
    # In place, unless the bias has a dtype of its own (complex, for a complex step).
    y = np.add(y, bias, out=y if y.dtype == bias.dtype else None)
    return y, Cache(normed, rstd, weight)


def backward(dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``dx``, ``dweight`` and ``dbias``."""
    normed, rstd, weight = cache
    D = normed.shape[-1]
    dbias = sums.over_rows(dy)  # (D,)
    dweight = sums.over_rows(dy * normed)  # (D,)
    dx = dy * weight  # (..., D), the g above
    mean = sums.over_last(dx) / D  # (..., 1)
    slope = np.einsum("...d,...d->...", dx, normed)[..., None] / D  # (..., 1)
    dx -= mean
    dx -= normed * slope
    dx *= rstd
    return dx, dweight, dbias
