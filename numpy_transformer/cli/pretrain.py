"""Pre-train an encoder on text without labels: some tokens are hidden, and it learns to say which.

  numpy-transformer pretrain                           the documentation and docstrings of Python
  numpy-transformer pretrain --text book.txt           your own text, in UTF-8
  numpy-transformer pretrain --resume runs/book-mlm    go on where a run was stopped

What is learned in this way is used by 'finetune'. The end of the text is held out. At each
evaluation some of its tokens are hidden, always the same ones; the loss and the share that the
model says right are shown, and an example. Everything is written into the folder of the run.
Ctrl-C saves and says how to go on.
"""

from __future__ import annotations

import argparse
import math
import shlex
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np

from numpy_transformer.cli import texts, training_command
from numpy_transformer.cli.texts import Dataset
from numpy_transformer.cli.training_command import Option
from numpy_transformer.data import masking
from numpy_transformer.data.masking import MaskedWindows, Rates
from numpy_transformer.data.tokenizers import (
    ByteLevelBPE,
    Characters,
    MaskableTokenizer,
    WithSpecialTokens,
    WordPiece,
)
from numpy_transformer.models import masked_lm, masked_lm_loss, text_encoder
from numpy_transformer.models.text_encoder import Config
from numpy_transformer.ops.cross_entropy import IGNORED
from numpy_transformer.pipelines import encoder_model
from numpy_transformer.pipelines.encoder_model import EncoderModel
from numpy_transformer.training import checkpoint
from numpy_transformer.training.progress import duration
from numpy_transformer.training.trainer import Settings, Task

# What --preset and the options leave open.
MODEL = {"N": 4, "d_model": 128, "d_ff": 512, "h": 4, "max_length": 64, "norm": "pre"}
TRAINING = {"steps": 5000, "lr": 2e-3, "warmup": 500, "evaluate_every": 500, "weight_decay": 0.01}
BATCH_SIZE = 32
VOCABULARY = 2048  # tokens of a new vocabulary
HELD_OUT = 0.2  # share of the text; of the docstrings, the same as that of finetune
EVALUATED = 2**13  # tokens at once, at most, when the model is judged
KIND = "masked_lm"

MODEL_OPTIONS = [
    Option("--N", int, "N", "layers"),
    *training_command.LAYER_OPTIONS,
    Option("--norm", str, "norm", "place of the layer norms: 'pre', or 'post' as in BERT"),
    Option("--context", int, "max_length", "tokens that the model can look at"),
]
MASKING_OPTIONS = [
    Option("--chosen", float, "chosen", "share of the tokens that are to be predicted"),
    Option("--masked", float, "masked", "share of these that is replaced by [MASK]"),
    Option("--random", float, "random", "share of these that is replaced by a random token"),
]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    training_command.add_run_options(parser, "the name of the file, or pydoc, and -mlm")
    group = parser.add_argument_group("data")
    texts.add_options(
        group,
        "Python's documentation, and the docstrings of its library",
        HELD_OUT,
        "'wordpiece' or 'bpe' (byte-level BPE), both learned from the text, 'characters', or a "
        "folder with BERT's vocab.txt or GPT-2's vocab.json and merges.txt (default: wordpiece)",
        f"tokens of a new vocabulary ({VOCABULARY})",
    )

    group = parser.add_argument_group("masking")
    defaults = {field.name: field.default for field in fields(Rates)}
    training_command.add_options(group, MASKING_OPTIONS, defaults)

    group = parser.add_argument_group("model")
    text = f"one of {', '.join(text_encoder.PRESETS)}; the options below override it"
    group.add_argument("--preset", metavar="NAME", help=text)
    defaults = {field.name: field.default for field in fields(Config)} | MODEL
    training_command.add_options(group, MODEL_OPTIONS, defaults)

    group = parser.add_argument_group("training")
    defaults = {field.name: field.default for field in fields(Settings)} | TRAINING
    training_command.add_options(group, training_command.TRAINING_OPTIONS, defaults)
    group.add_argument(
        "--batch-size", type=int, metavar="N", help=f"pieces of text in a batch ({BATCH_SIZE})"
    )


