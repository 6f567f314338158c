"""Mistakes found in public Transformers, most of them under green tests: one test for each.

The derivatives here come from values of ``forward`` alone, by complex step: if an entry of an
argument moves by ``ih``, the imaginary part of the output is h times its derivative, and as nothing
is subtracted no digit is lost.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
from strategies import random_params

from numpy_transformer import parameters
from numpy_transformer.generation.greedy import greedy
from numpy_transformer.layers import decoder, encoder_layer, multi_head_attention
from numpy_transformer.models import (
    causal_lm,
    causal_lm_loss,
    classifier,
    classifier_loss,
    encoder_decoder,
    encoder_decoder_loss,
    masked_lm,
    masked_lm_loss,
    token_classifier,
    token_classifier_loss,
)
from numpy_transformer.ops import (
    attention,
    cross_entropy,
    dropout,
    embedding,
    layer_norm,
    pooling,
    softmax,
)
from numpy_transformer.ops.cross_entropy import IGNORED

B, T, S, H, K, V = 2, 3, 5, 2, 4, 7  # all different, but where a trap needs it
D = H * K
STEP = 1e-30
CONFIG = encoder_decoder.Config(
    source_vocab=V,
    target_vocab=V,
    N=2,
    d_model=D,
    d_ff=9,
    h=H,
    P_drop=0.0,
    epsilon_ls=0.1,
    max_length=6,
    dtype="float64",
)
LANGUAGE_MODEL = causal_lm.Config(V, N=2, d_model=D, d_ff=9, h=H, max_length=6, dtype="float64")
DROPPING = {"P_drop": 0.5, "attention_dropout": 0.5, "activation_dropout": 0.5}
TEXTS = {"vocab": V, "N": 2, "d_model": D, "d_ff": 9, "h": H, "max_length": 6, "dtype": "float64"}
SOURCE = np.array([[1, 2, 2, 3, 4], [5, 5, 1, 0, 0]])
SEGMENTS = np.array([[0, 0, 1, 1, 1], [0, 1, 1, 0, 0]])
CHOSEN = np.array([[True, False, True, True, False], [False, True, False, False, False]])
TARGET = np.array([[1, 3, 3, 6], [1, 4, 0, 0]])


def config(**settings):
    """The settings of this file's model, some of them changed."""
    return encoder_decoder.Config(**vars(CONFIG) | settings)


def language_config(**settings):
    """The settings of this file's language model, some of them changed."""
    return causal_lm.Config(**vars(LANGUAGE_MODEL) | settings)


def text_config(model=masked_lm, **settings):
    """The settings of this file's models of texts, some of them changed."""
    return model.Config(**TEXTS | settings)


# Each loss of a model of texts: the model, its own settings, and what the loss compares with.
TEXT_LOSSES = {
    masked_lm_loss: (masked_lm, {}, np.where(CHOSEN, 3, IGNORED)),
    classifier_loss: (classifier, {"classes": 3, "class_weights": (1, 2, 5)}, np.array([2, 0])),
    token_classifier_loss: (token_classifier, {"classes": 3}, np.where(CHOSEN, 1, IGNORED)),
}
every_text_loss = pytest.mark.parametrize(
    "loss", TEXT_LOSSES, ids=lambda loss: loss.__name__.rpartition(".")[2]
)


def normal(*shape, seed=0):
    """Random numbers, the same in every run."""
    return np.random.default_rng(seed).standard_normal(shape)


def derivative(f, x, dy):
    """The derivative of ``sum(dy * f(x))`` for every entry of ``x``."""
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[index] += 1j * STEP
        gradient[index] = (dy * f(moved).imag).sum() / STEP
    return gradient


def close(actual, expected):
    """Equal but for rounding, and not all zero, which would show nothing."""
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


def check_table(name, settings):
    """The gradient of a table, of tokens or of positions, of a whole model."""
    params = random_params(settings)

    def logits(weight):
        moved = params | {name: {"weight": weight}}
        return encoder_decoder.forward(SOURCE, TARGET, moved, settings)[0]

    y, cache = encoder_decoder.forward(SOURCE, TARGET, params, settings)
    dy = normal(*y.shape)
    dparams = encoder_decoder.backward(dy, cache)
    close(dparams[name]["weight"], derivative(logits, params[name]["weight"], dy))


