"""The encoder-decoder Transformer of "Attention Is All You Need".

Forward::

    memory = encoder(embed(source))
    h      = decoder(embed(target), memory)
    logits = h W_out                              tied: W_out = the target embeddings, transposed

``logits[:, t]`` predicts the token after ``target[:, t]``, seeing no later one. Padding
(``pad_id``) is hidden from every attention.

Backward: the same steps in reverse. Where embeddings are tied, one array is used in up to three
places, and its gradient is the sum of what comes from each.

Shapes: ``source (B, S)`` and ``target (B, T)`` integers, ``logits (B, T, V)``.

Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import NamedTuple

import numpy as np

from numpy_transformer.layers import decoder, encoder, input_embedding
from numpy_transformer.models import settings
from numpy_transformer.ops import linear, masks, positions
from numpy_transformer.parameters import Tree, xavier_uniform


@dataclass(frozen=True)
class Config:
    """The settings of an encoder-decoder, with the paper's names; checked when made.

    Raises ``ValueError`` naming the setting, what was given and what is allowed.

    >>> Config(source_vocab=30, target_vocab=20, d_model=64, h=5)
    Traceback (most recent call last):
        ...
    ValueError: h=5 heads do not divide d_model=64
    """

    source_vocab: int  # V of the source
    target_vocab: int  # V of the target
    N: int = 6  # layers in the encoder, and in the decoder
    d_model: int = 512  # width (D)
    d_ff: int = 2048  # width of the feed-forward networks (F)
    h: int = 8  # heads; d_k = d_v = d_model / h
    P_drop: float = 0.1  # dropout on the outputs of sub-layers and on the embeddings
    attention_dropout: float = 0.0  # dropout on the attention weights
    activation_dropout: float = 0.0  # dropout on the hidden units of the feed-forward networks
    epsilon_ls: float = 0.1  # label smoothing
    norm: str = "pre"  # "pre", or "post" as in the paper
    norm_eps: float = 1e-5  # added to the variance in layer norms
    activation: str = "relu"  # "relu", "gelu" or "gelu_tanh"
    positions: str = "sinusoidal"  # "sinusoidal" or "learned"
    sinusoids: str = "interleaved"  # "interleaved" (the paper) or "halves"
    max_length: int = 512  # positions, in the source and in the target
    scale_embeddings: bool = True  # multiply embeddings by sqrt(d_model)
    tie_source: bool = False  # source and target share their embeddings
    tie_output: bool = True  # the output shares the target's embeddings
    pad_id: int = 0  # the id of padding, in the source and in the target
    dtype: str = "float32"  # of parameters and activations: "float32" or "float64"

    def __post_init__(self) -> None:
        """Check every setting."""
        settings.check_sizes(self, "source_vocab", "target_vocab")
        settings.check_layers(self)
        settings.check_rates(self, "epsilon_ls")
        settings.check_choices(self, "norm")
        settings.check_flags(self, "scale_embeddings", "tie_source", "tie_output")
        if self.tie_source and self.source_vocab != self.target_vocab:
            raise ValueError(
                "tie_source needs one vocabulary for both sides, but "
                f"source_vocab={self.source_vocab} and target_vocab={self.target_vocab}"
            )
        vocabulary = range(min(self.source_vocab, self.target_vocab))
        if not isinstance(self.pad_id, Integral) or self.pad_id not in vocabulary:
            raise ValueError(f"pad_id={self.pad_id} is not an id of both vocabularies")


PRESETS = {
    # Trains in seconds on a laptop.
    "tiny": {"N": 2, "d_model": 64, "d_ff": 256, "h": 4, "P_drop": 0.0, "epsilon_ls": 0.0},
    # The base model of the paper's table 3: post-norm, one vocabulary, all embeddings tied.
    "base": {"N": 6, "d_model": 512, "d_ff": 2048, "h": 8, "P_drop": 0.1, "epsilon_ls": 0.1}
    | {"norm": "post", "tie_source": True, "tie_output": True},
}


def preset(name: str, **changes) -> Config:
    """The settings called ``name`` ("tiny" or "base"), with ``changes`` in place of some of them.

    >>> preset("tiny", source_vocab=30, target_vocab=20, h=2).d_model
    64
    """
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}, expected one of {', '.join(PRESETS)}")
    return Config(**PRESETS[name] | changes)


class Cache(NamedTuple):
    """What ``backward`` needs."""

    source_embedding: input_embedding.Cache
    encoder: encoder.Cache
    target_embedding: input_embedding.Cache
    decoder: decoder.Cache
    output: linear.Cache
    config: Config


def init(rng: np.random.Generator, config: Config) -> Tree:
    """The parameters at the start of training.

    Layers as in PyTorch's ``nn.Transformer`` (Xavier uniform); embeddings and learned positions
    from a normal distribution with deviation ``1 / sqrt(d_model)``.

    >>> params = init(np.random.default_rng(0), preset("tiny", source_vocab=30, target_vocab=20))
    >>> list(params)
    ['source_embedding', 'target_embedding', 'encoder', 'decoder']
    """
    D, dtype = config.d_model, np.dtype(config.dtype).type

    def table(rows: int) -> Tree:
        return {"weight": (rng.standard_normal((rows, D)) / math.sqrt(D)).astype(dtype)}

    params = {"source_embedding": table(config.source_vocab)}
    if not config.tie_source:
        params["target_embedding"] = table(config.target_vocab)
    if config.positions == "learned":
        params["source_positions"] = table(config.max_length)
        params["target_positions"] = table(config.max_length)
    stack = (config.N, D, config.d_ff, config.norm, dtype)
    params["encoder"] = encoder.init(rng, *stack)
    params["decoder"] = decoder.init(rng, *stack)
    if not config.tie_output:
        params["output"] = {"weight": xavier_uniform(rng, (D, config.target_vocab), dtype)}
    return params


def forward(
    source: np.ndarray,
    target: np.ndarray,
    params: Tree,
    config: Config,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, Cache]:
    """Logits for the token after each target token; ``rng=None`` switches dropout off.

    Raises ``ValueError`` for a sequence longer than ``max_length`` and for batches of different
    sizes, ``IndexError`` for ids outside the vocabulary.

    >>> config = preset("tiny", source_vocab=30, target_vocab=20)
    >>> params = init(np.random.default_rng(0), config)
    >>> logits, cache = forward(np.array([[5, 6, 7]]), np.array([[1, 8]]), params, config)
    >>> logits.shape
    (1, 2, 20)
    >>> dparams = backward(logits, cache)
    >>> dparams["source_embedding"]["weight"].shape
    (30, 64)
    """
    _check(source, target)
    memory, memory_mask, source_cache, encoder_cache = encode(source, params, config, rng)
    x, target_cache = embed_target(target, params, config, rng)  # (B, T, D)
    h, decoder_cache = decoder.forward(
        x,
        memory,
        params["decoder"],
        config.h,
        masks.causal_padding_mask(target, config.pad_id),
        memory_mask,
        rng,
        **settings.layer_settings(config, config.norm),
    )  # (B, T, D)
    logits, output_cache = linear.forward(h, output_weight(params, config))  # (B, T, V)
    return logits, Cache(
        source_cache, encoder_cache, target_cache, decoder_cache, output_cache, config
    )


def backward(dlogits: np.ndarray, cache: Cache) -> Tree:
    """Return ``dparams``; ids have no gradient."""
    config = cache.config
    dh, doutput, _ = linear.backward(dlogits, cache.output)  # (B, T, D), (D, V)
    dx, dmemory, ddecoder = decoder.backward(dh, cache.decoder)
    dtarget, dtarget_positions = input_embedding.backward(dx, cache.target_embedding)
    dx, dencoder = encoder.backward(dmemory, cache.encoder)
    dsource, dsource_positions = input_embedding.backward(dx, cache.source_embedding)
    # One array, several uses: the gradients add up.
    if config.tie_output:
        dtarget += doutput.T
    if config.tie_source:
        dsource += dtarget
    dparams = {"source_embedding": {"weight": dsource}}
    if not config.tie_source:
        dparams["target_embedding"] = {"weight": dtarget}
    if config.positions == "learned":
        dparams["source_positions"] = {"weight": dsource_positions}
        dparams["target_positions"] = {"weight": dtarget_positions}
    dparams |= {"encoder": dencoder, "decoder": ddecoder}
    if not config.tie_output:
        dparams["output"] = {"weight": doutput}
    return dparams


def encode(
    source: np.ndarray, params: Tree, config: Config, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray, input_embedding.Cache, encoder.Cache]:
    """The first half of ``forward``: memory ``(B, S, D)``, its mask, and the two caches."""
    weight = params["source_embedding"]["weight"]
    x, embedding_cache = _embed(source, weight, params, "source_positions", config, rng)
    mask = masks.padding_mask(source, config.pad_id)  # (B, 1, 1, S)
    memory, encoder_cache = encoder.forward(
        x, params["encoder"], config.h, mask, rng, **settings.layer_settings(config, config.norm)
    )
    return memory, mask, embedding_cache, encoder_cache


def embed_target(
    target: np.ndarray,
    params: Tree,
    config: Config,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, input_embedding.Cache]:
    """The decoder's input, ``(B, T, D)``."""
    weight = target_weight(params)
    return _embed(target, weight, params, "target_positions", config, rng)


