"""Points of the operations."""

from __future__ import annotations

import numpy as np

from numpy_transformer.gradcheck.points.drawing import (
    RATE,
    B,
    D,
    F,
    H,
    K,
    Point,
    S,
    T,
    V,
    generator,
    ids,
    mask,
    normal,
    with_,
)
from numpy_transformer.ops import (
    attention,
    cross_entropy,
    dropout,
    embedding,
    gelu,
    layer_norm,
    linear,
    pad,
    pooling,
    positions,
    relu,
    softmax,
    tanh,
    unpad,
)


def _linear(rng):
    return Point(linear, (normal(rng, B, T, D), normal(rng, D, F), normal(rng, F)))


def _linear_without_bias(rng):
    return Point(linear, (normal(rng, B, T, D), normal(rng, D, F), None))


def _relu(rng):
    x = normal(rng, B, T, D)
    return Point(relu, (x + 0.01 * np.sign(x),))  # away from the kink at 0


def _gelu(rng, approximate):
    return Point(gelu, (2 * normal(rng, B, T, D),), {"approximate": approximate})


def _tanh(rng):
    return Point(tanh, (normal(rng, B, T, D),))


def _softmax(rng):
    return Point(softmax, (2 * normal(rng, B, T, S),))


def _layer_norm(rng):
    weight, bias = 1.5 + normal(rng, D), normal(rng, D)
    return Point(layer_norm, (2 * normal(rng, B, T, D) + 1, weight, bias))


def _embedding(rng):
    return Point(embedding, (ids(rng, B, T, V), normal(rng, V, D)))


def _positions(rng):
    return Point(positions, (normal(rng, B, T, D), normal(rng, S, D)))


def _dropout(rng):
    return Point(dropout, (normal(rng, B, T, D), RATE, generator(rng)))


def _attention(rng):
    query, key = normal(rng, B, H, T, K), normal(rng, B, H, S, K)
    value = normal(rng, B, H, S, K + 3)
    return Point(attention, (query, key, value, mask(rng, B, 1, T, S), RATE, generator(rng)))


def _unpad(rng):
    return Point(unpad, (normal(rng, B, T, D), _tokens(rng)))


def _pad(rng):
    tokens = _tokens(rng)
    return Point(pad, (normal(rng, tokens.sum(), D), tokens))


def _tokens(rng):
    """Where tokens are in a batch of ragged texts: (B, T)."""
    return ids(rng, B, T, V) != 0


def _pooling(rng, how):
    """Ragged texts, and one without any token."""
    x, there = normal(rng, B + 1, T, D), ids(rng, B + 1, T, V) != 0
    there[1] = False
    return Point(pooling, (x, there, how))


def _cross_entropy(rng, label_smoothing):
    settings = {"ignore_index": 0, "label_smoothing": label_smoothing}
    return Point(cross_entropy, (normal(rng, B, T, V), ids(rng, B, T, V)), settings)


def _weighted_cross_entropy(rng):
    settings = {"ignore_index": 0, "class_weights": tuple(np.exp(normal(rng, V)))}
    return Point(cross_entropy, (normal(rng, B, T, V), ids(rng, B, T, V)), settings)


POINTS = {
    "linear": _linear,
    "linear, no bias": _linear_without_bias,
    "relu": _relu,
    "gelu": with_(_gelu, "none"),
    "gelu, tanh": with_(_gelu, "tanh"),
    "tanh": _tanh,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "embedding": _embedding,
    "positions": _positions,
    "dropout": _dropout,
    "attention": _attention,
    "unpad": _unpad,
    "pad": _pad,
    "pooling, first": with_(_pooling, "first"),
    "pooling, mean": with_(_pooling, "mean"),
    "cross_entropy": with_(_cross_entropy, 0.0),
    "cross_entropy, smoothed": with_(_cross_entropy, 0.1),
    "cross_entropy, weighted": _weighted_cross_entropy,
}
