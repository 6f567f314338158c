"""Every decision that ports and papers differ on, and what is said to who gets it wrong."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from strategies import random_params

from numpy_transformer import parameters
from numpy_transformer.layers import (
    decoder,
    decoder_layer,
    encoder,
    encoder_layer,
    feed_forward,
    input_embedding,
    multi_head_attention,
)
from numpy_transformer.models import (
    causal_lm,
    causal_lm_loss,
    classifier,
    classifier_loss,
    encoder_decoder,
    encoder_decoder_loss,
    masked_lm,
    masked_lm_loss,
    text_encoder,
    token_classifier,
    token_classifier_loss,
)
from numpy_transformer.models.encoder_decoder import Config
from numpy_transformer.ops import (
    attention,
    cross_entropy,
    dropout,
    embedding,
    gelu,
    layer_norm,
    linear,
    masks,
    pad,
    pooling,
    positions,
    relu,
    softmax,
    tanh,
    unpad,
)
from numpy_transformer.ops.cross_entropy import IGNORED
from numpy_transformer.ops.erf import erf

CONFIG = Config(
    source_vocab=7,
    target_vocab=7,
    N=2,
    d_model=6,
    d_ff=5,
    h=2,
    P_drop=0.0,
    epsilon_ls=0.0,
    max_length=8,
    dtype="float64",
)
LANGUAGE_MODEL = causal_lm.Config(7, N=2, d_model=6, d_ff=5, h=2, max_length=8, dtype="float64")
TEXT = {"vocab": 7, "N": 2, "d_model": 6, "d_ff": 5, "h": 2, "max_length": 8, "dtype": "float64"}
SOURCE = np.array([[1, 2, 2, 3], [4, 5, 0, 0]])
TARGET = np.array([[1, 3, 3, 6, 2], [1, 4, 2, 0, 0]])


def config(**settings):
    """The settings of this file's model, some of them changed."""
    return Config(**vars(CONFIG) | settings)


def language_config(**settings):
    """The settings of this file's language model, some of them changed."""
    return causal_lm.Config(**vars(LANGUAGE_MODEL) | settings)


def text_config(module=text_encoder, **settings):
    """The settings of this file's models of texts, some of them changed."""
    return module.Config(**TEXT | settings)


def normal(*shape, seed=0):
    """Random numbers, the same in every run."""
    return np.random.default_rng(seed).standard_normal(shape)


def test_weight_of_a_linear_map_is_in_by_out():
    """``y_j = sum_i x_i W_ij + b_j``, summed here one product at a time."""
    x, weight, bias = normal(2, 3), normal(3, 4, seed=1), normal(4, seed=2)
    y, _ = linear.forward(x, weight, bias)
    for n, j in np.ndindex(2, 4):
        expected = sum(x[n, i] * weight[i, j] for i in range(3)) + bias[j]
        assert y[n, j] == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("init", [multi_head_attention.init, partial(feed_forward.init, d_ff=5)])
def test_maps_of_a_layer_are_in_by_out(init):
    """The first extent of every weight is that of what goes in, as the widths tell."""
    params = init(np.random.default_rng(0), d_model=3)
    first = params.get("hidden", params.get("query"))["weight"]
    assert len(first) == 3
    assert params["output"]["weight"].shape[1] == 3


def test_layer_norm_has_a_biased_variance_and_eps_inside_the_root():
    """Of 1 and 3 the biased variance is 1, the unbiased one 2; eps of 3 tells its place."""
    y, _ = layer_norm.forward(np.array([1.0, 3.0]), np.ones(2), np.zeros(2), eps=3.0)
    np.testing.assert_allclose(y, [-1 / math.sqrt(1 + 3), 1 / math.sqrt(1 + 3)], rtol=1e-15)


def test_eps_of_a_layer_norm_is_1e_5():
    """By default; it shows where the variance is as small: here it is 1e-6."""
    y, _ = layer_norm.forward(np.array([0.0, 2e-3]), np.ones(2), np.zeros(2))
    np.testing.assert_allclose(y[1], 1e-3 / math.sqrt(1e-6 + 1e-5), rtol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"norm_eps": 0.5}])
def test_eps_of_a_model_is_that_of_its_settings(settings):
    """In the layers as in the norm at the end; by default 1e-5, as everywhere."""
    settings = config(**settings, scale_embeddings=False)
    params = random_params(settings)
    params["source_embedding"]["weight"] *= 1e-2
    memory, _, embedding_cache, cache = encoder_decoder.encode(SOURCE, params, settings)
    x, _ = input_embedding.forward(
        SOURCE, params["source_embedding"]["weight"], embedding_cache.positions.weight
    )
    eps = settings.norm_eps
    rstd = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    np.testing.assert_allclose(cache.layers[0].self_attention_norm.rstd, rstd, rtol=1e-12)
    # A row of variance v comes out with variance v / (v + eps), and v + eps = 1 / rstd^2.
    normed, rstd = cache.norm.normed, cache.norm.rstd[..., 0]
    np.testing.assert_allclose(normed.var(axis=-1), 1 - eps * rstd * rstd, rtol=1e-12)
    assert Config(7, 7).norm_eps == 1e-5


def test_gelu_has_two_forms():
    """Each as its formula says; they differ by up to 5e-4, and by more than 1e-4 somewhere."""
    x = np.linspace(-8, 8, 2001)
    exact, tanh = gelu.forward(x)[0], gelu.forward(x, "tanh")[0]
    cubic = [math.sqrt(2 / math.pi) * (a + 0.044715 * a**3) for a in x]
    expected = [a / 2 * (1 + math.erf(a / math.sqrt(2))) for a in x]
    np.testing.assert_allclose(exact, expected, rtol=0, atol=1e-14)
    expected = [a / 2 * (1 + math.tanh(c)) for a, c in zip(x, cubic)]
    np.testing.assert_allclose(tanh, expected, rtol=0, atol=1e-14)
    assert 1e-4 < np.abs(exact - tanh).max() <= 5e-4


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-15), (np.float32, 1e-7)])
def test_erf(dtype, tolerance):
    """As accurate as it says it is, everywhere, at numbers that are hard to handle as well."""
    tiny, huge = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    x = np.concatenate([np.linspace(-7, 7, 20011), [0.0, tiny, 1e-30, 6 - 1e-7, huge, np.inf]])
    x = np.concatenate([x, -x]).astype(dtype)
    y = erf(x)
    assert y.dtype == dtype
    exact = np.array([math.erf(a) for a in x.astype(np.float64)])
    assert np.abs(y.astype(np.float64) - exact).max() <= tolerance
    assert np.isnan(erf(np.array([np.nan], dtype))).all()


def test_erf_of_complex_numbers():
    """Close to the real axis, so that a derivative by complex step comes out right; also at 0."""
    x = np.concatenate([np.linspace(-7, 7, 20011), [0.0, -0.0, 1e-9]])
    found = erf(x + 1e-30j).imag / 1e-30
    expected = 2 / math.sqrt(math.pi) * np.exp(-x * x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-13)


def test_true_in_a_mask_means_may_attend():
    """With one ``True`` in a row, the output is the value there."""
    mask = np.array([[False, True, False], [False, False, True]])
    value = normal(3, 4, seed=2)
    y, cache = attention.forward(normal(2, 5), normal(3, 5, seed=1), value, mask)
    np.testing.assert_allclose(y, value[[1, 2]], rtol=1e-15)
    np.testing.assert_array_equal(cache.weights, mask)


def test_a_fully_masked_row_is_zero_where_others_have_a_uniform_row():
    """Weights, output and gradients; also where no key is there at all."""
    query, key, value = normal(2, 5), normal(3, 5, seed=1), normal(3, 4, seed=2)
    y, cache = attention.forward(query, key, value, np.zeros((2, 3), bool))
    for array in (y, cache.weights, *attention.backward(np.ones((2, 4)), cache)):
        np.testing.assert_array_equal(array, np.zeros_like(array))
    y, cache = attention.forward(query, key[:0], value[:0])
    np.testing.assert_array_equal(y, np.zeros((2, 4)))


