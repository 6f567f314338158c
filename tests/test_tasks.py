"""The built-in tasks: right answers, held-out sources that were not trained on, one seed."""

import dataclasses
from collections import Counter

import pytest

from numpy_transformer.data import dates
from numpy_transformer.data.tasks import STRINGS, SUMS, TASKS

LETTER_TASKS = ("copy", "reverse", "sort")


def both(name, train=3000, held_out=400, seed=7):
    """Return training and held-out pairs as one list."""
    train_pairs, held_out_pairs = TASKS[name].pairs(train, held_out, seed)
    return train_pairs + held_out_pairs


def test_the_tasks():
    assert list(TASKS) == ["dates", "copy", "reverse", "sort", "addition"]
    assert TASKS["dates"].pairs is dates.pairs
    for name, task in TASKS.items():
        assert task.name == name
        assert task.description[0].isupper()
        assert task.description.endswith(".")
    with pytest.raises(dataclasses.FrozenInstanceError):
        TASKS["copy"].name = "paste"


@pytest.mark.parametrize("name", TASKS)
def test_counts_and_disjoint_sources(name):
    train, held_out = TASKS[name].pairs(train=3000, held_out=400, seed=7)
    assert len(train) == 3000
    assert len(held_out) == 400
    held_out_sources = {source for source, _ in held_out}
    assert len(held_out_sources) == 400
    assert not held_out_sources & {source for source, _ in train}


@pytest.mark.parametrize("name", TASKS)
def test_the_seed_decides(name):
    pairs = TASKS[name].pairs
    assert pairs(train=50, held_out=20, seed=1) == pairs(train=50, held_out=20, seed=1)
    train, held_out = pairs(train=50, held_out=20, seed=1)
    other_train, other_held_out = pairs(train=50, held_out=20, seed=2)
    assert train != other_train
    assert held_out != other_held_out


@pytest.mark.parametrize("name", TASKS)
def test_no_pairs_at_all(name):
    assert TASKS[name].pairs(0, 0, 0) == ([], [])
    assert [len(pairs) for pairs in TASKS[name].pairs(0, 3, 0)] == [0, 3]
    assert [len(pairs) for pairs in TASKS[name].pairs(3, 0, 0)] == [3, 0]


@pytest.mark.parametrize("name", LETTER_TASKS)
def test_strings_of_every_length_and_letter(name):
    sources = [source for source, _ in both(name)]
    assert {len(source) for source in sources} == set(range(1, 13))
    assert set("".join(sources)) == set("abcdefghijklmnopqrstuvwxyz")


def test_short_strings_are_not_all_held_out():
    # With this many, each of the 26 strings of one letter is drawn, and early; they must be spread
    # over both lists like the others.
    train, held_out = TASKS["copy"].pairs(train=3000, held_out=3000, seed=0)
    for pairs in (train, held_out):
        assert 5 <= sum(len(source) == 1 for source, _ in pairs) <= 21


def test_copy():
    assert all(source == target for source, target in both("copy"))


def test_reverse():
    for source, target in both("reverse"):
        assert len(source) == len(target)
        assert all(target[-1 - i] == letter for i, letter in enumerate(source))


def test_sort():
    for source, target in both("sort"):
        assert Counter(source) == Counter(target)
        assert all(left <= right for left, right in zip(target, target[1:]))


def test_addition():
    digits = Counter()
    for source, target in both("addition"):
        left, right = source.split("+")
        assert int(left) + int(right) == int(target)
        for number in (left, right):
            assert 0 <= int(number) <= 999
            assert number == str(int(number))  # no leading zero
            digits[len(number)] += 1
    # A third of the 6800 numbers each, but there are only 100 sums of two one-digit numbers.
    assert all(digits[length] > 1500 for length in (1, 2, 3)), digits


def test_short_sums_are_spread_over_the_whole_list():
    train, _ = TASKS["addition"].pairs(train=20000, held_out=0, seed=0)
    short = [len(source) <= 4 for source, _ in train]  # at most one digit and two digits
    assert sum(short) > 1500
    assert 0.4 < sum(short[:10000]) / sum(short) < 0.6


@pytest.mark.parametrize("name", TASKS)
def test_negative_counts_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}: train=-1 and held_out=2, expected 0 or more"):
        TASKS[name].pairs(-1, 2, 0)
    with pytest.raises(ValueError, match=f"{name}: train=1 and held_out=-2, expected 0 or more"):
        TASKS[name].pairs(1, -2, 0)


@pytest.mark.parametrize(
    ("name", "available"), [*((name, STRINGS) for name in LETTER_TASKS), ("addition", SUMS)]
)
def test_more_pairs_than_there_are_sources_are_refused(name, available):
    with pytest.raises(ValueError, match=f"there are only {available}; ask for fewer"):
        TASKS[name].pairs(available, 1, 0)


def test_how_many_sources_there_are():
    assert SUMS == 1_000_000
    assert STRINGS == (26**13 - 26) // 25  # the geometric series
