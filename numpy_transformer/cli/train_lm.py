"""Train a language model: on any text, or on the documentation that comes with Python.

  numpy-transformer train-lm                           Python's documentation; a small model
  numpy-transformer train-lm --text book.txt           your own text, in UTF-8
  numpy-transformer train-lm --text book.txt --tokenizer characters --preset char
  numpy-transformer train-lm --resume runs/book        go on where a run was stopped

The end of the text is held out. At each evaluation the loss on all of it is shown, in nats a token
and in bits a byte, the perplexity, and a sample of what the model writes. Everything is written
into the folder of the run. Ctrl-C saves and says how to go on.
"""

from __future__ import annotations

import argparse
import math
import shlex
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from numpy_transformer.cli import texts, training_command
from numpy_transformer.cli.texts import Dataset
from numpy_transformer.cli.training_command import Option
from numpy_transformer.data.tokenizers import ByteLevelBPE, Characters, Tokenizer
from numpy_transformer.data.tokenizers.byte_level_bpe import END_OF_TEXT
from numpy_transformer.data.windows import Windows, consecutive
from numpy_transformer.models import causal_lm, causal_lm_loss
from numpy_transformer.models.causal_lm import Config
from numpy_transformer.pipelines import language_model
from numpy_transformer.pipelines.language_model import LanguageModel
from numpy_transformer.pipelines.text_generation import TextGeneration
from numpy_transformer.training import checkpoint
from numpy_transformer.training.progress import duration
from numpy_transformer.training.trainer import Settings, State, Task

# What --preset and the options leave open: what the model in the package was trained with.
MODEL = {"N": 4, "d_model": 128, "d_ff": 512, "h": 4, "max_length": 128, "P_drop": 0.2}
TRAINING = {"steps": 3000, "lr": 2e-3, "evaluate_every": 500, "weight_decay": 0.1}
BATCH_SIZE = 16
VOCABULARY = 1024  # tokens of a new byte-level BPE
HELD_OUT = 0.1  # share of the text
SAMPLE = 60  # tokens that the model writes at each evaluation
EVALUATED_TOKENS, EVALUATED_LOGITS = 2**13, 2**24  # at once, at most, when the model is judged

MODEL_OPTIONS = [
    Option("--N", int, "N", "layers"),
    *training_command.LAYER_OPTIONS,
    Option("--context", int, "max_length", "tokens that the model can look at"),
]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    training_command.add_run_options(parser, "the name of the file, or pydoc")
    group = parser.add_argument_group("data")
    texts.add_options(
        group,
        "Python's documentation",
        HELD_OUT,
        "'characters', 'bpe' (byte-level BPE, learned from the text) or a folder with GPT-2's "
        "vocab.json and merges.txt (default: bpe)",
        f"tokens of a new byte-level BPE ({VOCABULARY})",
    )

    group = parser.add_argument_group("model")
    text = f"one of {', '.join(causal_lm.PRESETS)}; the options below override it"
    group.add_argument("--preset", metavar="NAME", help=text)
    defaults = {field.name: field.default for field in fields(Config)} | MODEL
    training_command.add_options(group, MODEL_OPTIONS, defaults)
    for flag, field, text in (
        ("--tie-output", "tie_output", "the output shares the embeddings"),
        ("--output-bias", "output_bias", "the output has a bias"),
        ("--attention-bias", "attention_bias", "query, key and value have biases"),
    ):
        yes_no = "yes" if defaults[field] else "no"
        group.add_argument(
            flag, dest=field, action=argparse.BooleanOptionalAction, help=f"{text} ({yes_no})"
        )

    group = parser.add_argument_group("training")
    defaults = {field.name: field.default for field in fields(Settings)} | TRAINING
    training_command.add_options(group, training_command.TRAINING_OPTIONS, defaults)
    group.add_argument(
        "--batch-size", type=int, metavar="N", help=f"windows in a batch ({BATCH_SIZE})"
    )


def run(options: argparse.Namespace) -> int:
    """Train, and say how it went."""
    folder, dataset, model, settings, saved = _resumed(options) if options.resume else _new(options)
    ids = model.tokenizer.encode(dataset.train)
    finetuning = saved.settings.get("finetuning") if saved else None
    task = make_task(model, ids, dataset, settings, finetuning)
    data = (
        f"{len(ids):,} tokens to train on ({len(dataset.train):,} characters, "
        f"{len(model.tokenizer):,} different tokens), {len(dataset.held_out):,} characters held out"
    )
    state = training_command.run("train-lm", folder, model.params, settings, task, saved, data)
    if state is None:
        return 130
    summary(folder, dataset, model, state)
    return 0


def summary(folder: Path, dataset: Dataset, model: LanguageModel, state: State) -> None:
    """The result of the best checkpoint, and what to do next."""
    best = state.best
    name = shlex.quote(str(folder))
    print(f"\ntrained in {duration(state.seconds)}; the best checkpoint, on what was held out:")
    print(f"  loss        {best['loss_per_token']:8.4f} nats a token")
    print(f"              {best['bits_per_byte']:8.4f} bits a byte")
    print(f"  perplexity  {best['perplexity']:8.2f}")
    print("\nLet it write:")
    prompt = shlex.quote(_beginning(dataset))
    print(f"  numpy-transformer generate --run {name} --prompt={prompt}")
    if isinstance(model.tokenizer, ByteLevelBPE) and not model.config.output_bias:
        print("Give it away, as Hugging Face's transformers read it:")
        print(f"  numpy-transformer export --run {name} --to FOLDER")


