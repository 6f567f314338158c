"""The residual connection around a sub-layer, with its layer norm and its dropout.

Two places for the norm, by setting::

    norm="post":  y = layer_norm(x + dropout(sublayer(x)))      the paper
    norm="pre":   y = x + dropout(sublayer(layer_norm(x)))      trains without a careful warm-up

Backward: ``x`` is used twice, so its gradient is the sum of what comes straight through and what
comes back through the sub-layer (each ``f'`` below is the backward pass of ``f``)::

    norm="post":  dz = layer_norm'(dy),  dx = dz + sublayer'(dropout'(dz))
    norm="pre":   dx = dy + layer_norm'(sublayer'(dropout'(dy)))

Shapes: ``x``, ``y`` and what the sub-layer takes and returns, ``(..., D)``.

The sub-layer is passed as a function, as what is around it does not depend on what it is.

Source: Vaswani et al. 2017, "Attention Is All You Need", sections 3.1 and 5.4; Xiong et al. 2020,
"On Layer Normalization in the Transformer Architecture", for the comparison of the two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numpy_transformer.ops import dropout, layer_norm
from numpy_transformer.parameters import Tree

NORMS = ("pre", "post")


class Cache(NamedTuple):
    """What ``backward`` needs."""

    norm: layer_norm.Cache
    sublayer: Any  # the sub-layer's own cache
    dropout: dropout.Cache
    pre: bool


def forward(
    x: np.ndarray,
    sublayer: Callable[[np.ndarray], tuple[np.ndarray, Any]],
    norm_params: Tree,
    norm: str = "pre",
    eps: float = 1e-5,
    dropout_rate: float = 0.0,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, Cache]:
    """Add to ``x (..., D)`` what ``sublayer`` makes of it; ``sublayer(x)`` returns (y, cache).

    Raises ``ValueError`` for a ``norm`` that is neither ``"pre"`` nor ``"post"``.
    """
    if norm == "pre":
        h, norm_cache = layer_norm.forward(x, **norm_params, eps=eps)  # (..., D)
        h, sublayer_cache = sublayer(h)
        h, dropout_cache = dropout.forward(h, dropout_rate, rng)
        y = x + h
    elif norm == "post":
        h, sublayer_cache = sublayer(x)
        h, dropout_cache = dropout.forward(h, dropout_rate, rng)
        y, norm_cache = layer_norm.forward(x + h, **norm_params, eps=eps)
    else:
        raise ValueError(f"residual: norm is {norm!r}, expected one of {NORMS}")
    return y, Cache(norm_cache, sublayer_cache, dropout_cache, norm == "pre")


def backward(
    dy: np.ndarray,
    cache: Cache,
    sublayer_backward: Callable[[np.ndarray], tuple],
) -> tuple:
    """Return ``dx``, ``dnorm_params`` and whatever else ``sublayer_backward`` returns.

    ``sublayer_backward(dh)`` returns the gradient of the sub-layer's input, then anything.
    """
    if cache.pre:
        dh = dropout.backward(dy, cache.dropout)
        dh, *others = sublayer_backward(dh)
        dh, dweight, dbias = layer_norm.backward(dh, cache.norm)
    else:
        dy, dweight, dbias = layer_norm.backward(dy, cache.norm)
        dh = dropout.backward(dy, cache.dropout)
        dh, *others = sublayer_backward(dh)
    return dy + dh, {"weight": dweight, "bias": dbias}, *others
