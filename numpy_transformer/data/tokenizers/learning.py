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

Source: Sennrich, Haddow and Birch 2016, section 3.2 and algorithm 1; here over bytes, as in GPT-2.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from heapq import heapify, heappop, heappush

from numpy_transformer.data.tokenizers import byte_characters
from numpy_transformer.data.tokenizers.merging import GONE, Pair


def learn(counts: Mapping[str, int], size: int) -> list[tuple[str, str]]:
    """The merges that make a vocabulary of ``size`` tokens, the 256 bytes among them.

    ``counts`` says how often each piece stands in the text. A merge is the pair of tokens that it
    puts together, written as in ``merges.txt``, in the order in which they were learned.

    Among pairs that are equally frequent, the one whose left token has the lower id is taken, and
    then the one whose right token has: ids are GPT-2's, bytes first, then results of merges in
    order. In ``aaa`` the pair ``aa`` counts twice, though only one of the two can be merged.

    There are fewer tokens than asked for when the text has no pair of neighbours left: when each
    piece is one token. Every merge makes a token that was not there before: as no merge crosses the
    borders of what is to become a token, it comes about in the same way at every place.

    >>> learn({"abab": 5, "abc": 3}, 256 + 2)
    [('a', 'b'), ('ab', 'ab')]
    """
    tokens = list(byte_characters.CHARACTERS.values())  # by id
    words = Words(counts)
    # The smallest of these is the most frequent pair, and of several the one of the lowest ids.
    waiting = [(-count, pair) for pair, count in words.counts.items()]
    heapify(waiting)

    merges = []
    while waiting and len(tokens) < size:
        waited, pair = heappop(waiting)
        count = words.counts[pair]
        if -count != waited:
            if count:
                heappush(waiting, (-count, pair))
            continue
        left, right = (tokens[i] for i in pair)
        merges.append((left, right))
        tokens.append(left + right)
        for grown in words.merge(pair, len(tokens) - 1):
            if words.counts[grown]:
                heappush(waiting, (-words.counts[grown], grown))
    return merges


class Words:
    """Pieces as symbols that are linked to their neighbours, and the counts of all pairs in them.

    All pieces stand in one row. Behind each is a symbol ``GONE``, and so before the first as well:
    at ``[-1]``.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        """Begin with the bytes of the pieces."""
        ids = {byte: i for i, byte in enumerate(byte_characters.CHARACTERS)}
        self.symbols: list[int] = []
        self.weights: list[int] = []  # how often the piece of that symbol stands in the text
        for piece, count in counts.items():
            symbols = [*(ids[byte] for byte in piece.encode("utf-8")), GONE]
            self.symbols += symbols
            self.weights += [count] * len(symbols)
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
        left as it was: it stands nowhere any more, and nobody asks for it again.
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
