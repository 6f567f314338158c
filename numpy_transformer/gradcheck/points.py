"""For every module of the project, points at which to check it.

A point is a set of arguments at which a mistake shows: all extents different, weights of size
about 1, a layer norm's weight away from 1 and its bias away from 0, repeated ids, ragged padding,
a row that may attend to nothing, dropout on. ``POINTS`` maps a name to a function from a random
generator to a ``Point``; ``numpy-transformer gradcheck`` and the tests use them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from numpy_transformer import parameters
from numpy_transformer.layers import (
    decoder,
    decoder_layer,
    encoder,
    encoder_layer,
    feed_forward,
    input_embedding,
    multi_head_attention,
)
from numpy_transformer.models import (
    causal_lm,
    causal_lm_loss,
    encoder_decoder,
    encoder_decoder_loss,
)
from numpy_transformer.ops import (
    attention,
    cross_entropy,
    dropout,
    embedding,
    gelu,
    layer_norm,
    linear,
    masks,
    positions,
    relu,
    softmax,
)

# All different, so that no two axes can be confused.
B, H, K, S, T, F, V = 3, 2, 4, 6, 5, 9, 11
D = H * K
RATE = 0.3


class Point(NamedTuple):
    """The arguments of one check."""

    op: ModuleType
    args: tuple
    settings: dict[str, Any] = {}
    zero: tuple[str, ...] = ()  # gradients that are zero for a good reason


def _normal(rng, *shape):
    return rng.standard_normal(shape)


def _generator(rng):
    return np.random.default_rng(rng.integers(2**32))


def _random_tree(rng, tree):
    """The same tree in float64, every array of size about 1 and nowhere at a special point."""

    def draw(name, array):
        values = _normal(rng, *array.shape)
        if array.ndim == 2:
            # Maps (in, out) keep the size of what passes through them; tables have rows of size 1.
            return values / np.sqrt(array.shape[1 if "embedding" in name else 0])
        return values + (1.5 if name.endswith("norm.weight") else 0)

    named = {name: draw(name, array) for name, array in parameters.items(tree)}
    return parameters.from_items(named, like=tree)


def _ids(rng, batch, length, vocabulary):
    """Ids with repetitions and with ragged padding (0): one row full, the others shorter."""
    ids = rng.integers(1, vocabulary, (batch, length))
    ids[:, 1] = ids[:, 0]
    for row in range(1, batch):
        ids[row, length - row :] = 0
    return ids


def _mask(rng, *shape):
    """A random mask, every row with something to attend to but the first."""
    mask = rng.random(shape) < 0.6
    mask[..., -1] = True
    mask[(0,) * (mask.ndim - 1)] = False
    return mask


def _linear(rng):
    return Point(linear, (_normal(rng, B, T, D), _normal(rng, D, F), _normal(rng, F)))


def _linear_without_bias(rng):
    return Point(linear, (_normal(rng, B, T, D), _normal(rng, D, F), None))


def _relu(rng):
    x = _normal(rng, B, T, D)
    return Point(relu, (x + 0.01 * np.sign(x),))  # away from the kink at 0


def _gelu(rng, approximate):
    return Point(gelu, (2 * _normal(rng, B, T, D),), {"approximate": approximate})


def _softmax(rng):
    x = 2 * _normal(rng, B, T, S)
    return Point(softmax, (x,))


def _layer_norm(rng):
    weight, bias = 1.5 + _normal(rng, D), _normal(rng, D)
    return Point(layer_norm, (2 * _normal(rng, B, T, D) + 1, weight, bias))


def _embedding(rng):
    return Point(embedding, (_ids(rng, B, T, V), _normal(rng, V, D)))


def _positions(rng):
    return Point(positions, (_normal(rng, B, T, D), _normal(rng, S, D)))


def _dropout(rng):
    return Point(dropout, (_normal(rng, B, T, D), RATE, _generator(rng)))


def _attention(rng):
    query, key = _normal(rng, B, H, T, K), _normal(rng, B, H, S, K)
    value = _normal(rng, B, H, S, K + 3)
    return Point(attention, (query, key, value, _mask(rng, B, 1, T, S), RATE, _generator(rng)))


def _cross_entropy(rng, label_smoothing):
    settings = {"ignore_index": 0, "label_smoothing": label_smoothing}
    return Point(cross_entropy, (_normal(rng, B, T, V), _ids(rng, B, T, V)), settings)


def _input_embedding(rng):
    args = (_ids(rng, B, T, V), _normal(rng, V, D), _normal(rng, S, D), np.sqrt(D))
    return Point(input_embedding, (*args, RATE, _generator(rng)))


def _key_biases(params):
    """A bias of the key adds the same number to all scores of a query; softmax takes it out."""
    return tuple(
        f"dparams.{name}" for name, _ in parameters.items(params) if name.endswith("key.bias")
    )


def _multi_head_attention(rng, bias):
    params = _random_tree(rng, multi_head_attention.init(rng, D, bias=bias))
    x, memory = _normal(rng, B, T, D), _normal(rng, B, S, D)
    args = (x, memory, params, H, _mask(rng, B, 1, T, S), RATE, _generator(rng))
    return Point(multi_head_attention, args, {}, _key_biases(params))


def _feed_forward(rng, activation):
    params = _random_tree(rng, feed_forward.init(rng, D, F))
    args = (_normal(rng, B, T, D), params, activation, RATE, _generator(rng))
    return Point(feed_forward, args)


def _layer_settings(norm, activation):
    rates = ("dropout_rate", "attention_dropout", "activation_dropout")
    return {"norm": norm, "activation": activation} | dict.fromkeys(rates, RATE)


def _encoder_layer(rng, norm, activation):
    params = _random_tree(rng, encoder_layer.init(rng, D, F))
    args = (_normal(rng, B, S, D), params, H, _mask(rng, B, 1, 1, S), _generator(rng))
    return Point(encoder_layer, args, _layer_settings(norm, activation), _key_biases(params))


def _causal_layer(rng):
    """A layer of a decoder-only model: the encoder's, and no token sees a later one."""
    params = _random_tree(rng, encoder_layer.init(rng, D, F, attention_bias=False))
    args = (_normal(rng, B, T, D), params, H, masks.causal_mask(T), _generator(rng))
    return Point(encoder_layer, args, _layer_settings("pre", "gelu_tanh"))


