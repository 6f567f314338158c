"""The built-in tasks: pairs of (source, target) strings, drawn from a seed.

>>> for name, task in TASKS.items():
...     train, held_out = task.pairs(train=1000, held_out=100, seed=0)
...     print(f"{name}: {train[5]}")
dates: ('sunday 12 december 1954', '1954-12-12')
copy: ('gxke', 'gxke')
reverse: ('gxke', 'ekxg')
sort: ('gxke', 'egkx')
addition: ('46+0', '46')

In every task, no held-out source is among the training sources, so that what was learned by heart
does not count. How evenly the sources are drawn stands beside each function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from numpy_transformer.data import dates

Pairs = list[tuple[str, str]]

LONGEST = 12  # letters of a string
LETTERS = 26
STRINGS = sum(LETTERS**length for length in range(1, LONGEST + 1))  # how many there are

NUMBERS = 1000  # addends are 0 to 999
SUMS = NUMBERS * NUMBERS


@dataclass(frozen=True)
class Task:
    """A task by name: ``pairs(train, held_out, seed)`` returns the training and held-out pairs.

    The counts are whole numbers of pairs, 0 or more; ``pairs`` raises ``ValueError`` if the task
    has not so many different sources.
    """

    name: str
    description: str  # one sentence, for a help text
    pairs: Callable[..., tuple[Pairs, Pairs]]


def copy_pairs(train: int, held_out: int, seed: int) -> tuple[Pairs, Pairs]:
    """Return strings of letters with themselves; see ``string_sources``."""
    sources = string_sources("copy", train, held_out, seed)
    return _split([(source, source) for source in sources], train)


def reverse_pairs(train: int, held_out: int, seed: int) -> tuple[Pairs, Pairs]:
    """Return strings of letters with the same read backwards; see ``string_sources``."""
    sources = string_sources("reverse", train, held_out, seed)
    return _split([(source, source[::-1]) for source in sources], train)


def sort_pairs(train: int, held_out: int, seed: int) -> tuple[Pairs, Pairs]:
    """Return strings with their letters in alphabetical order; see ``string_sources``."""
    sources = string_sources("sort", train, held_out, seed)
    return _split([(source, "".join(sorted(source))) for source in sources], train)


def addition_pairs(train: int, held_out: int, seed: int) -> tuple[Pairs, Pairs]:
    """Return sums of two numbers from 0 to 999 with their values, as ``("37+105", "142")``.

    No sum comes twice. Numbers of one, two and three digits are equally likely as far as there are
    enough of them: if every number were, 2+2 would hardly ever come.
    """
    _check_counts("addition", train, held_out, SUMS)
    rng = np.random.default_rng(seed)
    likely = np.repeat([1 / 10, 1 / 90, 1 / 900], [10, 90, 900]) / 3  # (NUMBERS,), adds up to 1
    drawn = rng.choice(
        SUMS, size=train + held_out, replace=False, p=np.outer(likely, likely).reshape(-1)
    )
    # Likely sums are drawn early, so shuffle: both lists shall have short and long ones alike.
    left, right = np.divmod(rng.permutation(drawn), NUMBERS)
    sums = [(f"{a}+{b}", f"{a + b}") for a, b in zip(left.tolist(), right.tolist())]
    return _split(sums, train)


def string_sources(task: str, train: int, held_out: int, seed: int) -> list[str]:
    """Return ``train + held_out`` different strings of 1 to 12 lower-case letters, shuffled.

    Each length is equally likely as long as it has strings that were not drawn yet. ``task`` is
    named in the error.
    """
    _check_counts(task, train, held_out, STRINGS)
    rng = np.random.default_rng(seed)
    count = train + held_out
    sources: dict[str, None] = {}  # a set that keeps its order, which the seed must decide
    while len(sources) < count:
        missing = count - len(sources)
        lengths = rng.integers(1, LONGEST + 1, size=missing)
        letters = rng.integers(ord("a"), ord("z") + 1, size=(missing, LONGEST), dtype=np.uint8)
        for row, length in zip(letters, lengths.tolist()):
            sources[row[:length].tobytes().decode("ascii")] = None
    # Short strings run out early, so shuffle: both lists shall have short and long ones alike.
    ordered = list(sources)
    return [ordered[i] for i in rng.permutation(count).tolist()]


def _split(pairs: Pairs, train: int) -> tuple[Pairs, Pairs]:
    return pairs[:train], pairs[train:]


def _check_counts(task: str, train: int, held_out: int, available: int) -> None:
    if train < 0 or held_out < 0:
        raise ValueError(
            f"{task}: train={train} and held_out={held_out}, expected 0 or more; "
            "give the number of pairs wanted in each list"
        )
    if train + held_out > available:
        raise ValueError(
            f"{task}: train={train} and held_out={held_out} are {train + held_out} different "
            f"sources, but there are only {available}; ask for fewer"
        )


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "dates",
            "Rewrite a date as people write it, such as 3rd of February '98, as 1998-02-03.",
            dates.pairs,
        ),
        Task("copy", "Repeat a string of 1 to 12 letters.", copy_pairs),
        Task("reverse", "Write a string of 1 to 12 letters backwards.", reverse_pairs),
        Task("sort", "Put the letters of a string of 1 to 12 in alphabetical order.", sort_pairs),
        Task("addition", "Add two numbers of up to three digits, such as 37+105.", addition_pairs),
    )
}
