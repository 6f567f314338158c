"""What is hidden from a masked language model, and what it learns from."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_transformer import parameters
from numpy_transformer.data.masking import MaskedWindows, Rates, consecutive, framed, mask
from numpy_transformer.data.tokenizers import Characters, WithSpecialTokens, WordPiece
from numpy_transformer.models import masked_lm, masked_lm_loss, text_encoder
from numpy_transformer.ops.cross_entropy import IGNORED

LETTERS = WithSpecialTokens(Characters("abcdefghijklmnopqrstuvwxyz"))
WORDS = WordPiece.train("the cat sat on the mat with the hat " * 20, 60)


def rows(tokenizer, seed, batch=64, length=64):
    """Texts with special tokens and padding in them, of different lengths."""
    rng = np.random.default_rng(seed)
    known = np.setdiff1d(np.arange(len(tokenizer)), tokenizer.special_ids)
    ids = framed(rng.choice(known, (batch, length - 2)), tokenizer)
    ids[:, 20] = tokenizer.unknown_id
    for row in range(0, batch, 3):
        ids[row, length - row % 30 :] = tokenizer.pad_id
    return ids


def within(count, of, share, deviations=4.5):
    """Whether a count is what a share leads to, to so many standard deviations.

    By chance alone it is not in one of 100,000 draws; the seeds are fixed.
    """
    return abs(count - of * share) <= deviations * math.sqrt(of * share * (1 - share))


@pytest.mark.parametrize("tokenizer", [LETTERS, WORDS], ids=["letters", "words"])
@pytest.mark.parametrize("rates", [Rates(), Rates(0.4, 0.5, 0.3), Rates(0.15, 1.0, 0.0)], ids=str)
def test_the_rates_are_right_and_no_special_token_is_chosen(tokenizer, rates):
    ids = rows(tokenizer, 0, batch=600)
    read, targets = mask(ids, tokenizer, np.random.default_rng(1), rates)
    special = np.isin(ids, tokenizer.special_ids)
    chosen = targets != IGNORED
    assert not chosen[special].any()
    assert (read[~chosen] == ids[~chosen]).all() and (targets[chosen] == ids[chosen]).all()
    total = int(chosen.sum())
    # Rounded row by row, so closer than if each token were drawn by itself.
    assert abs(total - rates.chosen * (~special).sum()) <= 3 * math.sqrt(len(ids))
    assert within((read[chosen] == tokenizer.mask_id).sum(), total, rates.masked)
    # A random token is by chance the one that stood there.
    ordinary = len(tokenizer) - len(tokenizer.special_ids)
    other = (read[chosen] != tokenizer.mask_id) & (read[chosen] != ids[chosen])
    assert within(other.sum(), total, rates.random * (1 - 1 / ordinary))
    assert not np.isin(read[chosen][other], tokenizer.special_ids).any()


def test_every_token_is_as_likely_to_be_chosen_and_to_be_put_in():
    ids = np.tile(framed(np.array([LETTERS.encode("abcdefghijklmnopqrst")]), LETTERS), (5000, 1))
    read, targets = mask(ids, LETTERS, np.random.default_rng(2), Rates(0.2, 0.0, 1.0))
    chosen = targets != IGNORED
    assert all(within(count, 5000, 0.2) for count in chosen[:, 1:-1].sum(axis=0))
    put_in = np.bincount(read[chosen], minlength=len(LETTERS))
    assert all(within(count, chosen.sum(), 1 / 26) for count in put_in[:26])
    assert not put_in[26:].any()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(0, 9), st.floats(0.01, 1.0), st.integers(0, 2**32 - 1))
def test_of_each_row_as_many_are_chosen_as_its_share_and_one_at_least(batch, length, share, seed):
    rng = np.random.default_rng(seed)
    ids = framed(rng.integers(0, 26, (batch, length)), LETTERS)
    before = ids.copy()
    _, targets = mask(ids, LETTERS, rng, Rates(share))
    assert (ids == before).all()
    for count in (targets != IGNORED).sum(axis=1):
        least, most = math.floor(share * length), math.ceil(share * length)
        assert max(least, min(length, 1)) <= count <= max(most, min(length, 1))


@pytest.mark.parametrize(
    "values", [{"chosen": 0}, {"chosen": 1.5}, {"masked": -0.1}, {"random": 2}, {"random": 0.3}]
)
def test_rates_that_are_none_are_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        Rates(**values)


def windows(seed=3):
    text = LETTERS.encode("thequickbrownfoxjumpsoverthelazydog" * 20)
    return MaskedWindows(text, LETTERS, length=20, rows=4, seed=seed)


def test_each_epoch_and_batch_draws_anew_and_the_same_seed_draws_the_same():
    batches = {(e, i): windows().at(e, i) for e in range(3) for i in range(windows().count(e))}
    drawn = {ids.tobytes() for ids, _, _ in batches.values()}
    assert len(drawn) == len(batches) == 3 * (700 // (4 * 18))
    # After a resume it is another object, which is asked for the middle first.
    again = windows()
    for place in sorted(batches, reverse=True):
        for ours, theirs in zip(batches[place], again.at(*place)):
            assert (ours is theirs is None) or (ours == theirs).all()
    assert (windows(seed=4).at(0, 0)[0] != batches[0, 0][0]).any()


def test_one_text_is_masked_differently_each_time_it_is_seen():
    """A text of exactly one window: every batch is that text, and never the same tokens hidden."""
    one = MaskedWindows(LETTERS.encode("abcdefghijklmnopqr"), LETTERS, 20, 1, seed=0)
    seen = {one.at(epoch, 0)[2].tobytes() for epoch in range(20)}
    assert one.count(0) == 1 and len(seen) > 15


def test_a_window_is_cls_text_sep():
    ids, segments, targets = windows().at(0, 0)
    whole = np.where(targets == IGNORED, ids, targets)
    assert segments is None and ids.shape == (4, 20)
    assert (whole[:, 0] == LETTERS.cls_id).all() and (whole[:, -1] == LETTERS.sep_id).all()
    text = "thequickbrownfoxjumpsoverthelazydog" * 20
    assert all(LETTERS.decode(row[1:-1]) in text for row in whole)


def test_what_a_model_is_judged_by_is_the_whole_text_once_and_always_the_same():
    text = LETTERS.encode("thequickbrownfox" * 5 + "ab")  # 82: four whole pieces and one of 10
    parts = list(consecutive(text, LETTERS, length=20, rows=3, seed=0))
    assert [ids.shape for ids, _, _ in parts] == [(3, 20), (1, 20), (1, 12)]
    whole = [np.where(targets == IGNORED, ids, targets)[:, 1:-1] for ids, _, targets in parts]
    assert np.concatenate([part.ravel() for part in whole]).tolist() == text
    again = consecutive(text, LETTERS, length=20, rows=3, seed=0)
    assert all((a[0] == b[0]).all() for a, b in zip(parts, again))


@pytest.mark.parametrize("length, rows, tokens", [(2, 1, 50), (8, 0, 50), (8, 1, 5)])
def test_too_short_texts_and_windows_are_refused(length, rows, tokens):
    with pytest.raises(ValueError, match="expected at least 1 of 3|the text has 5 tokens"):
        MaskedWindows(range(tokens), LETTERS, length, rows, seed=0)


def test_loss_and_gradient_come_from_chosen_places_only():
    config = text_encoder.preset("nano", vocab=len(LETTERS), pad_id=LETTERS.pad_id, dtype="float64")
    params = masked_lm.init(np.random.default_rng(0), config)
    ids, _, targets = windows().at(0, 0)
    loss, cache = masked_lm_loss.forward(ids, None, targets, params, config)
    # By hand: the logits of all places, of which only the chosen ones are counted.
    everywhere = np.full(ids.shape, True)
    logits, _ = masked_lm.forward(ids, None, everywhere, params, config)
    logits = logits.reshape(*ids.shape, -1)
    logp = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    rows, places = np.nonzero(targets != IGNORED)
    assert loss == pytest.approx(-logp[rows, places, targets[rows, places]].mean(), rel=1e-12)
    # The gradient of the loss by all logits: zero where nothing is chosen.
    dparams = masked_lm_loss.backward(1.0, cache)
    for name, array in parameters.items(dparams):
        if name == "prediction.output.bias":
            p = np.exp(logp[rows, places])
            p[np.arange(len(rows)), targets[rows, places]] -= 1
            np.testing.assert_allclose(array, p.mean(axis=0), atol=1e-12)
    # A text of which nothing is chosen has no part in it, whatever stands in it.
    more = np.vstack([ids, ids[:1]])
    nothing = np.vstack([targets, np.full_like(targets[:1], IGNORED)])
    loss_2, cache_2 = masked_lm_loss.forward(more, None, nothing, params, config)
    assert loss_2 == pytest.approx(loss, rel=1e-12)
    for (_, a), (_, b) in zip(
        parameters.items(dparams), parameters.items(masked_lm_loss.backward(1.0, cache_2))
    ):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_without_a_chosen_place_there_is_no_loss_and_no_gradient():
    config = text_encoder.preset("nano", vocab=len(LETTERS), pad_id=LETTERS.pad_id)
    params = masked_lm.init(np.random.default_rng(0), config)
    ids = np.array([LETTERS.encode("abc")])
    loss, cache = masked_lm_loss.forward(ids, None, np.full_like(ids, IGNORED), params, config)
    assert loss == 0
    dparams = masked_lm_loss.backward(1.0, cache)
    assert not any(array.any() for _, array in parameters.items(dparams))