def test_layer_norm_whose_weight_is_not_1():
    """``dx`` goes back through the weight before the means are taken; at weight 1 none can tell."""
    x, weight, bias, dy = normal(B, T, D), normal(D, seed=1), normal(D, seed=2), normal(B, T, D)
    _, cache = layer_norm.forward(x, weight, bias)
    dx, dweight, dbias = layer_norm.backward(dy, cache)
    close(dx, derivative(lambda x: layer_norm.forward(x, weight, bias)[0], x, dy))
    close(dweight, derivative(lambda weight: layer_norm.forward(x, weight, bias)[0], weight, dy))
    close(dbias, dy.sum(axis=(0, 1)))


@pytest.mark.parametrize("length", [S, T])
def test_layout_of_the_gradient_of_keys(length):
    """With T keys as well, so that a transposed gradient of the scores has the right shape."""
    query, key = normal(B, H, T, K), normal(B, H, length, K, seed=1)
    value, dy = normal(B, H, length, K, seed=2), normal(B, H, T, K, seed=3)
    _, cache = attention.forward(query, key, value)
    _, dkey, dvalue = attention.backward(dy, cache)
    close(dkey, derivative(lambda key: attention.forward(query, key, value)[0], key, dy))
    close(dvalue, derivative(lambda value: attention.forward(query, key, value)[0], value, dy))


@pytest.mark.parametrize("tied", ["tie_output", "tie_source"])
def test_tied_weights_add_up(tied):
    """The gradient of a table that is used in two places; it has repeated and unused tokens."""
    name = "source_embedding" if tied == "tie_source" else "target_embedding"
    check_table(name, config(**{"tie_output": False, "tie_source": False} | {tied: True}))


def test_repeated_tokens_add_up():
    """A token that stands in three places gets all three gradients, not the last of them."""
    ids = np.array([[2, 1, 2], [4, 2, 0]])
    dy = normal(2, 3, D)
    _, cache = embedding.forward(ids, normal(V, D))
    dweight = embedding.backward(dy, cache)
    close(dweight[2], dy[0, 0] + dy[0, 2] + dy[1, 1])
    close(dweight[[1, 4, 0]], np.stack([dy[0, 1], dy[1, 0], dy[1, 2]]))
    assert not dweight[[3, 5, 6]].any()


@pytest.mark.parametrize("name", ["source_embedding", "source_positions"])
def test_scale_of_the_embeddings_is_in_their_gradient(name):
    """sqrt(D), in the table of the source, which is tied to none; not in that of the positions."""
    check_table(name, config(tie_source=False, positions="learned"))


@pytest.mark.parametrize("name", ["embedding", "positions"])
@pytest.mark.parametrize("tied", [True, False])
def test_tables_of_a_language_model(name, tied):
    """Tied, both uses of the table count; none is scaled; positions add up over the batch."""
    settings = language_config(tie_output=tied)
    params = random_params(settings)

    def logits(weight):
        return causal_lm.forward(TARGET, params | {name: {"weight": weight}}, settings)[0]

    y, cache = causal_lm.forward(TARGET, params, settings)
    dy = normal(*y.shape)
    dparams = causal_lm.backward(dy, cache)
    close(dparams[name]["weight"], derivative(logits, params[name]["weight"], dy))


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("name", ["embedding", "positions", "segments"])
def test_tables_of_a_masked_language_model(name, norm):
    """Both uses of the tied table count; each table adds up over all places where a row stands."""
    settings = text_config(norm=norm)
    params = random_params(settings, model=masked_lm)

    def logits(weight):
        moved = params | {name: {"weight": weight}}
        return masked_lm.forward(SOURCE, SEGMENTS, CHOSEN, moved, settings)[0]

    y, cache = masked_lm.forward(SOURCE, SEGMENTS, CHOSEN, params, settings)
    dy = normal(*y.shape)
    dparams = masked_lm.backward(dy, cache)
    close(dparams[name]["weight"], derivative(logits, params[name]["weight"], dy))


