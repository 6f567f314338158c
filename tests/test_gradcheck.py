"""The checker: every gradient of the project is right, seeded bugs are found, no false alarm."""

from __future__ import annotations

import types

import numpy as np
import pytest

from numpy_transformer import points
from numpy_transformer.gradcheck import gradcheck
from numpy_transformer.ops import (
    attention,
    cross_entropy,
    dropout,
    embedding,
    gelu,
    layer_norm,
    linear,
    relu,
    softmax,
)


def check(name, seed=0):
    point = points.point(name, seed)
    return gradcheck(point.op, *point.args, seed=seed, zero=point.zero, name=name, **point.settings)


@pytest.mark.parametrize("name", points.POINTS)
def test_every_gradient_is_right(name):
    report = check(name)
    report.raise_if_wrong()
    assert report.error <= 1e-6


OPS = [name for name in points.POINTS if name.partition(",")[0] in (
    "linear", "relu", "gelu", "softmax", "layer_norm", "embedding", "positions", "dropout",
    "cross_entropy",
)]


@pytest.mark.parametrize("seed", range(1, 6))
def test_no_false_alarm_at_other_points(seed):
    for name in OPS:
        check(name, seed).raise_if_wrong()


@pytest.mark.parametrize("seed", [168, 228])
def test_a_kink_within_the_step_is_no_false_alarm(seed):
    """With these seeds a hidden unit lies so near to 0 that a step crosses ReLU's kink."""
    point = points.point("feed_forward, relu", seed)
    _, cache = point.op.forward(*point.args)
    hidden = cache.hidden.x @ cache.hidden.weight + point.args[1]["hidden"]["bias"]
    assert np.abs(hidden).min() < 2e-4
    check("feed_forward, relu", seed).raise_if_wrong()


def test_arguments_may_be_given_by_name():
    x, weight, bias = points.point("layer_norm").args
    report = gradcheck(layer_norm, x, bias=bias, weight=weight)
    assert report.ok and [g.name for g in report.gradients] == ["dx", "dweight", "dbias"]


def changed(index, change):
    """A backward pass with one of its gradients changed."""

    def make(op):
        def backward(dy, cache):
            gradients = op.backward(dy, cache)
            if not isinstance(gradients, tuple):
                return change(gradients, dy, cache)
            gradients = list(gradients)
            gradients[index] = change(gradients[index], dy, cache)
            return tuple(gradients)

        return backward

    return make


def first_only(dweight, dy, cache):
    """Assignment instead of addition for ids that stand more than once."""
    wrong = np.zeros_like(dweight)
    wrong[cache.ids] = dy
    return wrong


