"""Record what PyTorch computes, for the tests to compare with.

Run it in an environment that has PyTorch (2.13 made the files that are kept here, and 2.14 those
of ``causal_lm``) and mpmath::

    python tests/recordings/record.py

It writes ``<name>.npz`` files beside itself. The tests need the files and never PyTorch. Nothing
here imports ``numpy_transformer``: what is recorded is PyTorch's own linear maps, norms, attention,
losses, encoder and decoder layers, in float64 and without dropout. Every recording draws from a
generator of its own, seeded by its name, so two runs write the same arrays, and a new recording
leaves the others as they are.

What is recorded, a file each, or several for variants such as ``encoder_layer_pre_relu``:

- operations: ``linear``, ``relu``, ``gelu``, ``softmax``, ``layer_norm``, ``embedding``,
  ``positions``, ``dropout``, ``attention``, ``cross_entropy``; ``erf`` and ``sinusoids``;
- layers: ``multi_head_attention``, ``feed_forward``, ``input_embedding``, ``encoder_layer``,
  ``decoder_layer``, ``encoder``, ``decoder``;
- models: ``encoder_decoder`` and ``causal_lm``, with random cotangents of the logits, and their
  losses, ``encoder_decoder_loss`` and ``causal_lm_loss``;
- training: ``adam``, ``adamw``, ``clip``.

``record_text_models.py`` records the models that are an encoder with a head, in the same format.

What a file of an operation, layer or model holds:

- the inputs, with the names and in the layout of ``numpy_transformer``: ``x``, ``mask``,
  ``params.query.weight``. A weight is ``(in, out)``, and a mask is True where one may attend;
- ``y``, the output, and ``dy``, a random cotangent;
- ``d`` + name for every floating-point input: the gradient of ``sum(dy * y)``;
- ``settings``, a text in JSON: ``module`` (which part of the package it is for), ``torch`` (the
  version) and ``keywords`` (``heads``, ``norm``, ...; for a model, the fields of its ``Config``).

The gradients are in that layout without any conversion: the inputs are the leaves of PyTorch's
graph, and the transposing and joining that its modules need are a part of what is differentiated.

The other files:

- ``erf``: ``x`` and ``y``, PyTorch's values in float64; ``x_float32`` and ``y_float32``, the same
  in float32; ``exact`` and ``exact_float32``, the values at ``x`` and ``x_float32`` from 40 digits,
  rounded to float64.
- ``sinusoids``: ``interleaved`` and ``halves``, the paper's table with sines at even places or in
  the first half, from loops over the paper's formula; ``keywords`` has ``length`` and ``width``.
- ``adam`` and ``adamw``: for the tensors ``weight``, ``table``, ``bias`` and steps 1 to 6,
  ``gradients.<tensor>.step<k>`` (given) and ``params.<tensor>.step<k>`` (the values after step k;
  ``step0`` is where they start); ``lr``, one learning rate a step; ``m.<tensor>`` and
  ``v.<tensor>``, the running means after the last step, not corrected for their start at zero.
  ``keywords`` has ``betas``, ``eps``, ``weight_decay`` and ``decayed``, the tensors that decay.
  ``bias`` has gradients of about the size of eps, so that the place of eps shows.
- ``clip``: for the cases ``above`` and ``below``, ``<case>.gradients.<tensor>`` (given),
  ``<case>.limit``, ``<case>.norm`` (of all tensors together, before) and
  ``<case>.clipped.<tensor>``. In ``above`` the norm is above the limit. PyTorch scales by
  ``limit / (norm + 1e-6)``.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path

import mpmath
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

FOLDER = Path(__file__).parent

# All different, so that no two axes can be confused.
B, H, K, T, S, F, V = 3, 2, 5, 4, 6, 7, 11
D = H * K
SOURCE_V = V + 2
POSITIONS = 9  # rows in a table of positions, more than any sequence is long
VALUE_K = 8  # head size of the values in `attention`, where it may differ from K
N = 2  # layers in a stack
RATE = 0.3  # of dropout

Arrays = dict[str, np.ndarray]
Tensors = dict[str, torch.Tensor]


# Saving.


def generator(name: str) -> np.random.Generator:
    """The generator of one recording."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def save(name: str, module: str, keywords: dict, arrays: Arrays) -> None:
    """Write one file, after a look at the arrays."""
    for key, array in arrays.items():
        if np.isnan(array).any():
            raise ValueError(f"{name}: {key} holds NaN")
    settings = {"module": module, "torch": torch.__version__, "keywords": keywords}
    arrays = {key: np.array(array, order="C") for key, array in arrays.items()}
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays, settings=np.array(json.dumps(settings)))


def record(
    name: str,
    module: str,
    rng: np.random.Generator,
    inputs: Arrays,
    function: Callable[[Tensors], torch.Tensor],
    **keywords,
) -> None:
    """Run ``function`` on the inputs as tensors, differentiate it, and save all of it."""
    tensors = {key: torch.tensor(array) for key, array in inputs.items()}
    leaves = {key: tensor for key, tensor in tensors.items() if tensor.is_floating_point()}
    for tensor in leaves.values():
        tensor.requires_grad_()
    y = function(tensors)
    dy = np.asarray(rng.standard_normal(tuple(y.shape)))
    # An input that the output does not depend on is an error here.
    gradients = torch.autograd.grad(y, list(leaves.values()), torch.tensor(dy))
    results = {"y": y.detach().numpy(), "dy": dy}
    results |= {f"d{key}": grad.numpy() for key, grad in zip(leaves, gradients, strict=True)}
    save(name, module, keywords, inputs | results)


