"""Points of the encoder-decoder and of the language model, and of their losses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from numpy_transformer.gradcheck.points.drawing import (
    RATES,
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
    random_tree,
    with_,
)
from numpy_transformer.models import (
    causal_lm,
    causal_lm_loss,
    encoder_decoder,
    encoder_decoder_loss,
)

CONFIG = encoder_decoder.Config(
    source_vocab=V,
    target_vocab=V,
    N=1,
    d_model=D,
    d_ff=F,
    h=H,
    epsilon_ls=0.1,
    max_length=7,
    dtype="float64",
    **RATES,
)


def _model(rng, **settings):
    config = replace(CONFIG, **settings)
    params = random_tree(rng, encoder_decoder.init(rng, config))
    source = ids(rng, B, S, config.source_vocab)
    target = ids(rng, B, T, config.target_vocab)
    args = (source, target, params, config, generator(rng))
    return Point(encoder_decoder, args, {}, key_biases(params))


def _loss(rng, **settings):
    _, (source, target, *others), _, zero = _model(rng, **settings)
    target = np.hstack([target, np.zeros_like(target[:, :1])])  # T + 1: one token to predict more
    target[0, -1] = 1
    return Point(encoder_decoder_loss, (source, target, *others), {}, zero)


LANGUAGE_MODEL = causal_lm.Config(
    vocab=V, N=1, d_model=D, d_ff=F, h=H, max_length=7, dtype="float64", **RATES
)


def _language_model(rng, length=T, **settings):
    """No padding: every id is a token, 0 as well, and some are repeated."""
    config = replace(LANGUAGE_MODEL, **settings)
    params = random_tree(rng, causal_lm.init(rng, config))
    tokens = rng.integers(config.vocab, size=(B, length))
    tokens[:, 1] = tokens[:, 0]
    return Point(causal_lm, (tokens, params, config, generator(rng)), {}, key_biases(params))


def _language_model_loss(rng, **settings):
    """T + 1 tokens: one more to predict."""
    return _language_model(rng, T + 1, **settings)._replace(op=causal_lm_loss)


UNTIED = {"tie_output": False, "target_vocab": V + 2}
TIED = {"tie_output": True, "tie_source": True}
WITH_OUTPUT = {"tie_output": False, "output_bias": True, "attention_bias": False}

POINTS = {
    "encoder_decoder, pre-norm, tied": with_(_model, norm="pre", **TIED),
    "encoder_decoder, post-norm, untied": with_(_model, norm="post", **UNTIED),
    "encoder_decoder_loss, pre-norm, untied": with_(
        _loss, norm="pre", positions="learned", scale_embeddings=False, **UNTIED
    ),
    "encoder_decoder_loss, post-norm, tied": with_(
        _loss, norm="post", positions="learned", activation="gelu", **TIED
    ),
    "causal_lm, tied": _language_model,
    "causal_lm, untied": with_(
        _language_model, positions="sinusoidal", activation="relu", **WITH_OUTPUT
    ),
    "causal_lm_loss, tied": with_(
        _language_model_loss, positions="sinusoidal", activation="gelu", output_bias=True
    ),
    "causal_lm_loss, untied": with_(_language_model_loss, **WITH_OUTPUT),
}
