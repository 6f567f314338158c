"""The training loss of an encoder-decoder: how badly it predicts each next target token.

Forward. A target is ``<bos> w_1 .. w_n <eos>``, padded. The model reads all but the last token and
has to say all but the first ("teacher forcing")::

    logits = encoder_decoder(source, target[:, :-1])
    loss   = cross_entropy(logits, target[:, 1:])      mean over what is not padding

Backward: the two derivatives in reverse.

Source: Vaswani et al. 2017, "Attention Is All You Need", section 5.4 for label smoothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_transformer.models import encoder_decoder
from numpy_transformer.ops import cross_entropy
from numpy_transformer.parameters import Tree


class Cache(NamedTuple):
    """What ``backward`` needs."""

    model: encoder_decoder.Cache
    loss: cross_entropy.Cache


def forward(
    source: np.ndarray,
    target: np.ndarray,
    params: Tree,
    config: encoder_decoder.Config,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, Cache]:
    """The mean loss per target token, in nats: ``source (B, S)``, ``target (B, T + 1)``.

    >>> config = encoder_decoder.preset("tiny", source_vocab=30, target_vocab=20)
    >>> params = encoder_decoder.init(np.random.default_rng(0), config)
    >>> source, target = np.array([[5, 6, 7]]), np.array([[1, 8, 9, 2]])
    >>> loss, cache = forward(source, target, params, config)
    >>> dparams = backward(1.0, cache)
    >>> list(dparams)
    ['source_embedding', 'target_embedding', 'encoder', 'decoder']
    """
    if target.ndim != 2:
        raise ValueError(
            f"encoder_decoder_loss: source {source.shape} and target {target.shape} do not fit: "
            "expected (B, S) and (B, T + 1)"
        )
    logits, model_cache = encoder_decoder.forward(source, target[:, :-1], params, config, rng)
    loss, loss_cache = cross_entropy.forward(
        logits, target[:, 1:], config.pad_id, config.epsilon_ls
    )
    return loss, Cache(model_cache, loss_cache)


def backward(dloss: np.ndarray | float, cache: Cache) -> Tree:
    """Return ``dparams``."""
    return encoder_decoder.backward(cross_entropy.backward(dloss, cache.loss), cache.model)
