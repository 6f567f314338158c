"""Attention of new tokens to the keys and values that were kept of earlier ones, the *KV cache*.

The keys and values of earlier tokens do not change when a token is added, as no token sees a later
one. So they are computed once and kept; each step computes those of the new tokens alone.

Source: Shazeer 2019, "Fast Transformer Decoding: One Write-Head is All You Need", section 2.4.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_transformer.layers.multi_head_attention import merge_heads, split_heads
from numpy_transformer.ops import attention, linear
from numpy_transformer.parameters import Tree


class KeysValues(NamedTuple):
    """What one attention of one layer keeps."""

    key: np.ndarray  # (B, H, S, K)
    value: np.ndarray  # (B, H, S, K)


def keys_values(x: np.ndarray, params: Tree, heads: int) -> KeysValues:
    """The keys and values of the tokens in ``x (B, S, D)``."""
    key, _ = linear.forward(x, **params["key"])  # (B, S, D)
    value, _ = linear.forward(x, **params["value"])  # (B, S, D)
    return KeysValues(split_heads(key, heads), split_heads(value, heads))  # (B, H, S, K)


def attend(
    x: np.ndarray, kept: KeysValues, params: Tree, mask: np.ndarray | None = None
) -> np.ndarray:
    """Let ``x (B, T, D)`` gather what it asks for from what is kept: ``(B, T, D)``."""
    query, _ = linear.forward(x, **params["query"])  # (B, T, D)
    heads = kept.key.shape[1]
    y, _ = attention.forward(split_heads(query, heads), *kept, mask)  # (B, H, T, K)
    return linear.forward(merge_heads(y), **params["output"])[0]  # (B, T, D)