def _decoder_layer(rng, norm, activation):
    params = _random_tree(rng, decoder_layer.init(rng, D, F))
    x, memory = _normal(rng, B, T, D), _normal(rng, B, S, D)
    mask = masks.causal_padding_mask(_ids(rng, B, T, V), 0)
    args = (x, memory, params, H, mask, _mask(rng, B, 1, 1, S), _generator(rng))
    return Point(decoder_layer, args, _layer_settings(norm, activation), _key_biases(params))


def _encoder(rng):
    params = _random_tree(rng, encoder.init(rng, 2, D, F))
    args = (_normal(rng, B, S, D), params, H, _mask(rng, B, 1, 1, S), _generator(rng))
    return Point(encoder, args, _layer_settings("pre", "gelu"), _key_biases(params))


def _decoder(rng):
    params = _random_tree(rng, decoder.init(rng, 2, D, F))
    x, memory = _normal(rng, B, T, D), _normal(rng, B, S, D)
    mask = masks.causal_padding_mask(_ids(rng, B, T, V), 0)
    args = (x, memory, params, H, mask, _mask(rng, B, 1, 1, S), _generator(rng))
    return Point(decoder, args, _layer_settings("pre", "gelu"), _key_biases(params))


CONFIG = encoder_decoder.Config(
    source_vocab=V,
    target_vocab=V,
    N=1,
    d_model=D,
    d_ff=F,
    h=H,
    P_drop=RATE,
    attention_dropout=RATE,
    activation_dropout=RATE,
    epsilon_ls=0.1,
    max_length=7,
    dtype="float64",
)


def _model(rng, **settings):
    config = replace(CONFIG, **settings)
    params = _random_tree(rng, encoder_decoder.init(rng, config))
    source = _ids(rng, B, S, config.source_vocab)
    target = _ids(rng, B, T, config.target_vocab)
    args = (source, target, params, config, _generator(rng))
    return Point(encoder_decoder, args, {}, _key_biases(params))


