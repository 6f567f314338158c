"""One layer of the encoder: self-attention, then the feed-forward network, each in a residual.

Forward (with ``norm="pre"``; see ``residual`` for the other)::

    x = x + dropout(self_attention(layer_norm(x)))
    y = x + dropout(feed_forward(layer_norm(x)))

With a causal mask it is the layer of a decoder-only model as well (``models/causal_lm.py``).

Backward: the same two steps in reverse. ``h = layer_norm(x)`` goes into self-attention twice, as
what asks and as what answers, so ``dh`` is the sum of the two gradients.

Shapes: ``x``, ``y`` ``(B, S, D)``; the mask broadcasts to ``(B, H, S, S)``. Or, without padding,
``x``, ``y`` ``(N, D)`` and the padding mask ``(B, 1, 1, S)`` of these N tokens.

Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.1 and figure 1, left.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_transformer.layers import feed_forward, multi_head_attention, residual
from numpy_transformer.ops import dropout, layer_norm
from numpy_transformer.parameters import Tree


class Cache(NamedTuple):
    """What ``backward`` needs."""

    self_attention_norm: layer_norm.Cache
    self_attention: multi_head_attention.Cache
    self_attention_dropout: dropout.Cache
    feed_forward_norm: layer_norm.Cache
    feed_forward: feed_forward.Cache
    feed_forward_dropout: dropout.Cache
    pre: bool  # the place of the norms


def init(
    rng: np.random.Generator,
    d_model: int,
    d_ff: int,
    dtype: type = np.float32,
    attention_bias: bool = True,
) -> Tree:
    """The parameters of the two sub-layers and of their norms.

    ``attention_bias=False`` leaves out the biases of query, key and value.
    """
    return {
        "self_attention_norm": layer_norm.init(d_model, dtype),
        "self_attention": multi_head_attention.init(rng, d_model, dtype, attention_bias),
        "feed_forward_norm": layer_norm.init(d_model, dtype),
        "feed_forward": feed_forward.init(rng, d_model, d_ff, dtype),
    }


def forward(
    x: np.ndarray,
    params: Tree,
    heads: int,
    mask: np.ndarray | None = None,
    rng: np.random.Generator | None = None,
    *,
    norm: str = "pre",
    eps: float = 1e-5,
    activation: str = "relu",
    dropout_rate: float = 0.0,
    attention_dropout: float = 0.0,
    activation_dropout: float = 0.0,
) -> tuple[np.ndarray, Cache]:
    """Apply the layer: ``x (B, S, D)`` to ``(B, S, D)``.

    ``dropout_rate`` is for the outputs of the sub-layers, ``attention_dropout`` for the attention
    weights, ``activation_dropout`` for the hidden units; ``rng=None`` switches all of them off.

    >>> rng = np.random.default_rng(0)
    >>> params = init(rng, d_model=4, d_ff=8)
    >>> y, cache = forward(rng.standard_normal((2, 3, 4)), params, heads=2)
    >>> dx, dparams = backward(y, cache)
    >>> dparams["feed_forward"]["hidden"]["weight"].shape
    (4, 8)
    """

    def self_attention(h):
        return multi_head_attention.forward(
            h, h, params["self_attention"], heads, mask, attention_dropout, rng
        )

    def transform(h):
        return feed_forward.forward(h, params["feed_forward"], activation, activation_dropout, rng)

    around = (norm, eps, dropout_rate, rng)
    x, attended = residual.forward(x, self_attention, params["self_attention_norm"], *around)
    y, transformed = residual.forward(x, transform, params["feed_forward_norm"], *around)
    return y, Cache(
        self_attention_norm=attended.norm,
        self_attention=attended.sublayer,
        self_attention_dropout=attended.dropout,
        feed_forward_norm=transformed.norm,
        feed_forward=transformed.sublayer,
        feed_forward_dropout=transformed.dropout,
        pre=norm == "pre",
    )


def backward(dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, Tree]:
    """Return ``dx`` and ``dparams``."""

    def self_attention_backward(dh):
        dx, dmemory, dparams = multi_head_attention.backward(dh, cache.self_attention)
        return dx + dmemory, dparams

    def transform_backward(dh):
        return feed_forward.backward(dh, cache.feed_forward)

    attended = residual.Cache(
        cache.self_attention_norm, cache.self_attention, cache.self_attention_dropout, cache.pre
    )
    transformed = residual.Cache(
        cache.feed_forward_norm, cache.feed_forward, cache.feed_forward_dropout, cache.pre
    )
    dx, dnorm_2, dfeed_forward = residual.backward(dy, transformed, transform_backward)
    dx, dnorm_1, dself_attention = residual.backward(dx, attended, self_attention_backward)
    return dx, {
        "self_attention_norm": dnorm_1,
        "self_attention": dself_attention,
        "feed_forward_norm": dnorm_2,
        "feed_forward": dfeed_forward,
    }
