"""The encoder of BERT: every token of a text as a vector that knows all the others.

Forward::

    x = unpad(embedding(ids) + positions + embedding(segments))
    h = dropout(layer_norm(x))
    h = N layers of self-attention and feed-forward; every token sees every other
    h = pad(h)

The layers are those of the encoder-decoder's encoder (``layers/encoder.py``), with the norms where
the paper had them (``norm="post"``), or before the sub-layers, with one more at the end
(``norm="pre"``). Segments tell the two texts of a pair apart: 0 for the first and 1 for the
second. Padding (``pad_id``) takes no part: the layers work on the tokens alone, ``(N, D)``, and
zeros come out in its places.

``masked_lm``, ``classifier`` and ``token_classifier`` are this encoder with another head. Its
parameters have the same names in all of them (``NAMES``), so that they pass from one to the other.

Backward: the same steps in reverse.

Shapes: ``ids (B, T)`` and ``segments (B, T)`` integers, ``h (B, T, D)``.

Convention: embeddings are not scaled. The norm's eps is 1e-12 and GELU the exact one, as in BERT.

Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", section 3 and figure 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import NamedTuple

import numpy as np

from numpy_transformer.layers import encoder, input_embedding
from numpy_transformer.models import settings
from numpy_transformer.ops import (
    dropout,
    embedding,
    layer_norm,
    masks,
    pad,
    positions,
    unpad,
)
from numpy_transformer.parameters import Tree

INITIAL_STD = 0.02  # the standard deviation of the tables at the start of training
NAMES = ("embedding", "positions", "segments", "embedding_norm", "encoder")  # of the parameters


@dataclass(frozen=True)
class Config:
    """The settings of an encoder, named as those of the encoder-decoder; checked when made.

    Raises ``ValueError`` naming the setting, what was given and what is allowed.

    >>> Config(vocab=100, d_model=64, h=5)
    Traceback (most recent call last):
        ...
    ValueError: h=5 heads do not divide d_model=64
    """

    vocab: int  # V
    N: int = 12  # layers
    d_model: int = 768  # width (D)
    d_ff: int = 3072  # width of the feed-forward networks (F)
    h: int = 12  # heads; d_k = d_v = d_model / h
    max_length: int = 512  # the most tokens that the model can look at
    segments: int = 2  # how many texts of one input can be told apart
    P_drop: float = 0.0  # dropout on the outputs of sub-layers, on the embeddings and in heads
    attention_dropout: float = 0.0  # dropout on the attention weights
    activation_dropout: float = 0.0  # dropout on the hidden units of the feed-forward networks
    norm: str = "post"  # "post" as in BERT, or "pre"
    norm_eps: float = 1e-12  # added to the variance in layer norms
    activation: str = "gelu"  # "relu", "gelu" or "gelu_tanh"
    positions: str = "learned"  # "learned" or "sinusoidal"
    sinusoids: str = "interleaved"  # "interleaved" (Vaswani et al. 2017) or "halves"
    pad_id: int = 0  # the id of padding
    dtype: str = "float32"  # of parameters and activations: "float32" or "float64"

    def __post_init__(self) -> None:
        """Check every setting."""
        settings.check_sizes(self, "vocab", "segments")
        settings.check_layers(self)
        settings.check_choices(self, "norm")
        if not isinstance(self.pad_id, Integral) or self.pad_id not in range(self.vocab):
            raise ValueError(f"pad_id={self.pad_id!r} is not an id of the vocabulary")
        object.__setattr__(self, "pad_id", int(self.pad_id))


PRESETS = {
    # The smallest that learns something; seconds on a laptop.
    "nano": {"N": 2, "d_model": 32, "d_ff": 128, "h": 4, "max_length": 32},
    # BERT's two sizes, with 110 and 340 million parameters.
    "bert-base": {"N": 12, "d_model": 768, "d_ff": 3072, "h": 12},
    "bert-large": {"N": 24, "d_model": 1024, "d_ff": 4096, "h": 16},
}


def preset(name: str, **changes) -> Config:
    """The settings called ``name`` in ``PRESETS``, with ``changes`` in place of some of them.

    The size of the vocabulary is not part of a preset; BERT's is 30,522.

    >>> preset("bert-base", vocab=30522, P_drop=0.1).d_ff
    3072
    """
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}, expected one of {', '.join(PRESETS)}")
    return Config(**PRESETS[name] | changes)


class Cache(NamedTuple):
    """What ``backward`` needs."""

    embedding: input_embedding.Cache
    segments: embedding.Cache
    unpad: unpad.Cache
    embedding_norm: layer_norm.Cache
    dropout: dropout.Cache
    encoder: encoder.Cache
    pad: pad.Cache
    config: Config


def init(rng: np.random.Generator, config: Config) -> Tree:
    """The parameters at the start of training.

    Tables from a normal distribution with deviation 0.02, as BERT's are; layers as in PyTorch's
    ``nn.Transformer`` (Xavier uniform). BERT draws all weights with 0.02, which suits a width of
    768; narrow models learn nothing from their neighbours with it for a long time.

    >>> params = init(np.random.default_rng(0), preset("nano", vocab=100))
    >>> tuple(params) == NAMES
    True
    """
    D, dtype = config.d_model, np.dtype(config.dtype).type
    params = {"embedding": {"weight": normal(rng, (config.vocab, D), dtype)}}
    if config.positions == "learned":
        params["positions"] = {"weight": normal(rng, (config.max_length, D), dtype)}
    params["segments"] = {"weight": normal(rng, (config.segments, D), dtype)}
    params["embedding_norm"] = layer_norm.init(D, dtype)
    params["encoder"] = encoder.init(rng, config.N, D, config.d_ff, config.norm, dtype)
    return params


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """A table, or the map of a head, at the start: normal, with deviation ``INITIAL_STD``."""
    return (INITIAL_STD * rng.standard_normal(shape)).astype(dtype)


def forward(
    ids: np.ndarray,
    segments: np.ndarray | None,
    params: Tree,
    config: Config,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, Cache]:
    """A vector for each token: ``ids (B, T)`` to ``(B, T, D)``.

    ``segments=None`` puts all tokens into segment 0; ``rng=None`` switches dropout off. ``params``
    may hold more than the encoder's. Raises ``ValueError`` for shapes that do not fit and for more
    tokens than ``max_length``, ``IndexError`` for ids outside the vocabulary and for segments that
    there are not.

    >>> config = preset("nano", vocab=20)
    >>> params = init(np.random.default_rng(0), config)
    >>> h, cache = forward(np.array([[1, 5, 6]]), None, params, config)
    >>> h.shape
    (1, 3, 32)
    >>> dparams = backward(h, cache)
    >>> dparams["segments"]["weight"].shape
    (2, 32)
    """
    h, mask, below = embed(ids, segments, params, config)  # (N, D), (B, 1, 1, T)
    h, dropout_cache = dropout.forward(h, config.P_drop, rng)
    h, encoder_cache = encoder.forward(
        h, params["encoder"], config.h, mask, rng, **settings.layer_settings(config, config.norm)
    )  # (N, D)
    h, pad_cache = pad.forward(h, mask[:, 0, 0])  # (B, T, D)
    return h, Cache(*below, dropout_cache, encoder_cache, pad_cache, config)


def embed(
    ids: np.ndarray, segments: np.ndarray | None, params: Tree, config: Config
) -> tuple[np.ndarray, np.ndarray, tuple]:
    """What goes into the layers: the sum of the three embeddings at the tokens, normalised.

    Returns ``h (N, D)``, the padding mask ``(B, 1, 1, T)`` and the first fields of ``Cache``.
    Raises what ``forward`` does.

    >>> config = preset("nano", vocab=20)
    >>> params = init(np.random.default_rng(0), config)
    >>> h, mask, _ = embed(np.array([[1, 5, 6], [7, 0, 0]]), None, params, config)
    >>> h.shape, mask[:, 0, 0].tolist()
    ((4, 32), [[True, True, True], [True, False, False]])
    """
    ids = np.asarray(ids)
    segments = np.zeros_like(ids) if segments is None else np.asarray(segments)
    _check(ids, segments, config)
    weight = params["embedding"]["weight"]  # (V, D)
    x, embedding_cache = input_embedding.forward(ids, weight, position_table(params, config))
    of_segments, segments_cache = embedding.forward(segments, params["segments"]["weight"])
    mask = masks.padding_mask(ids, config.pad_id)  # (B, 1, 1, T)
    x, unpad_cache = unpad.forward(x + of_segments, mask[:, 0, 0])  # (N, D)
    h, norm_cache = layer_norm.forward(x, **params["embedding_norm"], eps=config.norm_eps)
    return h, mask, (embedding_cache, segments_cache, unpad_cache, norm_cache)


def backward(dh: np.ndarray, cache: Cache) -> Tree:
    """Return the ``dparams`` of the encoder; ids and segments have no gradient."""
    dh = pad.backward(dh, cache.pad)  # (N, D)
    dh, dencoder = encoder.backward(dh, cache.encoder)
    dh = dropout.backward(dh, cache.dropout)
    dx, dweight, dbias = layer_norm.backward(dh, cache.embedding_norm)
    dx = unpad.backward(dx, cache.unpad)  # (B, T, D)
    dsegments = embedding.backward(dx, cache.segments)
    dembedding, dpositions = input_embedding.backward(dx, cache.embedding)
    dparams = {"embedding": {"weight": dembedding}}
    if cache.config.positions == "learned":
        dparams["positions"] = {"weight": dpositions}
    return dparams | {
        "segments": {"weight": dsegments},
        "embedding_norm": {"weight": dweight, "bias": dbias},
        "encoder": dencoder,
    }


def part_of(params: Tree) -> Tree:
    """The encoder's part of the parameters of a model: to put it under another head.

    >>> list(part_of({"embedding": {}, "encoder": {}, "prediction": {}}))
    ['embedding', 'encoder']
    """
    return {name: params[name] for name in NAMES if name in params}


def position_table(params: Tree, config: Config) -> np.ndarray:
    """The table ``(max_length, D)`` of positions: learned, or made of sinusoids."""
    if config.positions == "learned":
        return params["positions"]["weight"]
    return positions.constant_sinusoids(
        config.max_length, config.d_model, config.sinusoids, config.dtype
    )


def _check(ids: np.ndarray, segments: np.ndarray, config: Config) -> None:
    if ids.ndim != 2 or segments.shape != ids.shape:
        raise ValueError(
            f"text_encoder: ids are {ids.shape} and segments {segments.shape}, "
            "expected (B, T) for both"
        )
    if ids.shape[1] > config.max_length:
        raise ValueError(
            f"text_encoder: ids {ids.shape} are {ids.shape[1]} tokens long, "
            f"but the model looks at no more than max_length={config.max_length}"
        )