# Drawing inputs, and parameters with the names of numpy_transformer.


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Numbers of size about 1."""
    return rng.standard_normal(shape)


def token_ids(
    rng: np.random.Generator, lengths: tuple[int, ...], vocabulary: int, pad: int = 0
) -> np.ndarray:
    """A row of ids for each length, the first two of a row the same, padded to the longest."""
    ids = np.full((len(lengths), max(lengths)), pad)
    for row, length in zip(ids, lengths):
        row[:length] = (pad + rng.integers(1, vocabulary, length)) % vocabulary  # never pad
        row[1] = row[0]
    return ids


def random_mask(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """A mask that allows every query at least one key; the first query has no more than one."""
    mask = rng.random(shape) < 0.6
    mask[..., 0, :] = False
    mask[..., 2] = True
    return mask


def norm_params(rng: np.random.Generator, prefix: str) -> Arrays:
    """A layer norm, its weight away from 1 and its bias away from 0."""
    return {f"{prefix}.weight": rng.uniform(1.2, 1.8, D), f"{prefix}.bias": normal(rng, D) / 2}


def linear_params(rng: np.random.Generator, prefix: str, fan_in: int, fan_out: int) -> Arrays:
    """A linear map that keeps the size of what passes through it, and a bias of size about 1."""
    return {
        f"{prefix}.weight": normal(rng, fan_in, fan_out) / math.sqrt(fan_in),
        f"{prefix}.bias": normal(rng, fan_out) / 2,
    }


def attention_params(rng: np.random.Generator, prefix: str) -> Arrays:
    """The four linear maps of a multi-head attention."""
    arrays = {}
    for part in ("query", "key", "value", "output"):
        arrays |= linear_params(rng, f"{prefix}.{part}", D, D)
    return arrays


def feed_forward_params(rng: np.random.Generator, prefix: str) -> Arrays:
    """The two linear maps of a feed-forward network."""
    hidden = linear_params(rng, f"{prefix}.hidden", D, F)
    return hidden | linear_params(rng, f"{prefix}.output", F, D)


def encoder_layer_params(rng: np.random.Generator, prefix: str) -> Arrays:
    """A layer of the encoder."""
    return {
        **norm_params(rng, f"{prefix}.self_attention_norm"),
        **attention_params(rng, f"{prefix}.self_attention"),
        **norm_params(rng, f"{prefix}.feed_forward_norm"),
        **feed_forward_params(rng, f"{prefix}.feed_forward"),
    }


def decoder_layer_params(rng: np.random.Generator, prefix: str) -> Arrays:
    """A layer of the decoder."""
    return {
        **encoder_layer_params(rng, prefix),
        **norm_params(rng, f"{prefix}.cross_attention_norm"),
        **attention_params(rng, f"{prefix}.cross_attention"),
    }


def stack_params(
    rng: np.random.Generator, prefix: str, layer_params: Callable, layers: int, norm: str
) -> Arrays:
    """Layers, and with pre-norm one more norm."""
    arrays = {}
    for i in range(layers):
        arrays |= layer_params(rng, f"{prefix}.layers.{i}")
    return arrays | (norm_params(rng, f"{prefix}.norm") if norm == "pre" else {})


# The same parameters with the names and in the layout of PyTorch's modules.


def torch_norm(tensors: Tensors, ours: str, theirs: str) -> Tensors:
    """Weight and bias of a layer norm."""
    return {f"{theirs}.{key}": tensors[f"{ours}.{key}"] for key in ("weight", "bias")}


def torch_linear(tensors: Tensors, ours: str, theirs: str) -> Tensors:
    """Weight and bias of ``nn.Linear``, which keeps its weight as (out, in)."""
    return {
        f"{theirs}.weight": tensors[f"{ours}.weight"].T,
        f"{theirs}.bias": tensors[f"{ours}.bias"],
    }


def torch_attention(tensors: Tensors, ours: str, theirs: str = "") -> Tensors:
    """``nn.MultiheadAttention``, where query, key and value are one matrix (3 D, D).

    A bias that is not there is one of zeros.
    """
    prefix = f"{theirs}." if theirs else ""
    parts = [f"{ours}.{part}" for part in ("query", "key", "value")]
    biases = [tensors.get(f"{part}.bias", torch.zeros(D)) for part in parts]
    return {
        f"{prefix}in_proj_weight": torch.cat([tensors[f"{part}.weight"].T for part in parts]),
        f"{prefix}in_proj_bias": torch.cat(biases),
        **torch_linear(tensors, f"{ours}.output", f"{prefix}out_proj"),
    }


def torch_encoder_layer(tensors: Tensors, ours: str, theirs: str = "") -> Tensors:
    """``nn.TransformerEncoderLayer``."""
    prefix = f"{theirs}." if theirs else ""
    return {
        **torch_attention(tensors, f"{ours}.self_attention", f"{prefix}self_attn"),
        **torch_linear(tensors, f"{ours}.feed_forward.hidden", f"{prefix}linear1"),
        **torch_linear(tensors, f"{ours}.feed_forward.output", f"{prefix}linear2"),
        **torch_norm(tensors, f"{ours}.self_attention_norm", f"{prefix}norm1"),
        **torch_norm(tensors, f"{ours}.feed_forward_norm", f"{prefix}norm2"),
    }


def torch_decoder_layer(tensors: Tensors, ours: str, theirs: str = "") -> Tensors:
    """``nn.TransformerDecoderLayer``, whose second norm is that of the cross-attention."""
    prefix = f"{theirs}." if theirs else ""
    return {
        **torch_encoder_layer(tensors, ours, theirs),
        **torch_attention(tensors, f"{ours}.cross_attention", f"{prefix}multihead_attn"),
        **torch_norm(tensors, f"{ours}.cross_attention_norm", f"{prefix}norm2"),
        **torch_norm(tensors, f"{ours}.feed_forward_norm", f"{prefix}norm3"),
    }


def torch_stack(tensors: Tensors, ours: str, layer: Callable, layers: int) -> Tensors:
    """``nn.TransformerEncoder`` or ``nn.TransformerDecoder``, with its final norm if it has one."""
    renamed = {}
    for i in range(layers):
        renamed |= layer(tensors, f"{ours}.layers.{i}", f"layers.{i}")
    if f"{ours}.norm.weight" in tensors:
        renamed |= torch_norm(tensors, f"{ours}.norm", "norm")
    return renamed


def call(module: nn.Module, params: Tensors, *args: torch.Tensor, **kwargs) -> torch.Tensor:
    """Run a module with these parameters in place of all of its own."""
    return torch.func.functional_call(module, params, args, kwargs, strict=True)


# PyTorch's modules, built from the settings of numpy_transformer.

ACTIVATIONS = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
}


def layer_module(kind: type, norm: str, activation: str, eps: float) -> nn.Module:
    """An encoder layer or a decoder layer."""
    return kind(
        D,
        H,
        dim_feedforward=F,
        dropout=0.0,
        activation=ACTIVATIONS[activation],
        layer_norm_eps=eps,
        batch_first=True,
        norm_first=norm == "pre",
    )


def final_norm(norm: str, eps: float) -> nn.Module | None:
    """With pre-norm a stack ends in a layer norm."""
    return nn.LayerNorm(D, eps=eps) if norm == "pre" else None


def encoder_module(layers: int, norm: str, activation: str, eps: float) -> nn.Module:
    """The encoder."""
    layer = layer_module(nn.TransformerEncoderLayer, norm, activation, eps)
    return nn.TransformerEncoder(layer, layers, final_norm(norm, eps), enable_nested_tensor=False)


def decoder_module(layers: int, norm: str, activation: str, eps: float) -> nn.Module:
    """The decoder."""
    layer = layer_module(nn.TransformerDecoderLayer, norm, activation, eps)
    return nn.TransformerDecoder(layer, layers, final_norm(norm, eps))


def future(length: int) -> torch.Tensor:
    """PyTorch's mask for a decoder: True above the diagonal, where one may not look."""
    return torch.ones(length, length, dtype=torch.bool).triu(1)


