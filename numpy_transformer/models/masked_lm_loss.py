"""The training loss of a masked language model: how badly it says what is hidden.

Forward. Some tokens of a text are chosen, and the model reads something else in the place of most
of them (``data/masking.py``). ``targets`` has the tokens that stood there, and ``IGNORED``
everywhere else::

    logits = masked_lm(ids, segments, targets != IGNORED)
    loss   = cross_entropy(logits, targets where chosen)      mean over the M that are chosen

Backward: the two derivatives in reverse.

Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", section 3.1, task 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_transformer.models import masked_lm, text_encoder
from numpy_transformer.ops import cross_entropy
from numpy_transformer.ops.cross_entropy import IGNORED
from numpy_transformer.parameters import Tree


class Cache(NamedTuple):
    """What ``backward`` needs."""

    model: masked_lm.Cache
    loss: cross_entropy.Cache


def forward(
    ids: np.ndarray,
    segments: np.ndarray | None,
    targets: np.ndarray,
    params: Tree,
    config: text_encoder.Config,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, Cache]:
    """The mean loss a chosen token, in nats; 0 where none is chosen.

    ``ids``, ``segments`` and ``targets (B, T)``. Raises what ``masked_lm.forward`` does.

    >>> config = text_encoder.preset("nano", vocab=20)
    >>> params = masked_lm.init(np.random.default_rng(0), config)
    >>> ids, targets = np.array([[7, 4, 6]]), np.array([[-100, 9, -100]])  # 4 stands for a mask
    >>> loss, cache = forward(ids, None, targets, params, config)
    >>> print(round(loss), round(np.log(20)))  # untrained, it can but guess: log V
    3 3
    >>> dparams = backward(1.0, cache)
    >>> list(dparams)
    ['embedding', 'positions', 'segments', 'embedding_norm', 'encoder', 'prediction']
    """
    targets = np.asarray(targets)
    chosen = targets != IGNORED  # (B, T)
    logits, model_cache = masked_lm.forward(ids, segments, chosen, params, config, rng)  # (M, V)
    loss, loss_cache = cross_entropy.forward(logits, targets[chosen])
    return loss, Cache(model_cache, loss_cache)


def backward(dloss: np.ndarray | float, cache: Cache) -> Tree:
    """Return ``dparams``."""
    return masked_lm.backward(cross_entropy.backward(dloss, cache.loss), cache.model)
