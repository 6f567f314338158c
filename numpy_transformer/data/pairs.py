"""Pairs of source and target: read from a file, held out by source, gathered by source.

The file has one pair a line: source, tab, target, in UTF-8. The same source may stand on several
lines with other targets; any of them counts as right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

Pair = tuple[str, str]


class DataError(ValueError):
    """Something is wrong with a file of data; the message names file and line."""


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """The lines of a file in UTF-8, numbered from 1; raises ``DataError`` where it is not UTF-8."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            yield number, line.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, line {number}: not UTF-8 ({error.reason})") from error


def read_pairs(path: str | Path) -> list[Pair]:
    """The pairs of a file; empty lines are passed over.

    Raises ``DataError`` naming file and line for a line that is not source, tab, target, and for
    a file without any.
    """
    pairs = []
    for number, line in read_lines(path):
        if not line.strip():
            continue
        parts = line.split("\t")
        if len(parts) != 2:
            raise DataError(
                f"{path}, line {number}: {len(parts) - 1} tabs, expected 1 "
                "(source, tab, target)"
            )
        if not (parts[0].strip() and parts[1].strip()):
            side = "source" if parts[1].strip() else "target"
            raise DataError(f"{path}, line {number}: the {side} is empty")
        pairs.append((parts[0], parts[1]))
    if not pairs:
        raise DataError(f"{path} holds no pairs; expected lines of source, tab, target")
    return pairs


def hold_out(pairs: list[Pair], share: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Split so that about ``share`` of the sources, with all their targets, are held out.

    Raises ``ValueError`` when one of the two parts would be empty.

    >>> pairs = [("a", "1"), ("a", "2"), ("b", "3"), ("c", "4"), ("d", "5")]
    >>> train, held_out = hold_out(pairs, 0.25, seed=1)
    >>> len({source for source, _ in held_out})
    1
    """
    sources = list(dict.fromkeys(source for source, _ in pairs))
    count = round(share * len(sources))
    if not 0 < count < len(sources):
        raise ValueError(
            f"a share of {share} of {len(sources)} sources holds out {count}: "
            "both parts need at least one"
        )
    chosen = np.random.default_rng(seed).permutation(len(sources))[:count]
    held_out = {sources[i] for i in chosen}
    return (
        [pair for pair in pairs if pair[0] not in held_out],
        [pair for pair in pairs if pair[0] in held_out],
    )


def references(pairs: Iterable[Pair]) -> dict[str, list[str]]:
    """All targets of each source, in the order in which they stand.

    >>> references([("a", "1"), ("b", "3"), ("a", "2")])
    {'a': ['1', '2'], 'b': ['3']}
    """
    gathered: dict[str, list[str]] = {}
    for source, target in pairs:
        gathered.setdefault(source, []).append(target)
    return gathered
