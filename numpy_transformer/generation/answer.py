"""Answers to many sources of different lengths: cut into batches, searched, put back in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from numpy_transformer.generation.beam import beam
from numpy_transformer.generation.greedy import greedy
from numpy_transformer.generation.hypothesis import Hypothesis
from numpy_transformer.models.encoder_decoder import Config
from numpy_transformer.parameters import Tree


def answer(
    sources: Sequence[Sequence[int]],
    params: Tree,
    config: Config,
    bos: int,
    eos: int,
    width: int = 1,
    alpha: float = 0.6,
    limit: int | None = None,
    batch_tokens: int = 4096,
) -> list[Hypothesis]:
    """The best answer to each source, in the order given.

    ``width`` 1 is greedy search, more is beam search. ``limit`` is the largest number of tokens of
    an answer, ``<eos>`` included (by default what the model takes). Sources of about the same
    length are searched together, about ``batch_tokens`` tokens of all beams at a time.
    """
    limit = min(limit or config.max_length, config.max_length)
    answers: list[Hypothesis | None] = [None] * len(sources)
    for rows in _batches(sources, batch_tokens // width):
        longest = max(len(sources[row]) for row in rows)
        source = np.full((len(rows), longest), config.pad_id)  # (B, S)
        for i, row in enumerate(rows):
            source[i, : len(sources[row])] = sources[row]
        if width == 1:
            found = greedy(source, params, config, bos, eos, limit)
        else:
            searched = beam(source, params, config, bos, eos, limit, width, alpha)
            found = [hypotheses[0] for hypotheses in searched]
        for row, hypothesis in zip(rows, found):
            answers[row] = hypothesis
    return answers


def _batches(sources: Sequence[Sequence[int]], batch_tokens: int) -> Iterator[list[int]]:
    """The numbers of the sources, sorted by length, at most ``batch_tokens`` padded tokens each."""
    rows: list[int] = []
    for row in sorted(range(len(sources)), key=lambda row: len(sources[row])):
        if rows and (len(rows) + 1) * len(sources[row]) > batch_tokens:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows
