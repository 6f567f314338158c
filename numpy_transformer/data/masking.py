"""Masking: tokens of a text are hidden, for a model to say what they were.

Of the tokens that are not special, 15 % are chosen. Of the chosen, 80 % are replaced by the mask,
10 % by a random token, and 10 % stay as they are: after pre-training there are no masks, and the
model must not learn that only these need its attention. Which tokens, and what becomes of them, is
drawn anew each time a text is seen.

Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", section 3.1, task 1, and appendix A.1; Liu et al. 2019, "RoBERTa", section 4.1, for
drawing anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from numpy_transformer.data.tokenizers import MaskableTokenizer
from numpy_transformer.ops.cross_entropy import IGNORED


@dataclass(frozen=True)
class Rates:
    """How much is hidden, and how; checked when made.

    >>> Rates(masked=0.8, random=0.3)
    Traceback (most recent call last):
        ...
    ValueError: masked=0.8 and random=0.3 are shares of what is chosen, and together at most 1
    """

    chosen: float = 0.15  # of the tokens that are not special
    masked: float = 0.8  # of the chosen: replaced by the mask
    random: float = 0.1  # of the chosen: replaced by a random token; the rest stays

    def __post_init__(self) -> None:
        """Check that these are shares."""
        if not 0 < self.chosen <= 1:
            raise ValueError(f"chosen={self.chosen}, expected above 0 and at most 1")
        for name in ("masked", "random"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)}, expected 0 to 1")
        if self.masked + self.random > 1 + 1e-9:
            raise ValueError(
                f"masked={self.masked} and random={self.random} are shares of what is chosen, "
                "and together at most 1"
            )


def mask(
    ids: np.ndarray,
    tokenizer: MaskableTokenizer,
    rng: np.random.Generator,
    rates: Rates = Rates(),
) -> tuple[np.ndarray, np.ndarray]:
    """What the model reads, and what it has to say: ``ids (B, T)`` to two arrays ``(B, T)``.

    The second, the targets, has the token that stood at each chosen place, and ``IGNORED``
    everywhere else. Of a row with n ordinary tokens ``n * rates.chosen`` are chosen, rounded up or
    down at random so that it is right in the mean, and always one at least. Special tokens, of
    which padding is one, are never chosen, and the mask is the only one that comes in for another.

    >>> from numpy_transformer.data.tokenizers import Characters, WithSpecialTokens
    >>> tokenizer = WithSpecialTokens(Characters("abcdefgh"))
    >>> ids = np.array([tokenizer.encode("abcdefgh")])
    >>> read, targets = mask(ids, tokenizer, np.random.default_rng(2), Rates(chosen=0.25))
    >>> tokenizer.decode(read[0]), targets[0]
    ('ab[MASK]def[MASK]h', array([-100, -100,    2, -100, -100, -100,    6, -100]))
    """
    ids = np.asarray(ids)
    ordinary = ~np.isin(ids, tokenizer.special_ids)  # (B, T)
    n = ordinary.sum(axis=1, keepdims=True)  # (B, 1)
    wanted = np.floor(n * rates.chosen + rng.random(n.shape))
    wanted = np.clip(wanted, np.minimum(n, 1), n)
    # A random order of the ordinary tokens of each row; the first ones are chosen.
    order = np.where(ordinary, rng.random(ids.shape), 2.0).argsort(axis=1).argsort(axis=1)
    chosen = order < wanted  # (B, T)
    fate = rng.random(ids.shape)  # (B, T)
    known = np.setdiff1d(np.arange(len(tokenizer)), tokenizer.special_ids)
    others = rng.choice(known, ids.shape)  # (B, T)
    read = np.where(chosen & (fate < rates.masked), tokenizer.mask_id, ids)
    random = chosen & (fate >= rates.masked) & (fate < rates.masked + rates.random)
    read = np.where(random, others, read)
    return read, np.where(chosen, ids, IGNORED)


def framed(pieces: np.ndarray, tokenizer: MaskableTokenizer) -> np.ndarray:
    """Pieces of text ``(B, T - 2)`` as inputs ``(B, T)``: ``[CLS]`` before and ``[SEP]`` after."""
    return np.pad(
        pieces, ((0, 0), (1, 1)), constant_values=((0, 0), (tokenizer.cls_id, tokenizer.sep_id))
    )


@dataclass(frozen=True, eq=False)
class MaskedWindows:
    """Batches of pieces of one long text, each in ``[CLS]`` and ``[SEP]``, and masked.

    Where the pieces lie and what is hidden in them follows from the seed, the epoch and the number
    of the batch alone, so training can be taken up again at any of them. In an epoch as many tokens
    are read as the text has, rounded down to whole batches.

    >>> from numpy_transformer.data.tokenizers import Characters, WithSpecialTokens
    >>> tokenizer = WithSpecialTokens(Characters("abcdefgh"))
    >>> windows = MaskedWindows(tokenizer.encode("abcdefgh" * 9), tokenizer, 10, rows=2, seed=0)
    >>> ids, segments, targets = windows.at(epoch=0, index=3)
    >>> tokenizer.decode(ids[1])
    '[CLS]bcdefgh[MASK][SEP]'
    """

    ids: Sequence[int]  # of the whole text
    tokenizer: MaskableTokenizer
    length: int  # T, [CLS] and [SEP] included
    rows: int  # B
    seed: int
    rates: Rates = Rates()

    def __post_init__(self) -> None:
        """Check that the text is long enough for one piece."""
        if self.length < 3 or self.rows < 1:
            raise ValueError(
                f"{self.rows} rows of {self.length} tokens: expected at least 1 of 3, "
                "as two are [CLS] and [SEP]"
            )
        object.__setattr__(self, "ids", np.asarray(self.ids, np.int32))
        if len(self.ids) < self.length - 2:
            raise ValueError(
                f"the text has {len(self.ids)} tokens, but a piece of it {self.length - 2}; "
                "give a longer text or a shorter context"
            )

    def count(self, epoch: int) -> int:
        """The number of batches in an epoch."""
        return max(1, len(self.ids) // (self.rows * (self.length - 2)))

    def at(self, epoch: int, index: int) -> tuple[np.ndarray, None, np.ndarray]:
        """One batch: ``ids (B, T)``, no segments, ``targets (B, T)``."""
        rng = np.random.default_rng([self.seed, epoch, index])
        size = self.length - 2
        starts = rng.integers(0, len(self.ids) - size + 1, self.rows)  # (B,)
        pieces = self.ids[starts[:, None] + np.arange(size)]  # (B, T - 2)
        read, targets = mask(framed(pieces, self.tokenizer), self.tokenizer, rng, self.rates)
        return read, None, targets

    def tokens(self, batch: tuple) -> int:
        """How many tokens of a batch the model reads."""
        return batch[0].size


def consecutive(
    ids: Sequence[int],
    tokenizer: MaskableTokenizer,
    length: int,
    rows: int,
    seed: int,
    rates: Rates = Rates(),
) -> Iterator[tuple[np.ndarray, None, np.ndarray]]:
    """The whole text once, in pieces side by side, masked: what a model is judged by.

    Which tokens are hidden follows from the seed, ``length`` and ``rows``, so that models that are
    judged with the same ones have the same to say. The last piece may be shorter.
    """
    ids = np.asarray(ids, np.int32)
    size = length - 2
    whole = len(ids) // size * size  # tokens in pieces that are full
    rng = np.random.default_rng(seed)
    pieces = ids[:whole].reshape(-1, size)
    parts = [pieces[first : first + rows] for first in range(0, len(pieces), rows)]
    if whole < len(ids):
        parts.append(ids[None, whole:])
    for part in parts:
        read, targets = mask(framed(part, tokenizer), tokenizer, rng, rates)
        yield read, None, targets
