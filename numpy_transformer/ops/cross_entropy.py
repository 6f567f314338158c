"""Cross-entropy of logits and target ids, with softmax and logarithm in one stable step.

Forward. With probabilities ``p = softmax(logits)`` the loss of a row whose target is ``t`` is
``-log p_t``. As ``-log p_j = lse - logits_j`` with ``lse = log sum_j exp(logits_j)``, no
probability is ever rounded to 0 and then put through a logarithm. With label smoothing ``e`` the
target is the distribution ``q_j = (1 - e) 1[j = t] + e / V``::

    loss_n = -sum_j q_j log p_j = lse - (1 - e) logits_t - e * mean_j(logits_j)
    loss   = sum of loss_n over the rows that count / their number

Rows whose target is ``ignore_index`` do not count, above or below the line; if all are such, the
loss is 0. Classes of which there are few can weigh more: with ``class_weights`` a row has the
weight ``w_n`` of its target, and the mean is a weighted one::

    loss   = sum_n w_n loss_n / sum_n w_n

Backward. ``d lse / d logits_j = p_j``, so, with ``w_n = 1`` where there are no class weights::

    dlogits_nj = dloss * w_n / sum_n w_n * (p_nj - q_nj)     0 in rows that do not count

Shapes: ``logits (..., V)``, ``targets (...)``, ``class_weights`` V numbers, the loss a scalar.

Convention: smoothing as in PyTorch, ``e / V`` everywhere, the target included. Elsewhere
``e / (V - 1)`` or ``e / (V - 2)``; and a mean over all positions, padding too, or a sum. Class
weights as in PyTorch, which divides by the sum of the weights, not by the number of rows; both at
once (PyTorch weighs the smoothed part class by class) are refused.

Source: Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision",
section 7; Vaswani et al. 2017, section 5.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from numpy_transformer.ops import sums
from numpy_transformer.ops.blocks import blocks

IGNORED = -100  # the target that stands for none; PyTorch's default


class Cache(NamedTuple):
    """What ``backward`` needs. The probabilities are computed again there, from ``lse``:
    that is cheaper than writing an array as large as the logits and reading it back."""

    logits: np.ndarray  # (..., V)
    lse: np.ndarray  # (N, 1), log of the sum of exponentials
    targets: np.ndarray  # (N,), 0 in rows that do not count
    weights: np.ndarray  # (N,), of each row: 1 or its class's, 0 in rows that do not count
    label_smoothing: float


def forward(
    logits: np.ndarray,
    targets: np.ndarray,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
) -> tuple[np.ndarray, Cache]:
    """The mean loss, in nats, over the rows that count.

    Raises ``TypeError`` for targets that are not integers, ``ValueError`` for shapes that do not
    fit, rows without logits, a smoothing outside [0, 1], class weights that are not V finite
    numbers of at least 0, or both of these at once, and ``IndexError`` for a target outside
    0 to V - 1. What stands in rows that do not count does not matter, infinities included.

    >>> logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    >>> loss, cache = forward(logits, np.array([0, -100]), ignore_index=-100)
    >>> print(round(loss, 4), round(-np.log(0.5), 4))
    0.6931 0.6931
    >>> backward(1.0, cache)[0]
    array([-0.5 ,  0.25,  0.25])
    """
    targets = np.asarray(targets)
    _check(logits, targets, label_smoothing, class_weights)
    V = logits.shape[-1]
    rows, targets = logits.reshape(targets.size, V), targets.reshape(-1)  # (N, V), (N,)
    counts = np.full(len(targets), True) if ignore_index is None else targets != ignore_index
    targets = np.where(counts, targets, 0)  # (N,)
    if targets.size and (targets.min() < 0 or targets.max() >= V):
        raise IndexError(
            f"cross_entropy: targets run from {targets.min()} to {targets.max()}, "
            f"but there are {V} logits, 0 to {V - 1}"
        )
    lse = np.empty((len(rows), 1), rows.dtype)  # (N, 1)
    losses = np.empty(len(rows), rows.dtype)  # (N,)
    for part in _parts(rows):
        largest = rows[part].real.max(axis=-1, keepdims=True)  # (n, 1)
        # A row that does not count may be all -inf; inf - inf would warn, with NaN it does not.
        largest[np.isinf(largest) & ~counts[part, None]] = np.nan
        shifted = rows[part] - largest  # (n, V); its lse is smaller by the largest, too
        at_target = shifted[np.arange(len(shifted)), targets[part]]  # (n,)
        loss = -(1 - label_smoothing) * at_target
        if label_smoothing:
            loss -= label_smoothing / V * sums.over_last(shifted)[:, 0]
        log_total = np.log(sums.over_last(np.exp(shifted, out=shifted)))  # (n, 1)
        losses[part] = loss + log_total[:, 0]
        lse[part] = log_total + largest
    weights = counts.astype(rows.real.dtype)  # (N,)
    if class_weights is not None:
        weights *= np.asarray(class_weights, weights.dtype)[targets]
    some = weights > 0
    mean = (weights[some] * losses[some]).sum() / _total(weights)
    return mean.astype(rows.dtype), Cache(logits, lse, targets, weights, label_smoothing)


def backward(dloss: np.ndarray | float, cache: Cache) -> np.ndarray:
    """Return ``dlogits``, ``(..., V)``."""
    logits, lse, targets, weights, label_smoothing = cache
    V = logits.shape[-1]
    rows = logits.reshape(len(targets), V)  # (N, V)
    drows = np.empty_like(rows)  # (N, V)
    drow = (weights * (dloss / _total(weights))).astype(rows.dtype)  # (N,)
    for part in _parts(rows):
        p = np.subtract(rows[part], lse[part], out=drows[part])  # (n, V)
        np.exp(p, out=p)
        if label_smoothing:
            p -= label_smoothing / V
        p[np.arange(len(p)), targets[part]] -= 1 - label_smoothing
        p *= drow[part, None]
    drows[weights == 0] = 0  # even where a logit is infinite
    return drows.reshape(logits.shape)


def _total(weights: np.ndarray) -> float:
    """What the sum of the losses is divided by: in float64, as float32 cannot count for ever."""
    return float(weights.sum(dtype=np.float64)) or 1.0


def _parts(rows: np.ndarray) -> Iterator[slice]:
    """Blocks of rows that fit the processor's cache."""
    return blocks(len(rows), max(1, 2**17 // max(rows.shape[1], 1)))


def _check(logits, targets, label_smoothing, class_weights) -> None:
    if logits.dtype.kind not in "fc":
        raise TypeError(f"cross_entropy: logits are {logits.dtype}, expected floats")
    if targets.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: targets are {targets.dtype}, expected integers")
    if not logits.ndim or logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"cross_entropy: logits {logits.shape} and targets {targets.shape} do not fit: "
            "expected (..., V) and (...)"
        )
    if not logits.shape[-1]:
        raise ValueError(
            f"cross_entropy: logits are {logits.shape}, expected (..., V) with V at least 1"
        )
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing is {label_smoothing}, expected 0 to 1")
    if class_weights is None:
        return
    given = np.asarray(class_weights)
    fits = given.shape == logits.shape[-1:] and given.dtype.kind in "iuf"
    if not fits or not np.isfinite(given).all() or (given < 0).any():
        raise ValueError(
            f"cross_entropy: class_weights are {class_weights!r}, "
            f"expected {logits.shape[-1]} finite numbers, one for each logit, at least 0"
        )
    if label_smoothing:
        raise ValueError("cross_entropy: class_weights and label_smoothing do not go together")
