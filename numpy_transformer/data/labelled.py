"""Texts with a label, or pairs of texts with one: read from a file, held out, made into batches.

The file has one example a line, in UTF-8: text, tab, label; or text, tab, text, tab, label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from numpy_transformer.data.pairs import DataError, read_lines
from numpy_transformer.data.tokenizers import MaskableTokenizer


class Example(NamedTuple):
    """A text, or a pair of texts, and its label."""

    texts: tuple[str, ...]
    label: str


def read_labelled(path: str | Path) -> list[Example]:
    """The examples of a file; empty lines are passed over.

    Raises ``DataError`` naming file and line for a line that is not as above or has another number
    of texts than the first one, and for a file without any.
    """
    examples: list[Example] = []
    for number, line in read_lines(path):
        if not line.strip():
            continue
        *texts, label = line.split("\t")
        if len(texts) not in (1, 2):
            raise DataError(
                f"{path}, line {number}: {len(texts)} tabs, expected 1 (text, tab, label) or 2 "
                "(text, tab, text, tab, label)"
            )
        if examples and len(texts) != len(examples[0].texts):
            raise DataError(
                f"{path}, line {number}: {len(texts)} tabs, but the lines before it have "
                f"{len(examples[0].texts)}"
            )
        if not all(part.strip() for part in (*texts, label)):
            what = "the label" if not label.strip() else "a text"
            raise DataError(f"{path}, line {number}: {what} is empty")
        examples.append(Example(tuple(texts), label.strip()))
    if not examples:
        raise DataError(f"{path} holds no examples; expected lines of text, tab, label")
    return examples


class Inputs(NamedTuple):
    """What the model reads for one example."""

    ids: list[int]
    segments: list[int]  # of each token: 0 in the first text, 1 in the second


def inputs(tokenizer: MaskableTokenizer, texts: Sequence[str], max_length: int) -> Inputs:
    """``[CLS] text [SEP]``, or ``[CLS] text [SEP] text [SEP]``, of at most ``max_length`` tokens.

    Of what is too long the end is cut off: of two texts, that of the longer one, token by token.

    Source: Devlin et al. 2019, "BERT", section 3 and figure 2.

    >>> from numpy_transformer.data.tokenizers import Characters, WithSpecialTokens
    >>> tokenizer = WithSpecialTokens(Characters("abc"))
    >>> ids, segments = inputs(tokenizer, ["abcabc", "cc"], max_length=9)
    >>> tokenizer.decode(ids), segments
    ('[CLS]abca[SEP]cc[SEP]', [0, 0, 0, 0, 0, 0, 1, 1, 1])
    """
    parts = [tokenizer.encode(text) for text in texts]
    room = max_length - 1 - len(parts)  # without [CLS] and a [SEP] after each
    if room < len(parts):
        raise ValueError(
            f"the model looks at {max_length} tokens, too few for {len(parts)} texts with their "
            "special tokens"
        )
    while sum(map(len, parts)) > room:
        max(reversed(parts), key=len).pop()  # of two that are as long, from the second
    ids, segments = [tokenizer.cls_id], [0]
    for segment, part in enumerate(parts):
        ids += [*part, tokenizer.sep_id]
        segments += [segment] * (len(part) + 1)
    return Inputs(ids, segments)


def padded(rows: Sequence[Inputs], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """``ids (B, T)`` and ``segments (B, T)``, the shorter ones filled up with padding.

    >>> padded([Inputs([5, 6], [0, 0]), Inputs([7], [0])], pad_id=9)[0]
    array([[5, 6],
           [7, 9]])
    """
    length = max(len(row.ids) for row in rows)
    ids = np.full((len(rows), length), pad_id)  # (B, T)
    segments = np.zeros((len(rows), length), int)  # (B, T)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = row.ids
        segments[i, : len(row.ids)] = row.segments
    return ids, segments


def by_length(lengths: Sequence[int], batch_tokens: int) -> Iterator[np.ndarray]:
    """The places of all sequences, from short to long, in batches of few padded tokens.

    A sequence that is longer than ``batch_tokens`` is a batch by itself.

    >>> [batch.tolist() for batch in by_length([3, 9, 1, 2], batch_tokens=6)]
    [[2, 3], [0], [1]]
    """
    order = np.argsort(lengths, kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or (end + 1 - start) * lengths[order[end]] > batch_tokens:
            yield order[start:end]
            start = end


@dataclass(frozen=True, eq=False)
class LabelledBatches:
    """Batches of examples, in another order in each epoch.

    The order follows from the seed and the number of the epoch alone, so training can be taken up
    again at any batch.

    >>> batches = LabelledBatches([Inputs([5], [0])] * 5, [0, 1, 1, 0, 1], 0, rows=2, seed=0)
    >>> batches.count(epoch=0)
    3
    >>> ids, segments, labels = batches.at(epoch=0, index=2)
    >>> ids.shape, labels.shape
    ((1, 1), (1,))
    """

    examples: Sequence[Inputs]
    labels: Sequence[int]
    pad_id: int
    rows: int
    seed: int

    def __post_init__(self) -> None:
        """Check that there is something to cut."""
        if len(self.examples) != len(self.labels) or not self.examples or self.rows < 1:
            raise ValueError(
                f"{len(self.examples)} examples and {len(self.labels)} labels in batches of "
                f"{self.rows}: expected the same number of both, at least one, and batches of 1 "
                "or more"
            )

    def count(self, epoch: int) -> int:
        """The number of batches in an epoch."""
        return -(-len(self.examples) // self.rows)

    def at(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One batch: ``ids (B, T)``, ``segments (B, T)``, ``labels (B,)``."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.examples))
        places = order[index * self.rows : (index + 1) * self.rows]
        ids, segments = padded([self.examples[i] for i in places], self.pad_id)
        return ids, segments, np.array([self.labels[i] for i in places])

    def tokens(self, batch: tuple[np.ndarray, ...]) -> int:
        """How many tokens of a batch the model reads; padding is none."""
        return int(np.count_nonzero(batch[0] != self.pad_id))
