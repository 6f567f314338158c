"""The training loss of a language model: how badly it predicts each next token.

Forward. The model reads all but the last token and has to say all but the first::

    logits = causal_lm(ids[:, :-1])
    loss   = cross_entropy(logits, ids[:, 1:])      mean over all B T tokens that are predicted

Backward: the two derivatives in reverse.

``exp(loss)`` is the perplexity: among how many equally likely tokens the model is undecided.

Source: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training",
equation 1, which has the sum where here it is the mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_transformer.models import causal_lm
from numpy_transformer.ops import cross_entropy
from numpy_transformer.parameters import Tree


class Cache(NamedTuple):
    """What ``backward`` needs."""

    model: causal_lm.Cache
    loss: cross_entropy.Cache


def forward(
    ids: np.ndarray,
    params: Tree,
    config: causal_lm.Config,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, Cache]:
    """The mean loss a token, in nats: ``ids (B, T + 1)``.

    Raises ``ValueError`` for ids that are not ``(B, T + 1)`` with T at least 1.

    >>> config = causal_lm.preset("nano", vocab=20)
    >>> params = causal_lm.init(np.random.default_rng(0), config)
    >>> loss, cache = forward(np.array([[1, 5, 6]]), params, config)
    >>> print(round(loss, 1), round(np.log(20), 1))  # untrained, it can but guess: log V
    3.0 3.0
    >>> dparams = backward(1.0, cache)
    >>> list(dparams)
    ['embedding', 'positions', 'decoder']
    """
    ids = np.asarray(ids)
    if ids.ndim != 2 or ids.shape[1] < 2:
        raise ValueError(
            f"causal_lm_loss: ids are {ids.shape}, expected (B, T + 1) with T at least 1: "
            "of a single token there is nothing to predict"
        )
    logits, model_cache = causal_lm.forward(ids[:, :-1], params, config, rng)
    loss, loss_cache = cross_entropy.forward(logits, ids[:, 1:])
    return loss, Cache(model_cache, loss_cache)


def backward(dloss: np.ndarray | float, cache: Cache) -> Tree:
    """Return ``dparams``."""
    return causal_lm.backward(cross_entropy.backward(dloss, cache.loss), cache.model)
