"""Learning merges from a text: byte pair encoding.

The pair of neighbours that is most frequent becomes a token of its own, everywhere, and again,
until there are as many tokens as are wanted. Two things make it fast:

- a piece that stands in the text a thousand times is kept once, with a weight of 1,000;
- nothing is counted twice. The counts of all pairs are made once. A merge changes only the pairs to
  the left and to the right of the places where it happens, and these places are remembered for
  each pair. Every merge at a place leaves one symbol less, so all merges together touch fewer
  places than there are bytes, however many tokens are learned.

Which pair is the most frequent is asked of a heap. What lies in it may be out of date, because
counts fall when neighbours merge; a pair that comes up with a count that is too high is put back
with its present one.

Source: Sennrich, Haddow and Birch 2016, section 3.2 and algorithm 1, over characters of words; over
bytes as in GPT-2.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush

from numpy_transformer.data.tokenizers import byte_characters
from numpy_transformer.data.tokenizers.merging import GONE, Pair


def learn(counts: Mapping[str, int], size: int) -> list[tuple[str, str]]:
    """The merges that make a vocabulary of ``size`` tokens, the 256 bytes among them.

    ``counts`` says how often each piece stands in the text. A merge is the pair of tokens that it
    puts together, written as in ``merges.txt``, in the order in which they were learned.

    Ids are GPT-2's: bytes first, then results of merges in order. See ``learn_pairs`` for which
    pair is taken among equally frequent ones, and for when there are fewer tokens than asked for.

    >>> learn({"abab": 5, "abc": 3}, 256 + 2)
    [('a', 'b'), ('ab', 'ab')]
    """
    tokens = list(byte_characters.CHARACTERS.values())  # by id
    ids = {byte: i for i, byte in enumerate(byte_characters.CHARACTERS)}
    pieces = (([ids[byte] for byte in piece.encode("utf-8")], n) for piece, n in counts.items())
    merges = []
    for left, right in learn_pairs(pieces, len(tokens), size):
        merges.append((tokens[left], tokens[right]))
        tokens.append(tokens[left] + tokens[right])
    return merges


def learn_words(counts: Mapping[str, int], prefix: str, size: int) -> list[str]:
    """The tokens of a vocabulary in which a token that continues a word begins with ``prefix``.

    ``counts`` says how often each word stands in the text. The order: all characters, by code
    point; those that continue a word, likewise; results of merges. There are as many of the first
    two as the words have, though they be more than ``size``.

    >>> learn_words({"abab": 5, "abc": 3}, "##", 8)
    ['a', 'b', 'c', '##a', '##b', '##c', 'ab', '##ab']
    """
    characters = sorted(set().union(*counts))
    continuing = sorted(set().union(*(word[1:] for word in counts)))
    tokens = [*characters, *(prefix + character for character in continuing)]
    ids = {token: i for i, token in enumerate(tokens)}
    words = (
        ([ids[word[0]], *(ids[prefix + character] for character in word[1:])], n)
        for word, n in counts.items()
    )
    for left, right in learn_pairs(words, len(tokens), size):
        tokens.append(tokens[left] + tokens[right].removeprefix(prefix))
    return tokens


def learn_pairs(pieces: Iterable[tuple[Sequence[int], int]], first: int, size: int) -> list[Pair]:
    """The pairs of ids to be merged, until there are ``size`` ids.

    A piece is its ids, all less than ``first``, and how often it stands in the text. The pairs
    make the ids from ``first`` on, one after the other.

    Among pairs that are equally frequent, the one whose left token has the lower id is taken, and
    then the one whose right token has. In ``aaa`` the pair ``aa`` counts twice, though only one of
    the two can be merged.

    There are fewer ids than asked for when the text has no pair of neighbours left: when each piece
    is one token. Every merge makes a token that was not there before: as no merge crosses the
    borders of what is to become a token, it comes about in the same way at every place.

    >>> learn_pairs([([0, 1, 0, 1], 5), ([0, 1, 2], 3)], first=3, size=5)
    [(0, 1), (3, 3)]
    """
    words = Words(pieces)
    # The smallest of these is the most frequent pair, and of several the one of the lowest ids.
    waiting = [(-count, pair) for pair, count in words.counts.items()]
    heapify(waiting)

    merges: list[Pair] = []
    while waiting and first + len(merges) < size:
        waited, pair = heappop(waiting)
        count = words.counts[pair]
        if -count != waited:
            if count:
                heappush(waiting, (-count, pair))
            continue
        merges.append(pair)
        for grown in words.merge(pair, first + len(merges) - 1):
            if words.counts[grown]:
                heappush(waiting, (-words.counts[grown], grown))
    return merges


class Words:
    """Pieces as symbols that are linked to their neighbours, and the counts of all pairs in them.

    All pieces stand in one row. Behind each is a symbol ``GONE``, and so before the first as well:
    at ``[-1]``.
    """

    def __init__(self, pieces: Iterable[tuple[Sequence[int], int]]) -> None:
        """Begin with the ids of each piece, and how often it stands in the text."""
        self.symbols: list[int] = []
        self.weights: list[int] = []  # how often the piece of that symbol stands in the text
        for ids, count in pieces:
            self.symbols += [*ids, GONE]
            self.weights += [count] * (len(ids) + 1)
        end = len(self.symbols)
        self.left = list(range(-1, end - 1))
        self.right = list(range(1, end + 1))
        self.counts: dict[Pair, int] = defaultdict(int)
        # Where a pair stands (the place of its left symbol), or stood once.
        self.places: dict[Pair, list[int]] = defaultdict(list)
        for place, pair in enumerate(zip(self.symbols, self.symbols[1:])):
            if GONE not in pair:
                self.counts[pair] += self.weights[place]
                self.places[pair].append(place)

    def merge(self, pair: Pair, result: int) -> set[Pair]:
        """Put ``pair`` together wherever it stands, from left to right.

        Returns the pairs that are now there and were not before. The count of ``pair`` itself is
        not set to 0: it stands nowhere any more, and nobody asks for it again.
        """
        symbols, left, right = self.symbols, self.left, self.right
        grown = set()
        for place in sorted(self.places.pop(pair)):
            other = right[place]
            if (symbols[place], symbols[other]) != pair:
                continue  # one of the two was merged with its other neighbour in the meantime
            before, after, weight = left[place], right[other], self.weights[place]
            if symbols[before] != GONE:
                self.counts[symbols[before], symbols[place]] -= weight
                grown.add(self.add((symbols[before], result), before))
            if symbols[after] != GONE:
                self.counts[symbols[other], symbols[after]] -= weight
                grown.add(self.add((result, symbols[after]), place))
            symbols[place], symbols[other] = result, GONE
            right[place] = after
            left[after] = place
        return grown

    def add(self, pair: Pair, place: int) -> Pair:
        """Count a pair that has come to stand at ``place``."""
        self.counts[pair] += self.weights[place]
        self.places[pair].append(place)
        return pair
