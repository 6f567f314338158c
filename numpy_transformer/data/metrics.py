"""How good answers are: exact match and token error rate, and of classes accuracy and F1.

A source may have several references; its answer is right if it equals any of them, and its errors
are counted against the nearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


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


class Classification(NamedTuple):
    """How well examples were told apart; shares between 0 and 1, an array ``(C,)`` by class."""

    confusion: np.ndarray  # (C, C): how many of the class of the row were said to be the column's
    accuracy: float  # examples that are right
    macro_f1: float  # the mean of the F1 of all classes, however large they are
    precision: np.ndarray  # (C,), of those said to be of the class, how many are
    recall: np.ndarray  # (C,), of those of the class, how many were said to be
    f1: np.ndarray  # (C,), the harmonic mean of the two


def classification(
    labels: Sequence[int], predictions: Sequence[int], classes: int
) -> Classification:
    """Compare the class that each example is of with the one that it was said to be of.

    A class of which there is no example and which was never said has an F1 of 0 and counts in the
    mean, as in scikit-learn where all classes are named (``labels``); without, it leaves them out.
    Raises ``IndexError`` for a class that is not below ``classes``.

    Source: Opitz and Burst 2019, "Macro F1 and Macro F1", for the mean of the F1 of all classes;
    the other macro F1 is that of the means of precision and recall.

    >>> found = classification([0, 0, 1, 2], [0, 1, 1, 2], classes=3)
    >>> found.confusion
    array([[1, 1, 0],
           [0, 1, 0],
           [0, 0, 1]])
    >>> found.accuracy, round(found.macro_f1, 4)
    (0.75, 0.7778)
    """
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, (np.asarray(labels), np.asarray(predictions)), 1)
    right = confusion.diagonal()
    precision = right / np.maximum(confusion.sum(axis=0), 1)
    recall = right / np.maximum(confusion.sum(axis=1), 1)
    f1 = 2 * right / np.maximum(confusion.sum(axis=0) + confusion.sum(axis=1), 1)
    accuracy = float(right.sum() / max(confusion.sum(), 1))
    return Classification(confusion, accuracy, float(f1.mean()), precision, recall, f1)