def test_chosen_tokens_come_back_to_their_own_places():
    """Row by row, from left to right: a row of ``dlogits`` is that of one chosen token alone."""
    settings = text_config()
    params = random_params(settings, model=masked_lm)
    _, cache = masked_lm.forward(SOURCE, SEGMENTS, CHOSEN, params, settings)
    for row, (b, t) in enumerate(np.argwhere(CHOSEN)):
        dlogits = np.zeros((4, V))
        dlogits[row] = normal(V)
        found = masked_lm.backward(dlogits, cache)
        only = np.arange(5)[None] == t
        _, other = masked_lm.forward(SOURCE[[b]], SEGMENTS[[b]], only, params, settings)
        for name, expected in parameters.items(masked_lm.backward(dlogits[[row]], other)):
            np.testing.assert_allclose(parameters.find(found, name), expected, atol=1e-12)


def test_loss_of_a_masked_language_model_is_divided_by_what_is_chosen():
    """4 of 10, in the gradient as in the loss: of all biases the output's tells."""
    settings = text_config()
    params = random_params(settings, model=masked_lm)
    targets = TEXT_LOSSES[masked_lm_loss][2]

    def loss(bias):
        head = params["prediction"] | {"output": {"bias": bias}}
        moved = params | {"prediction": head}
        return masked_lm_loss.forward(SOURCE, SEGMENTS, targets, moved, settings)[0]

    _, cache = masked_lm_loss.forward(SOURCE, SEGMENTS, targets, params, settings)
    logits, _ = masked_lm.forward(SOURCE, SEGMENTS, CHOSEN, params, settings)
    p, _ = softmax.forward(logits)
    dbias = masked_lm_loss.backward(1.0, cache)["prediction"]["output"]["bias"]
    close(dbias, (p - np.eye(V)[[3] * 4]).sum(axis=0) / 4)
    close(dbias, derivative(loss, params["prediction"]["output"]["bias"], np.array(1.0)))


def test_a_pooled_mean_is_divided_by_the_tokens_of_each_text():
    """Not by the length of the batch, and padding gets nothing; the first token gets all alone."""
    x, dy, there = normal(2, 5, D), normal(2, D, seed=1), SOURCE != 0
    _, cache = pooling.forward(x, there)
    close(pooling.backward(dy, cache), derivative(lambda x: pooling.forward(x, there)[0], x, dy))
    _, cache = pooling.forward(x, there, "first")
    dx = pooling.backward(dy, cache)
    close(dx, derivative(lambda x: pooling.forward(x, there, "first")[0], x, dy))
    np.testing.assert_array_equal(dx[:, 0], dy)
    assert not dx[:, 1:].any()


def test_class_weights_are_in_the_gradient():
    """Each row by the weight of its target, all of them divided by their sum."""
    logits, targets, weights = normal(2, 3, V), np.array([[1, 2, 3], [4, 0, 0]]), np.arange(1, 8)
    keywords = {"ignore_index": 0, "class_weights": weights}
    _, cache = cross_entropy.forward(logits, targets, **keywords)
    expected = derivative(
        lambda logits: cross_entropy.forward(logits, targets, **keywords)[0], logits, 1.0
    )
    close(cross_entropy.backward(1.0, cache), expected)


def test_loss_of_a_language_model_is_divided_by_what_is_predicted():
    """T tokens of T + 1, and in the gradient as in the loss: of all biases the output's tells."""
    settings = language_config(output_bias=True)
    params = random_params(settings)

    def loss(bias):
        return causal_lm_loss.forward(TARGET, params | {"output": {"bias": bias}}, settings)[0]

    found, cache = causal_lm_loss.forward(TARGET, params, settings)
    logits, _ = causal_lm.forward(TARGET[:, :-1], params, settings)
    p, _ = softmax.forward(logits)
    losses = [-np.log(p[b, t, TARGET[b, t + 1]]) for b in range(2) for t in range(T)]
    assert found == pytest.approx(sum(losses) / (2 * T), rel=1e-13)
    dparams = causal_lm_loss.backward(1.0, cache)
    bias = params["output"]["bias"]
    close(dparams["output"]["bias"], derivative(loss, bias, np.array(1.0)))


