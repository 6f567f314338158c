"""The pairs of a run: of a built-in task or from files, described so that they are found again."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from numpy_transformer.data import pairs as pairs_module
from numpy_transformer.data.pairs import Pair
from numpy_transformer.data.tasks import TASKS
from numpy_transformer.data.vocabulary import UNITS
from numpy_transformer.training.checkpoint import CheckpointError

PAIRS = 50_000  # to train on, of a built-in task
HELD_OUT = 1000  # of a built-in task
HELD_OUT_SHARE = 0.05  # of the sources in a file


class Dataset(NamedTuple):
    """Pairs to train on and pairs held out, and how to get the same ones again."""

    train: list[Pair]
    held_out: list[Pair]
    description: dict[str, Any]

    @property
    def source_unit(self) -> str:
        """How sources are split into tokens."""
        return self.description["source_unit"]

    @property
    def target_unit(self) -> str:
        """How targets are split into tokens."""
        return self.description["target_unit"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what to train on."""
    group = parser.add_argument_group("data")
    tasks = " ".join(f"{name}: {task.description}" for name, task in TASKS.items())
    group.add_argument(
        "--task",
        choices=TASKS,
        metavar="NAME",
        help=f"a built-in task: {', '.join(TASKS)} (default: dates). {tasks}",
    )
    group.add_argument(
        "--pairs",
        type=int,
        metavar="N",
        help=f"training pairs of a built-in task ({PAIRS})",
    )
    group.add_argument(
        "--data",
        metavar="FILE",
        help="your own pairs instead: a line each, source, tab, target, in UTF-8; a source may "
        "stand on several lines, and then any of its targets counts as right",
    )
    group.add_argument(
        "--valid", metavar="FILE", help="held-out pairs; without it a share of --data is held out"
    )
    group.add_argument(
        "--held-out",
        type=float,
        metavar="SHARE",
        help=f"the share of the sources in --data to hold out ({HELD_OUT_SHARE})",
    )
    for side in ("source", "target"):
        group.add_argument(
            f"--{side}-unit",
            choices=UNITS,
            help=f"what a {side} is made of: characters, or tokens with spaces between them "
            f"({UNITS[0]})",
        )


def from_options(options: argparse.Namespace) -> Dataset:
    """The data that the options ask for."""
    if options.data and options.task:
        raise ValueError("give --task or --data, not both")
    if options.valid and options.held_out is not None:
        raise ValueError("give --valid or --held-out, not both")
    if options.data and options.pairs is not None:
        raise ValueError("--pairs goes with a built-in task; --data is used whole")
    if not options.data:
        for name in ("valid", "held_out", "source_unit", "target_unit"):
            if getattr(options, name) is not None:
                raise ValueError(
                    f"--{name.replace('_', '-')} goes with --data; a built-in task is made of "
                    "characters and holds out pairs of its own"
                )
        return load(
            {
                "task": options.task or "dates",
                "pairs": PAIRS if options.pairs is None else options.pairs,
                "seed": options.seed,
                "source_unit": "characters",
                "target_unit": "characters",
            }
        )
    description = {
        "data": str(Path(options.data).resolve()),
        "data_sha256": _sha256(options.data),
        "seed": options.seed,
        "source_unit": options.source_unit or UNITS[0],
        "target_unit": options.target_unit or UNITS[0],
    }
    if options.valid:
        description |= {
            "valid": str(Path(options.valid).resolve()),
            "valid_sha256": _sha256(options.valid),
        }
    else:
        description["held_out"] = HELD_OUT_SHARE if options.held_out is None else options.held_out
    return load(description)


def load(description: dict[str, Any]) -> Dataset:
    """The data that a description stands for; ``ValueError`` where a file has changed or gone."""
    try:
        return _load(description)
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"the settings do not describe any data: {error!r}") from error


def _load(description: dict[str, Any]) -> Dataset:
    seed = description["seed"]
    if "task" in description:
        train, held_out = TASKS[description["task"]].pairs(description["pairs"], HELD_OUT, seed)
        digest = hashlib.sha256(repr((train, held_out)).encode()).hexdigest()
        if description.setdefault("pairs_sha256", digest) != digest:
            raise ValueError(
                f"the pairs of the task {description['task']} are not those that the run was "
                "started with: this version of NumPy draws others. Use that one, or train anew."
            )
        return Dataset(train, held_out, description)
    for name in ("data", "valid"):
        if name in description and _sha256(description[name]) != description[f"{name}_sha256"]:
            raise ValueError(
                f"{description[name]} is not the file that the run was started with: its content "
                "has changed. Put the old content back, or train anew in another folder."
            )
    train = pairs_module.read_pairs(description["data"])
    if "valid" in description:
        held_out = pairs_module.read_pairs(description["valid"])
    else:
        train, held_out = pairs_module.hold_out(train, description["held_out"], seed)
    return Dataset(train, held_out, description)


def _sha256(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise pairs_module.DataError(f"{path} cannot be read: {error.strerror}") from error
