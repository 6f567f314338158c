"""The tree of parameters, its names, and the flat vector."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_transformer import parameters
from numpy_transformer.gradcheck import points
from numpy_transformer.models import encoder_decoder, encoder_decoder_loss


def model(seed=0, **settings):
    sizes = {"source_vocab": 11, "target_vocab": 13, "d_model": 8, "d_ff": 12, "h": 2}
    config = encoder_decoder.preset("tiny", **sizes | settings)
    return config, encoder_decoder.init(np.random.default_rng(seed), config)


def test_views_and_vector_are_the_same_memory():
    _, params = model()
    vector, views = parameters.pack(params)
    assert all(np.shares_memory(vector, view) for _, view in parameters.items(views))
    vector += 1
    for (name, before), (_, view) in zip(parameters.items(params), parameters.items(views)):
        np.testing.assert_array_equal(before + 1, view, err_msg=name)
    np.testing.assert_array_equal(parameters.gather(views), vector)


def test_slices_say_where_each_array_lies():
    _, params = model()
    vector = parameters.gather(params)
    where = parameters.slices(params)
    for name, array in parameters.items(params):
        np.testing.assert_array_equal(vector[where[name]], array.reshape(-1))
    assert sum(part.stop - part.start for part in where.values()) == parameters.count(params)


def test_gather_takes_arrays_in_any_memory_layout():
    transposed = np.arange(6.0).reshape(2, 3).T
    np.testing.assert_array_equal(
        parameters.gather({"weight": transposed}), transposed.reshape(-1)
    )


def test_one_name_finds_value_gradient_and_what_was_kept():
    point = points.point("encoder_decoder_loss, pre-norm, untied")
    _, cache = point.op.forward(*point.args)
    params, dparams = point.args[2], encoder_decoder_loss.backward(1.0, cache)
    name = "decoder.layers.0.cross_attention.query"
    weight = parameters.find(params, f"{name}.weight")
    assert parameters.find(dparams, f"{name}.weight").shape == weight.shape
    assert parameters.find(cache.model, name).weight is weight
    names = [name for name, _ in parameters.items(params)]
    assert [name for name, _ in parameters.items(dparams)] == names


def test_gradients_come_in_the_order_of_the_parameters():
    """Otherwise one flat vector would pair a weight with another one's gradient."""
    for name in points.POINTS:
        point = points.point(name)
        if not any(isinstance(arg, dict) for arg in point.args):
            continue
        y, cache = point.op.forward(*point.args, **point.settings)
        returned = point.op.backward(np.ones_like(y), cache)
        dparams = returned if isinstance(returned, dict) else returned[-1]
        params = next(arg for arg in point.args if isinstance(arg, dict))
        assert list(parameters.slices(dparams).items()) == list(parameters.slices(params).items())


def test_an_unknown_name_says_what_there_is():
    _, params = model()
    with pytest.raises(KeyError, match="'layer' on the way.*there is layers, norm"):
        parameters.find(params, "encoder.layer.0")


def test_what_does_not_fit_is_named():
    _, params = model()
    named = dict(parameters.items(params))
    named["extra.weight"] = named.pop("encoder.norm.bias")
    named["decoder.norm.bias"] = np.zeros(9)
    with pytest.raises(ValueError) as error:
        parameters.from_items(named, like=params)
    for part in ("missing: encoder.norm.bias", "unknown: extra.weight", "is (9,), expected (8,)"):
        assert part in str(error.value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_parameters_have_the_dtype_of_the_settings(dtype):
    _, params = model(dtype=dtype, positions="learned", tie_output=False)
    assert {array.dtype for _, array in parameters.items(params)} == {np.dtype(dtype)}


def test_initial_weights_are_those_of_nn_transformer():
    """PyTorch's bounds: query, key, value as one (D, 3D) matrix; feed-forward biases by fan-in."""
    config, params = model(d_model=64, d_ff=96, h=4)
    D, F = config.d_model, config.d_ff
    layer = params["decoder"]["layers"]["1"]
    bounds = {
        "cross_attention.query.weight": np.sqrt(6 / (D + 3 * D)),
        "self_attention.value.weight": np.sqrt(6 / (D + 3 * D)),
        "self_attention.output.weight": np.sqrt(6 / (D + D)),
        "feed_forward.hidden.weight": np.sqrt(6 / (D + F)),
        "feed_forward.hidden.bias": 1 / np.sqrt(D),
        "feed_forward.output.bias": 1 / np.sqrt(F),
    }
    for name, bound in bounds.items():
        values = parameters.find(layer, name)
        assert 0.9 * bound < np.abs(values).max() <= bound, name
    assert not layer["self_attention"]["query"]["bias"].any()
    deviation = params["source_embedding"]["weight"].std()
    assert deviation == pytest.approx(1 / np.sqrt(D), rel=0.1)


def test_layers_are_taken_by_number_not_by_their_order_in_the_dictionary():
    config, params = model(N=3)
    source, target = np.array([[4, 5, 6]]), np.array([[1, 7]])
    logits, _ = encoder_decoder.forward(source, target, params, config)
    for stack in ("encoder", "decoder"):
        layers = params[stack]["layers"]
        params[stack]["layers"] = {name: layers[name] for name in ("2", "0", "1")}
    again, _ = encoder_decoder.forward(source, target, params, config)
    np.testing.assert_array_equal(logits, again)


def test_the_presets():
    base = encoder_decoder.preset("base", source_vocab=37_000, target_vocab=37_000)
    assert (base.N, base.d_model, base.d_ff, base.h, base.P_drop) == (6, 512, 2048, 8, 0.1)
    params = encoder_decoder.init(np.random.default_rng(0), base)
    # Table 3 of the paper says 65 million.
    assert 62e6 < parameters.count(params) < 66e6
    with pytest.raises(ValueError, match="no preset 'huge', expected one of tiny, base"):
        encoder_decoder.preset("huge", source_vocab=5, target_vocab=5)