def test_loss_is_divided_by_the_tokens_that_count():
    """4 of 6: not by the positions, not by the rows, and in the gradient as in the loss."""
    logits, targets = normal(2, 3, V), np.array([[1, 2, 3], [4, 0, 0]])
    p, _ = softmax.forward(logits)
    loss, cache = cross_entropy.forward(logits, targets, ignore_index=0)
    counting = [(0, 0, 1), (0, 1, 2), (0, 2, 3), (1, 0, 4)]
    assert loss == pytest.approx(sum(-np.log(p[place]) for place in counting) / 4, rel=1e-13)
    dlogits = cross_entropy.backward(1.0, cache)
    expected = derivative(
        lambda logits: cross_entropy.forward(logits, targets, ignore_index=0)[0], logits, 1.0
    )
    close(dlogits, expected)


def test_padding_has_no_part_in_the_loss_of_a_model():
    """Each row counts by its tokens: the loss of a batch is not the mean of its rows' losses."""
    params = random_params(CONFIG)
    counts = [3, 1]
    rows = [
        encoder_decoder_loss.forward(SOURCE[[b]], TARGET[[b]], params, CONFIG)[0] for b in range(2)
    ]
    loss, _ = encoder_decoder_loss.forward(SOURCE, TARGET, params, CONFIG)
    assert rows[0] != pytest.approx(rows[1], rel=1e-3)
    assert loss == pytest.approx(np.dot(rows, counts) / 4, rel=1e-12)


def _dropouts(cache, name=""):
    """The name and the cache of every dropout in a nest of caches."""
    if isinstance(cache, dropout.Cache):
        yield name, cache
    elif isinstance(cache, tuple):
        children = cache._asdict() if hasattr(cache, "_asdict") else dict(enumerate(cache))
        for key, child in children.items():
            yield from _dropouts(child, f"{name}.{key}")


def test_no_two_places_share_a_mask_of_dropout():
    """Each place draws its own, in each layer; where each is found is known by name."""
    settings = config(**DROPPING)
    source, target = np.full((2, 6), 1), np.full((2, 6), 2)  # as long as each other
    _, cache = encoder_decoder.forward(
        source, target, random_params(settings), settings, np.random.default_rng(0)
    )
    found = {name: kept.keep for name, kept in _dropouts(cache)}
    # Two embeddings; in each layer one for each sub-layer, each attention, and the hidden units.
    assert len(found) == 2 + 2 * (2 + 1 + 1) + 2 * (3 + 2 + 1)
    assert all(keep is not None and 0.2 < keep.mean() < 0.8 for keep in found.values())
    for name, keep in found.items():
        for other, keep_2 in found.items():
            size = min(keep.size, keep_2.size)
            if name < other:
                assert (keep.ravel()[:size] != keep_2.ravel()[:size]).any(), (name, other)


def test_no_two_places_of_a_language_model_share_a_mask_of_dropout():
    """One of the embeddings; in each layer two sub-layers, the attention, and the hidden units."""
    settings = language_config(**DROPPING)
    ids, rng = np.full((2, 6), 1), np.random.default_rng(0)
    _, cache = causal_lm.forward(ids, random_params(settings), settings, rng)
    masks = [kept.keep.ravel() for _, kept in _dropouts(cache)]
    assert len(masks) == 1 + 2 * (2 + 1 + 1)
    assert all(0.2 < keep.mean() < 0.8 for keep in masks)
    for i, keep in enumerate(masks):
        for other in masks[:i]:
            size = min(keep.size, other.size)
            assert (keep[:size] != other[:size]).any()