def _loss(rng, **settings):
    _, (source, target, *others), _, zero = _model(rng, **settings)
    target = np.hstack([target, np.zeros_like(target[:, :1])])  # T + 1: one token to predict more
    target[0, -1] = 1
    return Point(encoder_decoder_loss, (source, target, *others), {}, zero)


LANGUAGE_MODEL = causal_lm.Config(
    vocab=V,
    N=1,
    d_model=D,
    d_ff=F,
    h=H,
    P_drop=RATE,
    attention_dropout=RATE,
    activation_dropout=RATE,
    max_length=7,
    dtype="float64",
)


def _language_model(rng, length=T, **settings):
    """No padding: every id is a token, 0 as well, and some are repeated."""
    config = replace(LANGUAGE_MODEL, **settings)
    params = _random_tree(rng, causal_lm.init(rng, config))
    ids = rng.integers(config.vocab, size=(B, length))
    ids[:, 1] = ids[:, 0]
    return Point(causal_lm, (ids, params, config, _generator(rng)), {}, _key_biases(params))


def _language_model_loss(rng, **settings):
    """T + 1 tokens: one more to predict."""
    return _language_model(rng, T + 1, **settings)._replace(op=causal_lm_loss)


def _with(point: Callable[..., Point], *args, **settings) -> Callable[[np.random.Generator], Point]:
    return lambda rng: point(rng, *args, **settings)


UNTIED = {"tie_output": False, "target_vocab": V + 2}
TIED = {"tie_output": True, "tie_source": True}
WITH_OUTPUT = {"tie_output": False, "output_bias": True, "attention_bias": False}

POINTS: dict[str, Callable[[np.random.Generator], Point]] = {
    "linear": _linear,
    "linear, no bias": _linear_without_bias,
    "relu": _relu,
    "gelu": _with(_gelu, "none"),
    "gelu, tanh": _with(_gelu, "tanh"),
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "embedding": _embedding,
    "positions": _positions,
    "dropout": _dropout,
    "attention": _attention,
    "cross_entropy": _with(_cross_entropy, 0.0),
    "cross_entropy, smoothed": _with(_cross_entropy, 0.1),
    "multi_head_attention": _with(_multi_head_attention, bias=True),
    "multi_head_attention, no bias": _with(_multi_head_attention, bias=False),
    "feed_forward, relu": _with(_feed_forward, "relu"),
    "feed_forward, gelu": _with(_feed_forward, "gelu"),
    "feed_forward, gelu_tanh": _with(_feed_forward, "gelu_tanh"),
    "encoder_layer, pre-norm, relu": _with(_encoder_layer, "pre", "relu"),
    "encoder_layer, post-norm, gelu": _with(_encoder_layer, "post", "gelu"),
    "encoder_layer, causal": _causal_layer,
    "decoder_layer, pre-norm, relu": _with(_decoder_layer, "pre", "relu"),
    "decoder_layer, post-norm, gelu": _with(_decoder_layer, "post", "gelu"),
    "encoder": _encoder,
    "decoder": _decoder,
    "input_embedding": _input_embedding,
    "encoder_decoder, pre-norm, tied": _with(_model, norm="pre", **TIED),
    "encoder_decoder, post-norm, untied": _with(_model, norm="post", **UNTIED),
    "encoder_decoder_loss, pre-norm, untied": _with(
        _loss, norm="pre", positions="learned", scale_embeddings=False, **UNTIED
    ),
    "encoder_decoder_loss, post-norm, tied": _with(
        _loss, norm="post", positions="learned", activation="gelu", **TIED
    ),
    "causal_lm, tied": _language_model,
    "causal_lm, untied": _with(
        _language_model, positions="sinusoidal", activation="relu", **WITH_OUTPUT
    ),
    "causal_lm_loss, tied": _with(
        _language_model_loss, positions="sinusoidal", activation="gelu", output_bias=True
    ),
    "causal_lm_loss, untied": _with(_language_model_loss, **WITH_OUTPUT),
}


def point(name: str, seed: int = 0) -> Point:
    """The point called ``name``, drawn from ``seed``."""
    return POINTS[name](np.random.default_rng(seed))
