"""Fine-tune a pre-trained model on a task: few labels do, as it knows the language already.

  numpy-transformer finetune --from runs/pydoc-mlm --data labelled.tsv    text, tab, label
  numpy-transformer finetune --from runs/pydoc-mlm     a task that comes with Python: which part of
                                                       its library is a summary from?
  numpy-transformer finetune --from runs/pydoc-mlm --compare 50,200,1000
                                                       and beside it the same from scratch: a table
  numpy-transformer finetune --resume runs/labelled    go on where a run was stopped

The model is a run of 'pretrain', of which the encoder is taken and put under a new head, or a
folder with a BERT. A run of 'train' or 'train-lm' is trained further as it is, on new pairs or on a
new text. The optimizer begins anew; the vocabulary stays. Everything is written into the folder of
the run. Ctrl-C saves and says how to go on.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import fields
from pathlib import Path

from numpy_transformer.cli import classification, comparison, further, labels, training_command
from numpy_transformer.cli.classification import BATCH_SIZE, DROPOUT, KIND, POOLING, TRAINING
from numpy_transformer.cli.labels import Labelled
from numpy_transformer.cli.training_command import Option
from numpy_transformer.pipelines import encoder_model
from numpy_transformer.pipelines.encoder_model import EncoderModel
from numpy_transformer.training import checkpoint
from numpy_transformer.training.progress import duration
from numpy_transformer.training.trainer import Settings

MODEL_OPTIONS = [
    Option(
        "--pooling", str, "pooling", f"what stands for a text: 'first' token or 'mean' ({POOLING})"
    ),
    *[option for option in training_command.LAYER_OPTIONS if option.flag.endswith("dropout")],
]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument(
        "--from",
        dest="start",
        metavar="FOLDER",
        help="a run of 'pretrain', 'train' or 'train-lm', or a BERT checkpoint as Hugging Face "
        "lays it out",
    )
    training_command.add_run_options(parser, "the name of the file, or library")
    labels.add_options(parser.add_argument_group("data"))

    group = parser.add_argument_group("model")
    training_command.add_options(group, MODEL_OPTIONS, DROPOUT)
    group.add_argument(
        "--freeze",
        type=int,
        metavar="N",
        help="leave the embeddings and the first N layers as they are",
    )
    group.add_argument(
        "--layer-decay",
        type=float,
        metavar="X",
        help="the learning rate of each layer is X times that of the one above it (1.0)",
    )
    group.add_argument(
        "--class-weights",
        metavar="WEIGHTS",
        help="'balanced' (each class weighs the same, however few its examples), or "
        "label=weight,label=weight,...",
    )

    group = parser.add_argument_group("training")
    defaults = {field.name: field.default for field in fields(Settings)} | TRAINING
    training_command.add_options(group, training_command.TRAINING_OPTIONS, defaults)
    group.add_argument(
        "--batch-size", type=int, metavar="N", help=f"examples in a batch ({BATCH_SIZE})"
    )
    comparison.add_options(parser.add_argument_group("comparison with a model from scratch"))


def run(options: argparse.Namespace) -> int:
    """Train, and say how it went."""
    if options.resume:
        flags = MODEL_OPTIONS + training_command.TRAINING_OPTIONS
        folder, saved, settings = training_command.resumed(options, add_options, flags)
        if saved.settings.get("kind") != KIND:
            return further.resume(folder, saved)
        data, model = _resumed(folder, saved)
    else:
        if not options.start:
            raise ValueError(
                "say what to fine-tune, with --from: a run of 'numpy-transformer pretrain', "
                "'train' or 'train-lm', or a folder with a BERT"
            )
        start = further.load(options.start)
        if not isinstance(start, EncoderModel):
            return further.run(options, start)
        if options.compare:
            return comparison.run(options, start)
        if options.seeds is not None or options.jobs is not None:
            raise ValueError("--seeds and --jobs are of a comparison: give --compare with them")
        folder, data, model, settings, saved = _new(options, start)
    finetuning = saved.settings["finetuning"] if saved else further.finetuning(options)
    task = classification.make_task(model, data, settings, finetuning)
    state = training_command.run(
        "finetune",
        folder,
        model.params,
        settings,
        task,
        saved,
        f"{len(data.train):,} examples to train on, {len(data.held_out):,} held out, "
        f"{len(data.labels)} labels",
    )
    if state is None:
        return 130
    _summary(folder, data, state.seconds)
    return 0


def _new(options, start: EncoderModel):
    """A new run: its folder, examples, model and settings."""
    options.seed = training_command.checked_seed(options)
    name = Path(options.data).stem if options.data else "library"
    folder = Path(options.run or Path("runs") / name)
    training_command.check_folder(folder, options.overwrite)
    settings = classification.training_settings(options)
    data = labels.from_options(options, settings.seed)
    own = classification.model_settings(options, data)
    model = classification.under_new_head(start, data, settings.seed, **own)
    return folder, data, model, settings, None


def _resumed(folder: Path, saved: checkpoint.Checkpoint) -> tuple[Labelled, EncoderModel]:
    """The examples and the model of a run that goes on: all is in the checkpoint."""
    try:
        data, model = labels.load(saved.settings["data"]), encoder_model.model_of(saved)
        finetuning = saved.settings["finetuning"]
        training_command.layer_scales(model.params, model.config.N, finetuning)  # refuses others
    except (KeyError, TypeError) as error:
        raise checkpoint.CheckpointError(f"{folder}: settings.json is damaged: {error}") from error
    if data.labels != model.labels:
        raise checkpoint.CheckpointError(
            f"{folder}: settings.json is damaged: the labels are {', '.join(model.labels)}, but "
            f"those of the examples {', '.join(data.labels)}. Restore it or train again."
        )
    return data, model


def _summary(folder: Path, data: Labelled, seconds: float) -> None:
    """The result of the best checkpoint on what was held out, and what to do next."""
    model = encoder_model.load(folder)
    found = classification.judge(model, data.held_out)
    print(f"\ntrained in {duration(seconds)}; the best checkpoint, on what was held out:\n")
    print(classification.report(found, data.labels))
    texts = data.held_out[0].texts
    form = "\\t".join(["%s"] * len(texts)) + "\\n"
    given = " ".join(map(shlex.quote, texts))
    print("\nUse it, on lines of your own:")
    print(f"  printf '{form}' {given} | numpy-transformer predict --run {shlex.quote(str(folder))}")
