"""What is there for speed alone equals the plain way."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_transformer import parameters
from numpy_transformer.models import text_encoder, text_encoder_inference
from numpy_transformer.ops import gelu, linear, normal, products
from numpy_transformer.ops.blocks import blocks


@settings(max_examples=100, deadline=None)
@given(length=st.integers(0, 200), size=st.integers(1, 50))
def test_blocks_cover_everything_once_and_in_order(length, size):
    numbers = np.arange(length)
    parts = [numbers[part] for part in blocks(length, size)]
    assert all(1 <= len(part) <= size for part in parts)
    assert np.concatenate([*parts, numbers[:0]]).tolist() == numbers.tolist()


LAYOUTS = {
    "rows": lambda weight: np.ascontiguousarray(weight),
    "columns": lambda weight: np.asfortranarray(weight),
    "a part of a wider matrix": lambda weight: np.tile(weight, 3)[:, weight.shape[1] : -weight.shape[1]],
    "backwards": lambda weight: np.ascontiguousarray(weight[::-1])[::-1],
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rows", [1, 2, 8, 17])
@pytest.mark.parametrize("shape", [(701, 1000), (37, 30011), (1, 200_001), (200_001, 1)])
def test_a_few_rows_times_a_large_matrix(layout, rows, shape):
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((rows, shape[0])), rng.standard_normal(shape)
    y = products.few_rows(x, LAYOUTS[layout](weight))
    assert y.shape == (rows, shape[1]) and y.dtype == np.float64
    np.testing.assert_allclose(y, x @ weight, rtol=0, atol=1e-10)


@pytest.mark.parametrize("order", ["C", "F"])
def test_it_is_taken_in_parts(order, monkeypatch):
    """Otherwise the test above would compare the plain way with itself."""
    sizes = []
    matmul = np.matmul

    def counted(x, weight, out):
        sizes.append(x.shape[0] * weight.size)
        return matmul(x, weight, out=out)

    monkeypatch.setattr(np, "matmul", counted)
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((8, 768)), rng.standard_normal((768, 3072))
    y = products.few_rows(x, weight.copy(order))
    assert len(sizes) > 10 and max(sizes) <= products.SMALL_PRODUCT
    assert sum(sizes) == x.shape[0] * weight.size
    np.testing.assert_allclose(y, x @ weight, rtol=0, atol=1e-10)


def test_dtypes_of_a_few_rows():
    for dtype in (np.float32, np.float64, np.complex128):
        x, weight = np.ones((2, 1000), dtype), np.ones((1000, 600), dtype)
        y, _ = linear.forward(x, weight)
        assert y.dtype == dtype and (y == 1000).all()
    y, _ = linear.forward(np.ones((2, 1000)), 1j * np.ones((1000, 600)))
    assert y.dtype == np.complex128 and (y == 1000j).all()


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("shape", [(0,), (3, 2**15 + 5), (2**16,)])
def test_gelu_of_more_than_a_block(approximate, shape):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal(shape), rng.standard_normal(shape)
    y, cache = gelu.forward(x, approximate)
    dx = gelu.backward(dy, cache)
    assert y.shape == dx.shape == shape
    parts = [gelu.forward(part, approximate) for part in x.reshape(-1, 1)[::1000]]
    for (part, part_cache), i in zip(parts, range(0, x.size, 1000)):
        np.testing.assert_allclose(y.reshape(-1)[i], part[0], rtol=1e-14)
        expected = gelu.backward(dy.reshape(-1)[i : i + 1], part_cache)
        np.testing.assert_allclose(dx.reshape(-1)[i], expected[0], rtol=1e-13)


def test_the_normal_distribution_in_float32():
    """As close to the exact one as it says, everywhere; 0 and 1 where nothing else can be told."""
    huge = np.finfo(np.float32).max
    x = np.concatenate([np.linspace(-7, 7, 30011), [0.0, 1e-40, 5.9999995, 6, 1e9, huge, np.inf]])
    x = np.concatenate([x, -x]).astype(np.float32)
    out = np.empty_like(x)
    normal.probability(x, out)
    exact = np.array([math.erfc(-a / math.sqrt(2)) / 2 for a in x.astype(np.float64)])
    assert np.abs(out - exact).max() <= 1e-7
    assert (out[x >= 6] == 1).all() and (out[x <= -6] == 0).all()
    assert ((out >= 0) & (out <= 1)).all()
    normal.probability(np.full(2, np.nan, np.float32), out[:2])
    assert np.isnan(out[:2]).all()


def test_gelu_in_float32_is_that_of_float64():
    """Its lines against the series; to what float32 can tell of numbers of this size."""
    x = np.concatenate([np.linspace(-9, 9, 20011), [-1e10, 1e10]])
    dy = np.random.default_rng(0).standard_normal(x.shape)
    y, cache = gelu.forward(x.astype(np.float32))
    exact, exact_cache = gelu.forward(x.astype(np.float32).astype(np.float64))
    np.testing.assert_allclose(y, exact, rtol=2e-7, atol=6e-7)
    dx = gelu.backward(dy.astype(np.float32), cache)
    expected = gelu.backward(dy.astype(np.float32).astype(np.float64), exact_cache)
    assert y.dtype == dx.dtype == np.float32
    np.testing.assert_allclose(dx, expected, rtol=0, atol=2e-6)


ENCODERS = {
    "as BERT": {},
    "pre-norm": {"norm": "pre"},
    "ReLU": {"activation": "relu"},
    "GELU by tanh": {"activation": "gelu_tanh"},
    "sinusoids, dropout that is off": {"positions": "sinusoidal", "P_drop": 0.5},
    "a large eps, one head": {"norm_eps": 0.5, "h": 1},
    "many hidden units": {"d_ff": 1200},  # more than a block of them
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("changes", ENCODERS)
def test_encoding_without_a_backward_pass(changes, dtype):
    """On texts of all lengths, one of them nothing but padding; no parameter is written over."""
    settings = {"vocab": 50, "N": 3, "d_model": 12, "d_ff": 40, "h": 3, "dtype": dtype}
    config = text_encoder.Config(**settings | ENCODERS[changes])
    rng = np.random.default_rng(0)
    params = text_encoder.init(rng, config)
    for _, array in parameters.items(params):
        array += rng.standard_normal(array.shape).astype(dtype) / 4  # no bias is 0, no weight 1
    before = {name: array.copy() for name, array in parameters.items(params)}
    ids = rng.integers(1, 50, (9, 8))
    ids[np.arange(8) >= np.arange(9)[:, None]] = 0
    segments = rng.integers(0, 2, ids.shape)
    everything, all_padding, no_text, no_token = np.s_[:], np.s_[:1], np.s_[:0], np.s_[:, :0]
    for part in (everything, np.s_[8:], all_padding, no_text, no_token):
        h = text_encoder_inference.encode(ids[part], segments[part], params, config)
        expected, _ = text_encoder.forward(ids[part], segments[part], params, config)
        assert h.dtype == dtype and h.shape == expected.shape
        tolerance = 1e-5 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(h, expected, rtol=0, atol=tolerance)
    for name, array in parameters.items(params):
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("scale", [300.0, 1e17, 1e30])
def test_encoding_with_scores_of_any_size(scale):
    """A token that is hidden stays hidden beside large scores, and beside those that overflow."""
    config = text_encoder.preset("nano", vocab=50)
    rng = np.random.default_rng(0)
    params = text_encoder.init(rng, config)
    for layer in params["encoder"]["layers"].values():
        layer["self_attention"]["query"]["weight"] *= np.float32(scale)
        layer["self_attention"]["key"]["weight"] *= np.float32(scale)
    ids = rng.integers(1, 50, (9, 8))
    ids[np.arange(8) >= np.arange(9)[:, None]] = 0
    with np.errstate(over="ignore", invalid="ignore"):  # the products of 1e30 themselves overflow
        h = text_encoder_inference.encode(ids, None, params, config)
        expected, _ = text_encoder.forward(ids, None, params, config)
    np.testing.assert_allclose(h, expected, rtol=0, atol=1e-4)


def test_encoding_refuses_what_the_encoder_refuses():
    config = text_encoder.preset("nano", vocab=20)
    params = text_encoder.init(np.random.default_rng(0), config)
    with pytest.raises(ValueError, match="no more than max_length=32"):
        text_encoder_inference.encode(np.ones((1, 33), int), None, params, config)
    with pytest.raises(IndexError):
        text_encoder_inference.encode(np.array([[20]]), None, params, config)


def test_encoding_takes_the_memory_of_one_layer_however_many_there_are():
    def peak(function, N):
        config = text_encoder.Config(50, N=N, d_model=32, d_ff=128, h=4)
        params = text_encoder.init(np.random.default_rng(0), config)
        ids = np.random.default_rng(0).integers(1, 50, (8, 64))
        function(ids, None, params, config)  # constants are made, once
        tracemalloc.start()
        function(ids, None, params, config)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(text_encoder_inference.encode, 8) <= 1.1 * peak(text_encoder_inference.encode, 1)
    assert peak(text_encoder.forward, 8) >= 5 * peak(text_encoder_inference.encode, 8)
