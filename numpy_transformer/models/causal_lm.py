"""A decoder-only language model, as GPT-2 is: it says what comes next, and sees only what came.

Forward::

    x      = dropout(embedding(ids) + positions)
    h      = N layers of self-attention and feed-forward, pre-norm; no token sees a later one
    h      = layer_norm(h)
    logits = h W_out [+ b_out]                        tied: W_out = the embeddings, transposed

``logits[:, t]`` predicts the token after ``ids[:, t]``. A layer is that of the encoder
(``layers/encoder_layer.py``): a decoder without an encoder has nothing to cross-attend to, and
what makes it a decoder is the causal mask.

Backward: the same steps in reverse. Tied embeddings E are used twice, where tokens come in and
where logits go out (``logits = h E^T``), and their gradient is the sum of the two::

    dh = dlogits E,    dE = (what the input's embedding returns) + dlogits^T h

Shapes: ``ids (B, T)`` integers, ``logits (B, T, V)``.

Convention: embeddings are not scaled, unlike those of the encoder-decoder. GELU is the form with
tanh, as in GPT-2.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3;
Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", section 3.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from numpy_transformer import parameters
from numpy_transformer.layers import encoder, input_embedding
from numpy_transformer.models import settings
from numpy_transformer.ops import linear, masks, positions
from numpy_transformer.parameters import Tree

INITIAL_STD = 0.02  # the standard deviation of the weights at the start of training


@dataclass(frozen=True)
class Config:
    """The settings of a language model, named as those of the encoder-decoder; checked when made.

    The parameters have to be made for the same settings (``init``).

    Raises ``ValueError`` naming the setting, what was given and what is allowed.

    >>> Config(vocab=65, d_model=64, h=5)
    Traceback (most recent call last):
        ...
    ValueError: h=5 heads do not divide d_model=64
    """

    vocab: int  # V
    N: int = 12  # layers
    d_model: int = 768  # width (D)
    d_ff: int = 3072  # width of the feed-forward networks (F)
    h: int = 12  # heads; d_k = d_v = d_model / h
    max_length: int = 1024  # the context: the most tokens that the model can look at
    P_drop: float = 0.0  # dropout on the outputs of sub-layers and on the embeddings
    attention_dropout: float = 0.0  # dropout on the attention weights
    activation_dropout: float = 0.0  # dropout on the hidden units of the feed-forward networks
    norm_eps: float = 1e-5  # added to the variance in layer norms
    activation: str = "gelu_tanh"  # "relu", "gelu" or "gelu_tanh"
    positions: str = "learned"  # "learned" or "sinusoidal"
    sinusoids: str = "interleaved"  # "interleaved" (Vaswani et al. 2017) or "halves"
    tie_output: bool = True  # the output shares the embeddings
    output_bias: bool = False  # the output has a bias
    attention_bias: bool = True  # query, key and value have biases
    dtype: str = "float32"  # of parameters and activations: "float32" or "float64"

    def __post_init__(self) -> None:
        """Check every setting."""
        settings.check_sizes(self, "vocab")
        settings.check_layers(self)
        settings.check_flags(self, "tie_output", "output_bias", "attention_bias")


PRESETS = {
    # The smallest that learns something; seconds on a laptop.
    "nano": {"N": 2, "d_model": 32, "d_ff": 128, "h": 4, "max_length": 32},
    # The model of characters of Karpathy's lecture "Let's build GPT" (its gpt.py): 209,729
    # parameters with the 65 characters of Tiny Shakespeare.
    "char": {"N": 4, "d_model": 64, "d_ff": 256, "h": 4, "max_length": 32, "activation": "relu"}
    | {"tie_output": False, "output_bias": True, "attention_bias": False},
    # GPT-2's four sizes, with 124, 355, 774 and 1558 million parameters.
    "gpt2": {"N": 12, "d_model": 768, "d_ff": 3072, "h": 12},
    "gpt2-medium": {"N": 24, "d_model": 1024, "d_ff": 4096, "h": 16},
    "gpt2-large": {"N": 36, "d_model": 1280, "d_ff": 5120, "h": 20},
    "gpt2-xl": {"N": 48, "d_model": 1600, "d_ff": 6400, "h": 25},
}


def preset(name: str, **changes) -> Config:
    """The settings called ``name`` in ``PRESETS``, with ``changes`` in place of some of them.

    The size of the vocabulary is not part of a preset; GPT-2's is 50,257.

    >>> preset("char", vocab=65, h=2).max_length
    32
    """
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}, expected one of {', '.join(PRESETS)}")
    return Config(**PRESETS[name] | changes)


class Cache(NamedTuple):
    """What ``backward`` needs."""

    embedding: input_embedding.Cache
    decoder: encoder.Cache  # the encoder's layers, under a causal mask
    output: linear.Cache
    config: Config


def init(rng: np.random.Generator, config: Config) -> Tree:
    """The parameters at the start of training, drawn as GPT-2's paper has it.

    All weights and tables from a normal distribution with deviation 0.02, where a residual gets
    its output (2 N times) divided by ``sqrt(2 N)``, so that the sum of all does not grow with the
    number of layers; biases 0, norms 1 and 0. (OpenAI's own code draws positions with 0.01, and
    leaves out the division.)

    Source: Radford et al. 2019, section 2.3; the deviation is that of Radford et al. 2018,
    section 4.1.

    >>> params = init(np.random.default_rng(0), preset("char", vocab=65))
    >>> list(params), parameters.count(params)
    (['embedding', 'positions', 'decoder', 'output'], 209729)
    """
    D, V, dtype = config.d_model, config.vocab, np.dtype(config.dtype).type

    def draw(shape: tuple[int, ...], deviation: float = INITIAL_STD) -> np.ndarray:
        return (deviation * rng.standard_normal(shape)).astype(dtype)

    params = {"embedding": {"weight": draw((V, D))}}
    if config.positions == "learned":
        params["positions"] = {"weight": draw((config.max_length, D))}
    params["decoder"] = encoder.init(
        rng, config.N, D, config.d_ff, "pre", dtype, config.attention_bias
    )
    # encoder.init gives names and shapes; all but the norms is drawn anew.
    for name, array in parameters.items(params["decoder"]):
        into_residual = name.endswith("output.weight")
        scale = 1 / math.sqrt(2 * config.N) if into_residual else 1
        if array.ndim == 2:
            array[...] = draw(array.shape, INITIAL_STD * scale)
        elif "norm" not in name:
            array[...] = 0
    output = {} if config.tie_output else {"weight": draw((D, V))}
    output |= {"bias": np.zeros(V, dtype)} if config.output_bias else {}
    return params | ({"output": output} if output else {})


def forward(
    ids: np.ndarray, params: Tree, config: Config, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, Cache]:
    """Logits for the token after each: ``ids (B, T)`` to ``(B, T, V)``.

    ``rng=None`` switches dropout off. Raises ``ValueError`` for ids without two axes and for more
    tokens than ``max_length``, ``IndexError`` for ids outside the vocabulary.

    >>> config = preset("nano", vocab=20)
    >>> params = init(np.random.default_rng(0), config)
    >>> logits, cache = forward(np.array([[1, 5, 6]]), params, config)
    >>> logits.shape
    (1, 3, 20)
    >>> dparams = backward(logits, cache)
    >>> dparams["embedding"]["weight"].shape
    (20, 32)
    """
    ids = np.asarray(ids)
    if ids.ndim != 2:
        raise ValueError(f"causal_lm: ids are {ids.shape}, expected (B, T)")
    if ids.shape[1] > config.max_length:
        raise ValueError(
            f"causal_lm: ids {ids.shape} are {ids.shape[1]} tokens long, "
            f"but the model looks at no more than max_length={config.max_length}"
        )
    table = position_table(params, config)  # (max_length, D)
    weight = params["embedding"]["weight"]  # (V, D)
    x, embedding_cache = input_embedding.forward(ids, weight, table, 1.0, config.P_drop, rng)
    mask = masks.causal_mask(ids.shape[1])  # (T, T)
    h, decoder_cache = encoder.forward(
        x, params["decoder"], config.h, mask, rng, **settings.layer_settings(config, "pre")
    )  # (B, T, D)
    logits, output_cache = linear.forward(h, *output_map(params, config))  # (B, T, V)
    return logits, Cache(embedding_cache, decoder_cache, output_cache, config)


def backward(dlogits: np.ndarray, cache: Cache) -> Tree:
    """Return ``dparams``; ids have no gradient."""
    config = cache.config
    dh, dweight, dbias = linear.backward(dlogits, cache.output)  # (B, T, D), (D, V), (V,)
    dx, ddecoder = encoder.backward(dh, cache.decoder)
    dembedding, dpositions = input_embedding.backward(dx, cache.embedding)
    if config.tie_output:
        dembedding += dweight.T  # one array, two uses: the gradients add up
    dparams = {"embedding": {"weight": dembedding}}
    if config.positions == "learned":
        dparams["positions"] = {"weight": dpositions}
    dparams["decoder"] = ddecoder
    doutput = {} if config.tie_output else {"weight": dweight}
    doutput |= {"bias": dbias} if config.output_bias else {}
    return dparams | ({"output": doutput} if doutput else {})


def output_map(params: Tree, config: Config) -> tuple[np.ndarray, np.ndarray | None]:
    """The output's weight ``(D, V)``, its own or the embeddings', and its bias ``(V,)``, if any.

    Raises ``KeyError`` where the settings ask for what the parameters do not have.
    """
    tied = config.tie_output
    weight = params["embedding"]["weight"].T if tied else params["output"]["weight"]
    return weight, params["output"]["bias"] if config.output_bias else None


def position_table(params: Tree, config: Config) -> np.ndarray:
    """The table ``(max_length, D)`` of positions: learned, or made of sinusoids."""
    if config.positions == "learned":
        return params["positions"]["weight"]
    return positions.constant_sinusoids(
        config.max_length, config.d_model, config.sinusoids, config.dtype
    )
