"""Merging: from the bytes of a piece to its tokens.

Byte pair encoding: of all pairs of neighbours, put together the one whose merge was learned first
(its rank is lowest; among several of the same rank the leftmost), and again, until no pair has a
merge.

Looking at every pair before each merge would take a time that grows as the square of the length.
Here the pairs that have a merge wait in a heap, lowest rank first, and the symbols are linked to
their neighbours, so that a merge touches two links and adds two pairs at most: n log n for n bytes.

Source: Sennrich, Haddow and Birch 2016, "Neural Machine Translation of Rare Words with Subword
Units", section 3.2, which merges characters; GPT-2 merges bytes.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

GONE = -1  # in the place of a symbol that was merged into the one to its left

Pair = tuple[int, int]


def merge(symbols: list[int], ranks: dict[Pair, int], results: list[int]) -> list[int]:
    """The ids that are left when no two neighbours have a merge.

    ``symbols`` are ids, those of bytes to begin with; ``ranks`` has the rank of every pair that
    can be merged, and ``results[rank]`` is the id of the two together.

    >>> ranks = {(0, 1): 0, (2, 0): 1}  # first 0 and 1 become 2, then 2 and 0 become 3
    >>> merge([0, 1, 0, 1, 0], ranks, results=[2, 3])
    [2, 3]
    """
    end = len(symbols)
    # The symbol behind the last one, at [end] and so at [-1] too, is before the first as well:
    # both ends of the piece are neighbours that merge with nothing.
    symbols = [*symbols, GONE]
    left = list(range(-1, end))
    right = list(range(1, end + 1))
    waiting = [
        (ranks[pair], place)
        for place, pair in enumerate(zip(symbols, symbols[1:]))
        if pair in ranks
    ]
    heapify(waiting)

    while waiting:
        rank, place = heappop(waiting)
        other = right[place]
        if ranks.get((symbols[place], symbols[other])) != rank:
            continue  # one of the two was merged with its other neighbour in the meantime
        symbols[place], symbols[other] = results[rank], GONE
        after = right[place] = right[other]
        left[after] = place
        for first, second in ((left[place], place), (place, after)):
            new = ranks.get((symbols[first], symbols[second]))
            if new is not None:
                heappush(waiting, (new, first))

    return [symbol for symbol in symbols if symbol != GONE]
