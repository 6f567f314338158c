"""Greedy search: at each step the most likely token."""

from __future__ import annotations

import numpy as np

from numpy_transformer.generation import incremental
from numpy_transformer.generation.hypothesis import Hypothesis, log_softmax
from numpy_transformer.models.encoder_decoder import Config
from numpy_transformer.parameters import Tree


def greedy(
    source: np.ndarray, params: Tree, config: Config, bos: int, eos: int, limit: int
) -> list[Hypothesis]:
    """The answer to each row of ``source (B, S)``, at most ``limit`` tokens, ``<eos>`` included.

    A row that has ended leaves the batch, so it costs no more time. The score is the log
    probability of the answer, ``<eos>`` included.
    """
    B = len(source)
    state = incremental.start(source, params, config)
    active = np.arange(B)  # the rows of source that the rows of state belong to
    ids: list[list[int]] = [[] for _ in range(B)]
    scores, ended = np.zeros(B), np.zeros(B, bool)
    tokens = np.full(B, bos)
    for _ in range(limit):
        logits, state = incremental.step(tokens, state, params, config)  # (active, V)
        logits[:, [config.pad_id, bos]] = -np.inf  # no answer holds these
        tokens = logits.argmax(axis=-1)  # (active,)
        scores[active] += log_softmax(logits)[np.arange(len(active)), tokens]
        for row, token in zip(active, tokens.tolist()):
            if token == eos:
                ended[row] = True
            else:
                ids[row].append(token)
        going_on = np.flatnonzero(tokens != eos)
        if not going_on.size:
            break
        if going_on.size < active.size:
            state = incremental.select(state, going_on)
            active, tokens = active[going_on], tokens[going_on]
    return [
        Hypothesis(tuple(ids[row]), float(scores[row]), bool(ended[row])) for row in range(B)
    ]