def hide(mask: torch.Tensor) -> torch.Tensor:
    """Our mask of keys (B, 1, 1, S) as PyTorch's (B, S), where True is what to ignore."""
    return ~mask[:, 0, 0, :]


def sinusoids(length: int, width: int, layout: str) -> np.ndarray:
    """The paper's table of positions, from loops over its formula (section 3.5)."""
    table = np.zeros((length, width))
    for position in range(length):
        for i in range(width // 2):
            angle = position / math.pow(10000, 2 * i / width)
            if layout == "interleaved":
                sine, cosine = 2 * i, 2 * i + 1
            else:
                sine, cosine = i, width // 2 + i
            table[position, sine] = math.sin(angle)
            table[position, cosine] = math.cos(angle)
    return table


# Operations.


def record_elementwise_and_linear() -> None:
    """Linear maps, ReLU (at 0, too) and both forms of GELU."""
    rng = generator("linear")
    inputs = {"x": normal(rng, B, T, D), **linear_params(rng, "map", D, F)}
    inputs = {key.removeprefix("map."): array for key, array in inputs.items()}
    record(
        "linear",
        "ops.linear",
        rng,
        inputs,
        lambda t: functional.linear(t["x"], t["weight"].T, t["bias"]),
    )

    rng = generator("linear_no_bias")
    record(
        "linear_no_bias",
        "ops.linear",
        rng,
        {"x": normal(rng, B, T, D), "weight": normal(rng, D, F) / math.sqrt(D)},
        lambda t: functional.linear(t["x"], t["weight"].T),
    )

    rng = generator("relu")
    x = normal(rng, B, T, D)
    x[0, 1, 2:5] = 0  # where there is no derivative
    record("relu", "ops.relu", rng, {"x": x}, lambda t: functional.relu(t["x"]))

    for name, approximate in (("gelu", "none"), ("gelu_tanh", "tanh")):
        rng = generator(name)
        record(
            name,
            "ops.gelu",
            rng,
            {"x": 2 * normal(rng, B, T, D)},
            lambda t: functional.gelu(t["x"], approximate=approximate),
            approximate=approximate,
        )


def record_softmax_and_norm() -> None:
    """Softmax, with rows that hold -inf as well, and layer norm with two sizes of eps."""
    rng = generator("softmax")
    x = 2 * normal(rng, B, T, S)
    record("softmax", "ops.softmax", rng, {"x": x}, lambda t: functional.softmax(t["x"], dim=-1))

    rng = generator("softmax_masked")
    x = np.where(random_mask(rng, B, T, S), 2 * normal(rng, B, T, S), -np.inf)
    record(
        "softmax_masked", "ops.softmax", rng, {"x": x}, lambda t: functional.softmax(t["x"], dim=-1)
    )

    for name, eps in (("layer_norm", 1e-5), ("layer_norm_large_eps", 0.5)):
        rng = generator(name)
        inputs = {"x": 2 * normal(rng, B, T, D) + 1, **norm_params(rng, "norm")}
        record(
            name,
            "ops.layer_norm",
            rng,
            {key.removeprefix("norm."): array for key, array in inputs.items()},
            lambda t: functional.layer_norm(t["x"], (D,), t["weight"], t["bias"], eps),
            eps=eps,
        )


def record_lookups() -> None:
    """Embedding with repeated ids, positions, and the two tables of sinusoids."""
    rng = generator("embedding")
    record(
        "embedding",
        "ops.embedding",
        rng,
        {"ids": token_ids(rng, (T, T - 1, T - 2), V), "weight": normal(rng, V, D)},
        lambda t: functional.embedding(t["ids"], t["weight"]),
    )

    rng = generator("positions")
    record(
        "positions",
        "ops.positions",
        rng,
        {"x": normal(rng, B, T, D), "weight": normal(rng, POSITIONS, D)},
        lambda t: t["x"] + functional.embedding(torch.arange(T), t["weight"]),
    )

    keywords = {"length": 40, "width": D}
    tables = {layout: sinusoids(**keywords, layout=layout) for layout in ("interleaved", "halves")}
    save("sinusoids", "ops.positions", keywords, tables)


def record_dropout() -> None:
    """Dropout with a mask that is given: a product with it and with 1 / (1 - rate)."""
    rng = generator("dropout")
    record(
        "dropout",
        "ops.dropout",
        rng,
        {"x": normal(rng, B, T, D), "keep": rng.random((B, T, D)) >= RATE},
        lambda t: t["x"] * t["keep"] / (1 - RATE),
        rate=RATE,
    )


def record_attention() -> None:
    """Scaled dot-product attention: plain, with a boolean mask, and with dropout besides."""

    def inputs(rng: np.random.Generator) -> Arrays:
        return {
            "query": normal(rng, B, H, T, K),
            "key": normal(rng, B, H, S, K),
            "value": normal(rng, B, H, S, VALUE_K),
        }

    def attention(t: Tensors) -> torch.Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            return functional.scaled_dot_product_attention(
                t["query"], t["key"], t["value"], attn_mask=t.get("mask")
            )

    def attention_with_dropout(t: Tensors) -> torch.Tensor:
        scores = t["query"] @ t["key"].transpose(-1, -2) / math.sqrt(K)
        scores = scores.masked_fill(~t["mask"], -math.inf)
        weights = functional.softmax(scores, dim=-1) * t["keep"] / (1 - RATE)
        return weights @ t["value"]

    rng = generator("attention")
    record("attention", "ops.attention", rng, inputs(rng), attention)

    rng = generator("attention_masked")
    masked = inputs(rng) | {"mask": random_mask(rng, B, 1, T, S)}
    record("attention_masked", "ops.attention", rng, masked, attention)

    rng = generator("attention_dropout")
    dropped = inputs(rng) | {
        "mask": random_mask(rng, B, 1, T, S),
        "keep": rng.random((B, H, T, S)) >= RATE,
    }
    record(
        "attention_dropout",
        "ops.attention",
        rng,
        dropped,
        attention_with_dropout,
        dropout_rate=RATE,
    )


def record_cross_entropy() -> None:
    """Cross-entropy: over all rows, without padding, with smoothing, with both, and far apart."""
    cases = {
        "cross_entropy": ({}, 1),
        "cross_entropy_ignore": ({"ignore_index": 0}, 1),
        "cross_entropy_smoothed": ({"label_smoothing": 0.1}, 1),
        "cross_entropy_ignore_smoothed": ({"ignore_index": 0, "label_smoothing": 0.2}, 1),
        "cross_entropy_large_logits": ({"ignore_index": 0, "label_smoothing": 0.1}, 30),
    }
    for name, (keywords, size) in cases.items():
        rng = generator(name)
        record(
            name,
            "ops.cross_entropy",
            rng,
            {
                "logits": size * normal(rng, B, T, V),
                "targets": token_ids(rng, (T, T - 1, T - 2), V),
            },
            lambda t: functional.cross_entropy(
                t["logits"].reshape(B * T, V), t["targets"].reshape(B * T), **keywords
            ),
            **keywords,
        )


def record_erf() -> None:
    """The error function, from PyTorch and from many digits."""
    mpmath.mp.dps = 40

    def exact(x: np.ndarray) -> np.ndarray:
        return np.array([float(mpmath.erf(mpmath.mpf(float(value)))) for value in x])

    rng = generator("erf")
    x = np.concatenate([np.linspace(-6.5, 6.5, 131), rng.uniform(-6.5, 6.5, 70), [1e-9, -1e-4]])
    x_float32 = x.astype(np.float32)
    arrays = {
        "x": x,
        "y": torch.special.erf(torch.tensor(x)).numpy(),
        "exact": exact(x),
        "x_float32": x_float32,
        "y_float32": torch.special.erf(torch.tensor(x_float32)).numpy(),
        "exact_float32": exact(x_float32),
    }
    save("erf", "ops.erf", {}, arrays)


# Layers.


def record_multi_head_attention() -> None:
    """To itself, without the future and without padding; to a memory; with a mask for each head."""
    module = nn.MultiheadAttention(D, H, batch_first=True)

    def attend(query, memory, params, **masks):
        return call(module, params, query, memory, memory, need_weights=False, **masks)[0]

    rng = generator("multi_head_attention_self")
    padding = token_ids(rng, (T, T - 1, T - 2), V) != 0  # (B, T)
    record(
        "multi_head_attention_self",
        "layers.multi_head_attention",
        rng,
        {
            "x": normal(rng, B, T, D),
            "mask": padding[:, None, None, :] & np.tri(T, dtype=bool),
            **attention_params(rng, "params"),
        },
        lambda t: attend(
            t["x"],
            t["x"],
            torch_attention(t, "params"),
            attn_mask=future(T),
            key_padding_mask=torch.tensor(~padding),
        ),
        heads=H,
    )

    rng = generator("multi_head_attention_cross")
    padding_of_memory = token_ids(rng, (S, S - 2, S - 3), V) != 0  # (B, S)
    record(
        "multi_head_attention_cross",
        "layers.multi_head_attention",
        rng,
        {
            "x": normal(rng, B, T, D),
            "memory": normal(rng, B, S, D),
            "mask": padding_of_memory[:, None, None, :],
            **attention_params(rng, "params"),
        },
        lambda t: attend(
            t["x"], t["memory"], torch_attention(t, "params"), key_padding_mask=hide(t["mask"])
        ),
        heads=H,
    )

    rng = generator("multi_head_attention_mask_per_head")
    record(
        "multi_head_attention_mask_per_head",
        "layers.multi_head_attention",
        rng,
        {
            "x": normal(rng, B, T, D),
            "memory": normal(rng, B, S, D),
            "mask": random_mask(rng, B, H, T, S),
            **attention_params(rng, "params"),
        },
        lambda t: attend(
            t["x"],
            t["memory"],
            torch_attention(t, "params"),
            attn_mask=~t["mask"].reshape(B * H, T, S),
        ),
        heads=H,
    )


def record_feed_forward() -> None:
    """Two linear maps with each of the three activations between them."""

    def feed_forward(t: Tensors, activation: str) -> torch.Tensor:
        h = functional.linear(t["x"], t["params.hidden.weight"].T, t["params.hidden.bias"])
        h = ACTIVATIONS[activation](h)
        return functional.linear(h, t["params.output.weight"].T, t["params.output.bias"])

    for activation in ACTIVATIONS:
        name = f"feed_forward_{activation}"
        rng = generator(name)
        record(
            name,
            "layers.feed_forward",
            rng,
            {"x": normal(rng, B, T, D), **feed_forward_params(rng, "params")},
            lambda t: feed_forward(t, activation),
            activation=activation,
        )


def record_input_embedding() -> None:
    """Token embeddings, scaled, plus positions."""
    rng = generator("input_embedding")
    scale = math.sqrt(D)
    record(
        "input_embedding",
        "layers.input_embedding",
        rng,
        {
            "ids": token_ids(rng, (T, T - 1, T - 2), V),
            "weight": normal(rng, V, D),
            "positions": normal(rng, POSITIONS, D),
        },
        lambda t: scale * functional.embedding(t["ids"], t["weight"]) + t["positions"][:T],
        scale=scale,
    )


# The place of the norm, the activation, and eps (another than the usual one in some).
LAYERS = (
    ("pre", "relu", 1e-5),
    ("pre", "gelu", 1e-2),
    ("post", "relu", 1e-2),
    ("post", "gelu", 1e-5),
)
STACKS = (("pre", "gelu", 1e-2), ("post", "relu", 1e-5))


def record_encoders() -> None:
    """A layer of the encoder in four variants, and a stack in two."""

    def inputs(rng: np.random.Generator) -> Arrays:
        padding = token_ids(rng, (S, S - 2, S - 3), V) != 0  # (B, S)
        return {"x": normal(rng, B, S, D), "mask": padding[:, None, None, :]}

    for norm, activation, eps in LAYERS:
        name = f"encoder_layer_{norm}_{activation}"
        rng = generator(name)
        module = layer_module(nn.TransformerEncoderLayer, norm, activation, eps)
        record(
            name,
            "layers.encoder_layer",
            rng,
            inputs(rng) | encoder_layer_params(rng, "params"),
            lambda t: call(
                module,
                torch_encoder_layer(t, "params"),
                t["x"],
                src_key_padding_mask=hide(t["mask"]),
            ),
            heads=H,
            norm=norm,
            activation=activation,
            eps=eps,
        )

    for norm, activation, eps in STACKS:
        name = f"encoder_{norm}"
        rng = generator(name)
        module = encoder_module(N, norm, activation, eps)
        record(
            name,
            "layers.encoder",
            rng,
            inputs(rng) | stack_params(rng, "params", encoder_layer_params, N, norm),
            lambda t: call(
                module,
                torch_stack(t, "params", torch_encoder_layer, N),
                t["x"],
                src_key_padding_mask=hide(t["mask"]),
            ),
            heads=H,
            norm=norm,
            activation=activation,
            eps=eps,
        )


def record_decoders() -> None:
    """A layer of the decoder in four variants, and a stack in two."""

    def inputs(rng: np.random.Generator) -> Arrays:
        padding = token_ids(rng, (T, T - 1, T - 2), V) != 0  # (B, T)
        padding_of_memory = token_ids(rng, (S, S - 2, S - 3), V) != 0  # (B, S)
        return {
            "x": normal(rng, B, T, D),
            "memory": normal(rng, B, S, D),
            "mask": padding[:, None, None, :] & np.tri(T, dtype=bool),
            "memory_mask": padding_of_memory[:, None, None, :],
        }

    def masks(t: Tensors) -> dict[str, torch.Tensor]:
        # The last query sees all keys but the padding.
        return {
            "tgt_mask": future(T),
            "tgt_key_padding_mask": hide(t["mask"][:, :, -1:]),
            "memory_key_padding_mask": hide(t["memory_mask"]),
        }

    for norm, activation, eps in LAYERS:
        name = f"decoder_layer_{norm}_{activation}"
        rng = generator(name)
        module = layer_module(nn.TransformerDecoderLayer, norm, activation, eps)
        record(
            name,
            "layers.decoder_layer",
            rng,
            inputs(rng) | decoder_layer_params(rng, "params"),
            lambda t: call(
                module, torch_decoder_layer(t, "params"), t["x"], t["memory"], **masks(t)
            ),
            heads=H,
            norm=norm,
            activation=activation,
            eps=eps,
        )

    for norm, activation, eps in STACKS:
        name = f"decoder_{norm}"
        rng = generator(name)
        module = decoder_module(N, norm, activation, eps)
        record(
            name,
            "layers.decoder",
            rng,
            inputs(rng) | stack_params(rng, "params", decoder_layer_params, N, norm),
            lambda t: call(
                module,
                torch_stack(t, "params", torch_decoder_layer, N),
                t["x"],
                t["memory"],
                **masks(t),
            ),
            heads=H,
            norm=norm,
            activation=activation,
            eps=eps,
        )


# Models.


def model_settings(**changes) -> dict:
    """The settings of a model, under the names of ``numpy_transformer``'s ``Config``."""
    return {
        "source_vocab": SOURCE_V,
        "target_vocab": V,
        "N": 1,
        "d_model": D,
        "d_ff": F,
        "h": H,
        "P_drop": 0.0,
        "epsilon_ls": 0.0,
        "norm": "pre",
        "norm_eps": 1e-5,
        "activation": "relu",
        "positions": "sinusoidal",
        "sinusoids": "interleaved",
        "max_length": POSITIONS,
        "scale_embeddings": True,
        "tie_source": False,
        "tie_output": True,
        "pad_id": 0,
    } | changes


def model_params(rng: np.random.Generator, config: dict) -> Arrays:
    """All parameters of an encoder-decoder."""

    def table(rows: int) -> np.ndarray:
        return normal(rng, rows, D) / math.sqrt(D)

    arrays = {"params.source_embedding.weight": table(config["source_vocab"])}
    if not config["tie_source"]:
        arrays["params.target_embedding.weight"] = table(config["target_vocab"])
    if config["positions"] == "learned":
        arrays["params.source_positions.weight"] = table(config["max_length"])
        arrays["params.target_positions.weight"] = table(config["max_length"])
    stack = (config["N"], config["norm"])
    arrays |= stack_params(rng, "params.encoder", encoder_layer_params, *stack)
    arrays |= stack_params(rng, "params.decoder", decoder_layer_params, *stack)
    if not config["tie_output"]:
        arrays["params.output.weight"] = normal(rng, D, config["target_vocab"]) / math.sqrt(D)
    return arrays


def logits(t: Tensors, source: torch.Tensor, target: torch.Tensor, config: dict) -> torch.Tensor:
    """The encoder-decoder, from PyTorch's parts."""
    source_table = t["params.source_embedding.weight"]
    target_table = t.get("params.target_embedding.weight", source_table)
    scale = math.sqrt(D) if config["scale_embeddings"] else 1.0
    settings = (config["N"], config["norm"], config["activation"], config["norm_eps"])

    def embed(ids: torch.Tensor, table: torch.Tensor, side: str) -> torch.Tensor:
        if config["positions"] == "learned":
            positions = t[f"params.{side}_positions.weight"]
        else:
            positions = torch.tensor(sinusoids(config["max_length"], D, config["sinusoids"]))
        return scale * functional.embedding(ids, table) + positions[: ids.shape[1]]

    memory = call(
        encoder_module(*settings),
        torch_stack(t, "params.encoder", torch_encoder_layer, config["N"]),
        embed(source, source_table, "source"),
        src_key_padding_mask=source == config["pad_id"],
    )
    h = call(
        decoder_module(*settings),
        torch_stack(t, "params.decoder", torch_decoder_layer, config["N"]),
        embed(target, target_table, "target"),
        memory,
        tgt_mask=future(target.shape[1]),
        tgt_key_padding_mask=target == config["pad_id"],
        memory_key_padding_mask=source == config["pad_id"],
    )
    if config["tie_output"]:
        return functional.linear(h, target_table)
    return functional.linear(h, t["params.output.weight"].T)


def record_models() -> None:
    """Logits with a random cotangent, and the loss; every setting in two states at least."""
    one_vocabulary = {"source_vocab": V, "tie_source": True}
    models = {
        "encoder_decoder_pre": model_settings(N=N),
        "encoder_decoder_post": model_settings(
            N=N,
            norm="post",
            norm_eps=1e-2,
            activation="gelu",
            positions="learned",
            scale_embeddings=False,
            tie_output=False,
        ),
        "encoder_decoder_pre_halves": model_settings(
            sinusoids="halves", activation="gelu_tanh", pad_id=3, **one_vocabulary
        ),
    }
    for name, settings in models.items():
        rng, pad = generator(name), settings["pad_id"]
        record(
            name,
            "models.encoder_decoder",
            rng,
            {
                "source": token_ids(rng, (S, S - 2, S - 3), settings["source_vocab"], pad),
                "target": token_ids(rng, (T, T - 1, T - 2), settings["target_vocab"], pad),
                **model_params(rng, settings),
            },
            lambda t: logits(t, t["source"], t["target"], settings),
            **settings,
        )

    losses = {
        "encoder_decoder_loss_pre": model_settings(
            positions="learned", norm_eps=1e-2, epsilon_ls=0.1, tie_output=False
        ),
        "encoder_decoder_loss_pre_unscaled": model_settings(
            scale_embeddings=False, activation="gelu", tie_output=False, **one_vocabulary
        ),
        "encoder_decoder_loss_post": model_settings(
            norm="post", epsilon_ls=0.1, pad_id=3, **one_vocabulary
        ),
        "encoder_decoder_loss_post_learned": model_settings(
            norm="post", positions="learned", activation="gelu_tanh", epsilon_ls=0.2
        ),
    }

    def loss(t: Tensors, config: dict) -> torch.Tensor:
        scores = logits(t, t["source"], t["target"][:, :-1], config)
        return functional.cross_entropy(
            scores.reshape(B * T, V),
            t["target"][:, 1:].reshape(B * T),
            ignore_index=config["pad_id"],
            label_smoothing=config["epsilon_ls"],
        )

    for name, settings in losses.items():
        rng, pad = generator(name), settings["pad_id"]
        record(
            name,
            "models.encoder_decoder_loss",
            rng,
            {
                "source": token_ids(rng, (S, S - 2, S - 3), settings["source_vocab"], pad),
                "target": token_ids(rng, (T + 1, T, T - 1), settings["target_vocab"], pad),
                **model_params(rng, settings),
            },
            lambda t: loss(t, settings),
            **settings,
        )


def language_model_settings(**changes) -> dict:
    """The settings of a language model, under the names of ``causal_lm.Config``."""
    return {
        "vocab": V,
        "N": 1,
        "d_model": D,
        "d_ff": F,
        "h": H,
        "max_length": POSITIONS,
        "norm_eps": 1e-5,
        "activation": "gelu_tanh",
        "positions": "learned",
        "sinusoids": "interleaved",
        "tie_output": True,
        "output_bias": False,
        "attention_bias": True,
    } | changes


def language_model_params(rng: np.random.Generator, config: dict) -> Arrays:
    """All parameters of a language model."""
    arrays = {"params.embedding.weight": normal(rng, V, D) / math.sqrt(D)}
    if config["positions"] == "learned":
        arrays["params.positions.weight"] = normal(rng, POSITIONS, D) / math.sqrt(D)
    decoder = stack_params(rng, "params.decoder", encoder_layer_params, config["N"], "pre")
    if not config["attention_bias"]:
        unwanted = ("query.bias", "key.bias", "value.bias")
        decoder = {name: array for name, array in decoder.items() if not name.endswith(unwanted)}
    output = linear_params(rng, "params.output", D, V)
    if config["tie_output"]:
        del output["params.output.weight"]
    if not config["output_bias"]:
        del output["params.output.bias"]
    return arrays | decoder | output


def next_token_logits(t: Tensors, ids: torch.Tensor, config: dict) -> torch.Tensor:
    """The language model, from PyTorch's parts: its encoder, which may not see the future."""
    length = ids.shape[1]
    table = t["params.embedding.weight"]
    if config["positions"] == "learned":
        positions = t["params.positions.weight"]
    else:
        positions = torch.tensor(sinusoids(POSITIONS, D, config["sinusoids"]))
    h = call(
        encoder_module(config["N"], "pre", config["activation"], config["norm_eps"]),
        torch_stack(t, "params.decoder", torch_encoder_layer, config["N"]),
        functional.embedding(ids, table) + functional.embedding(torch.arange(length), positions),
        mask=future(length),
        is_causal=True,
    )
    weight = table if config["tie_output"] else t["params.output.weight"].T
    return functional.linear(h, weight, t.get("params.output.bias"))


def record_language_models() -> None:
    """Logits with a random cotangent, and the loss; every setting in two states at least."""
    untied = {"tie_output": False, "attention_bias": False}
    models = {
        "causal_lm": language_model_settings(N=N),
        "causal_lm_untied": language_model_settings(
            positions="sinusoidal",
            sinusoids="halves",
            activation="relu",
            output_bias=True,
            **untied,
        ),
        "causal_lm_loss": language_model_settings(
            positions="sinusoidal", activation="gelu", output_bias=True, norm_eps=1e-2
        ),
        "causal_lm_loss_untied": language_model_settings(activation="relu", **untied),
    }

    def loss(t: Tensors, config: dict) -> torch.Tensor:
        scores = next_token_logits(t, t["ids"][:, :-1], config)
        return functional.cross_entropy(scores.reshape(B * T, V), t["ids"][:, 1:].reshape(B * T))

    for name, settings in models.items():
        rng, of_loss = generator(name), "loss" in name
        length = T + 1 if of_loss else T
        inputs = {"ids": rng.integers(V, size=(B, length)), **language_model_params(rng, settings)}
        inputs["ids"][:, 1] = inputs["ids"][:, 0]  # a token that is there twice
        inputs["ids"][0, -1] = 0  # a token like any other: there is no padding
        record(
            name,
            "models.causal_lm_loss" if of_loss else "models.causal_lm",
            rng,
            inputs,
            lambda t: loss(t, settings) if of_loss else next_token_logits(t, t["ids"], settings),
            **settings,
        )


# Training.


def draw_tensors(rng: np.random.Generator) -> Arrays:
    """Three tensors of different shapes."""
    return {"weight": normal(rng, 3, 4), "table": normal(rng, 5, 2), "bias": normal(rng, 4)}


def record_optimizer(name: str, kind: type, betas: tuple[float, float], eps: float) -> None:
    """Six steps of Adam or AdamW with a learning rate that changes."""
    rng = generator(name)
    lr = np.array([0.01, 0.02, 0.05, 0.03, 0.001, 0.1])
    weight_decay, decayed = (0.1, ["weight", "table"]) if name == "adamw" else (0.0, [])
    arrays = {f"params.{key}.step0": array for key, array in draw_tensors(rng).items()}
    arrays["lr"] = lr
    tensors = {
        key.split(".")[1]: torch.tensor(array, requires_grad=True)
        for key, array in arrays.items()
        if key.startswith("params.")
    }
    groups = [
        {"params": [tensor], "weight_decay": weight_decay if key in decayed else 0.0}
        for key, tensor in tensors.items()
    ]
    optimizer = kind(groups, lr=0.0, betas=betas, eps=eps)
    for step, rate in enumerate(lr, start=1):
        gradients = draw_tensors(rng)
        gradients["bias"] *= 10 * eps
        gradients["weight"][0] = 0  # a row that never gets a gradient
        for key, tensor in tensors.items():
            arrays[f"gradients.{key}.step{step}"] = gradients[key]
            tensor.grad = torch.tensor(gradients[key])
        for group in optimizer.param_groups:
            group["lr"] = float(rate)
        optimizer.step()
        for key, tensor in tensors.items():
            arrays[f"params.{key}.step{step}"] = tensor.detach().numpy().copy()
    for key, tensor in tensors.items():
        arrays[f"m.{key}"] = optimizer.state[tensor]["exp_avg"].numpy()
        arrays[f"v.{key}"] = optimizer.state[tensor]["exp_avg_sq"].numpy()
    keywords = {"betas": betas, "eps": eps, "weight_decay": weight_decay, "decayed": decayed}
    save(name, "training.optimizers", keywords, arrays)


def record_clip() -> None:
    """Clipping by global norm, where it has to act and where it has not."""
    rng = generator("clip")
    arrays = {}
    for case, limit in (("above", 1.5), ("below", 50.0)):
        gradients = draw_tensors(rng)
        tensors = {key: torch.zeros(array.shape) for key, array in gradients.items()}
        for key, tensor in tensors.items():
            arrays[f"{case}.gradients.{key}"] = gradients[key]
            tensor.grad = torch.tensor(gradients[key])
        norm = nn.utils.clip_grad_norm_(tensors.values(), limit)
        arrays[f"{case}.limit"] = np.array(limit)
        arrays[f"{case}.norm"] = norm.numpy()
        for key, tensor in tensors.items():
            arrays[f"{case}.clipped.{key}"] = tensor.grad.numpy()
    save("clip", "training.optimizers", {}, arrays)


def main() -> None:
    """Write all recordings."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)  # sums in the same order each time
    torch.use_deterministic_algorithms(True)
    record_elementwise_and_linear()
    record_softmax_and_norm()
    record_lookups()
    record_dropout()
    record_attention()
    record_cross_entropy()
    record_erf()
    record_multi_head_attention()
    record_feed_forward()
    record_input_embedding()
    record_encoders()
    record_decoders()
    record_models()
    record_language_models()
    record_optimizer("adam", torch.optim.Adam, betas=(0.9, 0.98), eps=1e-9)
    record_optimizer("adamw", torch.optim.AdamW, betas=(0.9, 0.999), eps=1e-8)
    record_clip()


if __name__ == "__main__":
    main()
