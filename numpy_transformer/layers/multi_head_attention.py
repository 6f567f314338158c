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

Self-attention also takes rows without padding (``ops/unpad.py``): ``x (N, D)`` and ``y (N, D)``,
the N tokens that the padding mask ``(B, 1, 1, T)`` shows. The maps work on the rows; what attends
is padded first, and unpadded again.

Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.2.2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_transformer.ops import attention, linear, pad, unpad
from numpy_transformer.parameters import Tree, xavier_uniform


class Cache(NamedTuple):
    """What ``backward`` needs."""

    query: linear.Cache
    key: linear.Cache
    value: linear.Cache
    attention: attention.Cache
    output: linear.Cache
    tokens: np.ndarray | None  # (B, T), where the rows of x belong; None with padding in x


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
    divide the width, for arrays that do not have three axes, and for rows without padding that
    are not those of the mask.

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
    tokens = _tokens(x, memory, mask)
    query, query_cache = linear.forward(x, **params["query"])  # (B, T, D)
    key, key_cache = linear.forward(memory, **params["key"])  # (B, S, D)
    value, value_cache = linear.forward(memory, **params["value"])  # (B, S, D)
    y, attention_cache = attention.forward(
        _split(query, heads, tokens),
        _split(key, heads, tokens),
        _split(value, heads, tokens),
        mask,
        dropout_rate,
        rng,
    )  # (B, H, T, K)
    y, output_cache = linear.forward(_merge(y, tokens), **params["output"])  # (B, T, D)
    return y, Cache(query_cache, key_cache, value_cache, attention_cache, output_cache, tokens)


def backward(dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray, Tree]:
    """Return ``dx``, ``dmemory`` and ``dparams``."""
    heads, tokens = cache.attention.query.shape[1], cache.tokens
    dy, *doutput = linear.backward(dy, cache.output)  # (B, T, D)
    dy = _split(dy, heads, tokens)  # (B, H, T, K)
    dquery, dkey, dvalue = attention.backward(dy, cache.attention)
    dx, *dquery = linear.backward(_merge(dquery, tokens), cache.query)  # (B, T, D)
    dmemory, *dkey = linear.backward(_merge(dkey, tokens), cache.key)  # (B, S, D)
    from_value, *dvalue = linear.backward(_merge(dvalue, tokens), cache.value)  # (B, S, D)
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


# Padding and unpadding are each other's backward pass, and so are splitting and merging: what
# leads to the heads in forward leads to their gradients in backward.


def _split(x: np.ndarray, heads: int, tokens: np.ndarray | None) -> np.ndarray:
    """``(B, T, D)``, or ``(N, D)`` with ``tokens``, to ``(B, H, T, K)``."""
    return split_heads(x if tokens is None else pad.forward(x, tokens)[0], heads)


def _merge(x: np.ndarray, tokens: np.ndarray | None) -> np.ndarray:
    """``(B, H, T, K)`` to ``(B, T, D)``, or to ``(N, D)`` with ``tokens``."""
    x = merge_heads(x)  # (B, T, D)
    return x if tokens is None else unpad.forward(x, tokens)[0]


def _tokens(x: np.ndarray, memory: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
    """Where tokens are, ``(B, T)``, if ``x`` has rows without padding."""
    if x.ndim == memory.ndim == 3:
        return None
    if x.ndim != 2 or memory.shape != x.shape:
        raise ValueError(
            f"multi_head_attention: x is {x.shape} and memory {memory.shape}, "
            "expected (B, T, D) and (B, S, D), or (N, D) for both"
        )
    if mask is None or mask.ndim != 4 or mask.shape[1:3] != (1, 1) or mask.sum() != len(x):
        given = "no mask" if mask is None else f"a mask {mask.shape} of {mask.sum()} tokens"
        raise ValueError(
            f"multi_head_attention: x is {x.shape} with {given}, expected (B, T, D), "
            "or rows without padding (N, D) with the padding mask (B, 1, 1, T) of their N tokens"
        )
    return mask[:, 0, 0]
