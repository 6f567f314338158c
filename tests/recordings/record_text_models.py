"""Record what PyTorch computes for models of texts that are an encoder with a head.

Run it in an environment that has PyTorch (2.14 made the files that are kept here) and mpmath, which
``record.py`` needs::

    python tests/recordings/record_text_models.py

It writes ``<name>.npz`` files beside itself, in the format that ``record.py`` describes and with
its helpers; nothing here imports ``numpy_transformer``. The encoder is PyTorch's own, and all else
is made of the functions of ``torch.nn.functional``, in float64 and without dropout.

What is recorded, a file each:

- operations: ``tanh``, ``unpad``, ``pad``, ``pooling_first``, ``pooling_mean``, ``cross_entropy_weighted``;
- models, with random cotangents of what they return: ``text_encoder``, ``masked_lm``,
  ``classifier``, ``token_classifier``; and their losses. Each model or its loss, or both, is there
  with post-norm and with pre-norm, which the names say.

Parameters and inputs are multiples of 1/64, which takes less than half the room in a file.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from record import (
    ACTIVATIONS,
    POSITIONS,
    Arrays,
    B,
    D,
    F,
    H,
    S,
    T,
    Tensors,
    V,
    call,
    encoder_layer_params,
    encoder_module,
    generator,
    linear_params,
    norm_params,
    normal,
    record,
    sinusoids,
    stack_params,
    token_ids,
    torch_encoder_layer,
    torch_stack,
)
from torch.nn import functional

C = 5  # classes
SEGMENTS = 2
IGNORED = -100
LENGTHS = (S, S - 2, S - 3)

POST = {"norm": "post", "activation": "gelu", "positions": "learned", "norm_eps": 1e-12}
PRE = {"norm": "pre", "activation": "gelu_tanh", "positions": "sinusoidal", "norm_eps": 1e-2}


def rounded(arrays: Arrays) -> Arrays:
    """Floating-point arrays as multiples of 1/64."""
    return {
        name: np.round(64 * array) / 64 if array.dtype.kind == "f" else array
        for name, array in arrays.items()
    }


# Operations.


def record_operations() -> None:
    """The hyperbolic tangent, padding, both ways of pooling, and a loss with class weights."""
    rng = generator("tanh")
    inputs = rounded({"x": 2 * normal(rng, B, T, D)})
    record("tanh", "ops.tanh", rng, inputs, lambda t: torch.tanh(t["x"]))

    rng = generator("unpad")
    tokens = token_ids(rng, LENGTHS, V) != 0  # (B, S)
    inputs = rounded({"x": normal(rng, B, S, D), "tokens": tokens})
    record("unpad", "ops.unpad", rng, inputs, lambda t: t["x"][t["tokens"]])

    rng = generator("pad")
    inputs = rounded({"x": normal(rng, sum(LENGTHS), D), "tokens": tokens})
    record(
        "pad",
        "ops.pad",
        rng,
        inputs,
        lambda t: torch.nn.utils.rnn.pad_sequence(t["x"].split(LENGTHS), batch_first=True),
    )

    def mean(t: Tensors) -> torch.Tensor:
        weights = t["mask"].to(t["x"].dtype)[..., None]  # (B, S, 1)
        return (t["x"] * weights).sum(dim=1) / weights.sum(dim=1)

    for how, pool in (("first", lambda t: t["x"][:, 0]), ("mean", mean)):
        rng = generator(f"pooling_{how}")
        inputs = {"x": normal(rng, B, S, D), "mask": token_ids(rng, LENGTHS, V) != 0}
        record(f"pooling_{how}", "ops.pooling", rng, rounded(inputs), pool, how=how)

    rng = generator("cross_entropy_weighted")
    weights = [float(weight) for weight in np.round(64 * rng.uniform(0.5, 4, V)) / 64]
    inputs = {"logits": normal(rng, B, T, V), "targets": token_ids(rng, (T, T - 1, T - 2), V)}
    record(
        "cross_entropy_weighted",
        "ops.cross_entropy",
        rng,
        rounded(inputs),
        lambda t: functional.cross_entropy(
            t["logits"].reshape(B * T, V),
            t["targets"].reshape(B * T),
            weight=torch.tensor(weights),
            ignore_index=0,
        ),
        ignore_index=0,
        class_weights=weights,
    )


# Models.


def settings(**changes) -> dict:
    """The settings of a model, under the names of ``numpy_transformer``'s ``Config``."""
    return {
        "vocab": V,
        "N": 1,
        "d_model": D,
        "d_ff": F,
        "h": H,
        "max_length": POSITIONS,
        "segments": SEGMENTS,
        "sinusoids": "interleaved",
        "pad_id": 0,
    } | changes


