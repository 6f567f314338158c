"""Answer lines: read sources, one a line, and write the model's answers.

  echo "3 mar. '98" | numpy-transformer predict --run runs/dates
  numpy-transformer predict --run runs/dates --beam 4 --scores < sources.txt > answers.tsv

A filter: one line out for each line in, an empty one for an empty one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator

from numpy_transformer.cli import runs
from numpy_transformer.data.pairs import read_lines


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="sources (default: standard input)")
    runs.add_run_option(parser)
    runs.add_search_options(parser)
    parser.add_argument(
        "--scores",
        action="store_true",
        help="before each answer its score and a tab: the log probability in nats, in beam search "
        "divided by the length penalty",
    )
    parser.add_argument(
        "--lines",
        type=int,
        metavar="N",
        help="answer after every N lines (default: 512; on a terminal 1)",
    )


def run(options: argparse.Namespace) -> int:
    """Answer every line."""
    runs.check_search_options(options)
    model, _ = runs.load(options.run)
    on_terminal = not options.file and sys.stdin.isatty()
    at_once = (1 if on_terminal else 512) if options.lines is None else options.lines
    if at_once < 1:
        raise ValueError(f"--lines is {options.lines}, expected at least 1")
    warned = False
    for lines in _groups(_lines(options.file), at_once):
        sources = []
        for number, text in lines:
            sources.append(model.encode(text, f"line {number}"))
            if not warned and (unknown := model.source.unknown(text)):
                warned = True
                print(
                    f"numpy-transformer: warning: line {number}: {unknown[0]!r} is unknown to the "
                    "model and read as <unk>; this is said only once",
                    file=sys.stderr,
                )
        found = iter(model.answer([s for s in sources if s], options.beam, options.length_penalty))
        for source in sources:
            hypothesis = next(found) if source else None
            score = f"{hypothesis.score:.4f}\t" if hypothesis and options.scores else ""
            print(score + (model.target.decode(hypothesis.ids) if hypothesis else ""))
        sys.stdout.flush()
    return 0


def _lines(file: str | None) -> Iterator[tuple[int, str]]:
    if file:
        yield from _without_last_empty(read_lines(file))
        return
    sys.stdin.reconfigure(encoding="utf-8")
    try:
        for number, line in enumerate(sys.stdin, 1):
            yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"the standard input is not UTF-8 ({error.reason})") from error


def _without_last_empty(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """All lines of a file but the empty one after its last line break."""
    before = None
    for line in lines:
        if before:
            yield before
        before = line
    if before and before[1]:
        yield before


def _groups(items: Iterable, size: int) -> Iterator[list]:
    group = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
