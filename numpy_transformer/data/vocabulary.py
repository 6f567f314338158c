"""Texts as ids: a vocabulary of characters or of space-separated tokens.

The first four ids are the same in every vocabulary: padding, the begin and the end of a sequence,
and the token that stands for all that is not in the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
PAD, BOS, EOS, UNK = range(len(SPECIAL))
UNITS = ("characters", "tokens")


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that a model knows, in the order of their ids.

    >>> vocabulary = Vocabulary.build(["abc", "cab"])
    >>> vocabulary.encode("cabx")
    [6, 4, 5, 3]
    >>> vocabulary.decode([6, 4, 5, 3])
    'cab<unk>'
    """

    unit: str  # "characters" or "tokens" (separated by spaces)
    tokens: tuple[str, ...]  # the special ones first

    def __post_init__(self) -> None:
        """Check the unit and the tokens."""
        if self.unit not in UNITS:
            raise ValueError(f"the unit is {self.unit!r}, expected one of {UNITS}")
        if self.tokens[: len(SPECIAL)] != SPECIAL:
            raise ValueError(f"a vocabulary must begin with {', '.join(SPECIAL)}")
        if len(set(self.tokens)) != len(self.tokens):
            raise ValueError("a token stands twice in the vocabulary")

    @classmethod
    def build(cls, texts: Iterable[str], unit: str = "characters") -> Vocabulary:
        """The vocabulary of all that stands in ``texts``, sorted.

        Raises ``ValueError`` when one of the special tokens stands in a text as a token.
        """
        empty = cls(unit, SPECIAL)
        found = {token for text in texts for token in empty.split(text)}
        reserved = sorted(found & set(SPECIAL))
        if reserved:
            raise ValueError(f"{reserved[0]} stands in the data, but has a meaning of its own here")
        return cls(unit, SPECIAL + tuple(sorted(found)))

    def __len__(self) -> int:
        """The number of ids, the special ones included."""
        return len(self.tokens)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of every token but the special ones."""
        return {t: i for i, t in enumerate(self.tokens) if i >= len(SPECIAL)}

    def split(self, text: str) -> list[str]:
        """The tokens of a text."""
        return list(text) if self.unit == "characters" else text.split()

    def encode(self, text: str) -> list[int]:
        """The ids of a text; what is not known becomes ``UNK``."""
        return [self.ids.get(token, UNK) for token in self.split(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids."""
        separator = "" if self.unit == "characters" else " "
        return separator.join(self.tokens[i] for i in ids)

    def unknown(self, text: str) -> list[str]:
        """The tokens of a text that are not known."""
        return [token for token in self.split(text) if token not in self.ids]

    def to_json(self) -> dict:
        """What ``from_json`` needs to make the same vocabulary."""
        return {"unit": self.unit, "tokens": list(self.tokens)}

    @classmethod
    def from_json(cls, values: dict) -> Vocabulary:
        """The vocabulary that ``to_json`` described; ``ValueError`` for anything else."""
        try:
            return cls(values["unit"], tuple(values["tokens"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is not a vocabulary: {error}") from error


def pad(sequences: list[list[int]]) -> np.ndarray:
    """Sequences of different lengths as one array, the shorter ones filled up with ``PAD``.

    >>> pad([[5, 6, 7], [8]])
    array([[5, 6, 7],
           [8, 0, 0]])
    """
    array = np.full((len(sequences), max(map(len, sequences), default=0)), PAD)  # (B, T)
    for row, sequence in zip(array, sequences):
        row[: len(sequence)] = sequence
    return array
