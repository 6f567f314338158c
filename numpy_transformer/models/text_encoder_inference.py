"""The text encoder without a backward pass: the same vectors, in less time and memory.

``text_encoder.forward`` keeps the arrays that ``backward`` needs, fifteen of each layer. Who only
wants the vectors needs none of them: here every step writes over what the step before it left, so
that the memory is that of one layer, however many there are, and more of it stays in the
processor's cache.

Nothing here is needed to understand the encoder. What it computes, and why, is written down in
``text_encoder.py``, ``layers/encoder_layer.py`` and the operations; a test holds the two together.

Shapes: ``B`` texts of ``T`` tokens with padding, ``N`` tokens without (not the number of layers),
``H`` heads of width ``K``, and ``S`` for ``T`` where tokens are looked at and do not look
themselves.
"""

from __future__ import annotations

import math

import numpy as np

from numpy_transformer.layers.multi_head_attention import merge_heads, split_heads
from numpy_transformer.models import text_encoder
from numpy_transformer.models.text_encoder import Config
from numpy_transformer.ops import gelu, linear, pad, sums, unpad
from numpy_transformer.ops.blocks import blocks
from numpy_transformer.parameters import Tree


def encode(
    ids: np.ndarray, segments: np.ndarray | None, params: Tree, config: Config
) -> np.ndarray:
    """A vector for each token, as ``text_encoder.forward`` has it: ``ids (B, T)``, ``(B, T, D)``.

    Equal to rounding; raises what that function does for ids and segments. Dropout is off.

    >>> config = text_encoder.preset("nano", vocab=20)
    >>> params = text_encoder.init(np.random.default_rng(0), config)
    >>> ids = np.array([[7, 5, 6], [8, 3, 0]])
    >>> h, _ = text_encoder.forward(ids, None, params, config)
    >>> bool(np.allclose(encode(ids, None, params, config), h, atol=1e-6))
    True
    """
    x, mask = text_encoder.embed(ids, segments, params, config)[:2]  # (N, D), (B, 1, 1, T)
    tokens = mask[:, 0, 0]  # (B, T)
    hide = np.where(mask, 0, -np.inf).astype(x.dtype).swapaxes(-1, -2)  # (B, 1, S, 1)
    layers = params["encoder"]["layers"]
    for i in range(len(layers)):
        x = _layer(x, layers[str(i)], tokens, hide, config)
    if "norm" in params["encoder"]:
        _normalise(x, params["encoder"]["norm"], config)
    return pad.forward(x, tokens)[0]  # (B, T, D)


def _layer(x, params, tokens, hide, config):
    """One layer: ``x (N, D)``, which is overwritten, to ``(N, D)``."""

    def self_attention(h):
        return _attend(h, params["self_attention"], tokens, hide, config)

    def transform(h):
        h, _ = linear.forward(h, **params["feed_forward"]["hidden"])  # (N, F)
        _activate(h, config.activation)
        return linear.forward(h, **params["feed_forward"]["output"])[0]  # (N, D)

    x = _residual(x, self_attention, params["self_attention_norm"], config)
    return _residual(x, transform, params["feed_forward_norm"], config)


def _residual(x, sublayer, norm, config):
    """Add to ``x`` what ``sublayer`` makes of it; ``x`` is overwritten."""
    if config.norm == "pre":
        h = x.copy()
        _normalise(h, norm, config)
        x += sublayer(h)
        return x
    h = sublayer(x)
    h += x
    _normalise(h, norm, config)
    return h


def _attend(x, params, tokens, hide, config):
    """Self-attention of ``x (N, D)``: ``(N, D)``."""

    def heads(name):
        h, _ = linear.forward(x, **params[name])  # (N, D)
        return split_heads(pad.forward(h, tokens)[0], config.h)  # (B, H, T, K)

    query, key = heads("query"), heads("key")
    # A column for each token that looks. NumPy is quick to find the largest entry, and the sum,
    # of all columns at once, and slow to do so for short rows.
    scores = key @ query.swapaxes(-1, -2)  # (B, H, S, T)
    scores *= 1 / math.sqrt(query.shape[-1])
    scores += hide
    largest = scores.max(axis=-2, keepdims=True, initial=-np.inf)  # (B, H, 1, T)
    largest[largest == -np.inf] = 0  # as in ops/softmax.py
    scores -= largest
    np.exp(scores, out=scores)
    total = scores.sum(axis=-2, keepdims=True)
    total[total == 0] = 1
    scores /= total
    y = query  # the memory of the queries, (B, H, T, K), of which there is no more need
    np.matmul(scores.swapaxes(-1, -2), heads("value"), out=y)
    y, _ = unpad.forward(merge_heads(y), tokens)  # (N, D)
    return linear.forward(y, **params["output"])[0]


def _activate(x, name):
    """The activation in place: ``x (N, F)``."""
    if name == "relu":
        np.maximum(x, 0, out=x)
        return
    approximate = "tanh" if name == "gelu_tanh" else "none"
    flat = x.reshape(-1)  # a view, as x comes out of a product
    for part in blocks(flat.size):
        probability = np.empty_like(flat[part])
        gelu.distribution(flat[part], approximate, out=probability)
        flat[part] *= probability


def _normalise(x, params, config):
    """Layer norm in place: ``x (N, D)``."""
    D = x.shape[-1]
    x -= sums.over_last(x) / D
    var = np.einsum("nd,nd->n", x, x)[:, None] / D  # (N, 1)
    x *= 1 / np.sqrt(var + config.norm_eps)
    x *= params["weight"]
    x += params["bias"]
