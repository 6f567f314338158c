"""A classifier on a pre-trained encoder: its settings, its training, its answers, and a report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from numpy_transformer.cli import training_command
from numpy_transformer.cli.labels import Labelled
from numpy_transformer.data.labelled import Example, Inputs, LabelledBatches, inputs
from numpy_transformer.data.metrics import Classification, classification
from numpy_transformer.models import (
    classifier,
    classifier_loss,
    text_encoder,
    text_encoder_inference,
)
from numpy_transformer.models.classifier import Config
from numpy_transformer.ops import cross_entropy
from numpy_transformer.pipelines import encoder_inputs
from numpy_transformer.pipelines.encoder_model import EncoderModel
from numpy_transformer.training.trainer import Settings, Task

KIND = "classifier"
# What the options leave open.
TRAINING = {"steps": 200, "lr": 5e-4, "warmup": 30, "evaluate_every": 100, "weight_decay": 0.01}
DROPOUT = {"P_drop": 0.1, "attention_dropout": 0.1}  # few examples are learned by heart without
POOLING = "mean"
BATCH_SIZE = 16
TOKENS = 2**13  # padded tokens at once, at most


def training_settings(options: argparse.Namespace) -> Settings:
    """The settings of training that the options ask for; ``batch_tokens`` counts examples."""
    rows = BATCH_SIZE if options.batch_size is None else options.batch_size
    if rows < 1:
        raise ValueError(f"--batch-size is {rows}, expected at least 1")
    given = training_command.given(options, Settings)
    return Settings(**TRAINING | given, batch_tokens=rows)


def model_settings(options: argparse.Namespace, data: Labelled) -> dict[str, Any]:
    """The settings of the classifier that are not the encoder's own."""
    given = {"pooling": POOLING} | DROPOUT | training_command.given(options, Config)
    given["class_weights"] = class_weights(options.class_weights, data)
    return given


def under_new_head(start: EncoderModel, data: Labelled, seed: int, **settings) -> EncoderModel:
    """The encoder of ``start`` with a new head for the labels of ``data``."""
    own = {f.name: getattr(start.config, f.name) for f in fields(text_encoder.Config)}
    config = Config(**own | {"classes": len(data.labels)} | settings)
    fresh = classifier.init(np.random.default_rng([seed, 0]), config)
    params = fresh | text_encoder.part_of(start.params)
    return EncoderModel(KIND, params, config, start.tokenizer, data.labels)


def make_task(
    model: EncoderModel, data: Labelled, settings: Settings, finetuning: dict[str, Any]
) -> Task:
    """What is trained, on what, and how it is judged."""
    config, tokenizer = model.config, model.tokenizer
    number = {label: i for i, label in enumerate(data.labels)}

    def prepared(examples) -> tuple[list[Inputs], np.ndarray]:
        read = [inputs(tokenizer, example.texts, config.max_length) for example in examples]
        return read, np.array([number[example.label] for example in examples])

    read, right = prepared(data.held_out)

    def evaluate(params):
        found = logits(model._replace(params=params), read)
        loss, _ = cross_entropy.forward(found, right)
        judged = classification(right, found.argmax(axis=1), config.classes)
        return {"loss": float(loss), "accuracy": judged.accuracy, "macro_f1": judged.macro_f1}

    describe = {
        "format": training_command.FORMAT,
        "kind": KIND,
        "model": asdict(config),
        "labels": list(data.labels),
        "training": asdict(settings),
        "data": data.description,
        "finetuning": finetuning,
    }
    return Task(
        classifier_loss,
        config,
        LabelledBatches(
            *prepared(data.train), tokenizer.pad_id, settings.batch_tokens, settings.seed
        ),
        evaluate,
        lambda a, b: (-a["macro_f1"], a["loss"]) < (-b["macro_f1"], b["loss"]),
        describe,
        {"text": tokenizer.to_json()},
        scales=training_command.layer_scales(model.params, config.N, finetuning),
    )


def class_weights(given: str | None, data: Labelled) -> tuple[float, ...] | None:
    """What each class weighs, as ``--class-weights`` says it."""
    if given is None:
        return None
    if given == "balanced":
        counts = [sum(e.label == label for e in data.train) for label in data.labels]
        return tuple(len(data.train) / (len(counts) * count) for count in counts)
    weights = {}
    for part in given.split(","):
        label, _, weight = part.rpartition("=")
        try:
            weights[label.strip()] = float(weight)
        except ValueError:
            raise ValueError(
                f"--class-weights has {part!r}, expected 'balanced' or label=weight,..."
            ) from None
    if set(weights) != set(data.labels):
        raise ValueError(
            f"--class-weights names {', '.join(weights)}, "
            f"but the labels are {', '.join(data.labels)}"
        )
    return tuple(weights[label] for label in data.labels)


def logits(model: EncoderModel, examples: Sequence[Inputs]) -> np.ndarray:
    """The logits ``(n, C)`` of every example, computed in batches by length."""
    found = np.empty((len(examples), model.config.classes), model.config.dtype)
    for rows, ids, segments in encoder_inputs.batches(model, examples, TOKENS):
        h = text_encoder_inference.encode(ids, segments, model.params, model.config)
        found[rows], _ = classifier.head(h, ids, model.params, model.config)
    return found


def judge(model: EncoderModel, examples: Sequence[Example]) -> Classification:
    """How well a classifier tells examples apart; ``ValueError`` for labels that it does not know.
    """
    number = {label: i for i, label in enumerate(model.labels)}
    for example in examples:
        if example.label not in number:
            raise ValueError(
                f"the label {example.label!r} is none of those that the model knows: "
                f"{', '.join(model.labels)}"
            )
    length = model.config.max_length
    read = [inputs(model.tokenizer, example.texts, length) for example in examples]
    said = logits(model, read).argmax(axis=1)
    right = [number[example.label] for example in examples]
    return classification(right, said, len(model.labels))


def report(found: Classification, labels: Sequence[str]) -> str:
    """Accuracy and macro F1, a line for each class, and the confusion matrix."""
    width = max(map(len, (*labels, "label"))) + 2
    lines = [
        f"accuracy  {found.accuracy:8.2%}   ({found.confusion.trace():,} of "
        f"{found.confusion.sum():,})",
        f"macro F1  {found.macro_f1:8.2%}",
        "",
        f"{'label':{width}}{'precision':>10}{'recall':>10}{'F1':>10}{'examples':>10}",
    ]
    for i, label in enumerate(labels):
        values = "".join(f"{v[i]:10.2%}" for v in (found.precision, found.recall, found.f1))
        lines.append(f"{label:{width}}{values}{found.confusion[i].sum():10,}")
    lines += ["", "what it is (rows), and what it was said to be (columns):"]
    cell = max(width, 8)
    lines.append(" " * width + "".join(f"{label:>{cell}}" for label in labels))
    for label, row in zip(labels, found.confusion):
        lines.append(f"{label:{width}}" + "".join(f"{count:{cell},}" for count in row))
    return "\n".join(lines)
