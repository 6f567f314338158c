"""What the commands that train have in common: options, the folder of a run, going on with one."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from numpy_transformer import parameters
from numpy_transformer.parameters import Tree
from numpy_transformer.training import checkpoint
from numpy_transformer.training.checkpoint import Checkpoint, CheckpointError
from numpy_transformer.training.progress import Progress
from numpy_transformer.training.scales import scales
from numpy_transformer.training.trainer import Settings, State, Task, train

FORMAT = 1  # of the settings in a checkpoint


class Option(NamedTuple):
    """An option of the command line that is a setting."""

    flag: str
    kind: type
    field: str  # of the settings
    help: str


LAYER_OPTIONS = [
    Option("--d-model", int, "d_model", "width of the vectors between the layers"),
    Option("--d-ff", int, "d_ff", "width of the feed-forward networks"),
    Option("--h", int, "h", "heads; they have to divide the width"),
    Option("--dropout", float, "P_drop", "dropout on sub-layer outputs and embeddings"),
    Option("--attention-dropout", float, "attention_dropout", "dropout on attention weights"),
    Option("--activation-dropout", float, "activation_dropout", "dropout on hidden units"),
    Option("--activation", str, "activation", "'relu', 'gelu' or 'gelu_tanh'"),
    Option("--positions", str, "positions", "'sinusoidal' or 'learned'"),
    Option("--sinusoids", str, "sinusoids", "'interleaved', or 'halves': sines, then cosines"),
    Option("--dtype", str, "dtype", "'float32', or 'float64': more digits, half the speed"),
]
TRAINING_OPTIONS = [
    Option("--steps", int, "steps", "steps in all"),
    Option("--lr", float, "lr", "the largest learning rate"),
    Option("--schedule", str, "schedule", "'constant', 'inverse-square-root' (paper) or 'cosine'"),
    Option("--warmup", int, "warmup", "steps until the learning rate is largest"),
    Option("--beta2", float, "beta2", "how slowly Adam's mean of squared gradients changes"),
    Option("--weight-decay", float, "weight_decay", "AdamW's decay of weights"),
    Option("--clip", float, "clip", "largest global norm of a gradient; 0: no clipping"),
    Option("--evaluate-every", int, "evaluate_every", "steps between evaluations, each saved"),
    Option("--seed", int, "seed", "of weights, data and dropout; the same seed, the same run"),
]


def add_run_options(parser: argparse.ArgumentParser, name: str) -> None:
    """``--run``, ``--resume`` and ``--overwrite``; ``name`` says what a run is called after."""
    parser.add_argument(
        "--run", metavar="FOLDER", help=f"where to keep the run (default: runs/, then {name})"
    )
    parser.add_argument(
        "--resume",
        metavar="FOLDER",
        help="go on with the run in this folder, with its settings; other options are not allowed",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="remove the run that the folder holds, if any"
    )


def add_options(group: Any, options: Sequence[Option], defaults: dict[str, Any]) -> None:
    """Options that are settings, each with its default in the help text, if it has one."""
    names = {int: "N", float: "X", str: "NAME"}
    for flag, kind, field, text in options:
        default = f" ({defaults[field]})" if field in defaults else ""
        group.add_argument(flag, type=kind, dest=field, metavar=names[kind], help=text + default)


def given(options: argparse.Namespace, settings: type) -> dict[str, Any]:
    """The settings of a dataclass for which an option was given."""
    values = {field.name: getattr(options, field.name, None) for field in fields(settings)}
    return {name: value for name, value in values.items() if value is not None}


def check_folder(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that holds something, unless that is a run to be overwritten.

    What a run left that was stopped before its first checkpoint is nothing.
    """
    if not folder.exists():
        return
    whole = (folder / checkpoint.INDEX).exists()
    if not whole and (
        not folder.is_dir() or set(folder.iterdir()) - set(checkpoint.folders(folder))
    ):
        raise ValueError(f"{folder} exists and is not a run; choose another folder with --run")
    if whole and not overwrite:
        raise ValueError(
            f"{folder} holds a run already. Go on with it (--resume {shlex.quote(str(folder))}), "
            "replace it (--overwrite) or choose another folder (--run FOLDER)."
        )


def checked_seed(options: argparse.Namespace) -> int:
    """The seed, 0 if none is given."""
    seed = options.seed or 0
    if seed < 0:
        raise ValueError(f"--seed is {seed}, expected at least 0")
    return seed


def resumed(
    options: argparse.Namespace,
    add_all_options: Callable[[argparse.ArgumentParser], None],
    flags: Sequence[Option],
    allowed: Sequence[str] = (),
) -> tuple[Path, Checkpoint, Settings]:
    """A run that goes on, and the settings of its training; all settings are in the checkpoint.

    Raises ``ValueError`` where any other option was given but those ``allowed``, and
    ``CheckpointError`` where the folder holds no run of this format.
    """
    parser = argparse.ArgumentParser()
    add_all_options(parser)
    defaults = vars(parser.parse_args([]))
    names = {option.field: option.flag for option in flags}
    others = {
        names.get(name, "--" + name.replace("_", "-"))
        for name, value in vars(options).items()
        if name not in ("resume", "run_command", *allowed) and value != defaults.get(name)
    }
    if others:
        raise ValueError(
            "--resume takes all settings from the run; leave out " + ", ".join(sorted(others))
        )
    folder = Path(options.resume)
    saved = checkpoint.load(folder, "last")
    try:
        written = saved.settings["format"]
        if written != FORMAT:
            raise CheckpointError(f"{folder} has format {written!r}; this version knows {FORMAT}")
        return folder, saved, Settings(**saved.settings["training"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: settings.json is damaged: {error}") from error


def layer_scales(params: Tree, layers: int, finetuning: dict[str, Any] | None):
    """What the learning rate of each weight is multiplied by in a run of ``finetune``.

    ``finetuning`` is what its settings say of that; ``None`` in a run that began at random weights.
    """
    if finetuning is None:
        return None
    return scales(params, layers, finetuning["decay"], finetuning["freeze"])


def run(
    command: str,
    folder: Path,
    params: Tree,
    settings: Settings,
    task: Task,
    saved: Checkpoint | None,
    data: str,
) -> State | None:
    """Train, from the beginning or from ``saved`` on; ``None`` where it was stopped with Ctrl-C.

    The folder of a new run is made here, when nothing else can be refused any more, and what
    ``check_folder`` let pass in it is removed. ``data`` says in a few words what there is to train
    on.
    """
    progress = Progress()
    state = State(params, settings)
    if saved:
        state.restore(saved)
        checkpoint.rewind_metrics(folder, state.step)
        progress.message(f"going on with {folder} after step {state.step:,} of {settings.steps:,}")
    else:
        task.batches.at(0, 0)  # too large a batch is noticed before anything is removed
        checkpoint.remove(folder)
        folder.mkdir(parents=True, exist_ok=True)
    count = parameters.count(state.params)
    progress.message(f"{data}; {count:,} parameters; run folder: {folder}")
    if train(state, task, settings, folder, progress):
        return state
    print(f"stopped after step {state.step:,}; go on with:")
    print(f"  numpy-transformer {command} --resume {shlex.quote(str(folder))}")
    return None