@every_text_loss
def test_no_two_places_of_a_model_of_texts_share_a_mask_of_dropout(loss):
    """One of the embeddings, four a layer, and one before the classes."""
    model, others, labels = TEXT_LOSSES[loss]
    settings = text_config(model, **others, **DROPPING)
    ids, rng = np.full((2, 5), 1), np.random.default_rng(0)
    params = random_params(settings, model=model)
    _, cache = loss.forward(ids, None, labels, params, settings, rng)
    masks = [kept.keep.ravel() for _, kept in _dropouts(cache) if kept.scale != 1]
    assert len(masks) == 1 + 2 * (2 + 1 + 1) + (model is not masked_lm)
    assert all(0.1 < keep.mean() < 0.9 for keep in masks)
    for i, keep in enumerate(masks):
        for other in masks[:i]:
            size = min(keep.size, other.size)
            assert (keep[:size] != other[:size]).any()


def test_each_place_of_a_language_model_has_its_own_rate_of_dropout():
    """Embeddings and sub-layers one, attention weights another, hidden units a third."""
    rates = {"P_drop": 0.2, "attention_dropout": 0.5, "activation_dropout": 0.75}
    settings = language_config(**rates)
    rng = np.random.default_rng(0)
    _, cache = causal_lm.forward(TARGET, random_params(settings), settings, rng)
    for name, kept in _dropouts(cache):
        inside = {"attention": "attention_dropout", "feed_forward": "activation_dropout"}
        rate = rates[inside.get(name.split(".")[-2], "P_drop")]
        assert kept.scale == pytest.approx(1 / (1 - rate)), name


def test_gradient_of_values_under_dropout():
    """Values were mixed by the weights that dropout left; softmax's derivative needs the others."""
    query, key = normal(B, H, T, K), normal(B, H, S, K, seed=1)
    value, dy = normal(B, H, S, K, seed=2), normal(B, H, T, K, seed=3)

    def attend(query, key, value):
        return attention.forward(query, key, value, None, 0.5, np.random.default_rng(0))

    y, cache = attend(query, key, value)
    assert 0 < cache.dropout.keep.sum() < cache.dropout.keep.size
    dquery, dkey, dvalue = attention.backward(dy, cache)
    close(dvalue, derivative(lambda value: attend(query, key, value)[0], value, dy))
    close(dquery, derivative(lambda query: attend(query, key, value)[0], query, dy))
    close(dkey, derivative(lambda key: attend(query, key, value)[0], key, dy))


@pytest.mark.parametrize("length", [S, T])
def test_gradient_of_the_memory(length):
    """It comes through keys and values of every layer, from a source longer than the target, too.

    Of the same length, a mix-up of x and memory does not show in the shapes.
    """
    params = random_params(CONFIG)["decoder"]
    x, memory = normal(B, T, D), normal(B, length, D, seed=1)
    dy = normal(B, T, D, seed=2)
    _, cache = decoder.forward(x, memory, params, H)
    dx, dmemory, _ = decoder.backward(dy, cache)
    close(dx, derivative(lambda x: decoder.forward(x, memory, params, H)[0], x, dy))
    close(dmemory, derivative(lambda memory: decoder.forward(x, memory, params, H)[0], memory, dy))


def test_gradient_of_self_attention_has_two_parts():
    """A sequence that attends to itself asks and answers: both gradients are its own."""
    params = random_params(CONFIG)["encoder"]["layers"]["0"]
    x, dy = normal(B, S, D), normal(B, S, D, seed=1)
    _, cache = encoder_layer.forward(x, params, H)
    dx, _ = encoder_layer.backward(dy, cache)
    close(dx, derivative(lambda x: encoder_layer.forward(x, params, H)[0], x, dy))


def test_decoder_does_not_see_the_future():
    """The last token changes its own logits and no earlier ones."""
    params = random_params(CONFIG)
    other = TARGET.copy()
    other[0, -1] = 2
    logits, _ = encoder_decoder.forward(SOURCE, TARGET, params, CONFIG)
    changed, _ = encoder_decoder.forward(SOURCE, other, params, CONFIG)
    np.testing.assert_allclose(changed[0, :-1], logits[0, :-1], rtol=1e-12)
    assert np.abs(changed[0, -1] - logits[0, -1]).max() > 1e-3


