"""The training loss of a classifier of texts: how badly it says which class each is of.

Forward::

    logits = classifier(ids, segments)
    loss   = cross_entropy(logits, labels)      mean over the texts with a label

A text whose label is ``IGNORED`` does not count. Classes may be weighted
(``config.class_weights``).

Backward: the two derivatives in reverse.

Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", section 4.1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_transformer.models import classifier
from numpy_transformer.ops import cross_entropy
from numpy_transformer.ops.cross_entropy import IGNORED
from numpy_transformer.parameters import Tree


class Cache(NamedTuple):
    """What ``backward`` needs."""

    model: classifier.Cache
    loss: cross_entropy.Cache


def forward(
    ids: np.ndarray,
    segments: np.ndarray | None,
    labels: np.ndarray,
    params: Tree,
    config: classifier.Config,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, Cache]:
    """The mean loss a text, in nats: ``ids`` and ``segments (B, T)``, ``labels (B,)``.

    Raises what ``classifier.forward`` and ``cross_entropy.forward`` do.

    >>> config = classifier.Config(vocab=20, N=1, d_model=8, d_ff=16, h=2, classes=3)
    >>> params = classifier.init(np.random.default_rng(0), config)
    >>> ids, labels = np.array([[7, 5, 6], [7, 3, 0]]), np.array([0, 2])
    >>> loss, cache = forward(ids, None, labels, params, config)
    >>> print(round(loss, 1), round(np.log(3), 1))  # untrained, it can but guess: log C
    1.1 1.1
    >>> dparams = backward(1.0, cache)
    >>> dparams["output"]["bias"].shape
    (3,)
    """
    logits, model_cache = classifier.forward(ids, segments, params, config, rng)
    loss, loss_cache = cross_entropy.forward(
        logits, labels, IGNORED, class_weights=config.class_weights
    )
    return loss, Cache(model_cache, loss_cache)


def backward(dloss: np.ndarray | float, cache: Cache) -> Tree:
    """Return ``dparams``."""
    return classifier.backward(cross_entropy.backward(dloss, cache.loss), cache.model)
