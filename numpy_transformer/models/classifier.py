"""A classifier of texts, or of pairs of texts: an encoder with a pooled head.

Forward::

    h      = text_encoder(ids, segments)
    p      = dropout(tanh(pool(h) W_p + b_p))       pool: the first token, or the mean
    logits = p W + b

Backward: the same steps in reverse.

Shapes: ``ids`` and ``segments (B, T)``, ``logits (B, C)`` for C classes.

Convention: with ``pooling="first"`` it is BERT's. There the first token is ``[CLS]``, which stands
before every text; the mean is that of all tokens but padding, ``[CLS]`` and ``[SEP]`` included.

Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", section 4.1; the dense layer and the tanh are in its code only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from numpy_transformer.models import settings, text_encoder
from numpy_transformer.ops import dropout, linear, pooling, tanh
from numpy_transformer.parameters import Tree, xavier_uniform


@dataclass(frozen=True)
class Config(text_encoder.Config):
    """The settings of the encoder, and those of the head; checked when made.

    >>> Config(vocab=100, classes=3, pooling="last")
    Traceback (most recent call last):
        ...
    ValueError: pooling='last', expected one of ('first', 'mean')
    """

    classes: int = 2  # C
    pooling: str = "first"  # "first" (the first token's vector) or "mean"
    class_weights: tuple[float, ...] | None = None  # what each class weighs in the loss

    def __post_init__(self) -> None:
        """Check every setting."""
        super().__post_init__()
        settings.check_sizes(self, "classes")
        settings.check_choices(self, "pooling")
        settings.check_class_weights(self)


class Cache(NamedTuple):
    """What ``backward`` needs."""

    encoder: text_encoder.Cache
    pooling: pooling.Cache
    pooler: linear.Cache
    tanh: tanh.Cache
    dropout: dropout.Cache
    output: linear.Cache


def init(rng: np.random.Generator, config: Config) -> Tree:
    """The parameters at the start of training: the encoder's, ``pooler`` and ``output``.

    >>> params = init(np.random.default_rng(0), Config(vocab=100, N=1, d_model=8, h=2, classes=3))
    >>> params["output"]["weight"].shape
    (8, 3)
    """
    D, C, dtype = config.d_model, config.classes, np.dtype(config.dtype).type
    return text_encoder.init(rng, config) | {
        "pooler": {"weight": xavier_uniform(rng, (D, D), dtype), "bias": np.zeros(D, dtype)},
        "output": {"weight": text_encoder.normal(rng, (D, C), dtype), "bias": np.zeros(C, dtype)},
    }


def forward(
    ids: np.ndarray,
    segments: np.ndarray | None,
    params: Tree,
    config: Config,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, Cache]:
    """Logits for the class of each text: ``ids (B, T)`` to ``(B, C)``.

    ``segments=None`` puts all tokens into segment 0; ``rng=None`` switches dropout off. Raises
    what ``text_encoder.forward`` does.

    >>> config = Config(vocab=20, N=1, d_model=8, d_ff=16, h=2, classes=3)
    >>> params = init(np.random.default_rng(0), config)
    >>> logits, cache = forward(np.array([[7, 5, 6], [7, 3, 0]]), None, params, config)
    >>> logits.shape
    (2, 3)
    >>> dparams = backward(logits, cache)
    >>> dparams["pooler"]["weight"].shape
    (8, 8)
    """
    h, encoder_cache = text_encoder.forward(ids, segments, params, config, rng)  # (B, T, D)
    logits, above = head(h, ids, params, config, rng)
    return logits, Cache(encoder_cache, *above)


def head(
    h: np.ndarray,
    ids: np.ndarray,
    params: Tree,
    config: Config,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, tuple]:
    """What the classifier makes of the encoder's ``h (B, T, D)`` of ``ids (B, T)``.

    Returns logits ``(B, C)`` and the fields of ``Cache`` but the first.

    >>> config = Config(vocab=20, N=1, d_model=8, d_ff=16, h=2, classes=3)
    >>> params = init(np.random.default_rng(0), config)
    >>> ids, h = np.array([[7, 5, 6], [7, 3, 0]]), np.ones((2, 3, 8), np.float32)
    >>> logits, _ = head(h, ids, params, config)
    >>> logits.shape
    (2, 3)
    """
    p, pooling_cache = pooling.forward(h, np.asarray(ids) != config.pad_id, config.pooling)
    p, pooler_cache = linear.forward(p, **params["pooler"])  # (B, D)
    p, tanh_cache = tanh.forward(p)
    p, dropout_cache = dropout.forward(p, config.P_drop, rng)
    logits, output_cache = linear.forward(p, **params["output"])  # (B, C)
    return logits, (pooling_cache, pooler_cache, tanh_cache, dropout_cache, output_cache)


def backward(dlogits: np.ndarray, cache: Cache) -> Tree:
    """Return ``dparams``; ids and segments have no gradient."""
    dp, doutput_weight, doutput_bias = linear.backward(dlogits, cache.output)  # (B, D)
    dp = dropout.backward(dp, cache.dropout)
    dp = tanh.backward(dp, cache.tanh)
    dp, dpooler_weight, dpooler_bias = linear.backward(dp, cache.pooler)
    dh = pooling.backward(dp, cache.pooling)  # (B, T, D)
    return text_encoder.backward(dh, cache.encoder) | {
        "pooler": {"weight": dpooler_weight, "bias": dpooler_bias},
        "output": {"weight": doutput_weight, "bias": doutput_bias},
    }