def test_a_language_model_does_not_see_the_future():
    """A token changes the logits from its own position on, and no earlier ones."""
    params = random_params(LANGUAGE_MODEL)
    logits, _ = causal_lm.forward(TARGET, params, LANGUAGE_MODEL)
    for t in range(TARGET.shape[1]):
        other = TARGET.copy()
        other[0, t] = 2
        changed, _ = causal_lm.forward(other, params, LANGUAGE_MODEL)
        np.testing.assert_allclose(changed[0, :t], logits[0, :t], rtol=1e-12)
        assert (np.abs(changed[0, t:] - logits[0, t:]).max(axis=-1) > 1e-3).all()
        np.testing.assert_allclose(changed[1], logits[1], rtol=1e-12)


def test_softmax_has_no_batch_to_divide_by():
    """The gradient of a row, in a batch of four, is its own Jacobian times its ``dy``."""
    x, dy = normal(2, 2, S), normal(2, 2, S, seed=1)
    y, cache = softmax.forward(x)
    dx = softmax.backward(dy, cache)
    for row in np.ndindex(2, 2):
        jacobian = np.diag(y[row]) - np.outer(y[row], y[row])
        close(dx[row], jacobian @ dy[row])


def test_dropout_is_off_without_a_generator():
    """The same logits as with rates of 0, and the same again; so also while generating."""
    dropping = config(**DROPPING)
    params = random_params(CONFIG)
    expected, _ = encoder_decoder.forward(SOURCE, TARGET, params, CONFIG)
    for _ in range(2):
        found, cache = encoder_decoder.forward(SOURCE, TARGET, params, dropping)
        np.testing.assert_array_equal(found, expected)
    assert all(kept.keep is None for _, kept in _dropouts(cache))
    search = {"bos": 1, "eos": 2, "limit": 5}
    assert greedy(SOURCE, params, dropping, **search) == greedy(SOURCE, params, CONFIG, **search)


def test_dropout_is_on_with_a_generator():
    """The settings reach every place: each rate by itself changes the logits."""
    params = random_params(CONFIG)
    expected, _ = encoder_decoder.forward(SOURCE, TARGET, params, CONFIG)
    for name, rate in DROPPING.items():
        rng = np.random.default_rng(0)
        found, _ = encoder_decoder.forward(SOURCE, TARGET, params, config(**{name: rate}), rng)
        assert np.abs(found - expected).max() > 1e-3, name


def test_dropout_of_a_language_model_is_on_with_a_generator_alone():
    """Each rate by itself changes the logits; without a generator none does."""
    params = random_params(LANGUAGE_MODEL)
    expected, _ = causal_lm.forward(TARGET, params, LANGUAGE_MODEL)
    for name, rate in DROPPING.items():
        settings = language_config(**{name: rate})
        found, _ = causal_lm.forward(TARGET, params, settings, np.random.default_rng(0))
        assert np.abs(found - expected).max() > 1e-3, name
        np.testing.assert_array_equal(causal_lm.forward(TARGET, params, settings)[0], expected)
    settings = language_config(**DROPPING)
    found, _ = causal_lm_loss.forward(TARGET, params, settings)
    assert found == causal_lm_loss.forward(TARGET, params, LANGUAGE_MODEL)[0]
    dropped, _ = causal_lm_loss.forward(TARGET, params, settings, np.random.default_rng(0))
    assert abs(dropped - found) > 1e-3


@every_text_loss
def test_dropout_of_a_model_of_texts_is_on_with_a_generator_alone(loss):
    """Each rate by itself changes the loss; without a generator none does."""
    model, others, labels = TEXT_LOSSES[loss]
    settings = text_config(model, **others)
    params = random_params(settings, model=model)
    expected, _ = loss.forward(SOURCE, SEGMENTS, labels, params, settings)
    for name, rate in DROPPING.items():
        dropping = text_config(model, **others, **{name: rate})
        args = (SOURCE, SEGMENTS, labels, params, dropping)
        assert abs(loss.forward(*args, np.random.default_rng(0))[0] - expected) > 1e-4, name
        assert loss.forward(*args)[0] == expected


