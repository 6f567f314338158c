"""Masks: who may attend to whom. Boolean, ``True`` = may attend.

A mask has the shape of the attention scores, ``(B, H, T, S)``, or one that broadcasts to it. Masks
are combined with ``&``: a token may be attended to if every mask allows it.

Convention: PyTorch's ``key_padding_mask`` says the opposite, ``True`` = ignore.

Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.2.3.
"""

from __future__ import annotations

import numpy as np


def padding_mask(ids: np.ndarray, pad_id: int) -> np.ndarray:
    """No one attends to padding: ``ids (B, S)`` to ``(B, 1, 1, S)``.

    >>> padding_mask(np.array([[7, 8, 0]]), pad_id=0)
    array([[[[ True,  True, False]]]])
    """
    return (np.asarray(ids) != pad_id)[:, None, None, :]  # (B, 1, 1, S)


def causal_mask(length: int) -> np.ndarray:
    """No one attends to what comes later: ``(T, T)``, row ``t`` allows columns 0 to ``t``.

    >>> causal_mask(3)
    array([[ True, False, False],
           [ True,  True, False],
           [ True,  True,  True]])
    """
    return np.tri(length, dtype=bool)  # (T, T)


def causal_padding_mask(ids: np.ndarray, pad_id: int) -> np.ndarray:
    """Both, for a decoder's attention to itself: ``ids (B, T)`` to ``(B, 1, T, T)``.

    >>> causal_padding_mask(np.array([[7, 8, 0]]), pad_id=0)[0, 0]
    array([[ True, False, False],
           [ True,  True, False],
           [ True,  True, False]])
    """
    return padding_mask(ids, pad_id) & causal_mask(np.asarray(ids).shape[1])  # (B, 1, T, T)
