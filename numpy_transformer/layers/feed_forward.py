"""Position-wise feed-forward network: two linear maps with an activation between them.

Forward::

    y = dropout(activation(x W_1 + b_1)) W_2 + b_2

Backward, with ``h = activation(x W_1 + b_1)``: the four steps in reverse::

    dh  = dropout'(dy W_2^T)                     dW_2 = dropout(h)^T dy,  db_2 = sum of dy
    du  = activation'(dh)                        dW_1 = x^T du,           db_1 = sum of du
    dx  = du W_1^T

Shapes: ``x``, ``y`` ``(..., D)``; in between ``(..., F)``. The parameters are called ``hidden``
(the first map) and ``output`` (the second).

Source: Vaswani et al. 2017, "Attention Is All You Need", equation 2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from numpy_transformer.ops import activation as activation_op
from numpy_transformer.ops import dropout, linear
from numpy_transformer.parameters import Tree, xavier_uniform


class Cache(NamedTuple):
    """What ``backward`` needs."""

    hidden: linear.Cache
    activation: activation_op.Cache
    dropout: dropout.Cache
    output: linear.Cache


def init(rng: np.random.Generator, d_model: int, d_ff: int, dtype: type = np.float32) -> Tree:
    """Weights ``(D, F)`` and ``(F, D)``, biases ``(F,)`` and ``(D,)``.

    As in PyTorch's ``nn.Transformer``: weights Xavier uniform, biases as ``nn.Linear`` draws them,
    from U(-a, a) with ``a = 1 / sqrt(in)``.
    """

    def layer(fan_in: int, fan_out: int) -> Tree:
        bound = 1 / math.sqrt(fan_in)
        weight = xavier_uniform(rng, (fan_in, fan_out), dtype)
        return {"weight": weight, "bias": rng.uniform(-bound, bound, fan_out).astype(dtype)}

    return {"hidden": layer(d_model, d_ff), "output": layer(d_ff, d_model)}


def forward(
    x: np.ndarray,
    params: Tree,
    activation: str = "relu",
    dropout_rate: float = 0.0,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, Cache]:
    """Apply the network to each position by itself: ``(..., D)`` to ``(..., D)``.

    ``activation`` is ``"relu"``, ``"gelu"`` (exact) or ``"gelu_tanh"``; anything else raises
    ``ValueError``. ``dropout_rate`` is for the activations.

    >>> params = init(np.random.default_rng(0), d_model=2, d_ff=8)
    >>> y, cache = forward(np.ones((1, 3, 2)), params)
    >>> y.shape, cache.activation.y.shape
    ((1, 3, 2), (1, 3, 8))
    >>> dx, dparams = backward(y, cache)
    """
    h, hidden_cache = linear.forward(x, **params["hidden"])  # (..., F)
    h, activation_cache = activation_op.forward(h, activation)
    h, dropout_cache = dropout.forward(h, dropout_rate, rng)
    y, output_cache = linear.forward(h, **params["output"])  # (..., D)
    return y, Cache(hidden_cache, activation_cache, dropout_cache, output_cache)


def backward(dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, Tree]:
    """Return ``dx`` and ``dparams``."""
    dh, doutput_weight, doutput_bias = linear.backward(dy, cache.output)  # (..., F)
    dh = dropout.backward(dh, cache.dropout)
    dh = activation_op.backward(dh, cache.activation)
    dx, dhidden_weight, dhidden_bias = linear.backward(dh, cache.hidden)  # (..., D)
    return dx, {
        "hidden": {"weight": dhidden_weight, "bias": dhidden_bias},
        "output": {"weight": doutput_weight, "bias": doutput_bias},
    }
