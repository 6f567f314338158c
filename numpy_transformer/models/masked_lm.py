"""A masked language model, as BERT is: it says which token stood where one is hidden.

Forward, for the tokens that are chosen::

    h      = text_encoder(ids, segments)
    z      = layer_norm(gelu(h W + b))
    logits = z E^T + b_out                    tied: E is the table of token embeddings

In the place of gelu stands what ``config.activation`` names, as in the layers.

A token's vector knows the tokens on both sides of it. That is why the token itself has to be
hidden, and why only a few tokens of a text can be predicted at a time (``data/masking.py``); only
these go through the head, whose product with the vocabulary is the most expensive of all.

Backward: the same steps in reverse. The embeddings are used twice, where tokens come in and where
logits go out, and their gradient is the sum of the two::

    dz = dlogits E,    dE = (what the encoder returns) + dlogits^T z

Tokens that are not chosen get no gradient from the head; they get theirs through the attention of
those that are.

Shapes: ``ids``, ``segments`` and ``chosen (B, T)``, of which M are chosen; ``logits (M, V)``, in
the order of reading: row by row, from left to right.

Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", section 3.1, task 1; the transform of the head is in its code only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_transformer.models import text_encoder
from numpy_transformer.models.text_encoder import Config
from numpy_transformer.ops import activation, layer_norm, linear
from numpy_transformer.parameters import Tree, xavier_uniform


class Cache(NamedTuple):
    """What ``backward`` needs."""

    encoder: text_encoder.Cache
    dense: linear.Cache
    activation: activation.Cache
    norm: layer_norm.Cache
    output: linear.Cache
    chosen: np.ndarray  # (B, T) bool


def init(rng: np.random.Generator, config: Config) -> Tree:
    """The parameters at the start of training: the encoder's, and ``prediction``.

    >>> params = init(np.random.default_rng(0), text_encoder.preset("nano", vocab=100))
    >>> list(params["prediction"])
    ['dense', 'norm', 'output']
    """
    D, dtype = config.d_model, np.dtype(config.dtype).type
    prediction = {
        "dense": {"weight": xavier_uniform(rng, (D, D), dtype), "bias": np.zeros(D, dtype)},
        "norm": layer_norm.init(D, dtype),
        "output": {"bias": np.zeros(config.vocab, dtype)},
    }
    return text_encoder.init(rng, config) | {"prediction": prediction}


def forward(
    ids: np.ndarray,
    segments: np.ndarray | None,
    chosen: np.ndarray,
    params: Tree,
    config: Config,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, Cache]:
    """Logits for the token at each chosen place: ``(M, V)``.

    ``segments=None`` puts all tokens into segment 0; ``rng=None`` switches dropout off. Raises
    what ``text_encoder.forward`` does, and ``ValueError`` for ``chosen`` that are not ``(B, T)`` of
    bool.

    >>> config = text_encoder.preset("nano", vocab=20)
    >>> params = init(np.random.default_rng(0), config)
    >>> ids = np.array([[7, 5, 6], [8, 3, 0]])
    >>> logits, cache = forward(ids, None, np.array(ids == 5), params, config)
    >>> logits.shape
    (1, 20)
    >>> dparams = backward(logits, cache)
    >>> dparams["embedding"]["weight"].shape
    (20, 32)
    """
    chosen = np.asarray(chosen)
    if chosen.shape != np.shape(ids) or chosen.dtype != bool:
        raise ValueError(
            f"masked_lm: ids are {np.shape(ids)} and chosen {chosen.shape} of {chosen.dtype}, "
            "expected (B, T), and (B, T) of bool"
        )
    h, encoder_cache = text_encoder.forward(ids, segments, params, config, rng)  # (B, T, D)
    logits, above = head(h[chosen], params, config)
    return logits, Cache(encoder_cache, *above, chosen)


def head(h: np.ndarray, params: Tree, config: Config) -> tuple[np.ndarray, tuple]:
    """What the prediction head makes of the chosen tokens' ``h (M, D)``.

    Returns logits ``(M, V)`` and the fields of ``Cache`` between the first and the last.

    >>> config = text_encoder.preset("nano", vocab=20)
    >>> params = init(np.random.default_rng(0), config)
    >>> logits, _ = head(np.ones((2, 32), np.float32), params, config)
    >>> logits.shape
    (2, 20)
    """
    own = params["prediction"]
    z, dense_cache = linear.forward(h, **own["dense"])  # (M, D)
    z, activation_cache = activation.forward(z, config.activation)
    z, norm_cache = layer_norm.forward(z, **own["norm"], eps=config.norm_eps)
    weight = params["embedding"]["weight"].T  # (D, V)
    logits, output_cache = linear.forward(z, weight, own["output"]["bias"])  # (M, V)
    return logits, (dense_cache, activation_cache, norm_cache, output_cache)


def backward(dlogits: np.ndarray, cache: Cache) -> Tree:
    """Return ``dparams``; ids, segments and what is chosen have no gradient."""
    dz, dweight, dbias = linear.backward(dlogits, cache.output)  # (M, D), (D, V), (V,)
    dz, dnorm_weight, dnorm_bias = layer_norm.backward(dz, cache.norm)
    dz = activation.backward(dz, cache.activation)
    dz, ddense_weight, ddense_bias = linear.backward(dz, cache.dense)  # (M, D)
    dh = np.zeros((*cache.chosen.shape, dz.shape[1]), dz.dtype)  # (B, T, D)
    dh[cache.chosen] = dz
    dparams = text_encoder.backward(dh, cache.encoder)
    dparams["embedding"]["weight"] += dweight.T  # one array, two uses: the gradients add up
    return dparams | {
        "prediction": {
            "dense": {"weight": ddense_weight, "bias": ddense_bias},
            "norm": {"weight": dnorm_weight, "bias": dnorm_bias},
            "output": {"bias": dbias},
        }
    }
