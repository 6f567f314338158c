"""Beam search: at each step the ``width`` most likely beginnings are kept.

A finished answer is scored by its log probability divided by a length penalty, without which short
answers would win for being short::

    score = log P(answer) / ((5 + length) / 6)^alpha        length counts <eos>

``alpha = 0`` is no penalty. The search for a source ends when no beginning in the beam can beat
the best finished answer any more: log probabilities only fall, and the penalty is largest at the
limit of the length, so ``log P(beginning) / penalty(limit)`` bounds all that may come of it.

Source: Wu et al. 2016, "Google's Neural Machine Translation System", equation 14; Vaswani et al.
2017, section 6.1, for width 4 and alpha 0.6.
"""

from __future__ import annotations

import numpy as np

from numpy_transformer.generation import incremental
from numpy_transformer.generation.hypothesis import Hypothesis, log_softmax
from numpy_transformer.models.encoder_decoder import Config
from numpy_transformer.parameters import Tree


def length_penalty(length: int, alpha: float) -> float:
    """What the log probability of an answer is divided by.

    >>> length_penalty(1, 0.6), length_penalty(7, 1.0)
    (1.0, 2.0)
    """
    return ((5 + length) / 6) ** alpha


def beam(
    source: np.ndarray,
    params: Tree,
    config: Config,
    bos: int,
    eos: int,
    limit: int,
    width: int = 4,
    alpha: float = 0.6,
) -> list[list[Hypothesis]]:
    """For each row of ``source (B, S)`` its answers, best first, one to ``width`` of them.

    Only the first is certain to be the best that the beam holds; the others are what was finished
    when the search ended. Where nothing was finished within ``limit`` tokens (``<eos>`` included)
    the best unfinished one is returned. Raises ``ValueError`` for a width below 1 and for a
    negative ``alpha``, for which the bound above does not hold.
    """
    if width < 1:
        raise ValueError(f"beam: the width is {width}, expected at least 1")
    if not alpha >= 0:
        raise ValueError(f"beam: alpha is {alpha}, expected at least 0")
    B = len(source)
    finished: list[list[Hypothesis]] = [[] for _ in range(B)]
    state = incremental.start(source, params, config)
    active = np.arange(B)  # sources that are still searched, A of them
    ids = np.zeros((B, 1, 0), int)  # (A, W, length), with W = 1 before the first step
    totals = np.zeros((B, 1))  # (A, W) log probabilities
    tokens = np.full(B, bos)  # (A * W,)
    for length in range(1, limit + 1):
        logits, state = incremental.step(tokens, state, params, config)  # (A * W, V)
        logits[:, [config.pad_id, bos]] = -np.inf  # no answer holds these
        A, W, V = *totals.shape, logits.shape[-1]
        candidates = totals[:, :, None] + log_softmax(logits).reshape(A, W, V)
        candidates = candidates.reshape(A, W * V)
        # Twice the width: even if `width` of them end, `width` beginnings are left.
        best = _largest(candidates, min(2 * width, W * V))  # (A, 2 * width), best first
        parents, tokens = np.divmod(best, V)
        best_totals = np.take_along_axis(candidates, best, axis=1)
        penalty = length_penalty(length, alpha)
        for a in range(A):
            # Only what ends among the first `width` would have stayed in the beam.
            ends = (tokens[a, :width] == eos) & (best_totals[a, :width] > -np.inf)
            for b in np.flatnonzero(ends):
                answer = tuple(ids[a, parents[a, b]].tolist())
                score = float(best_totals[a, b]) / penalty
                finished[active[a]].append(Hypothesis(answer, score, True))
        # Of the rest, the first `width` go on. -inf marks what is no beginning.
        best_totals = np.where(tokens == eos, -np.inf, best_totals)
        kept = _largest(best_totals, min(width, best.shape[1]))  # (A, W')
        totals, parents, tokens = (
            np.take_along_axis(array, kept, axis=1) for array in (best_totals, parents, tokens)
        )
        ids = np.concatenate(
            [np.take_along_axis(ids, parents[:, :, None], axis=1), tokens[:, :, None]], axis=2
        )
        bound = totals[:, 0] / length_penalty(limit, alpha)
        reached = np.array(
            [max((h.score for h in finished[row]), default=-np.inf) for row in active]
        )
        going_on = np.flatnonzero((bound > reached) & (length < limit))
        for a in np.setdiff1d(np.arange(A), going_on):
            if not finished[active[a]]:
                score = float(totals[a, 0]) / penalty
                finished[active[a]].append(Hypothesis(tuple(ids[a, 0].tolist()), score, False))
        if not going_on.size:
            break
        rows = going_on[:, None] * W + parents[going_on]  # (A', W'), rows of the state
        state = incremental.select(state, rows.reshape(-1))
        active, ids, totals = active[going_on], ids[going_on], totals[going_on]
        tokens = tokens[going_on].reshape(-1)
    return [sorted(answers, key=lambda h: -h.score)[:width] for answers in finished]


def _largest(x: np.ndarray, count: int) -> np.ndarray:
    """The columns of the ``count`` largest entries of each row, largest first; ties by column."""
    if count < x.shape[1]:
        columns = np.sort(np.argpartition(-x, count - 1, axis=1)[:, :count], axis=1)
    else:
        columns = np.broadcast_to(np.arange(x.shape[1]), x.shape)
    order = np.argsort(-np.take_along_axis(x, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)