def run(options: argparse.Namespace) -> int:
    """Train, and say how it went."""
    made = _resumed(options) if options.resume else _new(options)
    folder, dataset, model, rates, settings, saved = made
    ids = model.tokenizer.encode(dataset.train)
    task = _task(model, ids, dataset, rates, settings)
    data = (
        f"{len(ids):,} tokens to train on ({len(dataset.train):,} characters, "
        f"{len(model.tokenizer):,} different tokens), {len(dataset.held_out):,} characters held out"
    )
    state = training_command.run("pretrain", folder, model.params, settings, task, saved, data)
    if state is None:
        return 130
    best, name = state.best, shlex.quote(str(folder))
    print(f"\ntrained in {duration(state.seconds)}; the best checkpoint, on what was held out:")
    print(f"  loss             {best['loss_per_token']:8.4f} nats a hidden token")
    print(f"  perplexity       {math.exp(min(best['loss_per_token'], 700)):8.2f}")
    print(f"  masked accuracy  {best['masked_accuracy']:8.2%}")
    print("\nLet it say what is hidden:")
    print(f'  echo "Return the [MASK] of a file." | numpy-transformer predict --run {name}')
    print("Teach it a task, with few labels:")
    print(f"  numpy-transformer finetune --from {name}")
    return 0


def _new(options):
    """A new run: its folder, text, model and settings."""
    options.seed = training_command.checked_seed(options)
    name = Path(options.text).stem if options.text else "pydoc"
    folder = Path(options.run or Path("runs") / f"{name}-mlm")
    training_command.check_folder(folder, options.overwrite)
    # Checked before the text is read, which may take long; the vocabulary follows from the text.
    given = training_command.given(options, Config) | {"vocab": 1}
    if options.preset:
        chosen = text_encoder.preset(options.preset, **given)
    else:
        chosen = Config(**MODEL | given)
    rates = Rates(**training_command.given(options, Rates))
    batch_size = BATCH_SIZE if options.batch_size is None else options.batch_size
    if batch_size < 1:
        raise ValueError(f"--batch-size is {batch_size}, expected at least 1")
    given = training_command.given(options, Settings)
    settings = Settings(**TRAINING | given, batch_tokens=batch_size * chosen.max_length)
    dataset = texts.from_options(options, texts.DOCSTRINGS, HELD_OUT, "\n\n")
    tokenizer = _tokenizer(options, dataset)
    config = replace(chosen, vocab=len(tokenizer), pad_id=tokenizer.pad_id)
    params = masked_lm.init(np.random.default_rng([settings.seed, 0]), config)
    model = EncoderModel(KIND, params, config, tokenizer)
    return folder, dataset, model, rates, settings, None


def _tokenizer(options, dataset: Dataset) -> MaskableTokenizer:
    """The tokenizer that the options ask for."""
    kind = options.tokenizer or "wordpiece"
    learned = {
        "wordpiece": WordPiece.train,
        "bpe": lambda text, size: WithSpecialTokens(ByteLevelBPE.train(text, size)),
    }
    if kind in learned:
        size = VOCABULARY if options.vocab_size is None else options.vocab_size
        return learned[kind](dataset.train, size)
    if options.vocab_size is not None:
        raise ValueError(f"--vocab-size is of a vocabulary that is learned, not of {kind}")
    if kind == "characters":
        return WithSpecialTokens(Characters.build(dataset.train + dataset.held_out))
    if not Path(kind).is_dir():
        raise ValueError(
            f"--tokenizer is {kind!r}, expected 'wordpiece', 'bpe', 'characters', or a folder that "
            "is there"
        )
    if (Path(kind) / "vocab.txt").exists():
        return WordPiece.read(kind)
    return WithSpecialTokens(ByteLevelBPE.read(Path(kind)))


