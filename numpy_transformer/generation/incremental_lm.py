"""Decoding of a language model some tokens at a time, with keys and values kept.

``start`` makes room; ``extend`` reads more tokens of each row, many of a prompt or one at a time,
and returns the logits for the next one; ``select`` keeps some of the rows. The result equals the
last row of the full pass, to rounding (a test shows it).

Rows of different lengths stand in one array with padding on the left, so that all of them end in
the same column. Padding is never looked at, and positions are counted from the first real token,
so it changes no result.

Shapes: ``B`` rows, ``T`` new tokens, ``S`` tokens in all, padding included.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_transformer.generation.cached_attention import KeysValues, attend, keys_values
from numpy_transformer.layers import feed_forward, residual
from numpy_transformer.models import causal_lm
from numpy_transformer.models.causal_lm import Config
from numpy_transformer.ops import embedding, layer_norm, linear
from numpy_transformer.parameters import Tree


class State(NamedTuple):
    """What is kept between two calls."""

    length: int  # columns that are filled, padding included
    first: np.ndarray  # (B,) the column of each row's first token; left of it is padding
    layers: tuple[KeysValues, ...]  # (B, H, room, K), of each layer; filled up to length


def start(first: np.ndarray, room: int, params: Tree, config: Config) -> State:
    """No tokens yet, and ``room`` for columns; ``first (B,)`` says how much padding will come."""
    shape = (len(first), config.h, room, config.d_model // config.h)  # (B, H, room, K)
    dtype = params["embedding"]["weight"].dtype
    return State(
        0,
        np.array(first),
        tuple(KeysValues(np.zeros(shape, dtype), np.zeros(shape, dtype)) for _ in range(config.N)),
    )


def extend(
    ids: np.ndarray, state: State, params: Tree, config: Config
) -> tuple[np.ndarray, State]:
    """Read ``ids (B, T)``; return logits ``(B, V)`` for what comes next, and the new state.

    A state can be extended once. The new keys and values are written into its arrays, behind the
    old ones, so as not to copy these each time; a second ``extend`` of the same state would
    overwrite what the first one wrote. To go on in two ways, ``select`` all rows first, which
    copies. The logits of a row of which only padding was read mean nothing.

    Raises ``ValueError`` where there is no room, where nothing is to be read, and for more tokens
    than the model can look at; ``IndexError`` for ids outside the vocabulary.

    >>> config = causal_lm.preset("nano", vocab=20)
    >>> params = causal_lm.init(np.random.default_rng(0), config)
    >>> ids = np.array([[5, 6, 7, 8]])
    >>> state = start(np.array([0]), 4, params, config)
    >>> _, state = extend(ids[:, :3], state, params, config)
    >>> logits, state = extend(ids[:, 3:], state, params, config)
    >>> full, _ = causal_lm.forward(ids, params, config)
    >>> bool(np.allclose(logits, full[:, -1], atol=1e-6))
    True
    """
    if not ids.size:
        raise ValueError(f"ids are {ids.shape}, expected (B, T) with at least one token")
    T, S = ids.shape[1], state.length + ids.shape[1]
    room = state.layers[0].key.shape[2]
    if S > room:
        raise ValueError(f"{T} tokens after {state.length}, but there is room for {room}")
    if S - state.first.min() > config.max_length:
        raise ValueError(
            f"{S - state.first.min()} tokens in a row, but the model looks at {config.max_length}"
        )
    columns = np.arange(state.length, S)  # (T,)
    place = np.maximum(columns - state.first[:, None], 0)  # (B, T), 0 for padding, too
    x, _ = embedding.forward(ids, params["embedding"]["weight"])  # (B, T, D)
    x += causal_lm.position_table(params, config)[place]
    mask = _mask(columns, state.first, S)
    for i, kept in enumerate(state.layers):
        x = _layer(x, params["decoder"]["layers"][str(i)], kept, columns, mask, config)
    h = x[:, -1]  # (B, D): the logits of earlier tokens are of no use any more
    h, _ = layer_norm.forward(h, **params["decoder"]["norm"], eps=config.norm_eps)
    logits, _ = linear.forward(h, *causal_lm.output_map(params, config))  # (B, V)
    return logits, state._replace(length=S)


def select(state: State, rows: np.ndarray) -> State:
    """The state of some rows, in the order given; a row may be taken more than once."""
    layers = tuple(KeysValues(key[rows], value[rows]) for key, value in state.layers)
    return State(state.length, state.first[rows], layers)


def _mask(columns: np.ndarray, first: np.ndarray, length: int) -> np.ndarray | None:
    """Who may be looked at, ``(B, 1, T, S)``: no later token, no padding; ``None``: everyone."""
    if len(columns) == 1 and not first.any():
        return None
    others = np.arange(length)
    return (others <= columns[:, None]) & (others >= first[:, None, None, None])  # (B, 1, T, S)


def _layer(x, params, kept, columns, mask, config):
    """One layer for the new tokens, ``x (B, T, D)``; their keys and values are put into ``kept``.

    The same two steps as in ``layers/encoder_layer.py``; a test holds the two together.
    """

    def self_attention(h):
        new = keys_values(h, params["self_attention"], config.h)  # (B, H, T, K)
        for array, values in zip(kept, new):
            array[:, :, columns[0] : columns[-1] + 1] = values
        visible = KeysValues(*(array[:, :, : columns[-1] + 1] for array in kept))  # (B, H, S, K)
        return attend(h, visible, params["self_attention"], mask), None

    def transform(h):
        return feed_forward.forward(h, params["feed_forward"], config.activation)

    around = ("pre", config.norm_eps)
    x, _ = residual.forward(x, self_attention, params["self_attention_norm"], *around)
    x, _ = residual.forward(x, transform, params["feed_forward_norm"], *around)
    return x
