"""The decoder: N layers, one on top of the other, and with pre-norm one more norm at the end.

Backward: every layer attends to the same ``memory``, so its gradient is the sum over the layers.

Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_transformer.layers import decoder_layer
from numpy_transformer.ops import layer_norm
from numpy_transformer.parameters import Tree


class Cache(NamedTuple):
    """What ``backward`` needs."""

    layers: tuple[decoder_layer.Cache, ...]
    norm: layer_norm.Cache | None  # None with post-norm


def init(
    rng: np.random.Generator,
    layers: int,
    d_model: int,
    d_ff: int,
    norm: str = "pre",
    dtype: type = np.float32,
) -> Tree:
    """The parameters: ``layers.0``, ``layers.1``, ... and, with pre-norm, ``norm``."""
    tree = {
        "layers": {str(i): decoder_layer.init(rng, d_model, d_ff, dtype) for i in range(layers)}
    }
    return tree | ({"norm": layer_norm.init(d_model, dtype)} if norm == "pre" else {})


def forward(
    x: np.ndarray,
    memory: np.ndarray,
    params: Tree,
    heads: int,
    mask: np.ndarray | None = None,
    memory_mask: np.ndarray | None = None,
    rng: np.random.Generator | None = None,
    *,
    eps: float = 1e-5,
    **settings,
) -> tuple[np.ndarray, Cache]:
    """Apply the layers in turn: ``x (B, T, D)``, ``memory (B, S, D)`` to ``(B, T, D)``.

    ``settings`` are those of ``decoder_layer.forward``.

    >>> rng = np.random.default_rng(0)
    >>> params = init(rng, layers=2, d_model=4, d_ff=8)
    >>> x, memory = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 5, 4))
    >>> y, cache = forward(x, memory, params, heads=2)
    >>> dx, dmemory, dparams = backward(y, cache)
    >>> dx.shape, dmemory.shape
    ((2, 3, 4), (2, 5, 4))
    """
    caches = []
    for i in range(len(params["layers"])):
        x, cache = decoder_layer.forward(
            x,
            memory,
            params["layers"][str(i)],
            heads,
            mask,
            memory_mask,
            rng,
            eps=eps,
            **settings,
        )
        caches.append(cache)
    norm_cache = None
    if "norm" in params:
        x, norm_cache = layer_norm.forward(x, **params["norm"], eps=eps)
    return x, Cache(tuple(caches), norm_cache)


def backward(dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray, Tree]:
    """Return ``dx``, ``dmemory`` and ``dparams``."""
    dx, dnorm = dy, {}
    if cache.norm is not None:
        dx, dweight, dbias = layer_norm.backward(dy, cache.norm)
        dnorm = {"norm": {"weight": dweight, "bias": dbias}}
    dmemory, dlayers = 0, {}
    for i in reversed(range(len(cache.layers))):
        dx, from_layer, dlayers[str(i)] = decoder_layer.backward(dx, cache.layers[i])
        dmemory = dmemory + from_layer  # (B, S, D)
    return dx, dmemory, {"layers": dict(reversed(dlayers.items()))} | dnorm
