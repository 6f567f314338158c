"""Judge a trained model: exact match and token error rate on pairs.

  numpy-transformer evaluate --run runs/dates              on what the run held out
  numpy-transformer evaluate --run runs/words test.tsv     on a file of source, tab, target

A source that stands on several lines has several right answers; it counts once.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from numpy_transformer.cli import datasets, runs
from numpy_transformer.data.pairs import read_pairs, references
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
    model, settings = runs.load(options.run)
    pairs = read_pairs(options.file) if options.file else datasets.load(settings["data"]).held_out
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
