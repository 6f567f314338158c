"""Vocabularies, pairs, batches and metrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_transformer.data import pairs as pairs_module
from numpy_transformer.data.batches import Batches
from numpy_transformer.data.metrics import accuracy, edit_distance
from numpy_transformer.data.pairs import DataError, hold_out, read_pairs
from numpy_transformer.data.vocabulary import SPECIAL, UNK, Vocabulary


def written(tmp_path, content):
    path = tmp_path / "pairs.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_file_of_pairs(tmp_path):
    path = written(tmp_path, "\ufeffab\tA B\r\n\ncd\tC D\nab\tA\n")
    assert read_pairs(path) == [("ab", "A B"), ("cd", "C D"), ("ab", "A")]
    gathered = pairs_module.references(read_pairs(path))
    assert gathered == {"ab": ["A B", "A"], "cd": ["C D"]}


@pytest.mark.parametrize(
    "content, message",
    [
        ("ab\tA\nno tab\n", r"pairs.tsv, line 2: 0 tabs, expected 1 \(source, tab, target\)"),
        ("ab\tA\n\nab\tA\tB\n", "pairs.tsv, line 3: 2 tabs"),
        ("ab\tA\n\tA\n", "pairs.tsv, line 2: the source is empty"),
        ("ab\t \n", "pairs.tsv, line 1: the target is empty"),
        (b"ab\tA\nab\t\xff\n", "pairs.tsv, line 2: not UTF-8"),
        ("\n\n", "pairs.tsv holds no pairs"),
        ("", "pairs.tsv holds no pairs"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_pairs(written(tmp_path, content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="none.tsv cannot be read: No such file"):
        read_pairs(tmp_path / "none.tsv")


def test_sources_are_held_out_with_all_their_targets():
    pairs = [(f"s{i % 40}", f"t{i}") for i in range(100)]
    train, held_out = hold_out(pairs, 0.2, seed=3)
    assert not {s for s, _ in train} & {s for s, _ in held_out}
    assert len({s for s, _ in held_out}) == 8
    assert sorted(train + held_out) == sorted(pairs)
    assert hold_out(pairs, 0.2, seed=3) == (train, held_out)
    assert hold_out(pairs, 0.2, seed=4) != (train, held_out)
    with pytest.raises(ValueError, match="holds out 0"):
        hold_out(pairs, 0.001, seed=0)


@given(st.lists(st.text(), min_size=1), st.text())
def test_a_vocabulary_gives_back_what_it_was_built_from(texts, other):
    vocabulary = Vocabulary.build(texts)
    for text in texts:
        assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.encode(other).count(UNK) == len(vocabulary.unknown(other))
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary


def test_tokens_with_spaces_between_them():
    vocabulary = Vocabulary.build(["AH B", "B  K"], "tokens")
    assert vocabulary.tokens == SPECIAL + ("AH", "B", "K")
    assert vocabulary.decode(vocabulary.encode(" K  AH X")) == "K AH <unk>"


def test_special_tokens_in_the_data():
    with pytest.raises(ValueError, match="<eos> stands in the data"):
        Vocabulary.build(["a <eos>"], "tokens")
    # Read from a user's line, it is a word like any other that is not known.
    assert Vocabulary.build(["a"], "tokens").encode("<eos> a") == [UNK, 4]
    with pytest.raises(ValueError, match="the unit is 'words'"):
        Vocabulary("words", SPECIAL)
    with pytest.raises(ValueError, match="not a vocabulary"):
        Vocabulary.from_json({"unit": "tokens"})


def batches(batch_tokens=60, seed=0, count=200):
    rng = np.random.default_rng(0)
    sources = [[int(i) + 4] * int(n) for i, n in enumerate(rng.integers(1, 12, count))]
    targets = [[1] + [7] * int(n) for n in rng.integers(1, 12, count)]
    return Batches(sources, targets, batch_tokens, seed)


def test_every_pair_stands_once_in_every_epoch():
    made = batches()
    for epoch in range(3):
        seen = [made.at(epoch, i)[0][:, 0] for i in range(made.count(epoch))]
        assert sorted(np.concatenate(seen)) == list(range(4, 204))


def test_batches_keep_to_their_size_and_fill_it():
    made = batches()
    sizes = [sum(ids.size for ids in made.at(0, i)) for i in range(made.count(0))]
    assert max(sizes) <= 60
    assert np.mean(sizes) > 40


def test_the_order_follows_from_seed_and_epoch():
    def order(seed, epoch):
        return [rows.tolist() for rows in batches(seed=seed).plan(epoch)]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_a_pair_longer_than_a_batch_is_a_batch_by_itself():
    made = Batches([[5] * 50, [6]], [[1, 2], [1, 2]], batch_tokens=10, seed=0)
    assert sorted(len(made.at(0, i)[0]) for i in range(made.count(0))) == [1, 1]
    assert made.count(0) == 2


def test_batches_of_nothing_are_refused():
    with pytest.raises(ValueError, match="0 sources"):
        Batches([], [], 10, 0)
    with pytest.raises(ValueError, match="batch_tokens is 0"):
        Batches([[5]], [[1]], 0, 0)


def slow_distance(a, b):
    if not a or not b:
        return len(a) + len(b)
    replaced = slow_distance(a[1:], b[1:]) + (a[0] != b[0])
    return min(replaced, slow_distance(a[1:], b) + 1, slow_distance(a, b[1:]) + 1)


@given(st.text("abc", max_size=5), st.text("abc", max_size=5))
def test_edit_distance_equals_its_definition(a, b):
    assert edit_distance(a, b) == slow_distance(a, b)


def test_the_nearest_reference_counts():
    found = accuracy(["abc", "ab", "x"], [["abc"], ["zzz", "abd"], ["x", "yy"]])
    assert found.exact_match == 2 / 3
    assert found.token_error_rate == 1 / (3 + 3 + 1)