def _new(options):
    """A new run: its folder, text, model and settings."""
    options.seed = training_command.checked_seed(options)
    name = Path(options.text).stem if options.text else "pydoc"
    folder = Path(options.run or Path("runs") / name)
    training_command.check_folder(folder, options.overwrite)
    # Checked before the text is read, which may take long; the vocabulary follows from the text.
    given = training_command.given(options, Config) | {"vocab": 1}
    if options.preset:
        chosen = causal_lm.preset(options.preset, **given)
    else:
        chosen = Config(**MODEL | given)
    batch_size = BATCH_SIZE if options.batch_size is None else options.batch_size
    if batch_size < 1:
        raise ValueError(f"--batch-size is {batch_size}, expected at least 1")
    given = training_command.given(options, Settings)
    settings = Settings(**TRAINING | given, batch_tokens=batch_size * chosen.max_length)
    dataset, tokenizer = _data(options)
    config = replace(chosen, vocab=len(tokenizer))
    params = causal_lm.init(np.random.default_rng([settings.seed, 0]), config)
    return folder, dataset, LanguageModel(params, config, tokenizer), settings, None


def _resumed(options):
    """A run that goes on: all its settings are in the checkpoint."""
    flags = MODEL_OPTIONS + training_command.TRAINING_OPTIONS
    folder, saved, settings = training_command.resumed(options, add_options, flags, ("text",))
    model = language_model.model_of(saved)
    try:
        moved = {"text": str(Path(options.text).resolve())} if options.text else {}
        dataset = texts.load(saved.settings["data"] | moved)
    except (KeyError, TypeError) as error:
        raise checkpoint.CheckpointError(f"{folder}: settings.json is damaged: {error}") from error
    return folder, dataset, model, settings, saved


def _data(options) -> tuple[Dataset, Tokenizer]:
    """The text that the options ask for, and a tokenizer for it."""
    kind = options.tokenizer or "bpe"
    if options.vocab_size is not None and kind != "bpe":
        raise ValueError(f"--vocab-size goes with --tokenizer bpe, not with {kind}")
    # Texts of the documentation stand apart by what the tokenizer has for it.
    separator = "\n\n" if kind == "characters" else END_OF_TEXT
    dataset = texts.from_options(options, texts.DOCUMENTATION, HELD_OUT, separator)
    if kind == "characters":
        return dataset, Characters.build(dataset.train + dataset.held_out)
    if kind == "bpe":
        size = VOCABULARY if options.vocab_size is None else options.vocab_size
        return dataset, ByteLevelBPE.train(dataset.train, size)
    if not Path(kind).is_dir():
        raise ValueError(
            f"--tokenizer is {kind!r}, expected 'characters', 'bpe', or a folder that is there"
        )
    return dataset, ByteLevelBPE.read(Path(kind))


def make_task(
    model: LanguageModel,
    ids: list[int],
    dataset: Dataset,
    settings: Settings,
    finetuning: dict[str, Any] | None = None,
) -> Task:
    """What is trained, on what, and how it is judged; ``finetuning`` as in ``finetune``."""
    config = model.config
    length, rows = config.max_length, settings.batch_tokens // config.max_length
    held_out = model.tokenizer.encode(dataset.held_out)
    if len(held_out) < 2:
        raise ValueError("what is held out is a single token; hold out more, with --held-out")
    size = len(model.tokenizer.decode_bytes(held_out[1:]))  # bytes that are predicted
    at_once = max(1, min(EVALUATED_TOKENS, EVALUATED_LOGITS // config.vocab) // length)  # windows

    def evaluate(params):
        nats = count = 0.0
        for batch in consecutive(held_out, length, at_once):
            loss, _ = causal_lm_loss.forward(batch, params, config)
            nats, count = nats + float(loss) * batch[:, 1:].size, count + batch[:, 1:].size
        return {
            "loss_per_token": nats / count,
            "bits_per_byte": nats / math.log(2) / size,
            "perplexity": math.exp(min(nats / count, 700)),  # beyond, exp overflows
        }

    describe = {
        "format": training_command.FORMAT,
        "kind": language_model.KIND,
        "model": asdict(config),
        "training": asdict(settings),
        "data": dataset.description,
    }
    if finetuning:
        describe["finetuning"] = finetuning
    return Task(
        causal_lm_loss,
        config,
        Windows(ids, length, rows, settings.seed),
        evaluate,
        lambda a, b: a["loss_per_token"] < b["loss_per_token"],
        describe,
        {"text": model.tokenizer.to_json()},
        lambda params: _sample(model._replace(params=params), dataset),
        training_command.layer_scales(model.params, config.N, finetuning),
    )


def _beginning(dataset: Dataset) -> str:
    """The first words of a line of what was held out, for the model to go on with."""
    _, *whole = dataset.held_out.splitlines() or [""]  # the first one may be cut in two
    line = next((line.strip() for line in whole if line.strip()), "") or dataset.held_out.strip()
    words = line[:40].rpartition(" ")[0] if len(line) > 40 else ""
    return words or line[:40] or dataset.held_out[:1]


def _sample(model: LanguageModel, dataset: Dataset) -> str:
    """What the model writes below a heading of what was held out; the same draws each time."""
    settings = {"max_new_tokens": SAMPLE, "temperature": 0.8, "seed": 0}
    (sample,) = TextGeneration(model)(_beginning(dataset), **settings)
    return "\n".join("  | " + line for line in sample["generated_text"].split("\n"))