def encoder_params(rng: np.random.Generator, config: dict) -> Arrays:
    """The parameters that all of these models have."""
    tables = {"embedding": V, "segments": SEGMENTS}
    if config["positions"] == "learned":
        tables["positions"] = POSITIONS
    arrays = {f"params.{name}.weight": normal(rng, rows, D) for name, rows in tables.items()}
    arrays |= norm_params(rng, "params.embedding_norm")
    return arrays | stack_params(
        rng, "params.encoder", encoder_layer_params, config["N"], config["norm"]
    )


def texts(rng: np.random.Generator, config: dict) -> Arrays:
    """Ids with ragged padding and repeated tokens, and the segments of pairs of texts."""
    segments = np.arange(S) >= np.array([[3], [2], [1]])  # (B, S)
    ids = token_ids(rng, LENGTHS, V, config["pad_id"])
    return {"ids": ids, "segments": np.where(ids == config["pad_id"], 0, segments).astype(int)}


def encode(t: Tensors, config: dict) -> torch.Tensor:
    """The text encoder: three embeddings, a norm, and PyTorch's encoder; (B, S, D).

    What PyTorch puts in the places of padding means nothing and depends on the way it computes
    it; these are made zeros.
    """
    eps = config["norm_eps"]
    if config["positions"] == "learned":
        positions = t["params.positions.weight"]
    else:
        positions = torch.tensor(sinusoids(POSITIONS, D, config["sinusoids"]))
    x = functional.embedding(t["ids"], t["params.embedding.weight"])
    x = x + functional.embedding(torch.arange(S), positions)
    x = x + functional.embedding(t["segments"], t["params.segments.weight"])
    norm = t["params.embedding_norm.weight"], t["params.embedding_norm.bias"]
    padding = t["ids"] == config["pad_id"]  # (B, S)
    h = call(
        encoder_module(config["N"], config["norm"], config["activation"], eps),
        torch_stack(t, "params.encoder", torch_encoder_layer, config["N"]),
        functional.layer_norm(x, (D,), *norm, eps),
        src_key_padding_mask=padding,
    )
    return h.masked_fill(padding[..., None], 0)


def linear(t: Tensors, x: torch.Tensor, name: str) -> torch.Tensor:
    """A linear map of the head."""
    return functional.linear(x, t[f"params.{name}.weight"].T, t[f"params.{name}.bias"])


def prediction(t: Tensors, h: torch.Tensor, config: dict) -> torch.Tensor:
    """The head of the masked language model at every token: (B, S, V)."""
    z = ACTIVATIONS[config["activation"]](linear(t, h, "prediction.dense"))
    norm = t["params.prediction.norm.weight"], t["params.prediction.norm.bias"]
    z = functional.layer_norm(z, (D,), *norm, config["norm_eps"])
    return functional.linear(z, t["params.embedding.weight"], t["params.prediction.output.bias"])


def text_logits(t: Tensors, config: dict) -> torch.Tensor:
    """The classifier: (B, C)."""
    h = encode(t, config)
    there = (t["ids"] != config["pad_id"]).to(h.dtype)[..., None]  # (B, S, 1)
    mean = (h * there).sum(dim=1) / there.sum(dim=1)
    pooled = h[:, 0] if config["pooling"] == "first" else mean
    return linear(t, torch.tanh(linear(t, pooled, "pooler")), "output")


def token_logits(t: Tensors, config: dict) -> torch.Tensor:
    """The classifier of tokens: (B, S, C)."""
    return linear(t, encode(t, config), "output")


def loss(logits: torch.Tensor, labels: torch.Tensor, config: dict) -> torch.Tensor:
    """The mean over what has a label, weighted if there are class weights."""
    weights = config.get("class_weights")
    return functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]),
        labels.reshape(-1),
        weight=None if weights is None else torch.tensor(weights),
        ignore_index=IGNORED,
    )


def record_model(
    name: str,
    module: str,
    config: dict,
    head: Callable[[np.random.Generator], Arrays],
    between: Callable[[np.random.Generator, np.ndarray], Arrays],
    function: Callable[[Tensors, dict], torch.Tensor],
) -> None:
    """One file: texts, what is ``between`` them and the parameters, those of encoder and head."""
    rng = generator(name)
    inputs = texts(rng, config)
    inputs |= between(rng, inputs["ids"] != config["pad_id"])
    inputs |= encoder_params(rng, config) | head(rng)
    record(name, module, rng, rounded(inputs), lambda t: function(t, config), **config)