def target_weight(params: Tree) -> np.ndarray:
    """The target embeddings, ``(V, D)``: their own, or the source's where these are tied."""
    return params.get("target_embedding", params["source_embedding"])["weight"]


def output_weight(params: Tree, config: Config) -> np.ndarray:
    """The output map, ``(D, V)``: its own, or the target embeddings where these are tied."""
    return target_weight(params).T if config.tie_output else params["output"]["weight"]


def position_table(params: Tree, name: str, config: Config) -> np.ndarray:
    """The table ``(max_length, D)`` called ``name``: learned, or made of sinusoids."""
    if config.positions == "learned":
        return params[name]["weight"]
    return positions.constant_sinusoids(
        config.max_length, config.d_model, config.sinusoids, config.dtype
    )


def _embed(ids, weight, params, positions_name, config, rng):
    table = position_table(params, positions_name, config)  # (max_length, D)
    scale = math.sqrt(config.d_model) if config.scale_embeddings else 1.0
    return input_embedding.forward(ids, weight, table, scale, config.P_drop, rng)


def _check(source: np.ndarray, target: np.ndarray) -> None:
    if source.ndim != 2 or target.ndim != 2 or len(source) != len(target):
        raise ValueError(
            f"encoder_decoder: source {source.shape} and target {target.shape} do not fit: "
            "expected (B, S) and (B, T)"
        )