def _resumed(options):
    """A run that goes on: all its settings are in the checkpoint."""
    flags = MODEL_OPTIONS + MASKING_OPTIONS + training_command.TRAINING_OPTIONS
    folder, saved, settings = training_command.resumed(options, add_options, flags, ("text",))
    model = encoder_model.model_of(saved)
    if model.kind != KIND:
        raise checkpoint.CheckpointError(
            f"{folder} holds a {encoder_model.NAMES[model.kind]}: go on with 'finetune --resume'"
        )
    try:
        moved = {"text": str(Path(options.text).resolve())} if options.text else {}
        dataset = texts.load(saved.settings["data"] | moved)
        rates = Rates(**saved.settings["masking"])
    except (KeyError, TypeError) as error:
        raise checkpoint.CheckpointError(f"{folder}: settings.json is damaged: {error}") from error
    return folder, dataset, model, rates, settings, saved


def _task(
    model: EncoderModel, ids: list[int], dataset: Dataset, rates: Rates, settings: Settings
) -> Task:
    config, tokenizer, length = model.config, model.tokenizer, model.config.max_length
    held_out = tokenizer.encode(dataset.held_out)
    if not set(held_out) - set(tokenizer.special_ids):
        raise ValueError(
            "what is held out has no token that could be hidden; hold out more, with --held-out"
        )
    at_once = max(1, EVALUATED // length)  # pieces

    def evaluate(params):
        return judged(
            params, config, masking.consecutive(held_out, tokenizer, length, at_once, 0, rates)
        )

    describe = {
        "format": training_command.FORMAT,
        "kind": KIND,
        "model": asdict(config),
        "training": asdict(settings),
        "data": dataset.description,
        "masking": asdict(rates),
    }
    rows = settings.batch_tokens // length
    return Task(
        masked_lm_loss,
        config,
        MaskedWindows(ids, tokenizer, length, rows, settings.seed, rates),
        evaluate,
        lambda a, b: a["loss_per_token"] < b["loss_per_token"],
        describe,
        {"text": tokenizer.to_json()},
        lambda params: _sample(model._replace(params=params), held_out),
    )


def judged(params, config: Config, batches) -> dict[str, float]:
    """The mean loss a hidden token, in nats, and the share of them that the model says right."""
    nats = right = count = 0.0
    for ids, segments, targets in batches:
        loss, cache = masked_lm_loss.forward(ids, segments, targets, params, config)
        hidden = targets[targets != IGNORED]
        right += np.count_nonzero(cache.loss.logits.argmax(axis=-1) == hidden)
        nats, count = nats + float(loss) * len(hidden), count + len(hidden)
    return {"loss_per_token": nats / count, "masked_accuracy": right / count}


def _sample(model: EncoderModel, held_out: list[int]) -> str:
    """A piece of what was held out with tokens hidden, and what the model says they are."""
    tokenizer = model.tokenizer
    piece = np.array([held_out[: min(model.config.max_length - 2, 30)]])
    ids = masking.framed(piece, tokenizer)
    rng, all_masked = np.random.default_rng(0), Rates(masked=1.0, random=0.0)
    masked, targets = masking.mask(ids, tokenizer, rng, all_masked)
    hidden = targets != IGNORED
    logits, _ = masked_lm.forward(masked, None, hidden, model.params, model.config)
    said = map(tokenizer.token, logits.argmax(axis=-1).tolist())
    stood = map(tokenizer.token, targets[hidden].tolist())
    answers = "  ".join(a if a == b else f"{a} (it was {b})" for a, b in zip(said, stood))
    text = tokenizer.decode(masked[0, 1:-1].tolist())
    return "\n".join(f"  | {line}" for line in [*text.split("\n"), f"[MASK] = {answers}"])