def record_encoders() -> None:
    """The encoder alone."""
    for place, config in (("post", settings(**POST, N=2)), ("pre", settings(**PRE, pad_id=3))):
        record_model(
            f"text_encoder_{place}",
            "models.text_encoder",
            config,
            lambda rng: {},
            lambda rng, there: {},
            encode,
        )


def record_masked_language_models() -> None:
    """Logits of chosen tokens, several in a row and none in the last, and the loss."""

    def head(rng: np.random.Generator) -> Arrays:
        return {
            **linear_params(rng, "params.prediction.dense", D, D),
            **norm_params(rng, "params.prediction.norm"),
            "params.prediction.output.bias": normal(rng, V),
        }

    def chosen(rng: np.random.Generator, there: np.ndarray) -> Arrays:
        where = np.array([[1, 0, 1, 0, 1, 1], [0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]], bool)
        return {"chosen": where & there}

    def targets(rng: np.random.Generator, there: np.ndarray) -> Arrays:
        where = chosen(rng, there)["chosen"]
        return {"targets": np.where(where, rng.integers(V, size=where.shape), IGNORED)}

    def logits(t: Tensors, config: dict) -> torch.Tensor:
        every = prediction(t, encode(t, config), config)  # (B, S, V)
        return torch.stack([every[b, s] for b in range(B) for s in range(S) if t["chosen"][b, s]])

    def loss_of_all(t: Tensors, config: dict) -> torch.Tensor:
        return loss(prediction(t, encode(t, config), config), t["targets"], config)

    relu = settings(**PRE | {"activation": "relu", "sinusoids": "halves"})
    record_model("masked_lm_pre", "models.masked_lm", relu, head, chosen, logits)
    for place, config in (("post", settings(**POST)), ("pre", settings(**PRE))):
        name = f"masked_lm_loss_{place}"
        record_model(name, "models.masked_lm_loss", config, head, targets, loss_of_all)


def record_classifiers() -> None:
    """Of texts by the first token and by the mean, of tokens, and the losses of both."""
    weighted = {"class_weights": [0.5, 2.0, 1.25, 3.0, 0.75]}
    first, mean = {"classes": C, "pooling": "first"}, {"classes": C, "pooling": "mean"}

    def output(rng: np.random.Generator) -> Arrays:
        return linear_params(rng, "params.output", D, C)

    def pooled(rng: np.random.Generator) -> Arrays:
        return linear_params(rng, "params.pooler", D, D) | output(rng)

    def nothing(rng: np.random.Generator, there: np.ndarray) -> Arrays:
        return {}

    def of_texts(rng: np.random.Generator, there: np.ndarray) -> Arrays:
        return {"labels": np.array([4, IGNORED, 1])}

    def of_tokens(rng: np.random.Generator, there: np.ndarray) -> Arrays:
        labels = rng.integers(C, size=there.shape)
        labels[:, 0] = IGNORED
        return {"labels": np.where(there, labels, IGNORED)}

    def text_loss(t: Tensors, config: dict) -> torch.Tensor:
        return loss(text_logits(t, config), t["labels"], config)

    def token_loss(t: Tensors, config: dict) -> torch.Tensor:
        return loss(token_logits(t, config), t["labels"], config)

    for name, config in (
        ("classifier_loss_post", settings(**POST, **first, **weighted)),
        ("classifier_loss_pre", settings(**PRE, **mean)),
    ):
        record_model(name, "models.classifier_loss", config, pooled, of_texts, text_loss)
    config = settings(**POST, **mean, pad_id=3)
    record_model("classifier_post", "models.classifier", config, pooled, nothing, text_logits)

    for name, config in (
        ("token_classifier_loss_post", settings(**POST, classes=C)),
        ("token_classifier_loss_pre", settings(**PRE, classes=C, **weighted)),
    ):
        record_model(name, "models.token_classifier_loss", config, output, of_tokens, token_loss)
    config = settings(**PRE, classes=C)
    record_model(
        "token_classifier_pre", "models.token_classifier", config, output, nothing, token_logits
    )


def main() -> None:
    """Write all recordings."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)  # sums in the same order each time
    torch.use_deterministic_algorithms(True)
    record_operations()
    record_encoders()
    record_masked_language_models()
    record_classifiers()


if __name__ == "__main__":
    main()
