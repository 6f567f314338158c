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

import numpy as np

from numpy_transformer import parameters
from numpy_transformer.cli import datasets, runs
from numpy_transformer.data.batches import Batches
from numpy_transformer.data.pairs import Pair, references
from numpy_transformer.data.vocabulary import BOS, EOS, PAD, Vocabulary
from numpy_transformer.models import encoder_decoder, encoder_decoder_loss
from numpy_transformer.models.encoder_decoder import Config
from numpy_transformer.training import checkpoint
from numpy_transformer.training.progress import Progress, duration
from numpy_transformer.training.trainer import Settings, State, Task, train

FORMAT = 1  # of the settings in a checkpoint

# What --preset and the options leave open; chosen so that the built-in tasks end in a minute.
MODEL = encoder_decoder.PRESETS["tiny"]
TRAINING = {"steps": 2500, "lr": 3e-3, "warmup": 100, "batch_tokens": 1500, "evaluate_every": 500}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument(
        "--run", metavar="FOLDER", help="where to keep the run (default: runs/, then task or file)"
    )
    parser.add_argument(
        "--resume",
        metavar="FOLDER",
        help="go on with the run in this folder, with its settings; other options are not allowed",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="remove the run that the folder holds, if any"
    )
    datasets.add_options(parser)

    model = {field.name: field.default for field in fields(Config)} | MODEL
    group = parser.add_argument_group("model")
    text = "'tiny' or 'base' (the paper's table 3); the options below override it"
    group.add_argument("--preset", metavar="NAME", help=text)
    for flag, kind, field, text in MODEL_OPTIONS:
        default = "" if field == "max_length" else f" ({model[field]})"
        group.add_argument(flag, type=kind, dest=field, metavar=_KIND[kind], help=text + default)

    training = {field.name: field.default for field in fields(Settings)} | TRAINING
    group = parser.add_argument_group("training")
    for flag, kind, field, text in TRAINING_OPTIONS:
        text = f"{text} ({training[field]})"
        group.add_argument(flag, type=kind, dest=field, metavar=_KIND[kind], help=text)


_KIND = {int: "N", float: "X", str: "NAME"}

# Flag, type, field of the settings, help.
MODEL_OPTIONS = [
    ("--N", int, "N", "layers in the encoder, and in the decoder"),
    ("--d-model", int, "d_model", "width of the vectors between the layers"),
    ("--d-ff", int, "d_ff", "width of the feed-forward networks"),
    ("--h", int, "h", "heads; they have to divide the width"),
    ("--dropout", float, "P_drop", "dropout on sub-layer outputs and embeddings"),
    ("--attention-dropout", float, "attention_dropout", "dropout on attention weights"),
    ("--activation-dropout", float, "activation_dropout", "dropout on hidden units"),
    ("--label-smoothing", float, "epsilon_ls", "label smoothing"),
    ("--norm", str, "norm", "place of the layer norms: 'pre', or 'post' as in the paper"),
    ("--activation", str, "activation", "'relu', 'gelu' or 'gelu_tanh'"),
    ("--positions", str, "positions", "'sinusoidal' or 'learned'"),
    ("--sinusoids", str, "sinusoids", "'interleaved', or 'halves': sines first, then cosines"),
    ("--max-length", int, "max_length", "longest sequence (default: the data's plus a quarter)"),
    ("--dtype", str, "dtype", "'float32', or 'float64': more digits, half the speed"),
]
TRAINING_OPTIONS = [
    ("--steps", int, "steps", "steps in all"),
    ("--lr", float, "lr", "the largest learning rate"),
    ("--schedule", str, "schedule", "'constant', 'inverse-square-root' (paper) or 'cosine'"),
    ("--warmup", int, "warmup", "steps until the learning rate is largest"),
    ("--beta2", float, "beta2", "how slowly Adam's mean of squared gradients changes"),
    ("--weight-decay", float, "weight_decay", "AdamW's decay of weights"),
    ("--clip", float, "clip", "largest global norm of a gradient; 0: no clipping"),
    ("--batch-tokens", int, "batch_tokens", "tokens in a batch, padding included"),
    ("--evaluate-every", int, "evaluate_every", "steps between evaluations, with a checkpoint"),
    ("--seed", int, "seed", "of weights, data and dropout; the same seed, the same run"),
]


