"""Train an encoder-decoder: on a built-in task, or on your own pairs of texts.

  numpy-transformer train                              dates as people write them, to ISO
  numpy-transformer train --task addition              another built-in task
  numpy-transformer train --data pairs.tsv             your own: source, tab, target
  numpy-transformer train --resume runs/dates          go on where a run was stopped

Everything is written into the folder of the run. Ctrl-C saves and says how to go on.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from numpy_transformer.cli import datasets, training_command
from numpy_transformer.cli.training_command import Option
from numpy_transformer.data.batches import Batches
from numpy_transformer.data.pairs import Pair, references
from numpy_transformer.data.vocabulary import BOS, EOS, PAD, Vocabulary
from numpy_transformer.models import encoder_decoder, encoder_decoder_loss
from numpy_transformer.models.encoder_decoder import Config
from numpy_transformer.pipelines import encoder_decoder_model
from numpy_transformer.pipelines.encoder_decoder_model import EncoderDecoderModel
from numpy_transformer.training.progress import duration
from numpy_transformer.training.trainer import Settings, Task

# What --preset and the options leave open; chosen so that the built-in tasks end in a minute.
MODEL = encoder_decoder.PRESETS["tiny"]
TRAINING = {"steps": 2500, "lr": 3e-3, "warmup": 100, "batch_tokens": 1500, "evaluate_every": 500}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    training_command.add_run_options(parser, "task or file")
    datasets.add_options(parser)

    group = parser.add_argument_group("model")
    text = "'tiny' or 'base' (the paper's table 3); the options below override it"
    group.add_argument("--preset", metavar="NAME", help=text)
    defaults = {field.name: field.default for field in fields(Config)} | MODEL
    del defaults["max_length"]  # it follows from the data
    training_command.add_options(group, MODEL_OPTIONS, defaults)

    group = parser.add_argument_group("training")
    defaults = {field.name: field.default for field in fields(Settings)} | TRAINING
    training_command.add_options(group, TRAINING_OPTIONS, defaults)


MODEL_OPTIONS = [
    Option("--N", int, "N", "layers in the encoder, and in the decoder"),
    *training_command.LAYER_OPTIONS,
    Option("--label-smoothing", float, "epsilon_ls", "label smoothing"),
    Option("--norm", str, "norm", "place of the layer norms: 'pre', or 'post' as in the paper"),
    Option("--max-length", int, "max_length", "longest sequence (the data's plus a quarter)"),
]
TRAINING_OPTIONS = [
    *training_command.TRAINING_OPTIONS,
    Option("--batch-tokens", int, "batch_tokens", "tokens in a batch, padding included"),
]


def run(options: argparse.Namespace) -> int:
    """Train, and say how it went."""
    folder, dataset, model, settings, saved = _resumed(options) if options.resume else _new(options)
    state = training_command.run(
        "train",
        folder,
        model.params,
        settings,
        make_task(model, dataset, settings, saved.settings.get("finetuning") if saved else None),
        saved,
        f"{len(dataset.train):,} pairs to train on, {len(dataset.held_out):,} held out",
    )
    if state is None:
        return 130
    summary(folder, dataset, state.seconds)
    return 0


def _new(options):
    """A new run: its folder, data, model and settings."""
    options.seed = training_command.checked_seed(options)
    dataset = datasets.from_options(options)
    name = dataset.description.get("task") or Path(options.data).stem
    folder = Path(options.run or Path("runs") / name)
    settings = Settings(**TRAINING | training_command.given(options, Settings))
    source = Vocabulary.build((s for s, _ in dataset.train), dataset.source_unit)
    target = Vocabulary.build((t for _, t in dataset.train), dataset.target_unit)
    config = _config(options, dataset, source, target)
    rng = np.random.default_rng([settings.seed, 0])
    model = EncoderDecoderModel(encoder_decoder.init(rng, config), config, source, target)
    training_command.check_folder(folder, options.overwrite)
    return folder, dataset, model, settings, None


def _config(options, dataset, source, target) -> Config:
    """The settings of the model, checked against the data."""
    given = training_command.given(options, Config)
    longest = max(
        max(len(source.split(s)), len(target.split(t)) + 2)
        for s, t in dataset.train + dataset.held_out
    )
    given.setdefault("max_length", longest + longest // 4)
    if given["max_length"] < longest:
        raise ValueError(
            f"--max-length is {given['max_length']}, but the longest sequence in the data has "
            f"{longest} tokens, begin and end included"
        )
    given |= {"source_vocab": len(source), "target_vocab": len(target), "pad_id": PAD}
    if options.preset:
        if encoder_decoder.PRESETS.get(options.preset, {}).get("tie_source"):
            given["tie_source"] = False  # source and target have vocabularies of their own here
        return encoder_decoder.preset(options.preset, **given)
    return Config(**MODEL | given)


def _resumed(options):
    """A run that goes on: all its settings are in the checkpoint."""
    flags = MODEL_OPTIONS + TRAINING_OPTIONS
    folder, saved, settings = training_command.resumed(options, add_options, flags)
    model = encoder_decoder_model.model_of(saved)
    return folder, datasets.load(saved.settings["data"]), model, settings, saved


def make_task(
    model: EncoderDecoderModel,
    dataset: datasets.Dataset,
    settings: Settings,
    finetuning: dict[str, Any] | None = None,
) -> Task:
    """What is trained, on what, and how it is judged; ``finetuning`` as in ``finetune``."""
    batches = _batches(model, dataset.train, settings.batch_tokens, settings.seed)
    held_out = references(dataset.held_out)
    # While training, at most this many of the held-out sources are answered, drawn at random:
    # a file is often sorted.
    drawn = np.random.default_rng(0).permutation(len(held_out))[:1000]
    some = {source: held_out[source] for source in np.array(list(held_out), object)[drawn]}
    held_out_batches = _batches(model, dataset.held_out, settings.batch_tokens, seed=0)
    plain = replace(model.config, epsilon_ls=0.0)

    def evaluate(params):
        found, _ = model._replace(params=params).accuracy(some)
        return {
            "loss_per_token": _loss(params, plain, held_out_batches),
            "exact_match": found.exact_match,
            "token_error_rate": found.token_error_rate,
        }

    def better(a, b):
        return (-a["exact_match"], a["loss_per_token"]) < (-b["exact_match"], b["loss_per_token"])

    describe = {
        "format": training_command.FORMAT,
        "model": asdict(model.config),
        "training": asdict(settings),
        "data": dataset.description,
    }
    if finetuning:
        describe["finetuning"] = finetuning
    vocabularies = {"source": model.source.to_json(), "target": model.target.to_json()}
    scales = training_command.layer_scales(model.params, model.config.N, finetuning)
    return Task(
        encoder_decoder_loss,
        model.config,
        batches,
        evaluate,
        better,
        describe,
        vocabularies,
        scales=scales,
    )


def _batches(
    model: EncoderDecoderModel, pairs: list[Pair], batch_tokens: int, seed: int
) -> Batches:
    sources = [model.source.encode(source) for source, _ in pairs]
    targets = [[BOS, *model.target.encode(target), EOS] for _, target in pairs]
    return Batches(sources, targets, batch_tokens, seed)


def _loss(params, config: Config, batches: Batches) -> float:
    """The mean loss per target token, in nats, without dropout and smoothing."""
    total = count = 0
    for index in range(batches.count(epoch=0)):
        source, target = batches.at(0, index)
        loss, _ = encoder_decoder_loss.forward(source, target, params, config)
        tokens = np.count_nonzero(target[:, 1:] != config.pad_id)
        total, count = total + float(loss) * tokens, count + tokens
    return total / count


def summary(folder: Path, dataset: datasets.Dataset, seconds: float) -> None:
    """The result of the best checkpoint on all held-out pairs, some examples, what to do next."""
    model = encoder_decoder_model.load(folder)
    held_out = references(dataset.held_out)
    found, answers = model.accuracy(held_out)
    print(f"\ntrained in {duration(seconds)}")
    print(f"the best checkpoint on {found.count:,} held-out sources:")
    print(f"  exact match       {found.exact_match:8.2%}")
    print(f"  token error rate  {found.token_error_rate:8.2%}\n")
    split = model.target.split
    examples = [
        (source, given, targets, split(given) in map(split, targets))
        for (source, targets), given in zip(held_out.items(), answers)
    ]
    some = examples[:6]
    for source, given, targets, right in some + [e for e in examples[6:] if not e[3]][:2]:
        verdict = "" if right else f"   (wrong: {' or '.join(targets)})"
        print(f"  {source}  ->  {given}{verdict}")
    name = shlex.quote(str(folder))
    print("\nUse it, on lines of your own:")
    print(f"  echo {shlex.quote(examples[0][0])} | numpy-transformer predict --run {name}")
    print("Judge it, with beam search:")
    print(f"  numpy-transformer evaluate --run {name} --beam 4")
    print("Check every gradient behind it:")
    print("  numpy-transformer gradcheck")
