"""A classifier of tokens: an encoder, and a linear map from each token's vector to its classes.

Forward::

    h      = text_encoder(ids, segments)
    logits = dropout(h) W + b

Backward: the same steps in reverse.

Shapes: ``ids`` and ``segments (B, T)``, ``logits (B, T, C)`` for C classes.

Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", section 5.3 and figure 4 (d).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from numpy_transformer.models import settings, text_encoder
from numpy_transformer.ops import dropout, linear
from numpy_transformer.parameters import Tree


@dataclass(frozen=True)
class Config(text_encoder.Config):
    """The settings of the encoder, and those of the head; checked when made."""

    classes: int = 2  # C
    class_weights: tuple[float, ...] | None = None  # what each class weighs in the loss

    def __post_init__(self) -> None:
        """Check every setting."""
        super().__post_init__()
        settings.check_sizes(self, "classes")
        settings.check_class_weights(self)


class Cache(NamedTuple):
    """What ``backward`` needs."""

    encoder: text_encoder.Cache
    dropout: dropout.Cache
    output: linear.Cache


def init(rng: np.random.Generator, config: Config) -> Tree:
    """The parameters at the start of training: the encoder's, and ``output``.

    >>> params = init(np.random.default_rng(0), Config(vocab=100, N=1, d_model=8, h=2, classes=3))
    >>> params["output"]["weight"].shape
    (8, 3)
    """
    D, C, dtype = config.d_model, config.classes, np.dtype(config.dtype).type
    return text_encoder.init(rng, config) | {
        "output": {"weight": text_encoder.normal(rng, (D, C), dtype), "bias": np.zeros(C, dtype)},
    }


def forward(
    ids: np.ndarray,
    segments: np.ndarray | None,
    params: Tree,
    config: Config,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, Cache]:
    """Logits for the class of each token: ``ids (B, T)`` to ``(B, T, C)``.

    ``segments=None`` puts all tokens into segment 0; ``rng=None`` switches dropout off. Raises
    what ``text_encoder.forward`` does.

    >>> config = Config(vocab=20, N=1, d_model=8, d_ff=16, h=2, classes=3)
    >>> params = init(np.random.default_rng(0), config)
    >>> logits, cache = forward(np.array([[7, 5, 6], [7, 3, 0]]), None, params, config)
    >>> logits.shape
    (2, 3, 3)
    >>> dparams = backward(logits, cache)
    >>> dparams["output"]["weight"].shape
    (8, 3)
    """
    h, encoder_cache = text_encoder.forward(ids, segments, params, config, rng)  # (B, T, D)
    h, dropout_cache = dropout.forward(h, config.P_drop, rng)
    logits, output_cache = linear.forward(h, **params["output"])  # (B, T, C)
    return logits, Cache(encoder_cache, dropout_cache, output_cache)


def backward(dlogits: np.ndarray, cache: Cache) -> Tree:
    """Return ``dparams``; ids and segments have no gradient."""
    dh, dweight, dbias = linear.backward(dlogits, cache.output)  # (B, T, D)
    dh = dropout.backward(dh, cache.dropout)
    return text_encoder.backward(dh, cache.encoder) | {
        "output": {"weight": dweight, "bias": dbias},
    }