def run(options: argparse.Namespace) -> int:
    """Train, and say how it went."""
    progress = Progress()
    folder, dataset, model, settings, saved = _resumed(options) if options.resume else _new(options)
    state = State(model.params, settings)
    if saved:
        state.restore(saved)
        checkpoint.rewind_metrics(folder, state.step)
        progress.message(f"going on with {folder} after step {state.step:,} of {settings.steps:,}")
    model = model._replace(params=state.params)
    task = _task(model, dataset, settings)
    if not saved:
        _prepare(folder, options.overwrite)
    progress.message(
        f"{len(dataset.train):,} pairs to train on, {len(dataset.held_out):,} held out; "
        f"{parameters.count(state.params):,} parameters; run folder: {folder}"
    )
    if not train(state, task, settings, folder, progress):
        print(f"stopped after step {state.step:,}; go on with:")
        print(f"  numpy-transformer train --resume {shlex.quote(str(folder))}")
        return 130
    _summary(folder, dataset, state.seconds)
    return 0


def _new(options):
    """A new run: its folder, data, model and settings."""
    options.seed = options.seed or 0
    if options.seed < 0:
        raise ValueError(f"--seed is {options.seed}, expected at least 0")
    dataset = datasets.from_options(options)
    name = dataset.description.get("task") or Path(options.data).stem
    folder = Path(options.run or Path("runs") / name)
    given = {f.name: getattr(options, f.name, None) for f in fields(Settings)}
    settings = Settings(**TRAINING | {k: v for k, v in given.items() if v is not None})
    source = Vocabulary.build((s for s, _ in dataset.train), dataset.source_unit)
    target = Vocabulary.build((t for _, t in dataset.train), dataset.target_unit)
    config = _config(options, dataset, source, target)
    rng = np.random.default_rng([settings.seed, 0])
    model = runs.Model(encoder_decoder.init(rng, config), config, source, target)
    _check_folder(folder, options.overwrite)
    return folder, dataset, model, settings, None


def _config(options, dataset, source, target) -> Config:
    """The settings of the model, checked against the data."""
    given = {f.name: getattr(options, f.name, None) for f in fields(Config)}
    given = {name: value for name, value in given.items() if value is not None}
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


def _check_folder(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that holds something, unless that is a run to be overwritten."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / checkpoint.INDEX).exists():
        raise ValueError(f"{folder} exists and is not a run; choose another folder with --run")
    if not overwrite:
        raise ValueError(
            f"{folder} holds a run already. Go on with it (--resume {shlex.quote(str(folder))}), "
            "replace it (--overwrite) or choose another folder (--run FOLDER)."
        )


def _prepare(folder: Path, overwrite: bool) -> None:
    """The folder of a new run; called last, when nothing else can be refused any more."""
    if overwrite:
        checkpoint.remove(folder)
    folder.mkdir(parents=True, exist_ok=True)


def _resumed(options):
    """A run that goes on: all its settings are in the checkpoint."""
    flags = {field: flag for flag, _, field, _ in MODEL_OPTIONS + TRAINING_OPTIONS}
    others = {
        name
        for name, value in vars(options).items()
        if name not in ("resume", "run_command") and value != _defaults().get(name)
    }
    if others:
        raise ValueError(
            "--resume takes all settings from the run; leave out "
            + ", ".join(sorted(flags.get(name, name) for name in others))
        )
    folder = Path(options.resume)
    saved = checkpoint.load(folder, "last")
    try:
        if saved.settings["format"] != FORMAT:
            raise TypeError(f"format {saved.settings['format']!r}, this version knows {FORMAT}")
        dataset = datasets.load(saved.settings["data"])
        settings = Settings(**saved.settings["training"])
    except (KeyError, TypeError) as error:
        raise checkpoint.CheckpointError(f"{folder}: settings.json is damaged: {error}") from error
    return folder, dataset, runs.model_of(saved), settings, saved


def _defaults() -> dict:
    """The values of all options where none is given."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    return vars(parser.parse_args([]))


def _task(model: runs.Model, dataset: datasets.Dataset, settings: Settings) -> Task:
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
        "format": FORMAT,
        "model": asdict(model.config),
        "training": asdict(settings),
        "data": dataset.description,
    }
    vocabularies = {"source": model.source.to_json(), "target": model.target.to_json()}
    return Task(
        encoder_decoder_loss, model.config, batches, evaluate, better, describe, vocabularies
    )


def _batches(model: runs.Model, pairs: list[Pair], batch_tokens: int, seed: int) -> Batches:
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


def _summary(folder: Path, dataset: datasets.Dataset, seconds: float) -> None:
    """The result of the best checkpoint on all held-out pairs, some examples, what to do next."""
    model, _ = runs.load(str(folder))
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
