"""Decoding: keeping keys and values changes nothing, nor do batches; beam search finds the best."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from numpy_transformer import parameters
from numpy_transformer.generation import incremental
from numpy_transformer.generation.answer import answer
from numpy_transformer.generation.beam import beam, length_penalty
from numpy_transformer.generation.greedy import greedy
from numpy_transformer.generation.hypothesis import log_softmax
from numpy_transformer.models import encoder_decoder

PAD, BOS, EOS = 0, 1, 2


def model(seed=0, source_vocab=12, target_vocab=9, **settings):
    """A model with weights large enough for its answers to differ from source to source.

    With seed 0 answers of seven lengths come about, with seed 2 none that ends.
    """
    config = encoder_decoder.preset(
        "tiny",
        **{
            "source_vocab": source_vocab,
            "target_vocab": target_vocab,
            "d_model": 8,
            "d_ff": 12,
            "h": 2,
            "max_length": 12,
            "dtype": "float64",
            "tie_output": False,
        }
        | settings,
    )
    rng = np.random.default_rng(seed)
    params = encoder_decoder.init(rng, config)
    for name, array in parameters.items(params):
        if array.ndim == 2:
            array[...] = 2 * rng.standard_normal(array.shape) / np.sqrt(config.d_model)
        elif name.endswith("bias"):
            array[...] = 0.3 * rng.standard_normal(array.shape)
    return params, config


def sources(rng, count, vocabulary=12):
    """Sequences of 1 to 7 ids."""
    return [rng.integers(4, vocabulary, rng.integers(1, 8)).tolist() for _ in range(count)]


def padded(sequences):
    array = np.full((len(sequences), max(map(len, sequences))), PAD)
    for row, sequence in zip(array, sequences):
        row[: len(sequence)] = sequence
    return array


SETTINGS = [
    {"norm": "pre"},
    {"norm": "post"},
    {"positions": "learned", "tie_output": True, "activation": "gelu"},
    {"scale_embeddings": False, "sinusoids": "halves", "norm_eps": 0.1},
    {"P_drop": 0.5, "attention_dropout": 0.5, "activation_dropout": 0.5},
    {"tie_source": True, "source_vocab": 9},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_cached_decoding_equals_the_full_pass(settings):
    params, config = model(**settings)
    rng = np.random.default_rng(1)
    source = padded(sources(rng, 5, config.source_vocab))
    target = rng.integers(3, config.target_vocab, (5, 7))
    full, _ = encoder_decoder.forward(source, target, params, config)
    state = incremental.start(source, params, config)
    for t in range(target.shape[1]):
        logits, state = incremental.step(target[:, t], state, params, config)
        np.testing.assert_allclose(logits, full[:, t], rtol=1e-10, atol=1e-12)


def test_cached_decoding_in_float32_stays_float32():
    params, config = model(dtype="float32")
    state = incremental.start(np.array([[5, 6]]), params, config)
    logits, state = incremental.step(np.array([BOS]), state, params, config)
    assert logits.dtype == state.self_attention[0].key.dtype == np.float32


def test_a_step_leaves_the_state_before_it_as_it_was():
    params, config = model()
    state = incremental.start(np.array([[5, 6]]), params, config)
    first, after = incremental.step(np.array([BOS]), state, params, config)
    again, _ = incremental.step(np.array([BOS]), state, params, config)
    np.testing.assert_array_equal(first, again)
    assert (state.length, after.length) == (0, 1)


def test_the_model_is_not_asked_for_more_than_it_takes():
    params, config = model(max_length=2)
    state = incremental.start(np.array([[5]]), params, config)
    for _ in range(2):
        _, state = incremental.step(np.array([BOS]), state, params, config)
    with pytest.raises(ValueError, match="at most 2 target tokens"):
        incremental.step(np.array([BOS]), state, params, config)


def slow_greedy(source, params, config, limit):
    """Greedy search without anything kept: the full pass for every token."""
    target, score = [BOS], 0.0
    for _ in range(limit):
        logits, _ = encoder_decoder.forward(
            np.array([source]), np.array([target]), params, config
        )
        last = logits[0, -1]
        last[[PAD, BOS]] = -np.inf
        score += log_softmax(last).max()
        target.append(int(last.argmax()))
        if target[-1] == EOS:
            return tuple(target[1:-1]), score, True
    return tuple(target[1:]), score, False


@pytest.mark.parametrize("seed", range(5))
def test_greedy_equals_the_slow_way(seed):
    params, config = model(seed)
    batch = sources(np.random.default_rng(seed), 12)
    found = greedy(padded(batch), params, config, BOS, EOS, limit=10)
    assert len({h.ids for h in found}) > 1
    for source, hypothesis in zip(batch, found):
        ids, score, ended = slow_greedy(source, params, config, limit=10)
        assert (hypothesis.ids, hypothesis.ended) == (ids, ended)
        assert hypothesis.score == pytest.approx(score, abs=1e-9)


@pytest.mark.parametrize("width", [1, 3])
def test_a_batch_gives_what_its_rows_give_alone(width):
    params, config = model(5)
    batch = sources(np.random.default_rng(2), 20)
    together = answer(batch, params, config, BOS, EOS, width, batch_tokens=40)
    for source, hypothesis in zip(batch, together):
        (alone,) = answer([source], params, config, BOS, EOS, width)
        assert hypothesis.ids == alone.ids
        assert hypothesis.score == pytest.approx(alone.score, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_a_beam_of_one_without_penalty_is_greedy_search(seed):
    params, config = model(seed)
    source = padded(sources(np.random.default_rng(seed), 10))
    greedily = greedy(source, params, config, BOS, EOS, limit=8)
    for one, (best, *_) in zip(greedily, beam(source, params, config, BOS, EOS, 8, 1, alpha=0.0)):
        assert one.ids == best.ids
        assert one.score == pytest.approx(best.score, abs=1e-9)


def exhaustive(source, params, config, limit, alpha):
    """The best of all answers that end within ``limit`` tokens, found by trying every one."""
    words = [i for i in range(config.target_vocab) if i not in (PAD, BOS, EOS)]
    best = (-np.inf, None)
    for length in range(limit):
        for ids in itertools.product(words, repeat=length):
            target = np.array([[BOS, *ids]])
            logits, _ = encoder_decoder.forward(np.array([source]), target, params, config)
            logits[:, :, [PAD, BOS]] = -np.inf
            scores = log_softmax(logits)[0]
            total = sum(scores[t, token] for t, token in enumerate([*ids, EOS]))
            best = max(best, (total / length_penalty(length + 1, alpha), ids))
    return best


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_a_wide_beam_finds_the_best_of_all_answers(alpha):
    for seed in range(4):
        params, config = model(seed, target_vocab=6)
        source = sources(np.random.default_rng(seed), 1)[0]
        score, ids = exhaustive(source, params, config, 4, alpha)
        (best, *others), = beam(
            np.array([source]), params, config, BOS, EOS, 4, width=100, alpha=alpha
        )
        assert best.ids == ids
        assert best.score == pytest.approx(score, abs=1e-9)
        assert all(best.score >= other.score for other in others)


def test_a_wider_beam_is_never_worse_here():
    """Not a law, but in these models a beam of 4 finds better answers than greedy search."""
    gained = 0
    for seed in range(6):
        params, config = model(seed)
        batch = sources(np.random.default_rng(seed), 10)
        narrow = answer(batch, params, config, BOS, EOS, width=2, alpha=0.0)
        wide = answer(batch, params, config, BOS, EOS, width=6, alpha=0.0)
        gained += sum(w.score - n.score for n, w in zip(narrow, wide) if n.ended and w.ended)
    assert gained > 0


def test_an_answer_that_does_not_end_is_cut_at_the_limit():
    params, config = model(0)
    # The final norm gives out its bias alone, and that makes <eos> as unlikely as can be.
    params["decoder"]["norm"]["weight"][:] = 0
    params["decoder"]["norm"]["bias"][:] = -params["output"]["weight"][:, EOS]
    for width in (1, 3):
        (hypothesis,) = answer([[5, 6]], params, config, BOS, EOS, width, limit=5)
        assert len(hypothesis.ids) == 5 and not hypothesis.ended


@pytest.mark.parametrize("width", [1, 3])
def test_ended_rows_leave_the_batch(monkeypatch, width):
    """The rows that each step computes only become fewer, and fewer they do become."""
    rows = []
    step = incremental.step

    def counted(tokens, *others):
        rows.append(len(tokens))
        return step(tokens, *others)

    monkeypatch.setattr(incremental, "step", counted)
    params, config = model(0)
    batch = padded(sources(np.random.default_rng(0), 30))
    if width == 1:
        greedy(batch, params, config, BOS, EOS, limit=12)
    else:
        beam(batch, params, config, BOS, EOS, 12, width)
    later = rows[1:]
    assert later == sorted(later, reverse=True)
    assert later[-1] < later[0]


def test_no_answer_holds_padding_or_the_begin():
    for seed in range(4):
        params, config = model(seed)
        batch = sources(np.random.default_rng(seed), 20)
        for width in (1, 3):
            for hypothesis in answer(batch, params, config, BOS, EOS, width):
                assert not {PAD, BOS, EOS} & set(hypothesis.ids)


def test_a_beam_of_zero_is_refused():
    params, config = model()
    with pytest.raises(ValueError, match="width is 0"):
        beam(np.array([[5]]), params, config, BOS, EOS, 5, width=0)
