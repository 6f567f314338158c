"""Points of the layers.

``ops/activation.py`` has none of its own: it is the name of three operations that have, and
``feed_forward`` is checked with each of them.
"""

from __future__ import annotations

import numpy as np

from numpy_transformer.gradcheck.points.drawing import (
    RATE,
    B,
    D,
    F,
    H,
    Point,
    S,
    T,
    V,
    generator,
    ids,
    key_biases,
    mask,
    normal,
    random_tree,
    with_,
)
from numpy_transformer.layers import (
    decoder,
    decoder_layer,
    encoder,
    encoder_layer,
    feed_forward,
    input_embedding,
    multi_head_attention,
)
from numpy_transformer.ops import masks


def _input_embedding(rng):
    args = (ids(rng, B, T, V), normal(rng, V, D), normal(rng, S, D), np.sqrt(D))
    return Point(input_embedding, (*args, RATE, generator(rng)))


def _multi_head_attention(rng, bias):
    params = random_tree(rng, multi_head_attention.init(rng, D, bias=bias))
    x, memory = normal(rng, B, T, D), normal(rng, B, S, D)
    args = (x, memory, params, H, mask(rng, B, 1, T, S), RATE, generator(rng))
    return Point(multi_head_attention, args, {}, key_biases(params))


def _self_attention_without_padding(rng):
    """Both arguments are rows of the same tokens, not of the same numbers."""
    params = random_tree(rng, multi_head_attention.init(rng, D))
    there = masks.padding_mask(ids(rng, B, T, V), 0)
    x, memory = normal(rng, there.sum(), D), normal(rng, there.sum(), D)
    args = (x, memory, params, H, there, RATE, generator(rng))
    return Point(multi_head_attention, args, {}, key_biases(params))


def _feed_forward(rng, activation):
    params = random_tree(rng, feed_forward.init(rng, D, F))
    args = (normal(rng, B, T, D), params, activation, RATE, generator(rng))
    return Point(feed_forward, args)


def _layer_settings(norm, activation):
    rates = ("dropout_rate", "attention_dropout", "activation_dropout")
    return {"norm": norm, "activation": activation} | dict.fromkeys(rates, RATE)


def _encoder_layer(rng, norm, activation):
    params = random_tree(rng, encoder_layer.init(rng, D, F))
    args = (normal(rng, B, S, D), params, H, mask(rng, B, 1, 1, S), generator(rng))
    return Point(encoder_layer, args, _layer_settings(norm, activation), key_biases(params))


def _causal_layer(rng):
    """A layer of a decoder-only model: the encoder's, and no token sees a later one."""
    params = random_tree(rng, encoder_layer.init(rng, D, F, attention_bias=False))
    args = (normal(rng, B, T, D), params, H, masks.causal_mask(T), generator(rng))
    return Point(encoder_layer, args, _layer_settings("pre", "gelu_tanh"))


def _decoder_layer(rng, norm, activation):
    params = random_tree(rng, decoder_layer.init(rng, D, F))
    x, memory = normal(rng, B, T, D), normal(rng, B, S, D)
    own = masks.causal_padding_mask(ids(rng, B, T, V), 0)
    args = (x, memory, params, H, own, mask(rng, B, 1, 1, S), generator(rng))
    return Point(decoder_layer, args, _layer_settings(norm, activation), key_biases(params))


def _encoder(rng):
    params = random_tree(rng, encoder.init(rng, 2, D, F))
    args = (normal(rng, B, S, D), params, H, mask(rng, B, 1, 1, S), generator(rng))
    return Point(encoder, args, _layer_settings("pre", "gelu"), key_biases(params))


def _decoder(rng):
    params = random_tree(rng, decoder.init(rng, 2, D, F))
    x, memory = normal(rng, B, T, D), normal(rng, B, S, D)
    own = masks.causal_padding_mask(ids(rng, B, T, V), 0)
    args = (x, memory, params, H, own, mask(rng, B, 1, 1, S), generator(rng))
    return Point(decoder, args, _layer_settings("pre", "gelu"), key_biases(params))


POINTS = {
    "multi_head_attention": with_(_multi_head_attention, bias=True),
    "multi_head_attention, no bias": with_(_multi_head_attention, bias=False),
    "multi_head_attention, without padding": _self_attention_without_padding,
    "feed_forward, relu": with_(_feed_forward, "relu"),
    "feed_forward, gelu": with_(_feed_forward, "gelu"),
    "feed_forward, gelu_tanh": with_(_feed_forward, "gelu_tanh"),
    "encoder_layer, pre-norm, relu": with_(_encoder_layer, "pre", "relu"),
    "encoder_layer, post-norm, gelu": with_(_encoder_layer, "post", "gelu"),
    "encoder_layer, causal": _causal_layer,
    "decoder_layer, pre-norm, relu": with_(_decoder_layer, "pre", "relu"),
    "decoder_layer, post-norm, gelu": with_(_decoder_layer, "post", "gelu"),
    "encoder": _encoder,
    "decoder": _decoder,
    "input_embedding": _input_embedding,
}
