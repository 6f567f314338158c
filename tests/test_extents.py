"""Operations, and models, with every axis 0 and 1 long: a result, or a clear refusal."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from calls import backward, check_gradients, cotangent, forward, leaves
from strategies import random_params

from numpy_transformer.gradcheck.points import Point
from numpy_transformer.layers import multi_head_attention
from numpy_transformer.models import (
    causal_lm,
    causal_lm_loss,
    classifier,
    classifier_loss,
    masked_lm,
    masked_lm_loss,
    text_encoder,
    token_classifier,
    token_classifier_loss,
)
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

# For each operation a call and the shape of its output, from the extents of its axes; ``normal``
# makes an array. Where no extent is set, all of a call are different.


def _linear(normal, N=2, width=3, out=4):
    return Point(linear, (normal(N, width), normal(width, out), normal(out))), (N, out)


def _linear_without_bias(normal, B=5, N=2, width=3, out=4):
    return Point(linear, (normal(B, N, width), normal(width, out), None)), (B, N, out)


def _relu(normal, N=2, D=3):
    return Point(relu, (normal(N, D),)), (N, D)


def _gelu(normal, N=2, D=3):
    return Point(gelu, (normal(N, D),)), (N, D)


def _gelu_tanh(normal, N=2, D=3):
    return Point(gelu, (normal(N, D), "tanh")), (N, D)


def _tanh(normal, N=2, D=3):
    return Point(tanh, (normal(N, D),)), (N, D)


def _softmax(normal, N=2, D=3):
    return Point(softmax, (normal(N, D),)), (N, D)


def _layer_norm(normal, B=4, N=2, D=3):
    return Point(layer_norm, (normal(B, N, D), normal(D), normal(D))), (B, N, D)


def _embedding(normal, B=2, T=4, V=3, D=5):
    ids = np.arange(B * T).reshape(B, T) % max(V, 1)
    return Point(embedding, (ids, normal(V, D))), (B, T, D)


def _positions(normal, B=2, T=3, D=4, more=5):
    return Point(positions, (normal(B, T, D), normal(T + more, D))), (B, T, D)


def _dropout(normal, N=2, D=3):
    return Point(dropout, (normal(N, D), 0.5, np.random.default_rng(0))), (N, D)


def _attention(normal, B=2, T=3, S=4, K=5, Kv=6):
    arrays = normal(B, T, K), normal(B, S, K), normal(B, S, Kv)
    return Point(attention, (*arrays, None, 0.5, np.random.default_rng(0))), (B, T, Kv)


def _masked_attention(normal, H=2, T=3, S=4, K=5, Kv=6):
    mask = np.random.default_rng(0).random((T, S)) < 0.6
    arrays = normal(7, H, T, K), normal(7, H, S, K), normal(7, H, S, Kv)
    return Point(attention, (*arrays, mask)), (7, H, T, Kv)


def _cross_entropy(normal, B=2, T=3, V=4):
    targets = np.arange(B * T).reshape(B, T) % max(V, 1)
    return Point(cross_entropy, (normal(B, T, V), targets, 0, 0.1)), ()


def _weighted_cross_entropy(normal, B=2, T=3, V=4):
    """The first class weighs nothing."""
    targets = np.arange(B * T).reshape(B, T) % max(V, 1)
    return Point(cross_entropy, (normal(B, T, V), targets, None, 0.0, tuple(range(V)))), ()


def _unpad(normal, B=2, T=3, D=4):
    """The first text has no tokens."""
    tokens = np.arange(B)[:, None] > np.arange(T)  # (B, T)
    return Point(unpad, (normal(B, T, D), tokens)), (tokens.sum(), D)


def _pad(normal, B=2, T=3, D=4):
    tokens = np.arange(B)[:, None] > np.arange(T)  # (B, T)
    return Point(pad, (normal(tokens.sum(), D), tokens)), (B, T, D)


def _pooling_first(normal, B=2, T=3, D=4):
    return Point(pooling, (normal(B, T, D), np.ones((B, T), bool), "first")), (B, D)


def _pooling_mean(normal, B=2, T=3, D=4):
    """The first text has no tokens."""
    mask = np.arange(B)[:, None] > np.arange(T)  # (B, T)
    return Point(pooling, (normal(B, T, D), mask, "mean")), (B, D)


def _causal_lm(normal, B=2, T=3, V=5, D=4, F=6):
    ids = np.arange(B * T).reshape(B, T) % max(V, 1)
    config = causal_lm.Config(
        V, N=1, d_model=D, d_ff=F, h=1, max_length=T + 1, dtype=normal().dtype.name
    )
    return Point(causal_lm, (ids, random_params(config), config)), (B, T, V)


def _causal_lm_loss(normal, B=2, T=3, V=5):
    point, _ = _causal_lm(normal, B, T + 1, V)
    return point._replace(op=causal_lm_loss), ()


def _numbered(*shape, below):
    """0, 1, 2, ... in the order of reading, and again from 0 before ``below``."""
    return np.arange(np.prod(shape, dtype=int)).reshape(shape) % below


def _texts(module, normal, model, between, B, T, V=5, D=4, F=6, **settings):
    """A model of texts, in which 0 is padding, and what is no 0 belongs to segment 1."""
    sizes = {"N": 1, "d_model": D, "d_ff": F, "h": 1, "max_length": T + 1}
    config = model.Config(V, **sizes, dtype=normal().dtype.name, **settings)
    ids = _numbered(B, T, below=V)
    params = random_params(config, model=model)
    return Point(module, (ids, np.minimum(ids, 1), *between, params, config))


def _text_encoder(normal, B=2, T=3, V=5, D=4, F=6):
    return _texts(text_encoder, normal, text_encoder, (), B, T, V, D, F), (B, T, D)


def _masked_lm(normal, B=2, T=3, V=5):
    """Every other token is chosen."""
    chosen = _numbered(B, T, below=2) == 0
    return _texts(masked_lm, normal, masked_lm, (chosen,), B, T, V), (int(chosen.sum()), V)


def _masked_lm_loss(normal, B=2, T=3, V=5):
    targets = np.where(_numbered(B, T, below=2) == 0, _numbered(B, T, below=V), IGNORED)
    return _texts(masked_lm_loss, normal, masked_lm, (targets,), B, T, V), ()


def _classifier(normal, B=2, T=3, C=7):
    return _texts(classifier, normal, classifier, (), B, T, classes=C), (B, C)


def _classifier_loss(normal, B=2, T=3, C=7):
    labels = _numbered(B, below=C)
    settings = {"classes": C, "pooling": "mean", "class_weights": tuple(range(1, C + 1))}
    return _texts(classifier_loss, normal, classifier, (labels,), B, T, **settings), ()


def _token_classifier(normal, B=2, T=3, C=7):
    return _texts(token_classifier, normal, token_classifier, (), B, T, classes=C), (B, T, C)


def _token_classifier_loss(normal, B=2, T=3, C=7):
    labels = (_numbered(B, T, below=C),)
    return _texts(token_classifier_loss, normal, token_classifier, labels, B, T, classes=C), ()


CALLS = {
    function.__name__[1:]: function
    for function in (
        _linear, _linear_without_bias, _relu, _gelu, _gelu_tanh, _tanh, _softmax, _layer_norm,
        _embedding, _positions, _dropout, _attention, _masked_attention, _unpad, _pad,
        _pooling_first, _pooling_mean, _cross_entropy, _weighted_cross_entropy, _causal_lm, _causal_lm_loss,
        _text_encoder, _masked_lm, _masked_lm_loss, _classifier, _classifier_loss,
        _token_classifier, _token_classifier_loss,
    )
}  # fmt: skip
NEVER_0 = {"layer_norm": "D", "embedding": "V"}
NEVER_0 |= dict.fromkeys(["cross_entropy", "weighted_cross_entropy"], "V")
NEVER_0 |= dict.fromkeys(["pooling_first", "pooling_mean"], "T")
NEVER_0 |= {"causal_lm": "VDF", "causal_lm_loss": "TV"}
NEVER_0 |= dict.fromkeys(["attention", "masked_attention"], "K")
NEVER_0 |= {"text_encoder": "VDF"} | dict.fromkeys(["masked_lm", "masked_lm_loss"], "V")
NEVER_0 |= dict.fromkeys(["classifier", "classifier_loss"], "TC")
NEVER_0 |= dict.fromkeys(["token_classifier", "token_classifier_loss"], "C")


def _cases():
    """The name of a call and extents for it: one axis 0 or 1, and all that may be at once."""
    for name, call in CALLS.items():
        axes = list(inspect.signature(call).parameters)[1:]
        for extent in (0, 1):
            allowed = [axis for axis in axes if extent or axis not in NEVER_0.get(name, "")]
            yield from ((name, {axis: extent}) for axis in allowed)
            yield name, dict.fromkeys(allowed, extent)


def _normal(dtype):
    rng = np.random.default_rng(0)
    return lambda *shape: rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name, extents", list(_cases()), ids=str)
def test_an_axis_may_be_0_or_1_long(name, extents, dtype):
    """The output and the gradients have the right shapes, and there is no NaN and no warning."""
    point, shape = CALLS[name](_normal(dtype), **extents)
    y, cache = forward(point)
    assert (y.shape, y.dtype) == (shape, dtype)
    assert np.isfinite(y).all()
    gradients = backward(point, cotangent(y), cache)
    for leaf, array in leaves(point).items():
        assert (gradients[leaf].shape, gradients[leaf].dtype) == (array.shape, dtype), leaf
        assert np.isfinite(gradients[leaf]).all(), leaf


@pytest.mark.parametrize("name, extents", list(_cases()), ids=str)
def test_gradients_are_right_with_an_axis_0_or_1_long(name, extents):
    """Against the complex step."""
    point, _ = CALLS[name](_normal(np.float64), **extents)
    check_gradients(point)


def test_what_comes_out_where_nothing_goes_in():
    """A sum over nothing is 0, and a mean over nothing is taken as 0."""
    ones = np.ones
    assert (linear.forward(ones((2, 0)), ones((0, 3)), ones(3))[0] == 1).all()
    y, cache = attention.forward(ones((2, 3)), ones((0, 3)), ones((0, 4)))
    np.testing.assert_array_equal(y, np.zeros((2, 4)))
    assert cross_entropy.forward(ones((0, 3)), np.zeros(0, int))[0] == 0
    for op, args in (
        (linear, (ones((0, 2)), ones((2, 3)), ones(3))),
        (layer_norm, (ones((0, 2)), ones(2), ones(2))),
        (embedding, (np.zeros(0, int), ones((2, 3)))),
        (positions, (ones((0, 2, 3)), ones((4, 3)))),
    ):
        y, cache = op.forward(*args)
        gradients = op.backward(y, cache)
        for gradient in gradients if isinstance(gradients, tuple) else (gradients,):
            assert not gradient.any()


def test_a_row_of_one_entry():
    """Its softmax is 1 and it is its own mean: no gradient passes, whatever the entry is."""
    x, dy = np.array([[3.0], [-7.0]]), np.array([[2.0], [5.0]])
    y, cache = softmax.forward(x)
    np.testing.assert_array_equal(y, [[1], [1]])
    np.testing.assert_array_equal(softmax.backward(dy, cache), [[0], [0]])
    y, cache = layer_norm.forward(x, np.array([4.0]), np.array([6.0]))
    np.testing.assert_array_equal(y, [[6], [6]])
    np.testing.assert_array_equal(layer_norm.backward(dy, cache)[0], [[0], [0]])
    loss, cache = cross_entropy.forward(x, np.array([0, 0]))
    assert loss == 0
    np.testing.assert_array_equal(cross_entropy.backward(1.0, cache), [[0], [0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "op, args", [(relu, ()), (gelu, ("none",)), (gelu, ("tanh",)), (tanh, ()), (dropout, (0.5,))]
)
def test_a_number_without_axes_keeps_its_dtype(op, args, dtype):
    """Its output and its gradient have the shape ``()``, and are those of an array with one."""
    args = (*args, np.random.default_rng(0)) if op is dropout else args
    y, cache = op.forward(np.array(0.7, dtype), *args)
    dx = op.backward(np.array(3, dtype), cache)
    args = (*args[:1], np.random.default_rng(0)) if op is dropout else args
    row, cache = op.forward(np.array([0.7], dtype), *args)
    for found, expected in ((y, row), (dx, op.backward(np.array([3], dtype), cache))):
        assert (found.shape, found.dtype) == ((), dtype)
        assert found == expected[0]


@pytest.mark.parametrize("B, T", [(0, 3), (2, 0), (0, 0), (1, 1)])
def test_masks_of_nothing(B, T):
    """The shapes are the same as ever."""
    ids = np.ones((B, T), int)
    assert masks.padding_mask(ids, 0).shape == (B, 1, 1, T)
    assert masks.causal_mask(T).shape == (T, T)
    assert masks.causal_padding_mask(ids, 0).shape == (B, 1, T, T)


@pytest.mark.parametrize("layout", positions.LAYOUTS)
@pytest.mark.parametrize("length, width", [(0, 4), (3, 0), (0, 0), (3, 1), (1, 4)])
def test_sinusoids_of_any_size(length, width, layout):
    """The first row, position 0, has sines of 0 and cosines of 1."""
    table = positions.sinusoids(length, width, layout)
    assert table.shape == (length, width)
    assert table[:1].sum() == (width // 2 if length else 0)


ONES = np.ones
ATTENTION = multi_head_attention.init(np.random.default_rng(0), 6)


def _heads(heads):
    rows = ONES((1, 2, 6))
    return lambda: multi_head_attention.forward(rows, rows, ATTENTION, heads)


REFUSED = {
    "linear: no axes": (
        lambda: linear.forward(np.array(1.0), ONES((2, 3))), ValueError, ["()", "(..., in)"],
    ),
    "softmax: no axes": (
        lambda: softmax.forward(np.array(1.0)), ValueError, ["x is ()", "(..., D)"],
    ),
    "layer_norm: no axes": (
        lambda: layer_norm.forward(np.array(1.0), ONES(1), ONES(1)),
        ValueError, ["x is ()", "(..., D)"],
    ),
    "layer_norm: no columns": (
        lambda: layer_norm.forward(ONES((2, 0)), ONES(0), ONES(0)),
        ValueError, ["x is (2, 0)", "D at least 1"],
    ),
    "embedding: one axis": (
        lambda: embedding.forward(np.array([0]), ONES(3)), ValueError, ["(3,)", "(V, D)"],
    ),
    "embedding: three axes": (
        lambda: embedding.forward(np.array([0]), ONES((3, 2, 2))),
        ValueError, ["(3, 2, 2)", "(V, D)"],
    ),
    "embedding: no rows": (
        lambda: embedding.forward(np.array([0, 2]), ONES((0, 3))),
        IndexError, ["0 to 2", "(0, 3)", "no rows"],
    ),
    "positions: a table with one axis": (
        lambda: positions.forward(ONES((2, 3)), ONES(3)), ValueError, ["(3,)", "(positions, D)"],
    ),
    "positions: a table without axes": (
        lambda: positions.forward(ONES((2, 3)), np.array(1.0)),
        ValueError, ["()", "(positions, D)"],
    ),
    "positions: a table without rows": (
        lambda: positions.forward(ONES((2, 3)), ONES((0, 3))),
        ValueError, ["(2, 3)", "(0, 3)", "at most 0"],
    ),
    "attention: no columns": (
        lambda: attention.forward(ONES((2, 0)), ONES((3, 0)), ONES((3, 4))),
        ValueError, ["query (2, 0)", "key (3, 0)", "K at least 1"],
    ),
    "pooling: no tokens": (
        lambda: pooling.forward(ONES((2, 0, 3)), ONES((2, 0), bool)),
        ValueError, ["(2, 0, 3)", "T at least 1"],
    ),
    "cross_entropy: no axes": (
        lambda: cross_entropy.forward(np.array(1.0), np.array(0)),
        ValueError, ["logits ()", "(..., V)"],
    ),
    "cross_entropy: no logits": (
        lambda: cross_entropy.forward(ONES((2, 0)), np.array([0, 0])),
        ValueError, ["(2, 0)", "V at least 1"],
    ),
    "cross_entropy: no logits, and no row that counts": (
        lambda: cross_entropy.forward(ONES((2, 0)), np.array([0, 0]), 0),
        ValueError, ["(2, 0)", "V at least 1"],
    ),
    "multi_head_attention: no heads": (
        _heads(0), ValueError, ["0 heads", "width 6", "at least 1"],
    ),
    "multi_head_attention: -2 heads": (
        _heads(-2), ValueError, ["-2 heads", "width 6", "at least 1"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_result_is_refused(name):
    """The message says what was given and what was expected."""
    call, error, parts = REFUSED[name]
    with pytest.raises(error) as raised:
        call()
    missing = [part for part in parts if part not in str(raised.value)]
    assert not missing, str(raised.value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_ignored_row_of_minus_infinities_gives_no_warning(dtype):
    """It is as good as absent; a row that counts has no loss then, and says so."""
    logits = np.array([[1.0, 2.0], [-np.inf, -np.inf]], dtype)
    loss, cache = cross_entropy.forward(logits, np.array([1, 0]), ignore_index=0)
    expected, other = cross_entropy.forward(logits[:1], np.array([1]))
    assert loss == expected
    dlogits = cross_entropy.backward(1.0, cache)
    np.testing.assert_array_equal(dlogits[:1], cross_entropy.backward(1.0, other))
    assert not dlogits[1].any()
    with pytest.warns(RuntimeWarning, match="invalid value"):
        loss, _ = cross_entropy.forward(logits, np.array([1, 0]))
    assert np.isnan(loss)
