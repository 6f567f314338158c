"""Choosing the next token from logits: the likeliest, or one drawn at random.

Each function takes logits ``(B, V)`` and returns new ones in which some are changed or set to
``-inf``; ``draw`` then draws a token for each row. They are applied in the order in which they
stand here, which is that of Hugging Face.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from numpy_transformer.ops import softmax


def repetition_penalty(
    logits: np.ndarray, seen: Sequence[Sequence[int]], penalty: float
) -> np.ndarray:
    """Make what a row has ``seen`` less likely: logits above 0 are divided, others multiplied.

    Source: Keskar et al. 2019, "CTRL: A Conditional Transformer Language Model for Controllable
    Generation", section 4.1, with the sign regarded, as in Hugging Face.

    >>> repetition_penalty(np.array([[2.0, -2.0, 1.0]]), [[0, 1, 1]], penalty=2.0)
    array([[ 1., -4.,  1.]])
    """
    logits = logits.copy()
    for row, ids in zip(logits, seen):
        ids = np.unique(np.asarray(ids, int))
        row[ids] = np.where(row[ids] > 0, row[ids] / penalty, row[ids] * penalty)
    return logits


def temperature(logits: np.ndarray, value: float) -> np.ndarray:
    """Divide by ``value``: below 1 the likely becomes likelier, above 1 the unlikely does.

    The largest logit of each row is subtracted first, which changes no probability: so a very
    small ``value`` gives 0 and ``-inf``, and not ``inf``.

    Source: Ackley, Hinton and Sejnowski 1985, "A Learning Algorithm for Boltzmann Machines".

    >>> temperature(np.array([[1.0, 2.0]]), 0.5)
    array([[-2.,  0.]])
    """
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):
        return shifted / value


def top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """Keep the ``k`` largest of each row, and what is as large as the smallest of them.

    Source: Fan, Lewis and Dauphin 2018, "Hierarchical Neural Story Generation", section 5.4.

    >>> top_k(np.array([[1.0, 3.0, 2.0]]), 2)
    array([[-inf,   3.,   2.]])
    """
    if k >= logits.shape[-1]:
        return logits
    smallest = np.partition(logits, -k, axis=-1)[:, [-k]]  # (B, 1)
    return np.where(logits < smallest, -np.inf, logits)


def top_p(logits: np.ndarray, p: float) -> np.ndarray:
    """Nucleus sampling: keep the fewest tokens whose probabilities add up to at least ``p``.

    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1.

    >>> top_p(np.log(np.array([[0.5, 0.2, 0.3]])), 0.7).round(1)
    array([[-0.7, -inf, -1.2]])
    """
    order = np.argsort(-logits, axis=-1, kind="stable")  # (B, V), most probable first
    probability, _ = softmax.forward(np.take_along_axis(logits, order, axis=-1))
    before = np.cumsum(probability, axis=-1) - probability  # of all that are more probable
    kept = np.empty(logits.shape, bool)
    np.put_along_axis(kept, order, before < p, axis=-1)
    kept[np.arange(len(kept)), order[:, 0]] = True  # whatever p is
    return np.where(kept, logits, -np.inf)


def draw(logits: np.ndarray, rngs: Sequence[np.random.Generator]) -> np.ndarray:
    """A token for each row, ``(B,)``, drawn with the probabilities ``softmax(logits)``.

    Each row has a generator of its own, from which it takes one number, so that what a row gets
    does not depend on the other rows. Raises ``ArithmeticError`` for logits that are no numbers.

    >>> draw(np.array([[0.0, -np.inf], [-np.inf, 0.0]]), [np.random.default_rng(0)] * 2)
    array([0, 1])
    """
    probability, _ = softmax.forward(logits.astype(np.float64))  # (B, V)
    upto = np.cumsum(probability, axis=-1)  # (B, V)
    if not np.isfinite(upto[:, -1]).all():
        raise ArithmeticError("there is a logit that is infinite or NaN: the weights are damaged")
    numbers = np.array([rng.random() for rng in rngs]) * upto[:, -1]  # (B,), each below the last
    return (upto <= numbers[:, None]).sum(axis=-1)  # how many intervals end before the number
