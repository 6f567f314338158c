"""Decoding of an encoder-decoder one token at a time, with keys and values kept.

Each step computes the query, key and value of the new token only, and attends to what is kept
(``cached_attention.py``). The result equals the last row of the full pass, to rounding (a test
shows it).

``start`` encodes the sources; ``step`` takes one more token for each row and returns the logits for
the next; ``select`` keeps some of the rows. A state is never changed: each call returns a new one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from numpy_transformer.generation.cached_attention import KeysValues, attend, keys_values
from numpy_transformer.layers import feed_forward, residual
from numpy_transformer.models import encoder_decoder
from numpy_transformer.models.encoder_decoder import Config
from numpy_transformer.ops import embedding, layer_norm, linear
from numpy_transformer.parameters import Tree


class State(NamedTuple):
    """What is kept between two steps."""

    length: int  # tokens so far
    memory_mask: np.ndarray  # (B, 1, 1, S)
    self_attention: tuple[KeysValues, ...]  # of each layer; grow with each step
    cross_attention: tuple[KeysValues, ...]  # of each layer; made once


def start(source: np.ndarray, params: Tree, config: Config) -> State:
    """Encode ``source (B, S)``; no target tokens yet."""
    memory, memory_mask, _, _ = encoder_decoder.encode(source, params, config)  # (B, S, D)
    B, _, D = memory.shape
    none = np.zeros((B, config.h, 0, D // config.h), memory.dtype)  # (B, H, 0, K)
    layers = _layers(params)
    return State(
        0,
        memory_mask,
        tuple(KeysValues(none, none) for _ in layers),
        tuple(keys_values(memory, layer["cross_attention"], config.h) for layer in layers),
    )


def step(
    tokens: np.ndarray, state: State, params: Tree, config: Config
) -> tuple[np.ndarray, State]:
    """Add one token to each row: ``tokens (B,)`` to logits ``(B, V)`` and the new state.

    Raises ``ValueError`` when the sequences would get longer than ``max_length``.
    """
    if state.length >= config.max_length:
        raise ValueError(f"the model takes at most {config.max_length} target tokens")
    x, _ = embedding.forward(tokens[:, None], encoder_decoder.target_weight(params))  # (B, 1, D)
    if config.scale_embeddings:
        x *= math.sqrt(config.d_model)
    x += encoder_decoder.position_table(params, "target_positions", config)[state.length]
    grown = []
    for layer, past, crossed in zip(
        _layers(params), state.self_attention, state.cross_attention
    ):
        x, kept = _layer(x, layer, past, crossed, state.memory_mask, config)
        grown.append(kept)
    if "norm" in params["decoder"]:
        x, _ = layer_norm.forward(x, **params["decoder"]["norm"], eps=config.norm_eps)
    logits, _ = linear.forward(x[:, 0], encoder_decoder.output_weight(params, config))  # (B, V)
    return logits, state._replace(length=state.length + 1, self_attention=tuple(grown))


def select(state: State, rows: np.ndarray) -> State:
    """The state of some rows, in the order given; a row may be taken more than once."""

    def taken(layers):
        return tuple(KeysValues(key[rows], value[rows]) for key, value in layers)

    return State(
        state.length,
        state.memory_mask[rows],
        taken(state.self_attention),
        taken(state.cross_attention),
    )


def _layers(params: Tree) -> list[Tree]:
    layers = params["decoder"]["layers"]
    return [layers[str(i)] for i in range(len(layers))]


def _layer(x, params, past, crossed, memory_mask, config):
    """One decoder layer for one new token, ``x (B, 1, D)``, with keys and values kept.

    The same three steps as in ``layers/decoder_layer.py``; a test holds the two together.
    """

    def self_attention(h):
        new = keys_values(h, params["self_attention"], config.h)  # (B, H, 1, K)
        kept = KeysValues(*(np.concatenate(pair, axis=2) for pair in zip(past, new)))
        return attend(h, kept, params["self_attention"]), kept

    def cross_attention(h):
        return attend(h, crossed, params["cross_attention"], memory_mask), None

    def transform(h):
        return feed_forward.forward(h, params["feed_forward"], config.activation)

    around = (config.norm, config.norm_eps)
    x, cache = residual.forward(x, self_attention, params["self_attention_norm"], *around)
    x, _ = residual.forward(x, cross_attention, params["cross_attention_norm"], *around)
    x, _ = residual.forward(x, transform, params["feed_forward_norm"], *around)
    return x, cache.sublayer

