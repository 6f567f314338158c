"""Multi-head attention, of a sequence to itself or to another one.

Forward. Each head attends with its own K = D / H columns of the three projections::

    query = x W_q + b_q        key = memory W_k + b_k        value = memory W_v + b_v
    heads = attention(query, key, value)                     for each head
    y     = concat(heads) W_o + b_o

The biases of query, key and value may be left out. ``x`` asks, ``memory`` answers. In
self-attention both are the same array, and its gradient is the sum of the two that ``backward``
returns.

Backward: the same maps in reverse. ``memory`` is used twice, by key and value, so its gradient is
the sum of what comes back from the two.

Shapes: ``x (B, T, D)``, ``memory (B, S, D)``, ``y (B, T, D)``; the mask broadcasts to
``(B, H, T, S)``.

Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.2.2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_transformer.ops import attention, linear
from numpy_transformer.parameters import Tree, xavier_uniform


class Cache(NamedTuple):
    """What ``backward`` needs."""

    query: linear.Cache
    key: linear.Cache
    value: linear.Cache
    attention: attention.Cache
    output: linear.Cache


def init(
    rng: np.random.Generator, d_model: int, dtype: type = np.float32, bias: bool = True
) -> Tree:
    """Four weights ``(D, D)`` and four biases ``(D,)``; with ``bias=False`` the output's alone.

    As in PyTorch's ``nn.Transformer``: Xavier uniform, where query, key and value count as one
    matrix ``(D, 3 D)`` (so their bound is ``sqrt(6 / 4D)``); biases 0.
    """

    def projection(fan_out: int, with_bias: bool) -> Tree:
        weight = xavier_uniform(rng, (d_model, d_model), dtype, fan_out)
        return {"weight": weight} | ({"bias": np.zeros(d_model, dtype)} if with_bias else {})

    tree = {name: projection(3 * d_model, bias) for name in ("query", "key", "value")}
    return tree | {"output": projection(d_model, True)}


def forward(
    x: np.ndarray,
    memory: np.ndarray,
    params: Tree,
    heads: int,
    mask: np.ndarray | None = None,
    dropout_rate: float = 0.0,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, Cache]:
    """Let every position of ``x`` gather what it asks for from ``memory``.

    ``dropout_rate`` is for the attention weights. Raises ``ValueError`` when the heads do not
    divide the width, and for arrays that do not have three axes.

    >>> rng = np.random.default_rng(0)
    >>> params = init(rng, d_model=4)
    >>> x, memory = rng.standard_normal((1, 2, 4)), rng.standard_normal((1, 3, 4))
    >>> y, cache = forward(x, memory, params, heads=2)
    >>> y.shape, cache.attention.weights.shape
    ((1, 2, 4), (1, 2, 2, 3))
    >>> dx, dmemory, dparams = backward(y, cache)
    >>> dmemory.shape, sorted(dparams)
    ((1, 3, 4), ['key', 'output', 'query', 'value'])
    """
    if x.ndim != 3 or memory.ndim != 3:
        raise ValueError(
            f"multi_head_attention: x is {x.shape} and memory {memory.shape}, "
            "expected (B, T, D) and (B, S, D)"
        )
    query, query_cache = linear.forward(x, **params["query"])  # (B, T, D)
    key, key_cache = linear.forward(memory, **params["key"])  # (B, S, D)
    value, value_cache = linear.forward(memory, **params["value"])  # (B, S, D)
    y, attention_cache = attention.forward(
        split_heads(query, heads),
        split_heads(key, heads),
        split_heads(value, heads),
        mask,
        dropout_rate,
        rng,
    )  # (B, H, T, K)
    y, output_cache = linear.forward(merge_heads(y), **params["output"])  # (B, T, D)
    return y, Cache(query_cache, key_cache, value_cache, attention_cache, output_cache)


def backward(dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray, Tree]:
    """Return ``dx``, ``dmemory`` and ``dparams``."""
    heads = cache.attention.query.shape[1]
    dy, *doutput = linear.backward(dy, cache.output)  # (B, T, D)
    dquery, dkey, dvalue = attention.backward(split_heads(dy, heads), cache.attention)
    dx, *dquery = linear.backward(merge_heads(dquery), cache.query)  # (B, T, D)
    dmemory, *dkey = linear.backward(merge_heads(dkey), cache.key)  # (B, S, D)
    from_value, *dvalue = linear.backward(merge_heads(dvalue), cache.value)  # (B, S, D)
    dmemory += from_value
    gradients = {"query": dquery, "key": dkey, "value": dvalue, "output": doutput}
    return dx, dmemory, {
        name: {"weight": dweight} | ({} if dbias is None else {"bias": dbias})
        for name, (dweight, dbias) in gradients.items()
    }


def split_heads(x: np.ndarray, heads: int) -> np.ndarray:
    """View ``(B, T, D)`` as ``(B, H, T, K)``, without a copy."""
    B, T, D = x.shape
    if heads < 1 or D % heads:
        raise ValueError(
            f"multi_head_attention: {heads} heads do not divide the width {D}, "
            "expected a divisor of it, at least 1"
        )
    return x.reshape(B, T, heads, D // heads).transpose(0, 2, 1, 3)  # (B, H, T, K)


def merge_heads(x: np.ndarray) -> np.ndarray:
    """Put ``(B, H, T, K)`` back together as ``(B, T, D)``; the inverse of ``split_heads``."""
    B, H, T, K = x.shape
    return x.transpose(0, 2, 1, 3).reshape(B, T, H * K)  # (B, T, D)