def test_masks():
    """Who may attend to whom, spelled out for each pair."""
    ids = np.array([[5, 0, 6], [7, 8, 0]])
    padding, causal = masks.padding_mask(ids, pad_id=0), masks.causal_mask(3)
    both = masks.causal_padding_mask(ids, pad_id=0)
    assert (padding.shape, causal.shape, both.shape) == ((2, 1, 1, 3), (3, 3), (2, 1, 3, 3))
    assert {mask.dtype for mask in (padding, causal, both)} == {np.dtype(bool)}
    for b, t, s in np.ndindex(2, 3, 3):
        assert padding[b, 0, 0, s] == (ids[b, s] != 0)
        assert causal[t, s] == (s <= t)
        assert both[b, 0, t, s] == (ids[b, s] != 0 and s <= t)
    np.testing.assert_array_equal(masks.padding_mask(ids, pad_id=8)[1, 0, 0], [True, False, True])


def test_scores_are_scaled_by_one_over_the_root_of_the_head_size():
    """K is 9 here, so by a third; in several heads it is the size of one, not the width."""
    query, key = normal(2, 9), normal(3, 9, seed=1)
    _, cache = attention.forward(query, key, key)
    expected, _ = softmax.forward(query @ key.T / 3)
    np.testing.assert_allclose(cache.weights, expected, rtol=1e-14)

    params = multi_head_attention.init(np.random.default_rng(0), 8, np.float64)
    x = 3 * normal(1, 2, 8)
    _, cache = multi_head_attention.forward(x, x, params, heads=2)
    query, key = x[0] @ params["query"]["weight"][:, :4], x[0] @ params["key"]["weight"][:, :4]
    expected, _ = softmax.forward(query @ key.T / 2)
    np.testing.assert_allclose(cache.attention.weights[0, 0], expected, rtol=1e-13)


@pytest.mark.parametrize("scaled", [True, False])
def test_embeddings_are_scaled_by_the_root_of_the_width(scaled):
    """So is their gradient; positions are not."""
    settings = config(scale_embeddings=scaled, positions="learned")
    scale = math.sqrt(6) if scaled else 1
    params = random_params(settings)
    x, cache = encoder_decoder.embed_target(TARGET, params, settings)
    weight, table = params["target_embedding"]["weight"], params["target_positions"]["weight"]
    np.testing.assert_allclose(x, scale * weight[TARGET] + table[:5], rtol=1e-14)
    dweight, dpositions = input_embedding.backward(np.ones_like(x), cache)
    times = np.bincount(TARGET.ravel(), minlength=7)[:, None]
    np.testing.assert_allclose(dweight, scale * times * np.ones(6), rtol=1e-14)
    np.testing.assert_array_equal(dpositions, 2.0 * (np.arange(8) < 5)[:, None] * np.ones(6))


