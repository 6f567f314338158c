"""What every tokenizer refuses, and in which words."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class TokenizerError(ValueError):
    """Something is wrong with a text, with ids, or with what a tokenizer was to be made from."""


def check_text(text: str) -> None:
    """Refuse a text that has no UTF-8, for there is nothing to give back byte for byte.

    Every text has, unless half of a surrogate pair stands in it alone, as after
    ``"\\\\ud83d"`` in JSON, or after reading a file with ``errors="surrogateescape"``.

    >>> check_text("caf\\u00e9")
    >>> check_text("a\\ud83d")
    Traceback (most recent call last):
        ...
    numpy_transformer.data.tokenizers.checks.TokenizerError: the text holds U+D83D at place 1: \
half of a surrogate pair, which is no character and has no UTF-8; read the text as UTF-8 with \
errors="replace", or take it out
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TokenizerError(
            f"the text holds U+{ord(text[error.start]):04X} at place {error.start}: half of a "
            "surrogate pair, which is no character and has no UTF-8; read the text as UTF-8 with "
            'errors="replace", or take it out'
        ) from None


def checked_ids(ids: Iterable[int], size: int) -> list[int]:
    """The ids as a list, when each is one of 0 to ``size - 1``; else ``TokenizerError``.

    >>> checked_ids(np.array([2, 0]), 3)
    [2, 0]
    >>> checked_ids([2, 0, 3], 3)
    Traceback (most recent call last):
        ...
    numpy_transformer.data.tokenizers.checks.TokenizerError: id 3 at place 2 is not in the \
vocabulary, which has the ids 0 to 2
    """
    given = list(ids)
    try:
        array = np.asarray(given if given else np.zeros(0, int))
    except ValueError:  # rows of different lengths
        array = np.zeros((0, 0))
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TokenizerError(
            "expected ids in one sequence of whole numbers, as encode gives them; given "
            + (f"{array.dtype} numbers" if array.ndim == 1 else "sequences in a sequence")
        )
    wrong = np.flatnonzero((array < 0) | (array >= size))
    if wrong.size:
        place = int(wrong[0])
        raise TokenizerError(
            f"id {array[place]} at place {place} is not in the vocabulary, "
            f"which has the ids 0 to {size - 1}"
        )
    return array.tolist()
