r"""GPT-2's way to cut a text into pieces, before any merging.

No merge crosses a piece: no token holds the end of one word and the beginning of the next. Joined,
the pieces are the text. At each place the first of these that fits is taken, as long as it can be::

    's 't 're 've 'm 'll 'd    the end of a contraction: small letters, straight apostrophe
     ?\p{L}+                   letters, with one space before them if there is one
     ?\p{N}+                   digits and other numbers, likewise
     ?[^\s\p{L}\p{N}]+         what is neither space, letter nor number, likewise
    \s+(?!\S)                  spaces, but not the last one before a word
    \s+                        a space before a word, when it is not U+0020: a tab, a newline

Which characters are letters (``\p{L}``) and numbers (``\p{N}``) is Unicode's general category,
``L*`` and ``N*``. Python's ``re`` has no name for these, so here they are written out as ranges,
from ``unicodedata``. That table is as new as the Python that runs this: a character that Unicode
took up later is neither letter nor number, and its pieces may differ from those of a newer table.
The ids give back the same text all the same.

``\s`` is not ``re``'s: that is ``str.isspace``, which takes the four information separators U+001C
to U+001F for spaces. Unicode's property White_Space does not, and GPT-2 (the ``regex`` module) and
the tokenizers in Rust go by it. It holds the categories ``Z*``, tab to carriage return, and U+0085.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.2, and
the pattern in the code that was published with it (``encoder.py``).
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby


def pieces(text: str) -> Iterator[str]:
    """The pieces of a text, one after the other, in time proportional to its length.

    >>> list(pieces("Don't  stop: 2023\\n"))
    ['Don', "'t", ' ', ' stop', ':', ' 2023', '\\n']
    """
    return (match.group() for match in pattern().finditer(text))


@lru_cache(maxsize=None)
def pattern() -> re.Pattern[str]:
    """The pattern, made when it is first needed: it takes some tenths of a second."""
    ranges = categories()
    letter, number = as_class(ranges["L"]), as_class(ranges["N"])
    space = as_class([*ranges["Z"], (ord("\t"), ord("\r")), (0x85, 0x85)])
    return re.compile(
        "'s|'t|'re|'ve|'m|'ll|'d"
        f"| ?[{letter}]+"
        f"| ?[{number}]+"
        f"| ?[^{space}{letter}{number}]+"
        f"|[{space}]+(?![^{space}])"
        f"|[{space}]+"
    )


def categories() -> dict[str, list[tuple[int, int]]]:
    """The code points of each major category (``"L"``, ``"N"``, ``"Z"``, ...) as ranges.

    A range is its first and its last code point.

    >>> categories()["N"][:3]
    [(48, 57), (178, 179), (185, 185)]
    """
    ranges: dict[str, list[tuple[int, int]]] = {}
    first = 0
    every = map(unicodedata.category, map(chr, range(sys.maxunicode + 1)))
    for major, run in groupby(every, key=lambda category: category[0]):
        length = sum(1 for _ in run)
        ranges.setdefault(major, []).append((first, first + length - 1))
        first += length
    return ranges


def as_class(ranges: list[tuple[int, int]]) -> str:
    """Ranges of code points as they are written between the brackets of a class in ``re``.

    >>> as_class([(48, 57), (178, 179)])
    '\\\\U00000030-\\\\U00000039\\\\U000000b2-\\\\U000000b3'
    """
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
