"""How good answers are: exact match and token error rate.

A source may have several references; its answer is right if it equals any of them, and its errors
are counted against the nearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Accuracy(NamedTuple):
    """Shares between 0 and 1 (the error rate may exceed 1)."""

    exact_match: float  # answers that equal a reference
    token_error_rate: float  # edits needed, divided by the tokens of the nearest references
    count: int  # answers


def edit_distance(a: Sequence, b: Sequence) -> int:
    """The least number of insertions, deletions and replacements that turn ``a`` into ``b``.

    Source: Wagner and Fischer 1974, "The String-to-String Correction Problem".

    >>> edit_distance("kitten", "sitting")
    3
    """
    row = list(range(len(b) + 1))  # distances of the first i items of a to each beginning of b
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            replaced = diagonal + (x != y)
            diagonal = row[j]
            row[j] = min(replaced, row[j] + 1, row[j - 1] + 1)
    return row[-1]


def accuracy(
    answers: Sequence[Sequence], references: Sequence[Sequence[Sequence]]
) -> Accuracy:
    """Compare each answer (a sequence of tokens) with its references.

    >>> accuracy(["abc", "xy"], [["abd", "abc"], ["xyz"]])
    Accuracy(exact_match=0.5, token_error_rate=0.16666666666666666, count=2)
    """
    right = errors = length = 0
    for answer, options in zip(answers, references, strict=True):
        distance, nearest = min((edit_distance(answer, option), len(option)) for option in options)
        right += distance == 0
        errors += distance
        length += nearest
    count = len(answers)
    return Accuracy(right / max(count, 1), errors / max(length, 1), count)