def one_entry(dx, dy, cache):
    dx = dx.copy()
    dx.flat[dx.size // 2] *= 1.001
    return dx


# name of the point, gradient, what is done to it, the gradient that must be named
BUGS = {
    "half": ("linear", 1, lambda d, dy, c: d / 2, "dweight"),
    "sign": ("linear", 0, lambda d, dy, c: -d, "dx"),
    "bias by mean": ("linear", 2, lambda d, dy, c: dy.reshape(-1, dy.shape[-1]).mean(0), "dbias"),
    "one entry by a thousandth": ("linear", 1, one_entry, "dweight"),
    "relu passes all": ("relu", 0, lambda d, dy, c: dy, "dx"),
    "relu leaks": ("relu", 0, lambda d, dy, c: d + 1e-4 * dy, "dx"),
    "gelu without its slope": ("gelu", 0, lambda d, dy, c: dy * c.probability, "dx"),
    "gelu tanh for exact": (
        "gelu", 0, lambda d, dy, c: gelu.backward(dy, gelu.forward(c.x, "tanh")[1]), "dx"
    ),
    "softmax without its sum": ("softmax", 0, lambda d, dy, c: c.y * dy, "dx"),
    "softmax divided by the batch": ("softmax", 0, lambda d, dy, c: d / len(dy), "dx"),
    "softmax sum over the wrong axis": (
        "softmax", 0, lambda d, dy, c: c.y * (dy - (dy * c.y).sum(-2, keepdims=True)), "dx"
    ),
    "norm's mean dropped": (
        "layer_norm", 0,
        lambda d, dy, c: d + c.rstd * (dy * c.weight).mean(-1, keepdims=True), "dx",
    ),
    "norm without its weight": (
        "layer_norm", 0,
        lambda d, dy, c: layer_norm.backward(dy, c._replace(weight=np.ones(len(c.weight))))[0],
        "dx",
    ),
    "norm's variance dropped": (
        "layer_norm", 0,
        lambda d, dy, c: c.rstd * (dy * c.weight - (dy * c.weight).mean(-1, keepdims=True)), "dx",
    ),
    "norm's weight by bias": ("layer_norm", 1, lambda d, dy, c: dy.sum((0, 1)), "dweight"),
    "repeated ids assigned": ("embedding", 0, first_only, "dweight"),
    "dropout's mask forgotten": ("dropout", 0, lambda d, dy, c: dy * c.scale, "dx"),
    "dropout not scaled": ("dropout", 0, lambda d, dy, c: dy * c.keep, "dx"),
    "attention's scale forgotten": (
        "attention", 0, lambda d, dy, c: d * np.sqrt(c.query.shape[-1]), "dquery"
    ),
    "dvalue with weights before dropout": (
        "attention", 2, lambda d, dy, c: c.weights.swapaxes(-1, -2) @ dy, "dvalue"
    ),
    "loss divided by all positions": (
        "cross_entropy", 0, lambda d, dy, c: d * c.counts.sum() / c.counts.size, "dlogits"
    ),
    "smoothing forgotten": (
        "cross_entropy, smoothed", 0,
        lambda d, dy, c: cross_entropy.backward(dy, c._replace(label_smoothing=0.0)), "dlogits",
    ),
    "zero": ("softmax", 0, lambda d, dy, c: np.zeros_like(d), "dx"),
    "NaN": ("softmax", 0, lambda d, dy, c: d * np.nan, "dx"),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_a_seeded_bug_is_found_and_the_gradient_named(bug):
    name, index, change, gradient = BUGS[bug]
    point = points.point(name)
    op = types.SimpleNamespace(
        __name__=name, forward=point.op.forward, backward=changed(index, change)(point.op)
    )
    report = gradcheck(op, *point.args, **point.settings)
    assert not report.ok
    assert [g.name for g in report.gradients if not g.ok] == [gradient]
    with pytest.raises(AssertionError, match=f"{gradient}.*wrong"):
        report.raise_if_wrong()


# A mistake in one operation must show at the floors above it.
DEEP = {
    "softmax": (softmax, "encoder_layer, pre-norm, relu", lambda dy, cache: cache.y * dy),
    "relu": (relu, "encoder_layer, pre-norm, relu", lambda dy, cache: dy),
    "dropout": (dropout, "encoder_layer, pre-norm, relu", lambda dy, cache: dy),
    "embedding": (embedding, "encoder_decoder_loss, pre-norm, untied", lambda dy, cache:
        first_only(np.zeros_like(cache.weight), dy, cache)),
}  # fmt: skip


@pytest.mark.parametrize("bug", DEEP)
def test_a_bug_in_an_operation_shows_above_it(monkeypatch, bug):
    module, name, wrong = DEEP[bug]
    monkeypatch.setattr(module, "backward", wrong)
    assert not check(name).ok


def test_a_forgotten_use_of_a_tied_weight_is_found(monkeypatch):
    from numpy_transformer.models import encoder_decoder

    backward = linear.backward

    def forgetful(dy, cache):
        dx, dweight, dbias = backward(dy, cache)
        return dx, dweight * (0 if cache.has_bias is False else 1), dbias

    monkeypatch.setattr(encoder_decoder.linear, "backward", forgetful)
    report = check("encoder_decoder, pre-norm, tied")
    assert [g.name for g in report.gradients if not g.ok] == ["dparams.source_embedding.weight"]


def test_a_gradient_that_is_zero_throughout_has_shown_nothing():
    op = types.SimpleNamespace(
        __name__="constant",
        forward=lambda x, unused: (2 * x, None),
        backward=lambda dy, cache: (2 * dy, np.zeros(3)),
    )
    op.forward.__name__ = "forward"
    report = gradcheck(op, np.ones(4), np.ones(3))
    assert [(g.name, g.verdict, g.ok) for g in report.gradients] == [
        ("dx", "right", True), ("dunused", "zero", False),
    ]  # fmt: skip
    assert gradcheck(op, np.ones(4), np.ones(3), zero=("dunused",)).ok


def test_the_caller_s_arrays_stay_as_they_are():
    x = np.random.default_rng(0).standard_normal((3, 4))
    before = x.copy()
    x.setflags(write=False)
    gradcheck(softmax, x).raise_if_wrong()
    np.testing.assert_array_equal(x, before)


def test_what_cannot_be_checked_is_refused():
    with pytest.raises(TypeError, match="x is float32; a check needs float64"):
        gradcheck(softmax, np.ones((2, 3), np.float32))
    with pytest.raises(TypeError, match="no function 'backward'"):
        gradcheck(types.SimpleNamespace(__name__="half", forward=lambda x: x), np.ones(3))
    with pytest.raises(TypeError, match="nothing to check"):
        gradcheck(softmax, np.ones(3, int))
    too_many = types.SimpleNamespace(
        __name__="two", forward=lambda x: (x, None), backward=lambda dy, cache: (dy, dy)
    )
    with pytest.raises(TypeError, match="2 gradients for 1 argument"):
        gradcheck(too_many, np.ones(3))
    transposed = types.SimpleNamespace(
        __name__="transposed", forward=lambda x: (x, None), backward=lambda dy, cache: dy.T
    )
    with pytest.raises(TypeError, match=r"a gradient is \(3, 2\), its argument \(2, 3\)"):
        gradcheck(transposed, np.ones((2, 3)))


def test_the_table_names_every_gradient():
    table = check("layer_norm").table()
    assert [line.split()[:2] for line in table.splitlines()[1:]] == [
        ["dx", "3x5x8"], ["dweight", "8"], ["dbias", "8"],
    ]  # fmt: skip


def test_attention_s_point_has_a_query_that_may_attend_to_nothing():
    point = points.point("attention")
    _, cache = attention.forward(*point.args)
    assert (cache.weights == 0).all(axis=-1).any()
    assert not (cache.weights == 0).all(axis=-1).all()
