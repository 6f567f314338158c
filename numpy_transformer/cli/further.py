"""Training an encoder-decoder or a language model further, on new data: a part of ``finetune``."""

from __future__ import annotations

import argparse
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from numpy_transformer.cli import datasets, labels, texts, train, train_lm, training_command
from numpy_transformer.pipelines import encoder_decoder_model, encoder_model, language_model
from numpy_transformer.pipelines.encoder_decoder_model import EncoderDecoderModel
from numpy_transformer.pipelines.encoder_model import EncoderModel
from numpy_transformer.pipelines.language_model import LanguageModel
from numpy_transformer.training import checkpoint
from numpy_transformer.training.checkpoint import Checkpoint, CheckpointError
from numpy_transformer.training.trainer import Settings

# What the options leave open: a tenth or so of the steps and of the rate of a new model.
TRAINING = {"steps": 500, "lr": 3e-4, "warmup": 50, "evaluate_every": 100}
BATCH_TOKENS = 1500  # of pairs
PRETRAINED = "masked_lm"  # the kind that 'pretrain' makes
# Options about labelled texts.
ONLY_LABELS = ("labels", "pooling", "class_weights", "compare", "seeds", "jobs")


def load(folder: str) -> EncoderModel | EncoderDecoderModel | LanguageModel:
    """The model in a folder, whatever it is."""
    if (Path(folder) / "config.json").exists() or not (Path(folder) / checkpoint.INDEX).exists():
        return encoder_model.load(folder)
    return _model_of(checkpoint.load(Path(folder), "best", optimizer=False))


def _model_of(saved: Checkpoint) -> EncoderModel | EncoderDecoderModel | LanguageModel:
    # Whatever the settings hold, one of the three says what is wrong with it.
    kind = saved.settings.get("kind") if isinstance(saved.settings, dict) else None
    if kind is None:
        return encoder_decoder_model.model_of(saved)
    return (language_model if kind == language_model.KIND else encoder_model).model_of(saved)


def finetuning(options: argparse.Namespace) -> dict[str, Any]:
    """Where a run began, which layers are frozen, and how the rate falls from layer to layer."""
    decay = 1.0 if options.layer_decay is None else options.layer_decay
    return {"from": str(Path(options.start).resolve()), "decay": decay, "freeze": options.freeze}


def run(options: argparse.Namespace, start: EncoderDecoderModel | LanguageModel) -> int:
    """Train further, and say how it went."""
    given = [name for name in ONLY_LABELS if getattr(options, name) is not None]
    if given:
        raise ValueError(
            f"--{given[0].replace('_', '-')} is about labelled texts, but {options.start} holds "
            + ("a language model" if isinstance(start, LanguageModel) else "an encoder-decoder")
        )
    if not options.data:
        raise ValueError("say what to train it on, with --data FILE")
    options.seed = training_command.checked_seed(options)
    folder = Path(options.run or Path("runs") / Path(options.data).stem)
    training_command.check_folder(folder, options.overwrite)
    rates = training_command.given(options, type(start.config))
    start = start._replace(config=type(start.config)(**vars(start.config) | rates))
    is_text = isinstance(start, LanguageModel)
    make = _text if is_text else _pairs
    dataset, task, settings, data = make(options, start)
    state = training_command.run("finetune", folder, start.params, settings, task, None, data)
    if state is None:
        return 130
    if is_text:
        train_lm.summary(folder, dataset, start, state)
    else:
        train.summary(folder, dataset, state.seconds)
    return 0


def _text(options, start: LanguageModel):
    """A language model goes on with a text."""
    if options.valid:
        raise ValueError("--valid is for examples; of a text the end is held out (--held-out)")
    rows = train_lm.BATCH_SIZE if options.batch_size is None else options.batch_size
    if rows < 1:
        raise ValueError(f"--batch-size is {rows}, expected at least 1")
    settings = _settings(options, rows * start.config.max_length)
    dataset = texts.from_options(
        Namespace(text=options.data, held_out=options.held_out),
        texts.DOCUMENTATION,
        train_lm.HELD_OUT,
        "\n\n",
    )
    ids = start.tokenizer.encode(dataset.train)
    task = train_lm.make_task(start, ids, dataset, settings, finetuning(options))
    return dataset, task, settings, f"{len(ids):,} tokens to train on"


def _pairs(options, start: EncoderDecoderModel):
    """An encoder-decoder goes on with pairs; what its vocabularies lack becomes <unk>."""
    if options.batch_size is not None:
        raise ValueError(
            f"--batch-size is for labelled texts and for a text; batches of pairs have "
            f"{BATCH_TOKENS} tokens"
        )
    labels.check_share(options.held_out)
    units = {"source_unit": start.source.unit, "target_unit": start.target.unit}
    given = {name: getattr(options, name) for name in ("data", "valid", "held_out", "seed")}
    dataset = datasets.from_options(Namespace(task=None, pairs=None, **units, **given))
    pairs = dataset.train + dataset.held_out
    for source, target in pairs:
        longest = max(len(start.source.split(source)), len(start.target.split(target)) + 2)
        if longest > start.config.max_length:
            raise ValueError(
                f"the pair {source!r}, {target!r} has {longest} tokens, begin and end included, "
                f"but the model takes at most {start.config.max_length}"
            )
    unknown = sorted(
        {t for pair in pairs for t in start.source.unknown(pair[0]) + start.target.unknown(pair[1])}
    )
    if unknown:
        print(
            "numpy-transformer: warning: the vocabulary of the model stays as it is, and "
            f"{len(unknown)} tokens of the data are read as <unk>: "
            f"{' '.join(map(repr, unknown[:10]))}{' ...' if len(unknown) > 10 else ''}",
            file=sys.stderr,
        )
    settings = _settings(options, BATCH_TOKENS)
    task = train.make_task(start, dataset, settings, finetuning(options))
    data = f"{len(dataset.train):,} pairs to train on, {len(dataset.held_out):,} held out"
    return dataset, task, settings, data


def _settings(options, batch_tokens: int) -> Settings:
    given = training_command.given(options, Settings)
    return Settings(**TRAINING | given, batch_tokens=batch_tokens)


def resume(folder: Path, saved: Checkpoint) -> int:
    """Go on with a run that was trained further; the command that made the model knows how."""
    kind = saved.settings.get("kind")
    commands = {None: "train", language_model.KIND: "train-lm", PRETRAINED: "pretrain"}
    if kind not in tuple(commands):  # it may be anything that JSON has
        raise CheckpointError(f"{folder}: settings.json is damaged: its kind is {kind!r}")
    if kind == PRETRAINED or "finetuning" not in saved.settings:
        command = commands[kind]
        raise CheckpointError(
            f"{folder} is no run of 'finetune': go on with it by 'numpy-transformer {command}'"
        )
    command = train if kind is None else train_lm
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    return command.run(parser.parse_args(["--resume", str(folder)]))