@pytest.mark.parametrize("width", [6, 7])
def test_sinusoids_have_two_layouts(width):
    """Sine and cosine in turn, or all sines first; the frequencies are the same."""
    turn = positions.sinusoids(5, width, dtype=np.float64)
    halves = positions.sinusoids(5, width, "halves", np.float64)
    sines = math.ceil(width / 2)
    for t, i in np.ndindex(5, width):
        angle = t / 10000 ** (2 * (i // 2) / width)
        wave = math.cos(angle) if i % 2 else math.sin(angle)
        assert turn[t, i] == pytest.approx(wave, rel=1e-13)
        assert halves[t, sines * (i % 2) + i // 2] == turn[t, i]


@pytest.mark.parametrize("layout", ["interleaved", "halves"])
def test_a_model_uses_the_layout_of_its_settings(layout):
    """Embeddings of zero leave the positions alone."""
    settings = config(sinusoids=layout)
    params = random_params(settings)
    params["target_embedding"]["weight"][:] = 0
    x, _ = encoder_decoder.embed_target(TARGET, params, settings)
    np.testing.assert_array_equal(x[1], positions.sinusoids(5, 6, layout, np.float64))


def test_label_smoothing_gives_every_entry_a_share():
    """At the target 1 - e and e / V, elsewhere e / V: with e = 0.3 and V = 3, 0.8 and 0.1."""
    logits = np.array([[1.0, 2.0, 4.0]])
    p, _ = softmax.forward(logits)
    loss, cache = cross_entropy.forward(logits, np.array([1]), label_smoothing=0.3)
    q = np.array([[0.1, 0.8, 0.1]])
    assert loss == pytest.approx(-(q * np.log(p)).sum(), rel=1e-14)
    np.testing.assert_allclose(cross_entropy.backward(1.0, cache), p - q, atol=1e-15)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_the_mean_over_target_tokens_that_are_not_padding(smoothing):
    """The model reads all but the last token and is asked for all but the first: 4 + 2 of them."""
    settings = config(epsilon_ls=smoothing)
    params = random_params(settings)
    loss, _ = encoder_decoder_loss.forward(SOURCE, TARGET, params, settings)
    logits, _ = encoder_decoder.forward(SOURCE, TARGET[:, :-1], params, settings)
    log_p = np.log(softmax.forward(logits)[0])
    losses = [
        -(1 - smoothing) * log_p[b, t, TARGET[b, t + 1]] - smoothing * log_p[b, t].mean()
        for b, length in enumerate([4, 2])
        for t in range(length)
    ]
    assert loss == pytest.approx(sum(losses) / 6, rel=1e-13)


def test_dropout_is_inverted():
    """What is kept is scaled while training, so without dropout nothing is."""
    x = normal(4, 5)
    y, cache = dropout.forward(x, 0.75, np.random.default_rng(0))
    assert 0 < cache.keep.sum() < x.size
    np.testing.assert_array_equal(y, np.where(cache.keep, 4 * x, 0))
    assert dropout.forward(x, 0.75, None)[0] is x


@pytest.mark.parametrize("tie_source, tie_output", [(False, True), (True, False), (True, True)])
def test_gradient_of_tied_weights_is_the_sum_over_the_places_of_use(tie_source, tie_output):
    """An untied model with the same numbers has the same logits, and the parts of the sum."""
    tied = config(tie_source=tie_source, tie_output=tie_output)
    params = random_params(tied)
    untied_params = {
        "source_embedding": params["source_embedding"],
        "target_embedding": {"weight": encoder_decoder.target_weight(params)},
        "output": {"weight": encoder_decoder.output_weight(params, tied)},
        "encoder": params["encoder"],
        "decoder": params["decoder"],
    }
    logits, cache = encoder_decoder.forward(SOURCE, TARGET, params, tied)
    untied = config(tie_source=False, tie_output=False)
    untied_logits, untied_cache = encoder_decoder.forward(SOURCE, TARGET, untied_params, untied)
    np.testing.assert_allclose(logits, untied_logits, rtol=1e-12)
    dlogits = normal(*logits.shape)
    found = encoder_decoder.backward(dlogits, cache)
    parts = encoder_decoder.backward(dlogits, untied_cache)
    target = parts["target_embedding"]["weight"]
    if tie_output:
        target = target + parts["output"]["weight"].T
    else:
        np.testing.assert_allclose(found["output"]["weight"], parts["output"]["weight"])
    source = parts["source_embedding"]["weight"]
    if tie_source:
        assert "target_embedding" not in found
        source = source + target
    else:
        np.testing.assert_allclose(found["target_embedding"]["weight"], target, atol=1e-12)
    np.testing.assert_allclose(found["source_embedding"]["weight"], source, atol=1e-12)


def test_output_and_target_embedding_are_tied_by_default():
    """One array, both vocabularies apart."""
    config = Config(7, 8, N=1, d_model=8)
    params = encoder_decoder.init(np.random.default_rng(0), config)
    weight = encoder_decoder.output_weight(params, config)
    assert weight.base is encoder_decoder.target_weight(params)
    assert {"source_embedding", "target_embedding", "encoder", "decoder"} == set(params)


def test_pre_norm_is_the_default_and_ends_in_a_norm():
    """The norm comes before the sub-layer, the residual goes round both, and one more ends it."""
    assert Config(7, 7).norm == "pre"
    params = random_params(CONFIG)["encoder"]
    y, cache = encoder.forward(normal(2, 3, 6), params, heads=2)
    np.testing.assert_allclose(
        y, params["norm"]["weight"] * cache.norm.normed + params["norm"]["bias"], rtol=1e-14
    )
    np.testing.assert_allclose(cache.norm.normed.mean(axis=-1), 0, atol=1e-14)
    x, layer = normal(2, 3, 6), params["layers"]["0"]
    h, _ = layer_norm.forward(x, **layer["self_attention_norm"])
    x_2 = x + multi_head_attention.forward(h, h, layer["self_attention"], 2)[0]
    h, _ = layer_norm.forward(x_2, **layer["feed_forward_norm"])
    expected = x_2 + feed_forward.forward(h, layer["feed_forward"])[0]
    np.testing.assert_allclose(encoder_layer.forward(x, layer, 2)[0], expected, rtol=1e-12)


def test_post_norm_has_a_norm_after_each_residual_and_none_at_the_end():
    """As in the paper."""
    params = random_params(config(norm="post"))
    assert "norm" not in params["encoder"] and "norm" not in params["decoder"]
    x, memory = normal(2, 3, 6), normal(2, 4, 6, seed=1)
    y, cache = decoder.forward(x, memory, params["decoder"], heads=2, norm="post")
    assert cache.norm is None
    last = cache.layers[-1].feed_forward_norm
    bias = params["decoder"]["layers"]["1"]["feed_forward_norm"]["bias"]
    np.testing.assert_allclose(y, last.weight * last.normed + bias, rtol=1e-14)
    layer = params["encoder"]["layers"]["0"]
    h = x + multi_head_attention.forward(x, x, layer["self_attention"], 2)[0]
    x_2, _ = layer_norm.forward(h, **layer["self_attention_norm"])
    h = x_2 + feed_forward.forward(x_2, layer["feed_forward"])[0]
    expected, _ = layer_norm.forward(h, **layer["feed_forward_norm"])
    found, _ = encoder_layer.forward(x, layer, 2, norm="post")
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_slope_of_relu_at_0_is_0():
    """It is taken as that, as there is no derivative; so also at -0."""
    y, cache = relu.forward(np.array([-1.0, -0.0, 0.0, 2.0]))
    np.testing.assert_array_equal(y, [0, 0, 0, 2])
    np.testing.assert_array_equal(relu.backward(np.full(4, 5.0), cache), [0, 0, 0, 5])


# The language model


@pytest.mark.parametrize("kind", ["learned", "sinusoidal"])
def test_embeddings_of_a_language_model_are_not_scaled(kind):
    """They and the positions are added as they are; so also their gradients."""
    settings = language_config(positions=kind, tie_output=False)
    params = random_params(settings)
    logits, cache = causal_lm.forward(TARGET, params, settings)
    table = causal_lm.position_table(params, settings)
    x = params["embedding"]["weight"][TARGET] + table[:5]
    h, other = encoder.forward(
        x, params["decoder"], 2, masks.causal_mask(5), activation="gelu_tanh"
    )
    np.testing.assert_allclose(logits, h @ params["output"]["weight"], rtol=1e-12)
    dlogits = normal(*logits.shape)
    dparams = causal_lm.backward(dlogits, cache)
    dx, _ = encoder.backward(dlogits @ params["output"]["weight"].T, other)
    expected = np.zeros((7, 6))
    np.add.at(expected, TARGET, dx)
    np.testing.assert_allclose(dparams["embedding"]["weight"], expected, atol=1e-12)
    if kind == "learned":
        np.testing.assert_allclose(dparams["positions"]["weight"][:5], dx.sum(0), atol=1e-12)
        assert not dparams["positions"]["weight"][5:].any()
    else:
        assert "positions" not in {*params, *dparams}


def test_positions_of_a_language_model_may_be_sinusoids_of_either_layout():
    """With the settings' own layout, width and precision."""
    for layout in positions.LAYOUTS:
        settings = language_config(positions="sinusoidal", sinusoids=layout)
        table = causal_lm.position_table(random_params(settings), settings)
        np.testing.assert_array_equal(table, positions.sinusoids(8, 6, layout, np.float64))


def test_a_language_model_is_gpt_2_by_default():
    """GELU with tanh, pre-norm, a tied output without a bias, learned positions, no dropout."""
    assert causal_lm.preset("gpt2", vocab=50_257) == causal_lm.Config(50_257)
    config = causal_lm.Config(50_257)
    assert (config.activation, config.positions, config.norm_eps) == ("gelu_tanh", "learned", 1e-5)
    assert (config.tie_output, config.output_bias, config.attention_bias) == (True, False, True)
    assert (config.P_drop, config.attention_dropout, config.activation_dropout) == (0, 0, 0)
    assert (config.max_length, config.sinusoids, config.dtype) == (1024, "interleaved", "float32")
    params = random_params(LANGUAGE_MODEL)
    _, cache = causal_lm.forward(TARGET, params, LANGUAGE_MODEL)
    for layer in cache.decoder.layers:
        assert layer.pre and layer.feed_forward.activation.approximate == "tanh"
    assert cache.decoder.norm is not None
    assert np.shares_memory(cache.output.weight, params["embedding"]["weight"])  # one array


@pytest.mark.parametrize("bias", [False, True])
def test_gradient_of_a_tied_output_is_the_sum_over_its_two_places(bias):
    """An untied model with the same numbers has the same logits, and the parts of the sum."""
    tied = language_config(output_bias=bias)
    untied = language_config(output_bias=bias, tie_output=False)
    params = random_params(tied)
    weight = {"weight": params["embedding"]["weight"].T}
    untied_params = params | {"output": weight | params.get("output", {})}
    logits, cache = causal_lm.forward(TARGET, params, tied)
    untied_logits, untied_cache = causal_lm.forward(TARGET, untied_params, untied)
    np.testing.assert_allclose(logits, untied_logits, rtol=1e-12)
    dlogits = normal(*logits.shape)
    found = dict(parameters.items(causal_lm.backward(dlogits, cache)))
    parts = dict(parameters.items(causal_lm.backward(dlogits, untied_cache)))
    from_output = parts.pop("output.weight").T
    assert min(np.abs(from_output).max(), np.abs(parts["embedding.weight"]).max()) > 0.1
    parts["embedding.weight"] = parts["embedding.weight"] + from_output
    assert found.keys() == parts.keys()
    for name, array in parts.items():
        np.testing.assert_allclose(found[name], array, atol=1e-12)


def test_loss_of_a_language_model_is_the_mean_over_every_next_token():
    """All but the first are asked for, 0 like any other: there is no padding."""
    params = random_params(LANGUAGE_MODEL)
    loss, _ = causal_lm_loss.forward(TARGET, params, LANGUAGE_MODEL)
    logits, _ = causal_lm.forward(TARGET, params, LANGUAGE_MODEL)
    log_p = np.log(softmax.forward(logits)[0])
    losses = [-log_p[b, t, TARGET[b, t + 1]] for b in range(2) for t in range(4)]
    assert loss == pytest.approx(np.mean(losses), rel=1e-13)


def test_weights_of_a_language_model_are_drawn_as_gpt_2_s():
    """Normal, with deviation 0.02; what ends in a residual with that over sqrt(2 N); biases 0."""
    config = causal_lm.Config(
        150, N=3, d_model=64, d_ff=128, h=4, max_length=96, tie_output=False, output_bias=True
    )
    params = causal_lm.init(np.random.default_rng(0), config)
    drawn = []
    for name, array in parameters.items(params):
        assert array.dtype == np.float32
        if array.ndim == 1:
            np.testing.assert_array_equal(array, 1 if name.endswith("norm.weight") else 0)
            continue
        residual = name.startswith("decoder") and name.endswith("output.weight")
        deviation = 0.02 / math.sqrt(6) if residual else 0.02
        unit = array.ravel() / deviation
        size = math.sqrt(unit.size)
        assert abs(unit.mean()) < 4 / size, name
        assert abs(unit.std() - 1) < 4 / size / math.sqrt(2), name
        assert abs((np.abs(unit) < 1).mean() - 0.6827) < 4 * 0.4655 / size, name
        drawn.append(unit[:4096])
    assert len(drawn) == 3 + 3 * 6
    assert np.abs(np.corrcoef(drawn) - np.eye(len(drawn))).max() < 0.07  # no draw is used twice
    double = causal_lm.init(np.random.default_rng(0), language_config())
    assert {array.dtype for _, array in parameters.items(double)} == {np.dtype(np.float64)}


def count(config):
    """How many numbers the parameters of a language model are, from its settings alone."""
    D, F, V = config.d_model, config.d_ff, config.vocab
    attention = 4 * D * D + (4 if config.attention_bias else 1) * D
    layer = attention + (D * F + F) + (F * D + D) + 2 * 2 * D
    tables = V * D + (config.max_length * D if config.positions == "learned" else 0)
    output = (0 if config.tie_output else D * V) + (V if config.output_bias else 0)
    return tables + config.N * layer + 2 * D + output


@pytest.mark.parametrize("attention_bias", [False, True])
@pytest.mark.parametrize("output_bias", [False, True])
@pytest.mark.parametrize("tie_output", [False, True])
@pytest.mark.parametrize("kind", ["learned", "sinusoidal"])
def test_settings_make_the_parameters_that_they_say(kind, tie_output, output_bias, attention_bias):
    """No more and no fewer, and the gradients have the same names in the same order."""
    biases = {"output_bias": output_bias, "attention_bias": attention_bias}
    config = language_config(positions=kind, tie_output=tie_output, **biases)
    params = causal_lm.init(np.random.default_rng(0), config)
    assert parameters.count(params) == count(config)
    y, cache = causal_lm.forward(TARGET, params, config)
    dparams = causal_lm.backward(y, cache)
    assert list(dparams) == list(params)
    shapes = [(name, array.shape) for name, array in parameters.items(params)]
    assert [(name, array.shape) for name, array in parameters.items(dparams)] == shapes


# GPT-2's sizes as published, those of OpenAI's checkpoints; the name says about how many.
COUNTS = {
    "char": (65, 209_729),
    "gpt2": (50_257, 124_439_808),
    "gpt2-medium": (50_257, 354_823_168),
    "gpt2-large": (50_257, 774_030_080),
    "gpt2-xl": (50_257, 1_557_611_200),
}


@pytest.mark.parametrize("name", COUNTS)
def test_presets_have_the_published_number_of_parameters(name):
    """Counted without making them, but for the small one."""
    vocab, expected = COUNTS[name]
    config = causal_lm.preset(name, vocab=vocab)
    assert count(config) == expected
    if name == "char":
        assert parameters.count(causal_lm.init(np.random.default_rng(0), config)) == expected
        assert (config.activation, config.max_length, config.h) == ("relu", 32, 4)
    else:
        assert config.d_model == 64 * config.h  # which no count shows
        assert (config.activation, config.max_length) == ("gelu_tanh", 1024)


def test_settings_given_beside_a_preset_take_the_place_of_its_own():
    """Those that it has, and those that it has not; the rest stay as they are."""
    config = causal_lm.preset("char", vocab=65, h=2, P_drop=0.5)
    expected = vars(causal_lm.preset("char", vocab=65)) | {"h": 2, "P_drop": 0.5}
    assert vars(config) == expected


# The models of texts


def test_embeddings_of_texts_are_not_scaled_and_go_through_a_norm():
    """Tokens, positions and segments are added as they are; then a layer norm, then the layers."""
    settings = text_config()
    params = random_params(settings)
    segments = np.array([[0, 0, 0, 1, 1], [0, 1, 1, 0, 0]])
    h, cache = text_encoder.forward(TARGET, segments, params, settings)
    x = params["embedding"]["weight"][TARGET] + params["positions"]["weight"][:5]
    x, _ = layer_norm.forward(
        x + params["segments"]["weight"][segments], **params["embedding_norm"], eps=1e-12
    )
    mask = masks.padding_mask(TARGET, 0)
    expected, _ = encoder.forward(
        x, params["encoder"], 2, mask, eps=1e-12, norm="post", activation="gelu"
    )
    tokens = TARGET != 0
    np.testing.assert_allclose(h[tokens], expected[tokens], rtol=1e-12)
    assert not h[~tokens].any() and not tokens.all()
    without, _ = text_encoder.forward(TARGET, None, params, settings)
    same, _ = text_encoder.forward(TARGET, np.zeros_like(TARGET), params, settings)
    np.testing.assert_array_equal(without, same)
    dh = normal(*h.shape)
    dparams = text_encoder.backward(dh, cache)
    # Each token adds the same to one row of each table.
    totals = [
        dparams[name]["weight"].sum(axis=0) for name in ("embedding", "positions", "segments")
    ]
    np.testing.assert_allclose(totals[1:], totals[:1] * 2, atol=1e-12)


def test_an_encoder_of_texts_is_bert_by_default():
    """Post-norm with eps 1e-12, the exact GELU, learned positions, two segments, no dropout."""
    assert text_encoder.preset("bert-base", vocab=30_522) == text_encoder.Config(30_522)
    config = text_encoder.Config(30_522)
    assert (config.norm, config.norm_eps, config.activation) == ("post", 1e-12, "gelu")
    assert (config.positions, config.segments, config.pad_id) == ("learned", 2, 0)
    assert (config.P_drop, config.attention_dropout, config.activation_dropout) == (0, 0, 0)
    assert (config.max_length, config.dtype) == (512, "float32")
    settings = text_config()
    params = random_params(settings, model=masked_lm)
    _, cache = masked_lm.forward(TARGET, None, TARGET > 2, params, settings)
    assert cache.activation.approximate == "none"
    assert np.shares_memory(cache.output.weight, params["embedding"]["weight"])  # one array
    assert cache.encoder.encoder.norm is None
    for layer in cache.encoder.encoder.layers:
        assert not layer.pre and layer.feed_forward.activation.approximate == "none"


@pytest.mark.parametrize("settings", [{}, {"norm_eps": 0.5}])
def test_eps_of_a_model_of_texts_is_that_of_its_settings(settings):
    """In the norms of the embeddings, of the layers and of the head; by default 1e-12."""
    config = text_config(**settings)
    params = random_params(config, model=masked_lm)
    _, cache = masked_lm.forward(TARGET, None, TARGET > 0, params, config)
    layer = cache.encoder.encoder.layers[0]
    norms = [cache.encoder.embedding_norm, layer.self_attention_norm, layer.feed_forward_norm]
    for norm in [*norms, cache.norm]:
        # A row of variance v comes out with variance v / (v + eps), and v + eps = 1 / rstd^2.
        expected = 1 - config.norm_eps * norm.rstd[..., 0] ** 2
        np.testing.assert_allclose(norm.normed.var(axis=-1), expected, rtol=1e-12)


def test_a_token_knows_both_sides():
    """A change of any token shows in every vector; a change of padding in none."""
    config = text_config()
    params = random_params(config)
    h, _ = text_encoder.forward(TARGET, None, params, config)
    for t in range(5):
        other = TARGET.copy()
        other[0, t] = 5
        changed, _ = text_encoder.forward(other, None, params, config)
        assert (np.abs(changed[0] - h[0]).max(axis=-1) > 1e-3).all()
        np.testing.assert_allclose(changed[1], h[1], rtol=1e-12)


def test_the_first_token_is_pooled_or_the_mean_of_all_but_padding():
    """The mean takes in the first token and the last one as well: [CLS] and [SEP] are tokens."""
    for how in pooling.WAYS:
        config = text_config(classifier, pooling=how)
        params = random_params(config)
        logits, _ = classifier.forward(TARGET, None, params, config)
        h, _ = text_encoder.forward(TARGET, None, params, config)
        p = h[:, 0] if how == "first" else np.stack([h[0].mean(axis=0), h[1, :3].mean(axis=0)])
        p = np.tanh(p @ params["pooler"]["weight"] + params["pooler"]["bias"])
        expected = p @ params["output"]["weight"] + params["output"]["bias"]
        np.testing.assert_allclose(logits, expected, rtol=1e-12)
    assert classifier.Config(7).pooling == "first"


def test_a_text_without_tokens_has_the_mean_0():
    """And no gradient, as there is nothing that it could go to."""
    y, cache = pooling.forward(ONES((2, 3, 4)), np.array([[True, False, True], [False] * 3]))
    np.testing.assert_array_equal(y, [[1] * 4, [0] * 4])
    assert not pooling.backward(ONES((2, 4)), cache)[1].any()


def test_slope_of_tanh_is_that_of_its_output():
    """Also where the output is 1: the slope is 0 there, not NaN."""
    y, cache = tanh.forward(np.array([-40.0, 0.0, 0.5, 40.0]))
    np.testing.assert_allclose(y, [-1, 0, math.tanh(0.5), 1], rtol=1e-15)
    slopes = [0, 1, 1 / math.cosh(0.5) ** 2, 0]
    np.testing.assert_allclose(tanh.backward(ONES(4), cache), slopes, rtol=1e-15)


def test_the_loss_of_chosen_tokens_is_their_mean():
    """Not that of all tokens, nor the mean of each text's mean: 3 and 1 of 10 are chosen."""
    config = text_config()
    params = random_params(config, model=masked_lm)
    targets = np.full(TARGET.shape, -100)
    targets[0, [0, 2, 3]], targets[1, 1] = [4, 0, 6], 3
    loss, _ = masked_lm_loss.forward(TARGET, None, targets, params, config)
    logits, _ = masked_lm.forward(TARGET, None, targets != -100, params, config)
    log_p = np.log(softmax.forward(logits)[0])
    assert logits.shape == (4, 7)  # in the order of reading
    assert loss == pytest.approx(-log_p[range(4), [4, 0, 6, 3]].sum() / 4, rel=1e-13)


def test_no_chosen_token_gives_a_loss_of_0():
    """And gradients of zeros, not NaN."""
    config = text_config()
    params = random_params(config, model=masked_lm)
    loss, cache = masked_lm_loss.forward(
        TARGET, None, np.full(TARGET.shape, IGNORED), params, config
    )
    assert loss == 0
    for _, gradient in parameters.items(masked_lm_loss.backward(1.0, cache)):
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_what_has_no_label_is_marked_by_minus_100():
    """As in PyTorch; 0 is a class like any other, of texts, tokens and hidden tokens."""
    assert IGNORED == -100
    config = text_config(classifier, classes=3)
    params = random_params(config)
    loss, _ = classifier_loss.forward(TARGET, None, np.array([0, -100]), params, config)
    alone, _ = classifier_loss.forward(TARGET[:1], None, np.array([0]), params, config)
    assert loss == pytest.approx(alone, rel=1e-12)
    config = text_config(token_classifier, classes=3)
    params = random_params(config)
    labels = np.array([[-100, 0, 1, 2, -100], [-100, 0, 2, -100, -100]])
    loss, _ = token_classifier_loss.forward(TARGET, None, labels, params, config)
    logits, _ = token_classifier.forward(TARGET, None, params, config)
    log_p = np.log(softmax.forward(logits)[0])
    counting = [(0, 1, 0), (0, 2, 1), (0, 3, 2), (1, 1, 0), (1, 2, 2)]
    assert loss == pytest.approx(-sum(log_p[place] for place in counting) / 5, rel=1e-13)


def test_a_weighted_loss_is_divided_by_the_sum_of_the_weights():
    """As in PyTorch: with weights 1, 2 and 5 and targets 2, 0 and 2 by 11, not by 3."""
    logits, targets = normal(4, 3), np.array([2, 0, -100, 2])
    log_p = np.log(softmax.forward(logits)[0])
    loss, cache = cross_entropy.forward(logits, targets, -100, class_weights=[1, 2, 5])
    expected = -(5 * log_p[0, 2] + log_p[1, 0] + 5 * log_p[3, 2]) / 11
    assert loss == pytest.approx(expected, rel=1e-14)
    dlogits = cross_entropy.backward(1.0, cache)
    share = np.array([[5], [1], [0], [5]]) / 11
    q = np.eye(3)[[2, 0, 0, 2]]
    np.testing.assert_allclose(dlogits, share * (np.exp(log_p) - q), atol=1e-15)
    for times in (0.5, 3.0):  # only what they are to each other matters
        same, _ = cross_entropy.forward(
            logits, targets, -100, class_weights=[1 * times, 2 * times, 5 * times]
        )
        assert same == pytest.approx(loss, rel=1e-14)


@pytest.mark.parametrize("loss", [classifier_loss, token_classifier_loss])
def test_class_weights_of_the_settings_are_those_of_the_loss(loss):
    """The mean over texts or tokens, each with the weight of its class."""
    model = classifier if loss is classifier_loss else token_classifier
    config = text_config(model, classes=3, class_weights=[1, 2, 5])
    assert config.class_weights == (1.0, 2.0, 5.0)  # JSON has lists alone
    params = random_params(config)
    labels = np.array([2, 0]) if model is classifier else np.array([[2, 0, 1, 1, 0]] * 2)
    logits, _ = model.forward(TARGET, None, params, config)
    found, _ = loss.forward(TARGET, None, labels, params, config)
    expected, _ = cross_entropy.forward(logits, labels, class_weights=[1, 2, 5])
    plain, _ = cross_entropy.forward(logits, labels)
    assert found == pytest.approx(expected, rel=1e-14)
    assert abs(found - plain) > 1e-3


def test_weights_of_a_model_of_texts_at_the_start():
    """Tables and what makes classes: normal, deviation 0.02. All other maps: Xavier uniform."""
    config = classifier.Config(
        150, N=2, d_model=64, d_ff=128, h=4, max_length=96, segments=64, classes=70
    )
    params = classifier.init(np.random.default_rng(0), config)
    head = masked_lm.init(np.random.default_rng(1), text_config(d_model=64))["prediction"]
    drawn = []
    for name, array in [*parameters.items(params), *parameters.items({"prediction": head})]:
        if array.ndim == 1:
            if not name.startswith("encoder") or "norm" in name:
                np.testing.assert_array_equal(array, 1 if name.endswith("norm.weight") else 0)
            continue
        if name.startswith(("embedding", "positions", "segments", "output")):
            unit, inside, variance_of_squares = array.ravel() / 0.02, 0.6827, 2
        else:
            fan_out = 3 * 64 if name.endswith(("query.weight", "key.weight", "value.weight")) else 0
            bound = math.sqrt(6 / (array.shape[0] + (fan_out or array.shape[1])))
            assert np.abs(array).max() <= bound, name
            unit, inside, variance_of_squares = math.sqrt(3) / bound * array.ravel(), 3**-0.5, 0.8
        size = math.sqrt(unit.size)
        assert abs(unit.mean()) < 4 / size, name
        assert abs(unit.std() - 1) < 4 / size * math.sqrt(variance_of_squares) / 2, name
        share = math.sqrt(inside * (1 - inside))
        assert abs((np.abs(unit) < 1).mean() - inside) < 4 * share / size, name
        drawn.append(unit[:4096])
    assert len(drawn) == 3 + 2 * 6 + 2 + 1
    assert np.abs(np.corrcoef(drawn) - np.eye(len(drawn))).max() < 0.08  # no draw is used twice
    assert {array.dtype for _, array in parameters.items(params)} == {np.dtype(np.float32)}
    assert {array.dtype for _, array in parameters.items(head)} == {np.dtype(np.float64)}


def count_of_texts(config, model):
    """How many numbers the parameters of a model of texts are, from its settings alone."""
    D, F, V = config.d_model, config.d_ff, config.vocab
    layer = 4 * (D * D + D) + (D * F + F) + (F * D + D) + 2 * 2 * D
    tables = (V + config.segments) * D
    tables += config.max_length * D if config.positions == "learned" else 0
    encoder = tables + 2 * D + config.N * layer + (2 * D if config.norm == "pre" else 0)
    if model is masked_lm:
        return encoder + (D * D + D) + 2 * D + V
    if model is text_encoder:
        return encoder
    pooler = D * D + D if model is classifier else 0
    return encoder + pooler + (D + 1) * config.classes


@pytest.mark.parametrize("model", [text_encoder, masked_lm, classifier, token_classifier])
@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("kind", ["learned", "sinusoidal"])
def test_settings_make_the_parameters_of_a_model_of_texts(kind, norm, model):
    """No more and no fewer, and all of them share the encoder's names."""
    classes = {"classes": 3} if model in (classifier, token_classifier) else {}
    config = text_config(model, positions=kind, norm=norm, segments=4, **classes)
    params = model.init(np.random.default_rng(0), config)
    assert parameters.count(params) == count_of_texts(config, model)
    names = [name for name in text_encoder.NAMES if name != "positions" or kind == "learned"]
    assert list(params)[: len(names)] == names
    part = text_encoder.part_of(params)
    assert list(part) == names and all(part[name] is params[name] for name in names)


# As many as those of the checkpoints that Google published, counted as Hugging Face's classes do.
@pytest.mark.parametrize(
    "name, expected", [("bert-base", 109_514_298), ("bert-large", 335_174_458)]
)
def test_presets_of_bert_have_the_published_number_of_parameters(name, expected):
    """Those of the masked language model, without what predicts whether texts are neighbours."""
    config = text_encoder.preset(name, vocab=30_522)
    assert count_of_texts(config, masked_lm) == expected
    assert config.d_model == 64 * config.h  # which no count shows


@pytest.mark.parametrize(
    "model", [encoder_decoder, causal_lm, text_encoder, classifier, token_classifier]
)
def test_sizes_may_be_numpy_s_integers(model):
    """As they come out of an array; they are kept as Python's, which JSON takes."""
    names = ("d_model", "d_ff", "h", "N", "max_length")
    vocabularies = ("source_vocab", "target_vocab") if model is encoder_decoder else ("vocab",)
    names += tuple({"segments", "classes"} & set(model.Config.__dataclass_fields__))
    settings = model.Config(**{name: np.int64(8) for name in (*names, *vocabularies)})
    assert {type(getattr(settings, name)) for name in (*names, *vocabularies)} == {int}


# What is said to who gets it wrong: what was given, and what was expected.

ONES = np.ones
ROWS = np.ones((1, 2, 6))
LAYER = {"rng": np.random.default_rng(0), "d_model": 6, "d_ff": 5}
ATTENTION = multi_head_attention.init(np.random.default_rng(0), 6)


def _feed_forward(x, activation="relu"):
    feed_forward.forward(x, feed_forward.init(**LAYER), activation)


def _encoder_layer(x, **settings):
    encoder_layer.forward(x, encoder_layer.init(**LAYER), 2, **settings)


def _decoder_layer(x, memory, **settings):
    decoder_layer.forward(x, memory, decoder_layer.init(**LAYER), 2, **settings)


def _model(source, target, module=encoder_decoder):
    module.forward(np.array(source), np.array(target), random_params(CONFIG), CONFIG)


def _language_model(ids, module=causal_lm):
    module.forward(ids, random_params(LANGUAGE_MODEL), LANGUAGE_MODEL)


def _texts(ids, *between, segments=None, module=text_encoder, model=text_encoder, **settings):
    config = text_config(model, **settings)
    module.forward(ids, segments, *between, random_params(config, model=model), config)


_masked = partial(_texts, module=masked_lm, model=masked_lm)
_masked_loss = partial(_texts, module=masked_lm_loss, model=masked_lm)
_classified = partial(_texts, module=classifier_loss, model=classifier, classes=3)
_tokens = partial(_texts, module=token_classifier_loss, model=token_classifier, classes=3)
_loss = partial(_model, module=encoder_decoder_loss)
_language_model_loss = partial(_language_model, module=causal_lm_loss)
_settings = partial(Config, 7, 7)

REFUSED = {
    # linear
    "linear: width": (
        lambda: linear.forward(ONES((2, 3)), ONES((4, 5))),
        ValueError,
        ["(2, 3)", "(4, 5)", "(in, out)"],
    ),
    "linear: flat weight": (
        lambda: linear.forward(ONES((2, 3)), ONES(3)),
        ValueError,
        ["(2, 3)", "(3,)", "(in, out)"],
    ),
    "linear: bias": (
        lambda: linear.forward(ONES((2, 3)), ONES((3, 5)), ONES(3)),
        ValueError,
        ["(3,)", "(5,)"],
    ),
    # layer_norm
    "layer_norm: weight": (
        lambda: layer_norm.forward(ONES((2, 3)), ONES(2), ONES(3)),
        ValueError,
        ["(2, 3)", "weight (2,)", "(3,)"],
    ),
    "layer_norm: bias": (
        lambda: layer_norm.forward(ONES((2, 3)), ONES(3), ONES((1, 3))),
        ValueError,
        ["(2, 3)", "bias (1, 3)", "(3,)"],
    ),
    # gelu, dropout
    "gelu: form": (
        lambda: gelu.forward(ONES(3), "erf"),
        ValueError,
        ["'erf'", "'none'", "'tanh'"],
    ),
    "dropout: all": (lambda: dropout.forward(ONES(3), 1.0, None), ValueError, ["1.0", "less than"]),
    "dropout: below 0": (
        lambda: dropout.forward(ONES(3), -0.1, None),
        ValueError,
        ["-0.1", "at least 0"],
    ),
    "dropout: NaN": (lambda: dropout.forward(ONES(3), np.nan, None), ValueError, ["nan"]),
    # embedding, positions
    "embedding: floats": (
        lambda: embedding.forward(ONES(2), ONES((3, 4))),
        TypeError,
        ["float64", "integers"],
    ),
    "embedding: booleans": (
        lambda: embedding.forward(ONES(2, bool), ONES((3, 4))),
        TypeError,
        ["bool", "integers"],
    ),
    "embedding: below 0": (
        lambda: embedding.forward(np.array([-1, 2]), ONES((3, 4))),
        IndexError,
        ["-1 to 2", "0 to 2"],
    ),
    "embedding: too large": (
        lambda: embedding.forward(np.array([1, 3]), ONES((3, 4))),
        IndexError,
        ["1 to 3", "0 to 2"],
    ),
    "positions: too long": (
        lambda: positions.forward(ONES((2, 5, 4)), ONES((3, 4))),
        ValueError,
        ["(2, 5, 4)", "(3, 4)", "at most 3"],
    ),
    "positions: width": (
        lambda: positions.forward(ONES((2, 3, 1)), ONES((3, 4))),
        ValueError,
        ["(2, 3, 1)", "(3, 4)", "width 4"],
    ),
    "positions: one axis": (
        lambda: positions.forward(ONES(4), ONES((3, 4))),
        ValueError,
        ["(4,)", "(3, 4)"],
    ),
    "sinusoids: layout": (
        lambda: positions.sinusoids(2, 4, "half"),
        ValueError,
        ["'half'", "'interleaved'", "'halves'"],
    ),
    # softmax, attention
    "softmax: integers": (
        lambda: softmax.forward(ONES((2, 3), np.int64)),
        TypeError,
        ["int64", "floats"],
    ),
    "attention: integers": (
        lambda: attention.forward(*[ONES((2, 3), np.int64)] * 3),
        TypeError,
        ["int64", "floats"],
    ),
    "attention: head size": (
        lambda: attention.forward(ONES((2, 4)), ONES((3, 5)), ONES((3, 4))),
        ValueError,
        ["query (2, 4)", "key (3, 5)", "value (3, 4)", "(..., T, K)"],
    ),
    "attention: keys and values": (
        lambda: attention.forward(ONES((2, 4)), ONES((3, 4)), ONES((2, 4))),
        ValueError,
        ["query (2, 4)", "key (3, 4)", "value (2, 4)", "(..., S, Kv)"],
    ),
    "attention: leading axes": (
        lambda: attention.forward(ONES((1, 2, 4)), ONES((2, 3, 4)), ONES((2, 3, 4))),
        ValueError,
        ["query (1, 2, 4)", "same leading axes"],
    ),
    "attention: one axis": (
        lambda: attention.forward(ONES(4), ONES(4), ONES(4)),
        ValueError,
        ["query (4,)", "(..., T, K)"],
    ),
    "attention: numbers as a mask": (
        lambda: attention.forward(ONES((2, 4)), ONES((3, 4)), ONES((3, 4)), ONES((2, 3))),
        TypeError,
        ["float64", "bool"],
    ),
    "attention: transposed mask": (
        lambda: attention.forward(ONES((2, 4)), ONES((3, 4)), ONES((3, 4)), ONES((3, 2), bool)),
        ValueError,
        ["(3, 2)", "(2, 3)"],
    ),
    "attention: mask with too many axes": (
        lambda: attention.forward(ONES((2, 4)), ONES((3, 4)), ONES((3, 4)), ONES((1, 2, 3), bool)),
        ValueError,
        ["(1, 2, 3)", "(2, 3)"],
    ),
    # cross_entropy
    "cross_entropy: integers as logits": (
        lambda: cross_entropy.forward(ONES((2, 3), np.int64), ONES(2, int)),
        TypeError,
        ["int64", "floats"],
    ),
    "cross_entropy: floats": (
        lambda: cross_entropy.forward(ONES((2, 3)), ONES(2)),
        TypeError,
        ["float64", "integers"],
    ),
    "cross_entropy: shapes": (
        lambda: cross_entropy.forward(ONES((2, 3)), ONES(3, int)),
        ValueError,
        ["(2, 3)", "(3,)", "(..., V)"],
    ),
    "cross_entropy: too large": (
        lambda: cross_entropy.forward(ONES((2, 3)), np.array([1, 3])),
        IndexError,
        ["1 to 3", "0 to 2"],
    ),
    "cross_entropy: below 0": (
        lambda: cross_entropy.forward(ONES((2, 3)), np.array([1, -100])),
        IndexError,
        ["-100 to 1", "0 to 2"],
    ),
    "cross_entropy: smoothing": (
        lambda: cross_entropy.forward(ONES((2, 3)), np.array([1, 2]), None, 1.5),
        ValueError,
        ["1.5", "0 to 1"],
    ),
    "cross_entropy: too few class weights": (
        lambda: cross_entropy.forward(ONES((2, 3)), np.array([1, 2]), class_weights=[1, 2]),
        ValueError,
        ["[1, 2]", "3 finite numbers", "at least 0"],
    ),
    "cross_entropy: a class weight below 0": (
        lambda: cross_entropy.forward(ONES((2, 3)), np.array([1, 2]), class_weights=[1, -2, 1]),
        ValueError,
        ["[1, -2, 1]", "at least 0"],
    ),
    "cross_entropy: an infinite class weight": (
        lambda: cross_entropy.forward(ONES((1, 2)), np.array([1]), class_weights=[1, math.inf]),
        ValueError,
        ["[1, inf]", "finite"],
    ),
    "cross_entropy: class weights and smoothing": (
        lambda: cross_entropy.forward(ONES((1, 2)), np.array([1]), None, 0.1, [1, 2]),
        ValueError,
        ["class_weights", "label_smoothing", "do not go together"],
    ),
    # unpad and pad
    "unpad: tokens": (
        lambda: unpad.forward(ONES((1, 2, 3)), ONES((2, 1), bool)),
        ValueError,
        ["unpad", "(1, 2, 3)", "(2, 1)", "(B, T)"],
    ),
    "unpad: numbers for tokens": (
        lambda: unpad.forward(ONES((1, 2, 3)), ONES((1, 2))),
        ValueError,
        ["unpad", "float64", "bool"],
    ),
    "unpad: two axes": (
        lambda: unpad.forward(ONES((2, 3)), ONES(2, bool)),
        ValueError,
        ["(2, 3)", "(B, T, D)"],
    ),
    "pad: another number of rows": (
        lambda: pad.forward(ONES((3, 6)), np.array([[True, True], [False, False]])),
        ValueError,
        ["pad", "(3, 6)", "2 tokens", "(2, 2)"],
    ),
    "pad: numbers for tokens": (
        lambda: pad.forward(ONES((2, 3)), ONES((1, 2))),
        ValueError,
        ["pad", "float64", "bool"],
    ),
    "pad: one axis of tokens": (
        lambda: pad.forward(ONES((2, 3)), ONES(2, bool)),
        ValueError,
        ["(2,)", "(B, T)"],
    ),
    # pooling
    "pooling: way": (
        lambda: pooling.forward(ONES((1, 2, 3)), ONES((1, 2), bool), "last"),
        ValueError,
        ["'last'", "'first'", "'mean'"],
    ),
    "pooling: mask": (
        lambda: pooling.forward(ONES((1, 2, 3)), ONES((2, 1), bool)),
        ValueError,
        ["(1, 2, 3)", "(2, 1)", "(B, T)"],
    ),
    "pooling: numbers as a mask": (
        lambda: pooling.forward(ONES((1, 2, 3)), ONES((1, 2))),
        ValueError,
        ["float64", "bool"],
    ),
    "pooling: two axes": (
        lambda: pooling.forward(ONES((2, 3)), ONES(2, bool)),
        ValueError,
        ["(2, 3)", "(B, T, D)"],
    ),
    # layers
    "multi_head_attention: heads": (
        lambda: multi_head_attention.forward(ROWS, ROWS, ATTENTION, 4),
        ValueError,
        ["4 heads", "width 6"],
    ),
    "multi_head_attention: width": (
        lambda: multi_head_attention.forward(ROWS, ROWS[..., :5], ATTENTION, 2),
        ValueError,
        ["(1, 2, 5)", "(6, 6)"],
    ),
    "multi_head_attention: batches": (
        lambda: multi_head_attention.forward(ROWS, np.vstack([ROWS, ROWS]), ATTENTION, 2),
        ValueError,
        ["(1, 2, 2, 3)", "(2, 2, 2, 3)", "leading axes"],
    ),
    "multi_head_attention: two axes": (
        lambda: multi_head_attention.forward(ROWS[0], ROWS[0], ATTENTION, 2),
        ValueError,
        ["(2, 6)", "(B, T, D)"],
    ),
    "multi_head_attention: rows of other tokens": (
        lambda: multi_head_attention.forward(
            ONES((4, 6)), ONES((4, 6)), ATTENTION, 2, ONES((1, 1, 1, 3), bool)
        ),
        ValueError,
        ["(4, 6)", "(1, 1, 1, 3) of 3 tokens", "(N, D)", "(B, 1, 1, T)"],
    ),
    "multi_head_attention: rows and another mask": (
        lambda: multi_head_attention.forward(
            ONES((9, 6)), ONES((9, 6)), ATTENTION, 2, ONES((1, 1, 3, 3), bool)
        ),
        ValueError,
        ["(9, 6)", "(1, 1, 3, 3)", "padding mask (B, 1, 1, T)"],
    ),
    "multi_head_attention: rows of another memory": (
        lambda: multi_head_attention.forward(
            ONES((4, 6)), ONES((3, 6)), ATTENTION, 2, ONES((1, 1, 1, 4), bool)
        ),
        ValueError,
        ["(4, 6)", "(3, 6)", "(N, D) for both"],
    ),
    "feed_forward: activation": (
        lambda: _feed_forward(ROWS, "tanh"),
        ValueError,
        ["'tanh'", "'relu'", "'gelu'", "'gelu_tanh'"],
    ),
    "feed_forward: width": (
        lambda: _feed_forward(ONES((2, 3))),
        ValueError,
        ["(2, 3)", "(6, 5)"],
    ),
    "encoder_layer: norm": (
        lambda: _encoder_layer(ROWS, norm="middle"),
        ValueError,
        ["'middle'", "'pre'", "'post'"],
    ),
    "encoder_layer: width": (
        lambda: _encoder_layer(ROWS[..., :4]),
        ValueError,
        ["(1, 2, 4)", "(6,)"],
    ),
    "encoder_layer: mask": (
        lambda: _encoder_layer(ROWS, mask=ONES((1, 1, 1, 3), bool)),
        ValueError,
        ["(1, 1, 1, 3)", "(1, 2, 2, 2)"],
    ),
    "decoder_layer: norm": (
        lambda: _decoder_layer(ROWS, ROWS, norm=None),
        ValueError,
        ["None", "'pre'", "'post'"],
    ),
    "decoder_layer: memory": (
        lambda: _decoder_layer(ROWS, ROWS[..., :4]),
        ValueError,
        ["(1, 2, 4)", "(6, 6)"],
    ),
    "input_embedding: too long": (
        lambda: input_embedding.forward(ONES((1, 4), int), ONES((3, 6)), ONES((2, 6))),
        ValueError,
        ["(1, 4, 6)", "at most 2 positions"],
    ),
    # models
    "encoder_decoder: batches": (
        lambda: _model([[1, 2]], [[1, 2], [1, 2]]),
        ValueError,
        ["(1, 2)", "(2, 2)", "(B, S)", "(B, T)"],
    ),
    "encoder_decoder: one axis": (
        lambda: _model([1, 2], [1, 2]),
        ValueError,
        ["(2,)", "(B, S)", "(B, T)"],
    ),
    "encoder_decoder: long source": (
        lambda: _model([[1] * 9], [[1]]),
        ValueError,
        ["(1, 9, 6)", "at most 8"],
    ),
    "encoder_decoder: long target": (
        lambda: _model([[1]], [[1] * 9]),
        ValueError,
        ["(1, 9, 6)", "at most 8"],
    ),
    "encoder_decoder: ids": (lambda: _model([[1, 7]], [[1]]), IndexError, ["1 to 7", "0 to 6"]),
    "encoder_decoder: floats": (lambda: _model([[1.0]], [[1]]), TypeError, ["float64", "integers"]),
    "encoder_decoder_loss: batches": (
        lambda: _loss([[1, 2]], [[1, 2], [1, 2]]),
        ValueError,
        ["(1, 2)", "(B, S)"],
    ),
    "encoder_decoder_loss: one axis": (
        lambda: _loss([[1, 2]], [1, 2]),
        ValueError,
        ["(1, 2)", "(2,)"],
    ),
    "causal_lm: one axis": (
        lambda: _language_model([1, 2]),
        ValueError,
        ["causal_lm", "(2,)", "(B, T)"],
    ),
    "causal_lm: three axes": (
        lambda: _language_model([[[1, 2]]]),
        ValueError,
        ["(1, 1, 2)", "(B, T)"],
    ),
    "causal_lm: too long": (
        lambda: _language_model([[1] * 9]),
        ValueError,
        ["(1, 9)", "9 tokens", "max_length=8"],
    ),
    "causal_lm: too large": (lambda: _language_model([[1, 7]]), IndexError, ["1 to 7", "0 to 6"]),
    "causal_lm: below 0": (lambda: _language_model([[-1, 2]]), IndexError, ["-1 to 2", "0 to 6"]),
    "causal_lm: floats": (lambda: _language_model([[1.0]]), TypeError, ["float64", "integers"]),
    "causal_lm_loss: one axis": (
        lambda: _language_model_loss([1, 2]),
        ValueError,
        ["(2,)", "(B, T + 1)"],
    ),
    "causal_lm_loss: three axes": (
        lambda: _language_model_loss([[[1, 2], [3, 4]]]),
        ValueError,
        ["causal_lm_loss", "(1, 2, 2)", "(B, T + 1)"],
    ),
    "causal_lm_loss: a single token": (
        lambda: _language_model_loss([[1], [2]]),
        ValueError,
        ["(2, 1)", "T at least 1", "nothing to predict"],
    ),
    "causal_lm_loss: too long": (
        lambda: _language_model_loss([[1] * 10]),
        ValueError,
        ["(1, 9)", "max_length=8"],
    ),
    "causal_lm_loss: the last is too large": (
        lambda: _language_model_loss([[1, 2, 7]]),
        IndexError,
        ["2 to 7", "0 to 6"],
    ),
    "causal_lm: preset": (
        lambda: causal_lm.preset("gpt3", vocab=7),
        ValueError,
        ["'gpt3'", "nano", "char", "gpt2-xl"],
    ),
    "causal_lm: preset without a vocabulary": (
        lambda: causal_lm.preset("char"),
        TypeError,
        ["vocab"],
    ),
    "text_encoder: one axis": (
        lambda: _texts([1, 2]),
        ValueError,
        ["text_encoder", "(2,)", "(B, T)"],
    ),
    "text_encoder: segments": (
        lambda: _texts([[1, 2]], segments=[[0, 1, 1]]),
        ValueError,
        ["(1, 2)", "(1, 3)", "(B, T) for both"],
    ),
    "text_encoder: another segment": (
        lambda: _texts([[1, 2]], segments=[[0, 2]]),
        IndexError,
        ["0 to 2", "0 to 1"],
    ),
    "text_encoder: too long": (
        lambda: _texts([[1] * 9]),
        ValueError,
        ["(1, 9)", "9 tokens", "max_length=8"],
    ),
    "text_encoder: too large": (lambda: _texts([[1, 7]]), IndexError, ["1 to 7", "0 to 6"]),
    "text_encoder: floats": (lambda: _texts([[1.0]]), TypeError, ["float64", "integers"]),
    "text_encoder: preset": (
        lambda: text_encoder.preset("bert-huge", vocab=7),
        ValueError,
        ["'bert-huge'", "nano", "bert-base", "bert-large"],
    ),
    "masked_lm: chosen": (
        lambda: _masked([[1, 2]], ONES((1, 3), bool)),
        ValueError,
        ["masked_lm", "(1, 2)", "(1, 3)", "(B, T)"],
    ),
    "masked_lm: numbers as chosen": (
        lambda: _masked([[1, 2]], [[0, 1]]),
        ValueError,
        ["int64", "bool"],
    ),
    "masked_lm_loss: targets": (
        lambda: _masked_loss([[1, 2]], [1, 2]),
        ValueError,
        ["(1, 2)", "(2,)", "(B, T)"],
    ),
    "masked_lm_loss: a target that is no token": (
        lambda: _masked_loss([[1, 2]], [[-100, 7]]),
        IndexError,
        ["7 to 7", "0 to 6"],
    ),
    "classifier: no tokens": (
        lambda: _texts(ONES((2, 0), int), module=classifier, model=classifier),
        ValueError,
        ["(2, 0, 6)", "T at least 1"],
    ),
    "classifier_loss: labels of tokens": (
        lambda: _classified([[1, 2]], np.array([[0, 1]])),
        ValueError,
        ["(1, 3)", "(1, 2)"],
    ),
    "classifier_loss: no such class": (
        lambda: _classified([[1, 2]], np.array([3])),
        IndexError,
        ["3 to 3", "0 to 2"],
    ),
    "token_classifier_loss: labels of texts": (
        lambda: _tokens([[1, 2]], np.array([0])),
        ValueError,
        ["(1, 2, 3)", "(1,)"],
    ),
    "token_classifier_loss: floats": (
        lambda: _tokens([[1, 2]], np.array([[0.0, 1.0]])),
        TypeError,
        ["float64", "integers"],
    ),
    "preset": (
        lambda: encoder_decoder.preset("huge", source_vocab=7, target_vocab=7),
        ValueError,
        ["'huge'", "tiny", "base"],
    ),
}
# Settings: what is wrong, and what the message has to say beside its name and value.
WRONG_SETTINGS = [
    ({"N": 0}, "above 0"),
    ({"N": True}, "whole number"),
    ({"d_model": -8}, "above 0"),
    ({"d_ff": 2.5}, "whole number"),
    ({"h": 0}, "above 0"),
    ({"max_length": 0}, "above 0"),
    ({"h": 3}, "d_model=512"),
    ({"P_drop": 1.0}, "below 1"),
    ({"attention_dropout": -0.1}, "at least 0"),
    ({"activation_dropout": 1.5}, "below 1"),
    ({"epsilon_ls": math.nan}, "at least 0"),
    ({"norm": "none"}, "'pre', 'post'"),
    ({"activation": "swish"}, "'relu', 'gelu', 'gelu_tanh'"),
    ({"positions": "rotary"}, "'sinusoidal', 'learned'"),
    ({"sinusoids": "half"}, "'interleaved', 'halves'"),
    ({"dtype": "float16"}, "'float32', 'float64'"),
    ({"norm_eps": 0}, "above 0"),
    ({"norm_eps": math.nan}, "above 0"),
    ({"pad_id": 7}, "not an id"),
    ({"pad_id": -1}, "not an id"),
    ({"pad_id": 0.5}, ""),
]
for _given, _expected in WRONG_SETTINGS:
    ((_name, _value),) = _given.items()
    REFUSED[f"Config: {_name}={_value!r}"] = (
        partial(_settings, **_given),
        ValueError,
        [f"{_name}={_value!r}", _expected],
    )
# A language model refuses the same, of what it has; here it is as wide as the encoder-decoder.
for _given, _expected in [*WRONG_SETTINGS, ({"vocab": 0}, "above 0"), ({"vocab": 6.5}, "whole")]:
    ((_name, _value),) = _given.items()
    if _name in vars(LANGUAGE_MODEL):
        REFUSED[f"causal_lm.Config: {_name}={_value!r}"] = (
            partial(causal_lm.Config, **{"vocab": 7, "d_model": 512, "h": 8} | _given),
            ValueError,
            [f"{_name}={_value!r}", _expected],
        )
# So do the models of texts.
_WRONG_SETTINGS_OF_TEXTS = [
    *WRONG_SETTINGS,
    ({"vocab": 0}, "above 0"),
    ({"segments": 0}, "above 0"),
    ({"classes": 0}, "above 0"),
    ({"classes": 2.0}, "whole number"),
    ({"pooling": "max"}, "'first', 'mean'"),
    ({"class_weights": (1.0,)}, "2 numbers"),
    ({"class_weights": (1.0, 0.0)}, "above 0"),
    ({"class_weights": (1.0, math.inf)}, "2 numbers"),
    ({"class_weights": 2.0}, "one for each class"),
]
for _module in (text_encoder, classifier, token_classifier):
    for _given, _expected in _WRONG_SETTINGS_OF_TEXTS:
        ((_name, _value),) = _given.items()
        if _name in _module.Config.__dataclass_fields__:
            _place = _module.__name__.rpartition(".")[2]
            REFUSED[f"{_place}.Config: {_name}={_value!r}"] = (
                partial(_module.Config, **{"vocab": 7, "d_model": 512, "h": 8} | _given),
                ValueError,
                [f"{_name}={_value!r}", _expected],
            )
REFUSED["Config: vocabulary"] = (lambda: Config(0, 7), ValueError, ["source_vocab=0", "above 0"])
REFUSED["Config: tied vocabularies"] = (
    lambda: Config(7, 8, tie_source=True),
    ValueError,
    ["source_vocab=7", "target_vocab=8", "tie_source"],
)


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    """The message says what was given and what was expected."""
    call, error, parts = REFUSED[name]
    with pytest.raises(error) as raised:
        call()
    missing = [part for part in parts if part not in str(raised.value)]
    assert not missing, str(raised.value)
