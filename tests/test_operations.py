"""What has to hold for every operation, by hypothesis over shapes, values and both precisions."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from calls import backward, central_difference, check_gradients, close, cotangent, forward
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies import FEW, MODULES, OPS, SETTINGS, calls, cast, leading, smooth

from numpy_transformer.gradcheck.strategies import dtypes, extents, floats, ids, shapes
from numpy_transformer.ops import attention, cross_entropy, masks, positions, sums

every_op = pytest.mark.parametrize("name", OPS)

# The axes of the arguments of each operation.
AXES = {
    "linear": lambda x, weight, bias: {
        "rows": x.shape[:-1], "in": weight.shape[:1], "out": weight.shape[1:]
    },
    "relu": lambda x: {"any": x.shape},
    "gelu": lambda x, form: {"any": x.shape},
    "tanh": lambda x: {"any": x.shape},
    "softmax": lambda x: {"rows": x.shape[:-1], "D": x.shape[-1:]},
    "layer_norm": lambda x, weight, bias: {"rows": x.shape[:-1], "D": weight.shape},
    "embedding": lambda ids, weight: {
        "ids": ids.shape, "V": weight.shape[:1], "D": weight.shape[1:]
    },
    "positions": lambda x, weight: {
        "rows": x.shape[:-2], "T": x.shape[-2:-1], "D": x.shape[-1:], "table": weight.shape[:1]
    },
    "dropout": lambda x, rate, rng: {"any": x.shape},
    "attention": lambda query, key, value, *_: {
        "rows": query.shape[:-2], "T": query.shape[-2:-1], "K": query.shape[-1:],
        "S": key.shape[-2:-1], "Kv": value.shape[-1:],
    },
    "unpad": lambda x, tokens: {"B": x.shape[:1], "T": x.shape[1:2], "D": x.shape[2:]},
    "pad": lambda x, tokens: {"B": tokens.shape[:1], "T": tokens.shape[1:], "D": x.shape[1:]},
    "pooling": lambda x, mask, how: {"B": x.shape[:1], "T": x.shape[1:2], "D": x.shape[2:]},
    "cross_entropy": lambda logits, targets: {"rows": targets.shape, "V": logits.shape[-1:]},
}  # fmt: skip
# An extent of 0 is refused here; test_extents.py has the messages.
NEVER_0 = {("layer_norm", "D"), ("embedding", "V"), ("attention", "K"), ("cross_entropy", "V")}
NEVER_0 |= {("pooling", "T")}


@every_op
def test_extents_of_0_and_1_are_drawn_for_every_axis(name):
    """Or else the properties below would say nothing about them."""
    seen = defaultdict(set)

    @settings(SETTINGS, max_examples=50)
    @given(point=calls(name))
    def look(point):
        for axis, found in AXES[name](*point.args).items():
            seen[axis] |= set(found)

    look()
    for axis, found in seen.items():
        wanted = {1} if (name, axis) in NEVER_0 else {0, 1}
        assert wanted <= found, axis
        assert (0 in found) == (0 in wanted), axis


@pytest.mark.parametrize("name", MODULES)
@FEW
@given(data=st.data())
def test_gradients_equal_the_complex_step(name, data):
    """At points of any shape, with ties, masked rows and repeated ids; ReLU away from its kink."""
    values = smooth if name == "relu" else floats
    point = cast(data.draw(calls(name, values)), np.float64)
    check_gradients(point, together=name not in OPS)


@every_op
@SETTINGS
@given(data=st.data())
def test_gradients_equal_differences(name, data):
    """The same without complex numbers, away from kinks, from ties and from rows of one value."""
    point = cast(data.draw(calls(name, smooth)), np.float64)
    check_gradients(point, central_difference, tolerance=1e-7)


@every_op
@FEW
@given(data=st.data())
def test_float32_gives_what_float64_gives(name, data):
    """Output and gradients, to rounding."""
    point = data.draw(calls(name, smooth))
    y, cache = forward(cast(point, np.float64))
    dy = cotangent(y)
    single, single_cache = forward(cast(point, np.float32))
    close(single, y)
    expected = backward(point, dy, cache)
    found = backward(point, dy.astype(np.float32), single_cache)
    assert list(found) == list(expected)
    for leaf, gradient in expected.items():
        close(found[leaf], gradient)


# Of the first argument, how many axes the operation itself looks at; those before are a batch.
OWN_AXES = {
    "linear": 1,
    "relu": 0,
    "gelu": 0,
    "tanh": 0,
    "softmax": 1,
    "layer_norm": 1,
    "embedding": 0,
    "positions": 2,
    "attention": 2,
}


@pytest.mark.parametrize("name", OWN_AXES)
@SETTINGS
@given(data=st.data())
def test_a_batch_equals_its_rows(name, data):
    """One at a time: the outputs are the same, and the gradients of what they share add up."""
    batches = calls(name).filter(lambda point: point.args[0].ndim > OWN_AXES[name])
    point = cast(data.draw(batches), np.float64)
    first, batched = point.args[0], [0]
    if name == "attention":
        mask = point.args[3]
        point = point._replace(args=point.args[:4])  # without dropout
        batched = [0, 1, 2] + [3] * (mask is not None and mask.ndim == first.ndim)
    y, cache = forward(point)
    dy = cotangent(y)
    expected = backward(point, dy, cache)
    shared = {leaf: np.zeros_like(array) for leaf, array in expected.items()}
    own = {"x", "query", "key", "value"} & set(expected)
    for b in range(len(first)):
        args = (np.asarray(a[b]) if i in batched else a for i, a in enumerate(point.args))
        row = point._replace(args=tuple(args))
        alone, cache = forward(row)
        close(alone, y[b])
        for leaf, gradient in backward(row, dy[b], cache).items():
            if leaf in own:
                close(gradient, expected[leaf][b])
            else:
                shared[leaf] += gradient
    for leaf in set(expected) - own:
        close(shared[leaf], expected[leaf])


@SETTINGS
@given(data=st.data())
def test_a_loss_is_the_mean_over_its_rows(data):
    """Each row of a batch weighs as much as its tokens that count, in the gradient as well."""
    calls_of_rows = calls("cross_entropy").filter(lambda point: point.args[1].ndim > 0)
    point = cast(data.draw(calls_of_rows), np.float64)
    logits, targets = point.args
    of_classes = point.settings.get("class_weights") or np.ones(logits.shape[-1])
    weights = np.where(
        targets == point.settings["ignore_index"], 0, np.take(of_classes, np.maximum(targets, 0))
    )
    counts = np.array([row.sum() for row in weights])
    loss, cache = forward(point)
    dlogits = cross_entropy.backward(1.0, cache)
    total = 0.0
    for b, count in enumerate(counts):
        alone, cache = forward(point._replace(args=(logits[b], targets[b])))
        total += count * alone
        close(dlogits[b] * counts.sum(), cross_entropy.backward(1.0, cache) * count)
    close(loss * counts.sum(), np.float64(total))


@SETTINGS
@given(data=st.data(), dtype=dtypes())
def test_what_stands_in_ignored_rows_does_not_matter(data, dtype):
    """Not even infinities or NaN: the loss and the gradient are the same, without a warning."""
    rows, V = data.draw(leading), data.draw(extents())
    targets = data.draw(ids(rows, V, pad_id=-100))
    logits = data.draw(floats((*rows, V), dtype))
    garbage = st.sampled_from([-np.inf, np.inf, np.nan, 2.0**99])
    anything = data.draw(hnp.arrays(dtype, logits.shape, elements=garbage))
    other = np.where((targets == -100)[..., None], anything, logits).astype(dtype)
    smoothing = data.draw(st.sampled_from([0.0, 0.1]))
    loss, cache = cross_entropy.forward(logits, targets, -100, smoothing)
    same, other_cache = cross_entropy.forward(other, targets, -100, smoothing)
    assert same == loss
    dlogits = cross_entropy.backward(1.0, cache)
    np.testing.assert_array_equal(cross_entropy.backward(1.0, other_cache), dlogits)


@SETTINGS
@given(data=st.data(), dtype=dtypes())
def test_causal_attention_does_not_see_the_future(data, dtype):
    """Nothing before position t changes with a later key, and no gradient comes from there."""
    rows, T, K = data.draw(leading), data.draw(extents()), data.draw(extents())
    query, key, value = (data.draw(floats((*rows, T, K), dtype)) for _ in range(3))
    t = data.draw(st.integers(0, T - 1))
    y, cache = attention.forward(query, key, value, masks.causal_mask(T))
    other_key, other_value = key.copy(), value.copy()
    for array in (other_key, other_value):
        array[..., t + 1 :, :] = data.draw(floats((*rows, T - t - 1, K), dtype))
    other, _ = attention.forward(query, other_key, other_value, masks.causal_mask(T))
    close(other[..., : t + 1, :], y[..., : t + 1, :])
    dy = cotangent(y)
    dy[..., t + 1 :, :] = 0
    for gradient in attention.backward(dy, cache):
        assert not gradient[..., t + 1 :, :].any()


@SETTINGS
@given(data=st.data(), dtype=dtypes())
def test_rows_of_a_table_of_positions_beyond_the_sequence_do_not_matter(data, dtype):
    """They change nothing, and no gradient arrives there."""
    T, D = data.draw(extents(0)), data.draw(extents(0))
    x = data.draw(floats(shapes(T, D, smallest=0), dtype))
    table = data.draw(floats((T + data.draw(extents(0)), D), dtype))
    y, cache = positions.forward(x, table)
    np.testing.assert_array_equal(y, positions.forward(x, table[:T])[0])
    dx, dweight = positions.backward(cotangent(y), cache)
    close(dweight[:T], dx.sum(axis=tuple(range(x.ndim - 2))))
    assert not dweight[T:].any()


@SETTINGS
@given(x=floats(shapes(extents(0), smallest=0), dtypes()))
def test_sums_are_those_of_numpy(x):
    """Over the last axis, and over all others; the sum of nothing is 0."""
    close(sums.over_last(x), x.sum(axis=-1, keepdims=True))
    close(sums.over_rows(x), x.sum(axis=tuple(range(x.ndim - 1))))
