"""The encoder: N layers, one on top of the other, and with pre-norm one more norm at the end.

With ``norm="pre"`` nothing normalises the sum that runs through the residuals, so a last layer
norm does; with ``norm="post"`` each layer ends in a norm already, and there is no other.

Shapes: those of ``encoder_layer``.

Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_transformer.layers import encoder_layer
from numpy_transformer.ops import layer_norm
from numpy_transformer.parameters import Tree


class Cache(NamedTuple):
    """What ``backward`` needs."""

    layers: tuple[encoder_layer.Cache, ...]
    norm: layer_norm.Cache | None  # None with post-norm


def init(
    rng: np.random.Generator,
    layers: int,
    d_model: int,
    d_ff: int,
    norm: str = "pre",
    dtype: type = np.float32,
    attention_bias: bool = True,
) -> Tree:
    """The parameters: ``layers.0``, ``layers.1``, ... and, with pre-norm, ``norm``."""
    made = (encoder_layer.init(rng, d_model, d_ff, dtype, attention_bias) for _ in range(layers))
    tree = {"layers": {str(i): layer for i, layer in enumerate(made)}}
    return tree | ({"norm": layer_norm.init(d_model, dtype)} if norm == "pre" else {})


def forward(
    x: np.ndarray,
    params: Tree,
    heads: int,
    mask: np.ndarray | None = None,
    rng: np.random.Generator | None = None,
    *,
    eps: float = 1e-5,
    **settings,
) -> tuple[np.ndarray, Cache]:
    """Apply the layers in turn: ``x (B, S, D)`` to ``(B, S, D)``.

    ``settings`` are those of ``encoder_layer.forward``.

    >>> rng = np.random.default_rng(0)
    >>> params = init(rng, layers=2, d_model=4, d_ff=8)
    >>> y, cache = forward(rng.standard_normal((2, 3, 4)), params, heads=2)
    >>> dx, dparams = backward(y, cache)
    >>> list(dparams["layers"]), list(dparams["norm"])
    (['0', '1'], ['weight', 'bias'])
    """
    caches = []
    for i in range(len(params["layers"])):
        x, cache = encoder_layer.forward(
            x, params["layers"][str(i)], heads, mask, rng, eps=eps, **settings
        )
        caches.append(cache)
    norm_cache = None
    if "norm" in params:
        x, norm_cache = layer_norm.forward(x, **params["norm"], eps=eps)
    return x, Cache(tuple(caches), norm_cache)


def backward(dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, Tree]:
    """Return ``dx`` and ``dparams``."""
    dx, dnorm = dy, {}
    if cache.norm is not None:
        dx, dweight, dbias = layer_norm.backward(dy, cache.norm)
        dnorm = {"norm": {"weight": dweight, "bias": dbias}}
    dlayers = {}
    for i in reversed(range(len(cache.layers))):
        dx, dlayers[str(i)] = encoder_layer.backward(dx, cache.layers[i])
    return dx, {"layers": dict(reversed(dlayers.items()))} | dnorm
