"""Checkpoints: all that a run needs to go on as if it had not been stopped.

A run is a folder::

    runs/dates/
      metrics.jsonl                  what was measured, a line each time
      checkpoints.json               which checkpoint is the last and which the best
      step-00000500/                 a checkpoint, complete in itself:
        weights.npz                    the parameters, by their dotted names
        optimizer.npz                  Adam's two vectors
        state.json                     step, position in the data, random state, best result so far
        settings.json                  the settings of the model, the training and the data
        source_vocabulary.json, target_vocabulary.json; of a language model: text_vocabulary.json

A checkpoint is written into a folder beside and then renamed; only then ``checkpoints.json`` is
replaced, in one step, and what it no longer names is removed. So whenever a run is killed, what
``checkpoints.json`` names is complete.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numpy_transformer import files

INDEX = "checkpoints.json"
METRICS = "metrics.jsonl"
VOCABULARY = "_vocabulary.json"  # after the name of what it is the vocabulary of


class CheckpointError(ValueError):
    """A run cannot be used as asked; the message says why and what to do."""


class Checkpoint(NamedTuple):
    """What a checkpoint holds."""

    weights: dict[str, np.ndarray]  # by dotted name
    optimizer: dict[str, np.ndarray]
    state: dict[str, Any]
    settings: dict[str, Any]
    vocabularies: dict[str, Any]  # "source" and "target", or "text"


def save(run: Path, checkpoint: Checkpoint, best: bool) -> None:
    """Write a checkpoint as the last one of the run, and as the best one if ``best``."""
    name = f"step-{checkpoint.state['step']:08d}"
    index = read_index(run) if (run / INDEX).exists() else {}
    if name not in index.values():
        beside = run / (name + ".tmp")
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(run / name, ignore_errors=True)
        beside.mkdir(parents=True)
        files.write_arrays(beside / "weights.npz", checkpoint.weights)
        files.write_arrays(beside / "optimizer.npz", checkpoint.optimizer)
        files.write_json(beside / "settings.json", checkpoint.settings)
        for side, vocabulary in checkpoint.vocabularies.items():
            files.write_json(beside / f"{side}{VOCABULARY}", vocabulary)
        files.write_json(beside / "state.json", checkpoint.state)
        os.replace(beside, run / name)
    index |= {"last": name} | ({"best": name} if best or "best" not in index else {})
    files.write_json(run / INDEX, index)
    for folder in folders(run):
        if folder.name not in index.values():
            shutil.rmtree(folder, ignore_errors=True)


def folders(run: Path) -> list[Path]:
    """The folders of checkpoints, whole or half written; nothing else that lies beside them."""
    return [path for path in run.glob("step-*") if re.fullmatch(r"step-\d{8}(\.tmp)?", path.name)]


def remove(run: Path) -> None:
    """Remove all that a run consists of, and nothing else that lies in its folder."""
    (run / INDEX).unlink(missing_ok=True)
    (run / METRICS).unlink(missing_ok=True)
    for folder in folders(run):
        shutil.rmtree(folder)


def load(run: Path, which: str, optimizer: bool = True) -> Checkpoint:
    """The ``"last"`` or the ``"best"`` checkpoint of a run, with or without the optimizer's state.

    Raises ``CheckpointError`` when there is none or when it is damaged.
    """
    folder = run / _named(run, which)
    try:
        return Checkpoint(
            files.read_arrays(folder / "weights.npz"),
            files.read_arrays(folder / "optimizer.npz") if optimizer else {},
            files.read_json(folder / "state.json"),
            files.read_json(folder / "settings.json"),
            {
                path.name.removesuffix(VOCABULARY): files.read_json(path)
                for path in sorted(folder.glob("*" + VOCABULARY))
            },
        )
    except ValueError as error:
        if run / _named(run, which) != folder:  # the run went on, and removed it meanwhile
            return load(run, which, optimizer)
        raise CheckpointError(f"{error}. Restore the folder {folder} or train again.") from error


def _named(run: Path, which: str) -> str:
    """The name of the folder of the last or the best checkpoint."""
    name = read_index(run).get(which)
    if not isinstance(name, str) or not re.fullmatch(r"step-\d+", name):
        raise CheckpointError(f"{run / INDEX} is damaged: it does not name the {which} checkpoint")
    return name


def read_index(run: Path) -> dict[str, str]:
    """Which checkpoints a run has; ``CheckpointError`` when ``run`` is not a run."""
    if not run.is_dir():
        raise CheckpointError(
            f"there is no folder {run}; 'numpy-transformer train' and 'train-lm' make such folders"
        )
    if not (run / INDEX).exists():
        raise CheckpointError(
            f"{run} holds no checkpoint ({INDEX} is missing); "
            "give the folder of a run, as 'numpy-transformer train' or 'train-lm' makes it"
        )
    try:
        index = files.read_json(run / INDEX)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    if not isinstance(index, dict):
        raise CheckpointError(f"{run / INDEX} is damaged: it is not a JSON object")
    return index


def append_metrics(run: Path, values: dict[str, Any]) -> None:
    """Add a line to ``metrics.jsonl``."""
    with open(run / METRICS, "a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def rewind_metrics(run: Path, step: int) -> None:
    """Drop the lines of steps after ``step``: they will be measured again."""
    path = run / METRICS
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            pass  # the half line of a run that was killed while writing it
    files.write_bytes(path, "".join(kept).encode())
