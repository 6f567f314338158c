"""The activation by its name: the one face of ReLU and of both forms of GELU.

Forward and backward are those of ``relu.py`` and ``gelu.py``, where the derivations stand.

Shapes: ``x``, ``y`` any.
"""

from __future__ import annotations

import numpy as np

from numpy_transformer.ops import gelu, relu

NAMES = ("relu", "gelu", "gelu_tanh")

Cache = relu.Cache | gelu.Cache  # what the activation itself keeps


def forward(x: np.ndarray, name: str) -> tuple[np.ndarray, Cache]:
    """Apply ``"relu"``, ``"gelu"`` (exact) or ``"gelu_tanh"``; ``ValueError`` for another name.

    >>> y, cache = forward(np.array([-1.0, 1.0]), "gelu")
    >>> y.round(3), backward(np.array([1.0, 1.0]), cache).round(3)
    (array([-0.159,  0.841]), array([-0.083,  1.083]))
    """
    if name == "relu":
        return relu.forward(x)
    if name not in NAMES:
        raise ValueError(f"activation is {name!r}, expected one of {NAMES}")
    return gelu.forward(x, "tanh" if name == "gelu_tanh" else "none")


def backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    """Return ``dx``."""
    return (relu if isinstance(cache, relu.Cache) else gelu).backward(dy, cache)
