"""Answer lines: read texts, one a line, and write what the model says.

  echo "3 mar. '98" | numpy-transformer predict --run runs/dates
  numpy-transformer predict --run runs/dates --beam 4 --scores < sources.txt > answers.tsv
  echo "Return the name." | numpy-transformer predict --run runs/library
  echo "Return the [MASK]." | numpy-transformer predict --run runs/pydoc-mlm

An encoder-decoder of 'train' answers with a text. A classifier of 'finetune' answers with the
likeliest label, a tab and its probability; two texts of a line have a tab between them. A model of
'pretrain' says what the masks are, the five likeliest tokens for each, with their probabilities.

A filter: one line out for each line in, an empty one for an empty one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from numpy_transformer.cli import runs
from numpy_transformer.data.pairs import read_lines
from numpy_transformer.pipelines import encoder_decoder_model, encoder_model, kinds, pipeline
from numpy_transformer.porting import hugging_face


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="sources (default: standard input)")
    runs.add_run_option(parser)
    runs.add_search_options(parser)
    parser.add_argument(
        "--scores",
        action="store_true",
        help="before each answer its score and a tab: the log probability in nats, in beam search "
        "divided by the length penalty; of a classifier all labels, each with its probability",
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
    kind = _kind(Path(options.run))
    if kind in ANSWERS and (options.beam != 1):
        raise ValueError(f"--beam is for an encoder-decoder, but this is {kinds.named(kind)}")
    answer = ANSWERS.get(kind, _answers)(options)
    on_terminal = not options.file and sys.stdin.isatty()
    at_once = (1 if on_terminal else 512) if options.lines is None else options.lines
    if at_once < 1:
        raise ValueError(f"--lines is {options.lines}, expected at least 1")
    for lines in _groups(_lines(options.file), at_once):
        found = iter(answer([line for line in lines if line[1].strip()]))
        for _, text in lines:
            print(next(found) if text.strip() else "")
        sys.stdout.flush()
    return 0


def _kind(folder: Path) -> str | None:
    """The kind of the model, as in ``kinds.py``; ``ValueError`` for a folder without answers."""
    kind = kinds.found(folder)
    if not (folder / hugging_face.CONFIG).exists():
        return kind
    kind = kind or encoder_model.load(folder).kind  # or says what is wrong with it
    if kind not in ANSWERS:
        raise ValueError(
            f"{folder} holds {kinds.named(kind)}, expected a classifier of texts or a masked "
            "language model, or a run of 'train'"
        )
    return kind


Answer = Callable[[list[tuple[int, str]]], Iterable[str]]  # of lines with their numbers


def _answers(options) -> Answer:
    """An encoder-decoder answers with a text."""
    model = encoder_decoder_model.load(options.run)
    warned = False

    def answer(lines):
        nonlocal warned
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
        for hypothesis in model.answer(sources, options.beam, options.length_penalty):
            score = f"{hypothesis.score:.4f}\t" if options.scores else ""
            yield score + model.target.decode(hypothesis.ids)

    return answer


def _labels(options) -> Answer:
    """A classifier answers with labels."""
    classify = pipeline("text-classification", options.run)

    def answer(lines):
        pairs = []
        for number, line in lines:
            texts = line.split("\t")
            if len(texts) > 2:
                raise ValueError(f"line {number}: {len(texts)} texts, expected one or two")
            pairs.append(dict(zip(("text", "text_pair"), texts)))
        for ranked in classify(pairs, top_k=None, truncation=True):
            shown = ranked if options.scores else ranked[:1]
            yield "\t".join(f"{found['label']}\t{found['score']:.4f}" for found in shown)

    return answer


def _masks(options) -> Answer:
    """A masked language model says what is hidden."""
    fill = pipeline("fill-mask", options.run)

    def answer(lines):
        for number, line in lines:
            try:
                found = fill(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
            masks = found if isinstance(found[0], list) else [found]
            yield "\t".join(
                " ".join(f"{a['token_str']} {a['score']:.3f}" for a in ranked) for ranked in masks
            )

    return answer


ANSWERS = {"classifier": _labels, "masked_lm": _masks}


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