def _float_arrays(cache):
    """All arrays of floats in a nest of caches."""
    if isinstance(cache, np.ndarray) and cache.dtype.kind == "f":
        yield cache
    elif isinstance(cache, tuple):
        for part in cache:
            yield from _float_arrays(part)


@pytest.mark.parametrize("number", [float, np.float64])
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh"])
def test_float64_does_not_creep_in(number, norm, activation):
    """Loss, gradients and all that is kept for them are float32, dropout and smoothing on.

    Settings may be NumPy's float64, as they come out of a grid of rates: then this holds for loss
    and gradients.
    """
    rates = {name: number(rate) for name, rate in DROPPING.items()}
    others = {"epsilon_ls": number(0.1), "norm_eps": number(1e-5), "dtype": "float32"}
    settings = config(**rates, **others, norm=norm, activation=activation)
    params = random_params(settings)
    rng = np.random.default_rng(0)
    loss, cache = encoder_decoder_loss.forward(SOURCE, TARGET, params, settings, rng)
    assert loss.dtype == np.float32
    if number is float:
        assert {array.dtype for array in _float_arrays(cache)} == {np.dtype(np.float32)}
    dparams = encoder_decoder_loss.backward(number(1), cache)
    assert {array.dtype for _, array in parameters.items(dparams)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("number", [float, np.float64])
@pytest.mark.parametrize("kind", ["learned", "sinusoidal"])
def test_float64_does_not_creep_into_a_language_model(number, kind):
    """The same of a language model, at either kind of positions."""
    rates = {name: number(rate) for name, rate in DROPPING.items()}
    others = {"positions": kind, "norm_eps": number(1e-5), "dtype": "float32", "output_bias": True}
    settings = language_config(**rates, **others)
    params = random_params(settings)
    rng = np.random.default_rng(0)
    loss, cache = causal_lm_loss.forward(TARGET, params, settings, rng)
    assert loss.dtype == np.float32
    if number is float:
        assert {array.dtype for array in _float_arrays(cache)} == {np.dtype(np.float32)}
    dparams = causal_lm_loss.backward(number(1), cache)
    assert {array.dtype for _, array in parameters.items(dparams)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("number", [float, np.float64])
@pytest.mark.parametrize("kind", ["learned", "sinusoidal"])
@every_text_loss
def test_float64_does_not_creep_into_a_model_of_texts(loss, kind, number):
    """The same of each of these, both ways of pooling and class weights among them."""
    model, others, labels = TEXT_LOSSES[loss]
    others = others | {name: number(rate) for name, rate in DROPPING.items()}
    others |= {"positions": kind, "norm_eps": number(1e-12), "dtype": "float32"}
    if model is classifier:
        others["pooling"] = "first" if kind == "learned" else "mean"
        others["class_weights"] = tuple(map(number, others["class_weights"]))
    settings = text_config(model, **others)
    params, rng = random_params(settings, model=model), np.random.default_rng(0)
    found, cache = loss.forward(SOURCE, SEGMENTS, labels, params, settings, rng)
    assert found.dtype == np.float32
    if number is float:
        assert {array.dtype for array in _float_arrays(cache)} == {np.dtype(np.float32)}
    dparams = loss.backward(number(1), cache)
    assert {array.dtype for _, array in parameters.items(dparams)} == {np.dtype(np.float32)}


def test_arguments_are_not_written_to():
    """Not by an in-place product either: the heads of a query are views of the caller's array."""
    x, params = normal(B, T, D), multi_head_attention.init(np.random.default_rng(0), D, np.float64)
    before = copy.deepcopy((x, params))
    y, cache = multi_head_attention.forward(x, x, params, H)
    dy = normal(B, T, D)
    multi_head_attention.backward(dy, cache)
    np.testing.assert_equal((x, params), before)
    np.testing.assert_equal(dy, normal(B, T, D))
