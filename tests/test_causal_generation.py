"""Generation with a language model: cached equals full, batches equal rows, and what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_transformer import parameters
from numpy_transformer.generation import continuation, incremental_lm, sampling
from numpy_transformer.generation.continuation import Settings, window
from numpy_transformer.models import causal_lm

V = 11
MODELS = [
    {},
    {"activation": "relu", "positions": "sinusoidal", "attention_bias": False},
    {"activation": "gelu", "tie_output": False, "output_bias": True},
]
FEW = settings(max_examples=25, deadline=None)


def model(seed=0, **changes):
    """A model with weights of size about 1, so that what it says depends on what it read."""
    config = causal_lm.preset(
        "nano", **{"vocab": V, "d_model": 12, "d_ff": 20, "h": 3, "max_length": 8} | changes,
        dtype="float64",
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    params = causal_lm.init(rng, config)
    for _, array in parameters.items(params):
        # Large maps and small biases: with others a model of this size says one thing again and
        # again, whatever it has read.
        size = 4 / np.sqrt(len(array)) if array.ndim == 2 else 0.1
        array += size * rng.standard_normal(array.shape)
    return params, config


def generators(count, seed=0):
    return [np.random.default_rng([seed, row]) for row in range(count)]


def generate(prompts, params, config, seed=0, end=None, **changes):
    """The new tokens of each prompt."""
    found = [[] for _ in prompts]
    rngs, how = generators(len(prompts), seed), Settings(**changes)
    for row, token in continuation.generate(prompts, params, config, how, rngs, end):
        found[row].append(token)
    return found


def slow_greedy(prompt, params, config, count):
    """Each token from a full pass over what the model looks at, nothing kept."""
    text = list(prompt)
    for _ in range(count):
        seen = text[window(len(text), config.max_length) :]
        logits, _ = causal_lm.forward(np.array([seen]), params, config)
        text.append(int(logits[0, -1].argmax()))
    return text[len(prompt) :]


# The cache


@pytest.mark.parametrize("changes", MODELS, ids=str)
def test_reading_in_parts_equals_the_full_pass(changes):
    params, config = model(**changes)
    ids = np.random.default_rng(1).integers(0, V, (3, 8))
    full, _ = causal_lm.forward(ids, params, config)
    state = incremental_lm.start(np.zeros(3, int), 8, params, config)
    read = 0
    for size in (3, 1, 2, 1, 1):
        logits, state = incremental_lm.extend(ids[:, read : read + size], state, params, config)
        read += size
        np.testing.assert_allclose(logits, full[:, read - 1], rtol=0, atol=1e-12)


@FEW
@given(data=st.data())
def test_padding_on_the_left_changes_nothing(data):
    params, config = model(**data.draw(st.sampled_from(MODELS)))
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    longest = max(lengths)
    ids = rng.integers(0, V, (len(lengths), longest + 2))  # what stands in the padding is random
    first = longest - np.array(lengths)
    state = incremental_lm.start(first, longest + 2, params, config)
    logits, state = incremental_lm.extend(ids[:, :longest], state, params, config)
    for end in (longest, longest + 1, longest + 2):
        if end > longest:
            logits, state = incremental_lm.extend(ids[:, end - 1 : end], state, params, config)
        for row, begin in enumerate(first):
            alone, _ = causal_lm.forward(ids[row : row + 1, begin:end], params, config)
            np.testing.assert_allclose(logits[row], alone[0, -1], rtol=0, atol=1e-12)


def test_a_state_stays_as_it_was_and_rows_can_be_taken():
    params, config = model()
    ids = np.random.default_rng(1).integers(0, V, (2, 3))
    empty = incremental_lm.start(np.zeros(2, int), 8, params, config)
    _, before = incremental_lm.extend(ids, empty, params, config)
    kept = [array[:, :, :3].copy() for layer in before.layers for array in layer]
    logits, after = incremental_lm.extend(np.array([[1], [2]]), before, params, config)
    assert (before.length, after.length) == (3, 4)
    for array, copy in zip((a for layer in before.layers for a in layer), kept):
        np.testing.assert_array_equal(array[:, :, :3], copy)
    # A state is extended once; to go on in two ways, its rows are taken before, which copies.
    _, other = incremental_lm.extend(
        ids, incremental_lm.start(np.zeros(2, int), 8, params, config), params, config
    )
    branch = incremental_lm.select(other, np.array([0, 1]))
    incremental_lm.extend(np.array([[7], [7]]), other, params, config)
    one, branch = incremental_lm.extend(np.array([[1], [2]]), branch, params, config)
    np.testing.assert_allclose(one, logits, rtol=0, atol=1e-12)
    turned = incremental_lm.select(before, np.array([1, 0, 1]))
    again, _ = incremental_lm.extend(np.array([[2], [1], [2]]), turned, params, config)
    np.testing.assert_allclose(again, logits[[1, 0, 1]], rtol=0, atol=1e-12)


def test_float32_stays_float32():
    params, config = model()
    config = causal_lm.Config(**{**vars(config), "dtype": "float32"})
    params = parameters.from_items(
        {name: array.astype(np.float32) for name, array in parameters.items(params)}, like=params
    )
    state = incremental_lm.start(np.array([0]), 4, params, config)
    logits, state = incremental_lm.extend(np.array([[1, 2]]), state, params, config)
    assert logits.dtype == np.float32
    assert {array.dtype for layer in state.layers for array in layer} == {np.dtype(np.float32)}


def test_there_is_no_room_for_more_than_was_asked_for():
    params, config = model()
    state = incremental_lm.start(np.array([3]), 12, params, config)
    with pytest.raises(ValueError, match="9 tokens in a row, but the model looks at 8"):
        incremental_lm.extend(np.zeros((1, 12), int), state, params, config)
    state = incremental_lm.start(np.array([0]), 2, params, config)
    with pytest.raises(ValueError, match="3 tokens after 0, but there is room for 2"):
        incremental_lm.extend(np.array([[1, 2, 3]]), state, params, config)


# Going on


@pytest.mark.parametrize("changes", MODELS, ids=str)
@pytest.mark.parametrize("length", [1, 5, 8, 9, 30])
def test_greedy_equals_the_slow_way_with_and_without_the_cache(changes, length):
    """Also where the prompt, or what is added to it, is longer than the context of 8."""
    params, config = model(**changes)
    prompt = np.random.default_rng(length).integers(0, V, length).tolist()
    expected = slow_greedy(prompt, params, config, 15)
    assert len(set(expected)) > 1  # it does not just say one thing
    for use_cache in (True, False):
        found = generate(
            [prompt], params, config, max_new_tokens=15, do_sample=False, use_cache=use_cache
        )
        assert found == [expected]


@pytest.mark.parametrize("do_sample", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_a_batch_of_prompts_of_different_lengths_gives_what_each_gives_alone(do_sample, seed):
    params, config = model(seed)
    rng = np.random.default_rng(seed)
    prompts = [rng.integers(0, V, length).tolist() for length in (3, 1, 7, 12, 5)]
    changes = {"max_new_tokens": 20, "do_sample": do_sample, "temperature": 1.0}
    together = generate(prompts, params, config, seed, end=4, **changes)
    lengths = {len(tokens) for tokens in together}
    assert do_sample is False or len(lengths) > 1  # some came to their end before others
    for row, prompt in enumerate(prompts):
        rngs = [generators(len(prompts), seed)[row]]
        alone = continuation.generate([prompt], params, config, Settings(**changes), rngs, end=4)
        assert [token for _, token in alone] == together[row]


def test_the_window_follows_from_the_length_alone():
    for context in range(1, 12):
        step = max(1, context // 2)
        for length in range(1, 60):
            first = window(length, context)
            assert first % step == 0 and 0 <= first < length
            assert length - first <= context  # it fits
            assert first == 0 or length - first > context - step  # no more is dropped than need be


def test_ended_rows_leave_the_batch(monkeypatch):
    params, config = model()
    rows = []
    extend = incremental_lm.extend

    def counted(ids, *args):
        rows.append(len(ids))
        return extend(ids, *args)

    monkeypatch.setattr(incremental_lm, "extend", counted)
    found = continuation.generate(
        [[1], [2], [3]], params, config, Settings(max_new_tokens=4, do_sample=False), [],
        stop=lambda row, token: row == 1,
    )  # fmt: skip
    lengths = {row: 0 for row in range(3)}
    for row, _ in found:
        lengths[row] += 1
    assert rows == [3, 2, 2, 2] and lengths == {0: 4, 1: 1, 2: 4}


def test_only_what_is_new_is_computed(monkeypatch):
    params, config = model()
    sizes = []
    extend = incremental_lm.extend

    def counted(ids, *args):
        sizes.append(ids.shape[1])
        return extend(ids, *args)

    monkeypatch.setattr(incremental_lm, "extend", counted)
    generate([[1, 2, 3, 4, 5]], params, config, max_new_tokens=9, do_sample=False)
    # Five of the prompt, then one by one; the ninth token does not fit, so five are read anew.
    assert sizes == [5, 1, 1, 1, 5, 1, 1, 1, 5]


def test_lengths():
    params, config = model()
    prompts = [[1, 2, 3], [4]]
    count = [len(t) for t in generate(prompts, params, config, max_length=5)]
    assert count == [2, 4]
    count = [len(t) for t in generate(prompts, params, config, max_new_tokens=5)]
    assert count == [5, 5]
    assert [len(t) for t in generate(prompts, params, config)] == [256, 256]


@pytest.mark.parametrize("changes, least", [({"min_new_tokens": 6}, 6), ({"min_length": 6}, 4)])
def test_the_end_is_not_chosen_before_the_least_length(changes, least):
    params, config = model()
    params["output"] = {"bias": np.where(np.arange(V) == 3, 100.0, 0.0)}  # it wants to end at once
    config = causal_lm.Config(**{**vars(config), "output_bias": True})
    greedy = {"do_sample": False, "max_new_tokens": 12}
    assert generate([[1, 2]], params, config, end=3, **greedy) == [[3]]
    (found,) = generate([[1, 2]], params, config, end=3, **greedy, **changes)
    assert len(found) == least + 1 and found[-1] == 3 and 3 not in found[:-1]


@pytest.mark.parametrize(
    "prompts, changes, sentence",
    [
        ([[1], []], {}, "prompt 1 has no tokens"),
        ([[1, V]], {}, f"ids from 1 to {V}, but the model knows 0 to {V - 1}"),
        ([[-1]], {}, "ids from -1 to -1"),
        ([[1, 2, 3]], {"max_length": 3}, "3 tokens, so there is none to add with max_length=3"),
        ([[1] * 9], {"overflow": "refuse"}, "has 9 tokens, and the text may get 265 long, but the"),
        ([[1] * 5], {"overflow": "refuse", "max_new_tokens": 4}, "the model looks at 8; shorten"),
    ],
)
def test_a_prompt_that_cannot_be_gone_on_with_is_refused_at_once(prompts, changes, sentence):
    params, config = model()
    with pytest.raises(ValueError, match=sentence):
        continuation.generate(prompts, params, config, Settings(**changes), generators(2))


def test_what_just_fits_is_not_refused():
    params, config = model()
    (found,) = generate([[1] * 5], params, config, overflow="refuse", max_new_tokens=3)
    assert len(found) == 3


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0, expected a whole number, at least 1"),
        ({"max_length": 2.5}, "max_length is 2.5, expected a whole number"),
        ({"min_length": -1}, "min_length is -1"),
        ({"top_k": -1}, "top_k is -1, expected a whole number, at least 0"),
        ({"top_k": True}, "top_k is True"),
        ({"temperature": "1"}, "temperature is '1', expected a number"),
        ({"top_p": None}, "top_p is None, expected a number"),
        ({"do_sample": "no"}, "do_sample is 'no', expected True or False"),
        ({"temperature": 0}, "temperature is 0, expected above 0; .* do_sample=False"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 0.0}, "top_p is 0.0, expected above 0 and at most 1"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0, expected above 0"),
        ({"max_length": 9, "max_new_tokens": 3}, "max_new_tokens is 3 and max_length 9; give one"),
        ({"overflow": "wrap"}, r"overflow is 'wrap', expected one of \('slide', 'refuse'\)"),
    ],
)
def test_a_wrong_setting_is_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        Settings(**changes)


# Drawing


def test_tokens_are_drawn_with_their_probabilities():
    probability = np.array([0.1, 0.0, 0.6, 0.3])
    with np.errstate(divide="ignore"):
        logits = np.tile(np.log(probability), (20000, 1))
    drawn = sampling.draw(logits, [np.random.default_rng(0)] * len(logits))
    share = np.bincount(drawn, minlength=4) / len(drawn)
    # Five standard deviations of a share of so many draws.
    assert (np.abs(share - probability) <= 5 * np.sqrt(0.25 / len(drawn))).all()
    assert share[1] == 0


@FEW
@given(data=st.data())
def test_top_k_and_top_p_by_their_definitions(data):
    seed, k = data.draw(st.integers(0, 2**16)), data.draw(st.integers(1, 9))
    p = data.draw(st.floats(0.01, 1))
    logits = 3 * np.random.default_rng(seed).standard_normal((3, 8))
    for row, kept in zip(logits, sampling.top_k(logits, k)):
        expected = sorted(row, reverse=True)[:k]
        assert sorted(kept[kept > -np.inf], reverse=True) == expected
    probability = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    for row, kept in zip(probability, sampling.top_p(logits, p) > -np.inf):
        total, expected = 0.0, set()
        for token in np.argsort(-row):
            if expected and total >= p - 1e-12:
                break
            expected.add(int(token))
            total += row[token]
        assert set(np.flatnonzero(kept)) == expected


def test_the_likeliest_token_is_always_kept():
    logits = np.array([[0.0, 5.0, 1.0]])
    for cut in (sampling.top_k(logits, 1), sampling.top_p(logits, 1e-9)):
        assert (cut > -np.inf).tolist() == [[False, True, False]]


def test_a_penalty_makes_what_was_seen_less_likely_whatever_its_sign():
    logits = np.array([[3.0, -1.0, 0.0, 2.0]])
    before = logits.copy()
    found = sampling.repetition_penalty(logits, [[0, 1, 2]], 1.5)
    assert found.tolist() == [[2.0, -1.5, 0.0, 2.0]]
    np.testing.assert_array_equal(logits, before)
    assert (found <= logits).all()


def test_sampling_with_one_token_to_draw_from_is_greedy():
    params, config = model()
    greedy = generate([[1, 2]], params, config, do_sample=False, max_new_tokens=12)
    assert generate([[1, 2]], params, config, top_k=1, max_new_tokens=12) == greedy
    assert generate([[1, 2]], params, config, top_p=1e-9, max_new_tokens=12) == greedy
    assert generate([[1, 2]], params, config, temperature=1e-6, max_new_tokens=12) == greedy


@pytest.mark.parametrize("value", [1e-6, 1e-39, 1e-320])
def test_a_tiny_temperature_is_greedy(value):
    logits = np.random.default_rng(0).standard_normal((4, 9)).astype(np.float32)
    cold = sampling.temperature(logits, value)
    assert sampling.draw(cold, generators(4)).tolist() == logits.argmax(axis=-1).tolist()


def test_logits_that_are_no_numbers_are_refused():
    with pytest.raises(ArithmeticError, match="there is a logit that is infinite or NaN"):
        sampling.draw(np.array([[0.0, np.nan]]), generators(1))


def test_a_generator_for_each_prompt():
    params, config = model()
    with pytest.raises(ValueError, match="1 random generators for 2 prompts"):
        continuation.generate([[1], [2]], params, config, Settings(), generators(1))


def test_parameters_that_do_not_fit_the_settings_are_not_taken_for_others():
    """The output is tied or not by the settings, in both directions alike."""
    tied, config = model()
    untied, other = model(tie_output=False, output_bias=True)
    with pytest.raises(KeyError, match="output"):
        causal_lm.forward(np.array([[1]]), tied, other)
    logits, _ = causal_lm.forward(np.array([[1]]), untied, config)
    expected, _ = causal_lm.forward(np.array([[1]]), untied | {"output": {}}, config)
    np.testing.assert_array_equal(logits, expected)


def test_a_high_penalty_repeats_nothing():
    params, config = model()
    plain = generate([[1]], params, config, do_sample=False, max_new_tokens=V - 1)
    assert len(set(plain[0])) < V - 1
    (found,) = generate(
        [[1]], params, config, do_sample=False, repetition_penalty=1e9, max_new_tokens=V - 1
    )
    positive = len(set(found))
    assert positive > len(set(plain[0]))
