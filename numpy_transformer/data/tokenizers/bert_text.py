"""BERT's way to cut a text into words, before these are cut into pieces.

A text is first cut at white space. What stands between, a chunk, becomes words in these steps, each
of which is BERT's, in BERT's order:

1. control characters, formatting characters (zero widths, joiners, directions), private ones and
   U+FFFD, the replacement character, are taken out: categories Cc, Cf and Co of Unicode;
2. each Chinese character becomes a word of its own (``chinese``): all ideographs of China, Japan
   and Korea, but neither kana nor Hangul;
3. letters lose their accents (``strip_accents``): characters are decomposed (NFD), and marks of
   category Mn taken out. Where there are no such marks, decomposed they stay: Hangul as jamo;
4. letters become small (``lowercase``), each by itself: a final sigma is like any other;
5. each punctuation character becomes a word of its own: categories ``P*``, and all of ASCII that is
   neither letter, digit nor space, though ``$`` or ``+`` are symbols in Unicode.

No step looks beyond white space. That is why a text can be cut there first, and why a chunk that
comes up again need not be cut again.

Every character of a word knows its place: the character of the chunk that it was made from. One
character may become several (U+0130, a capital I with a dot, is two when it is small), which then
have the same place.

The categories are those of ``unicodedata``, which is as new as the Python that runs this, in the
same way as in BERT's own code. Hugging Face's tokenizers have an older table: some 370 marks and
punctuation characters that are in Unicode 13 (Python 3.10), nearly all of them of scripts that are
seldom met, they take for letters.

Source: Devlin et al. 2018, "BERT", and ``tokenization.py``, which was published with it; the order
of the steps, and places, as in Hugging Face's ``BertNormalizer`` and ``BertPreTokenizer``.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from unicodedata import category, combining, normalize

# White_Space in Unicode. Of its control characters only three part words, and the others are
# taken out like all control characters.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
WHITE_SPACE += "".join(map(chr, range(0x2000, 0x200B)))
PARTING = "".join(character for character in WHITE_SPACE if character not in "\v\f\x85")

CHUNK = re.compile(f"[^{PARTING}]+")

# Blocks of ideographs, as Hugging Face lists them: first and last. In BERT's own code the sixth
# begins at U+2B820, where the block does.
IDEOGRAPHS = re.compile(
    "[\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f"
    "\U0002b740-\U0002b81f\U0002b920-\U0002ceaf\uf900-\ufaff\U0002f800-\U0002fa1f]"
)

Symbol = tuple[str, int]  # a character and its place in the chunk


def words(
    chunk: str, lowercase: bool, strip_accents: bool, chinese: bool
) -> list[tuple[str, list[int]]]:
    """The words of a chunk, and for each of their characters its place in the chunk.

    >>> words("Caf\u00e9-Bar", lowercase=True, strip_accents=True, chinese=True)
    [('cafe', [0, 1, 2, 3]), ('-', [4]), ('bar', [5, 6, 7])]
    """
    symbols = cleaned(chunk)
    if chinese and IDEOGRAPHS.search(chunk):
        symbols = apart(symbols)
    if strip_accents and not chunk.isascii():
        symbols = [symbol for symbol in decomposed(symbols) if category(symbol[0]) != "Mn"]
    if lowercase:
        symbols = [(small, place) for character, place in symbols for small in character.lower()]
    return split(symbols)


def cleaned(chunk: str) -> list[Symbol]:
    """What is left of a chunk without the characters of step 1."""
    return [
        (character, place)
        for place, character in enumerate(chunk)
        if category(character) not in ("Cc", "Cf", "Co") and character != "\ufffd"
    ]


def apart(symbols: list[Symbol]) -> list[Symbol]:
    """The symbols with a space before and behind every Chinese character."""
    found = []
    for symbol in symbols:
        character, place = symbol
        if IDEOGRAPHS.match(character):
            found += [(" ", place), symbol, (" ", place)]
        else:
            found.append(symbol)
    return found


def decomposed(symbols: list[Symbol]) -> Iterator[Symbol]:
    """The symbols in NFD.

    Every character is decomposed by itself, and then each run of marks sorted by class, which is
    what NFD is; ``normalize`` of a whole run would take a time that grows as its square.

    Sorting may move a mark from one character's to another's. The places stay where they were: the
    first part of each character, in the order in which they now stand, gets the next place, and
    any other part the place of the one before it.

    >>> list(decomposed([("\u00e9", 0), ("\u0323", 1)]))  # the dot below goes before the acute
    [('e', 0), ('\u0323', 1), ('\u0301', 1)]
    """
    places = iter([place for _, place in symbols])
    parts = [
        (part, number == 0)
        for character, _ in symbols
        for number, part in enumerate(normalize("NFD", character))
    ]
    for are_marks, run in groupby(parts, key=lambda part: combining(part[0]) > 0):
        for part, is_first in sorted(run, key=_class) if are_marks else run:
            if is_first:
                place = next(places)
            yield part, place


def _class(part: tuple[str, bool]) -> int:
    """The canonical combining class of a part."""
    return combining(part[0])


def split(symbols: list[Symbol]) -> list[tuple[str, list[int]]]:
    """The words between spaces, with punctuation apart."""
    found: list[tuple[str, list[int]]] = []
    characters: list[str] = []  # of the word that has begun
    places: list[int] = []
    for character, place in [*symbols, (" ", 0)]:
        is_punctuation = _is_punctuation(character)
        if not is_punctuation and character != " ":
            characters.append(character)
            places.append(place)
            continue
        if characters:
            found.append(("".join(characters), places))
            characters, places = [], []
        if is_punctuation:
            found.append((character, [place]))
    return found


@lru_cache(maxsize=2**12)
def _is_punctuation(character: str) -> bool:
    """Whether a character is a word of its own by step 5."""
    return character in string.punctuation or category(character).startswith("P")
