"""Judge a trained model: exact match and token error rate on pairs, accuracy and F1 of labels.

  numpy-transformer evaluate --run runs/dates              on what the run held out
  numpy-transformer evaluate --run runs/words test.tsv     on a file of source, tab, target
  numpy-transformer evaluate --run runs/library test.tsv     of a classifier: text, tab, label

A source that stands on several lines has several right answers; it counts once.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from numpy_transformer.cli import classification, datasets, labels, runs
from numpy_transformer.data.labelled import Example, read_labelled
from numpy_transformer.data.pairs import read_pairs, references
from numpy_transformer.pipelines import encoder_decoder_model, encoder_model
from numpy_transformer.training import checkpoint
from numpy_transformer.training.checkpoint import CheckpointError
from numpy_transformer.training.progress import duration


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="pairs (default: those that the run held out)"
    )
    runs.add_run_option(parser)
    runs.add_search_options(parser)
    parser.add_argument("--json", action="store_true", help="one line of JSON, for programs")


def run(options: argparse.Namespace) -> int:
    """Answer every source and compare."""
    runs.check_search_options(options)
    saved = checkpoint.load(Path(options.run), "best", optimizer=False)
    kind = saved.settings.get("kind") if isinstance(saved.settings, dict) else None
    if kind == classification.KIND:
        return _classifier(options, saved)
    if kind == "masked_lm":
        raise ValueError(
            f"{options.run} holds a masked language model, which 'pretrain' has judged already: "
            f"see {checkpoint.METRICS} there; here a classifier or an encoder-decoder is judged"
        )
    model = encoder_decoder_model.model_of(saved)
    if options.file:
        pairs = read_pairs(options.file)
    else:
        pairs = datasets.load(saved.settings["data"]).held_out
    start = time.monotonic()
    gathered = references(pairs)
    unknown = sorted({token for source in gathered for token in model.source.unknown(source)})
    if unknown:
        print(
            f"numpy-transformer: warning: unknown to the model and read as <unk>: "
            f"{' '.join(map(repr, unknown[:10]))}{' ...' if len(unknown) > 10 else ''}",
            file=sys.stderr,
        )
    found, _ = model.accuracy(gathered, options.beam, options.length_penalty)
    seconds = time.monotonic() - start
    if options.json:
        print(json.dumps(found._asdict()))
        return 0
    right = round(found.exact_match * found.count)
    print(f"exact match       {found.exact_match:8.2%}   ({right:,} of {found.count:,} sources)")
    print(f"wrong             {1 - found.exact_match:8.2%}")
    print(f"token error rate  {found.token_error_rate:8.2%}   (edits, to the nearest reference)")
    print(f"in {duration(seconds)}")
    return 0


def _classifier(options: argparse.Namespace, saved: checkpoint.Checkpoint) -> int:
    """Classify every example and compare."""
    if options.beam != 1:
        raise ValueError("--beam is for an encoder-decoder, but this is a classifier")
    model = encoder_model.model_of(saved)
    examples = read_labelled(options.file) if options.file else _held_out(saved)
    found = classification.judge(model, examples)
    if not options.json:
        print(classification.report(found, model.labels))
        return 0
    values = {name: np.asarray(value).tolist() for name, value in found._asdict().items()}
    print(json.dumps({"labels": model.labels} | values))
    return 0


def _held_out(saved: checkpoint.Checkpoint) -> list[Example]:
    """The examples that the run held out."""
    try:
        return labels.load(saved.settings["data"]).held_out
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"the settings do not describe any data: {error!r}") from error
