"""The labelled texts of a run: of a file, or of Python's library, described to be found again."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numpy_transformer.data import docstrings, pairs
from numpy_transformer.data.labelled import Example, read_labelled
from numpy_transformer.training.checkpoint import CheckpointError

HELD_OUT = 0.2  # share of the texts in a file


class Labelled(NamedTuple):
    """Examples to train on and examples held out, and how to get the same ones again."""

    train: list[Example]
    held_out: list[Example]
    labels: tuple[str, ...]  # the names of the classes, sorted
    description: dict[str, Any]


def add_options(group: Any) -> None:
    """``--data``, ``--valid``, ``--held-out`` and ``--labels``."""
    group.add_argument(
        "--data",
        metavar="FILE",
        help="what to learn, in UTF-8, a line each: text, tab, label; or text, tab, text, tab, "
        "label; for an encoder-decoder source, tab, target; for a language model any text "
        "(default, for an encoder: summaries of docstrings of Python's library, and the part of it "
        "that each is from)",
    )
    group.add_argument(
        "--valid", metavar="FILE", help="held-out examples; without it a share of --data"
    )
    group.add_argument(
        "--held-out", type=float, metavar="SHARE", help=f"the share to hold out ({HELD_OUT})"
    )
    group.add_argument(
        "--labels",
        type=int,
        metavar="N",
        help="train on N examples only, drawn with the seed, as many of each class as can be",
    )


def from_options(options: argparse.Namespace, seed: int) -> Labelled:
    """The examples that the options ask for."""
    if options.valid and (options.held_out is not None or not options.data):
        raise ValueError("--valid goes with --data, and takes the place of --held-out")
    check_share(options.held_out)
    description = {
        "data": options.data and str(Path(options.data).resolve()),
        "valid": options.valid and str(Path(options.valid).resolve()),
        "held_out": HELD_OUT if options.held_out is None else options.held_out,
        "labels": options.labels,
        "seed": seed,
    }
    return load(description)


def check_share(share: float | None) -> None:
    """Raise ``ValueError`` for a ``--held-out`` that is no share; without it nothing is wrong."""
    if share is not None and not 0 < share < 1:
        raise ValueError(f"--held-out is {share}, expected above 0 and below 1")


def load(description: dict[str, Any]) -> Labelled:
    """The examples that a description stands for; ``CheckpointError`` where they changed."""
    seed, share = description["seed"], description["held_out"]
    if description["data"]:
        train = read_labelled(description["data"])
        if description["valid"]:
            held_out = read_labelled(description["valid"])
            _check_alike(train, held_out, description)
        else:
            train, held_out = pairs.hold_out(train, share, seed=0)
    else:
        train, held_out = library(share)
    labels = tuple(sorted({example.label for example in train}))
    if len(labels) < 2:
        raise ValueError(
            f"all examples to train on have the label {labels[0]!r}; expected at least two labels"
        )
    for example in held_out:
        if example.label not in labels:
            raise ValueError(
                f"the label {example.label!r} is held out, but there is no example of it to train "
                "on; hold out less (--held-out), or other examples (--valid)"
            )
    if description["labels"] is not None:
        train = draw(train, labels, description["labels"], seed)
    digest = hashlib.sha256(repr([train, held_out]).encode()).hexdigest()
    if description.setdefault("sha256", digest) != digest:
        raise CheckpointError(
            f"{description['data'] or 'the library of this Python'} has not the examples that the "
            "run was started with. Put the old file back, or use the same version of Python; or "
            "train anew in another folder."
        )
    return Labelled(train, held_out, labels, description)


def library(share: float) -> tuple[list[Example], list[Example]]:
    """Summaries of docstrings of Python's library, with the part of it that each is from.

    What is held out is of the docstrings that ``pretrain`` holds out with the same share: a model
    that read the rest has not seen it.
    """
    train, held_out = map(docstrings.summaries, docstrings.hold_out(share))
    seen = {example.texts for example in train}
    return train, [example for example in held_out if example.texts not in seen]


def draw(
    examples: list[Example],
    labels: tuple[str, ...],
    count: int,
    seed: int,
    option: str = "--labels",
) -> list[Example]:
    """``count`` of the examples, as many of each class as can be.

    Raises ``ValueError`` for a count that there is not; ``option`` is what it was given with.

    >>> examples = [Example((str(i),), "ab"[i % 4 == 0]) for i in range(20)]
    >>> [example.label for example in draw(examples, ("a", "b"), 4, seed=0)]
    ['a', 'b', 'a', 'b']
    """
    if not len(labels) <= count <= len(examples):
        raise ValueError(
            f"{option} is {count}, expected {len(labels)} (one of each class) to {len(examples)}"
        )
    order = np.random.default_rng([seed, 2]).permutation(len(examples))
    turns: dict[str, int] = dict.fromkeys(labels, 0)
    queue = []  # the first of each class, then the second of each, ...
    for i in order:
        label = examples[i].label
        queue.append((turns[label], labels.index(label), i))
        turns[label] += 1
    return [examples[i] for _, _, i in sorted(queue)[:count]]


def _check_alike(train: list[Example], held_out: list[Example], description: dict) -> None:
    if len(train[0].texts) != len(held_out[0].texts):
        raise ValueError(
            f"{description['data']} has {len(train[0].texts)} texts in a line, "
            f"but {description['valid']} has {len(held_out[0].texts)}"
        )
