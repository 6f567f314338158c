"""Positions: a table with one row a position is added to every sequence.

Attention by itself does not know the order of its tokens; what is added here tells it.

Forward, with the first T rows of the table::

    y_bt = x_bt + weight_t

Backward: the sum passes the gradient on, and row ``t`` is used once by each sequence::

    dx = dy
    dweight_t = sum_b dy_bt,   0 for rows beyond T

This is the embedding of the ids 0 to T - 1, added. The table is learned, or made once by
``sinusoids``, and then its gradient is not used::

    angle(t, i) = t / 10000^(2i / D)        i = 0 .. D/2 - 1
    weight[t, 2i] = sin(angle),  weight[t, 2i + 1] = cos(angle)

Convention: sine at even and cosine at odd dimensions, as the paper has it
(``layout="interleaved"``). Marian and tensor2tensor put all sines in the first half and all
cosines in the second (``layout="halves"``), with frequencies that differ a little as well in
tensor2tensor; here the frequencies are the paper's in both layouts.

Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.5.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

LAYOUTS = ("interleaved", "halves")


class Cache(NamedTuple):
    """What ``backward`` needs."""

    weight: np.ndarray  # (positions, D), for its shape


def forward(x: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, Cache]:
    """Add row ``t`` of ``weight (positions, D)`` to ``x[..., t, :]``; ``x (..., T, D)``.

    Raises ``ValueError`` when the sequence is longer than the table, the widths differ, or the
    table does not have two axes.

    >>> y, cache = forward(np.zeros((1, 2, 2)), np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    >>> y
    array([[[1., 2.],
            [3., 4.]]])
    >>> dx, dweight = backward(np.ones((1, 2, 2)), cache)
    >>> dweight
    array([[1., 1.],
           [1., 1.],
           [0., 0.]])
    """
    if weight.ndim != 2:
        raise ValueError(f"positions: the table is {weight.shape}, expected (positions, D)")
    if x.ndim < 2 or x.shape[-2] > len(weight) or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"positions: x {x.shape} does not fit the table {weight.shape}: expected (..., T, D) "
            f"with at most {len(weight)} positions T of width {weight.shape[1]}"
        )
    T = x.shape[-2]
    return x + weight[:T], Cache(weight)  # (..., T, D)


def backward(dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray]:
    """Return ``dx`` and ``dweight``."""
    dweight = np.zeros(cache.weight.shape, dy.dtype)  # (positions, D)
    dweight[: dy.shape[-2]] = dy.sum(axis=tuple(range(dy.ndim - 2)))
    return dy, dweight


def sinusoids(
    length: int, width: int, layout: str = "interleaved", dtype: type = np.float32
) -> np.ndarray:
    """The paper's table, ``(length, width)``; computed in float64, returned in ``dtype``.

    ``layout`` is ``"interleaved"`` (the paper) or ``"halves"``; anything else raises
    ``ValueError``.

    >>> sinusoids(2, 4, dtype=np.float64).round(2)
    array([[0.  , 1.  , 0.  , 1.  ],
           [0.84, 0.54, 0.01, 1.  ]])
    >>> sinusoids(2, 4, "halves", np.float64).round(2)
    array([[0.  , 0.  , 1.  , 1.  ],
           [0.84, 0.01, 0.54, 1.  ]])
    """
    if layout not in LAYOUTS:
        raise ValueError(f"positions: layout is {layout!r}, expected one of {LAYOUTS}")
    sines = (width + 1) // 2
    angle = np.arange(length)[:, None] / 10000.0 ** (2 * np.arange(sines) / width)  # (length, D/2)
    table = np.empty((length, width), dtype)
    if layout == "interleaved":
        table[:, 0::2] = np.sin(angle)
        table[:, 1::2] = np.cos(angle[:, : width // 2])
    else:
        table[:, :sines] = np.sin(angle)
        table[:, sines:] = np.cos(angle[:, : width // 2])
    return table


@lru_cache(maxsize=4)
def constant_sinusoids(length: int, width: int, layout: str, dtype: str) -> np.ndarray:
    """The same table, made once for each size, kept, and read-only; ``dtype`` by its name.

    >>> table = constant_sinusoids(2, 4, "halves", "float32")
    >>> table is constant_sinusoids(2, 4, "halves", "float32")
    True
    """
    table = sinusoids(length, width, layout, np.dtype(dtype).type)
    table.setflags(write=False)
    return table
