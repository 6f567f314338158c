"""Texts as an encoder-only model reads them: with their special tokens, and in batches."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from numpy_transformer.data import labelled
from numpy_transformer.data.labelled import Inputs
from numpy_transformer.pipelines.encoder_model import EncoderModel

BATCH_TOKENS = 4096  # in a batch, padding included
SHOWN = 40  # characters of a text in a message


class Batch(NamedTuple):
    """Some of the texts, those of about the same length."""

    rows: np.ndarray  # (B,) which of the texts
    ids: np.ndarray  # (B, T)
    segments: np.ndarray  # (B, T)


def read(
    model: EncoderModel, inputs: Sequence[tuple[str, ...]], truncation: bool | None = None
) -> list[Inputs]:
    """The ids and segments of texts, or of pairs of texts.

    ``truncation`` says what becomes of those that are longer than the model reads: they are cut
    off, or refused. With None they are refused, and nothing is said of cutting.

    Raises ``ValueError`` for a text that is too long, and for a pair where the model reads single
    texts.
    """
    found = []
    for texts in inputs:
        if len(texts) > model.config.segments:
            raise ValueError(
                f"given a pair of texts, {shown(texts)}, but this model reads one text at a time "
                f"(segments={model.config.segments})"
            )
        limit = model.config.max_length if truncation else sys.maxsize
        row = labelled.inputs(model.tokenizer, texts, limit)
        if len(row.ids) > model.config.max_length:
            cut = "shorten it" if truncation is None else "shorten it, or cut it: truncation=True"
            raise ValueError(
                f"{shown(texts)} is {len(row.ids)} tokens long, [CLS] and [SEP] included, but the "
                f"model reads at most {model.config.max_length}; {cut}"
            )
        found.append(row)
    return found


def batches(model: EncoderModel, rows: Sequence[Inputs], batch_tokens: int) -> Iterator[Batch]:
    """All texts, from short to long, in batches of at most ``batch_tokens`` padded tokens.

    A text that is longer than that is a batch by itself.
    """
    for places in labelled.by_length([len(row.ids) for row in rows], batch_tokens):
        yield Batch(places, *labelled.padded([rows[i] for i in places], model.config.pad_id))


def shown(texts: Sequence[str]) -> str:
    """The beginnings of texts, for a message.

    >>> shown(("Return the value of the argument that was given.", "No."))
    "'Return the value of the argument that...' and 'No.'"
    """
    return " and ".join(repr(t if len(t) <= SHOWN else t[: SHOWN - 3] + "...") for t in texts)
