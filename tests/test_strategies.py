"""The public strategies keep their promises, and draw what tests need: ties, zeros, empty rows."""

from __future__ import annotations

import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from strategies import SETTINGS

from numpy_transformer.gradcheck import gradcheck, strategies
from numpy_transformer.gradcheck.strategies import (
    cotangents,
    dtypes,
    extents,
    floats,
    generators,
    ids,
    masks,
    seeds,
    shapes,
)


def drawn(strategy, count=60):
    """What a strategy draws, the same in every run."""
    found = []

    @settings(SETTINGS, max_examples=count)
    @given(strategy)
    def look(value):
        found.append(value)

    look()
    return found


def test_every_public_name_is_a_function_that_says_what_it_does():
    """With an example that runs, and the errors it raises are in the tests below."""
    assert set(strategies.__all__) <= set(vars(strategies))
    for name in strategies.__all__:
        assert ">>> test()" in getattr(strategies, name).__doc__, name


def test_dtypes_are_both_precisions():
    assert set(drawn(dtypes())) == {np.float32, np.float64}


def test_extents_run_from_the_smallest_to_the_largest():
    assert set(drawn(extents())) == {1, 2, 3, 4}
    assert set(drawn(extents(0, 2))) == {0, 1, 2}


def test_shapes_have_leading_axes_and_then_the_last_ones():
    found = drawn(shapes(extents(0, 1), 7, leading=(1, 2), smallest=2, largest=3), 100)
    assert {shape[-1] for shape in found} == {7}
    assert {shape[-2] for shape in found} == {0, 1}
    assert {len(shape) for shape in found} == {3, 4}
    assert {extent for shape in found for extent in shape[:-2]} == {2, 3}


def test_shapes_of_leading_axes_alone():
    found = drawn(shapes(smallest=0))
    assert {len(shape) for shape in found} == {0, 1, 2}
    assert {extent for shape in found for extent in shape} == {0, 1, 2, 3}
    assert not {0} & {extent for shape in drawn(shapes()) for extent in shape}


def test_generators_are_new_each_time():
    """So an example does not depend on those before it; and different seeds are drawn."""
    found = drawn(generators())
    assert len({id(rng) for rng in found}) == len(found)
    assert len({rng.random() for rng in found}) > 5
    assert min(drawn(seeds())) >= 0
    assert max(drawn(seeds())) < 2**32


# floats


@pytest.mark.parametrize("shape", [(), 3, (3,), (0,), (2, 0), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [np.float32, "float64", np.dtype(np.float32)])
def test_floats_have_the_shape_and_the_dtype(shape, dtype):
    for settings_ in ({}, {"away_from": 0, "ties": False}):
        for x in drawn(floats(shape, dtype, **settings_), 5):
            assert x.shape == np.empty(shape).shape
            assert x.dtype == dtype


@SETTINGS
@given(st.data())
def test_floats_keep_inside_their_bounds_and_fit_float32(data):
    """Both bounds are numbers that float32 has to round, and they are not overstepped."""
    dtype = data.draw(dtypes())
    smallest, largest = data.draw(st.sampled_from([(-0.7, 0.9), (0.1, 0.3), (-5.1, -5.0)]))
    ties = data.draw(st.booleans())
    x = data.draw(floats(shapes(3), dtype, largest, smallest, ties=ties, margin=0.01))
    assert (smallest <= x.astype(np.float64)).all() and (x.astype(np.float64) <= largest).all()
    np.testing.assert_array_equal(x.astype(np.float32).astype(np.float64), x.astype(np.float64))


def test_floats_are_positive_and_negative_and_often_zero_or_tied():
    """Or else masks, kinks and maxima would be tried at easy points alone."""
    found = drawn(floats((2, 3)))
    assert any((x > 0).any() and (x < 0).any() for x in found)
    assert sum((x == 0).any() for x in found) > 5
    assert sum(any(len(set(row)) < 3 for row in x) for x in found) > 5
    assert max(np.abs(x).max() for x in found) <= 4


KINKS = st.lists(st.floats(-3, 3), min_size=1, max_size=3)


@SETTINGS
@given(data=st.data(), kinks=KINKS, margin=st.sampled_from([0.01, 0.05, 0.3]))
def test_no_entry_is_near_a_kink(data, kinks, margin):
    """Wherever the kinks lie; and there are entries on each side of them."""
    x = data.draw(floats(shapes(4), dtypes(), away_from=kinks, margin=margin))
    apart = np.abs(x[..., None].astype(np.float64) - kinks)
    assert apart.min() >= margin * (1 - 1e-12)


def test_there_are_entries_on_both_sides_of_a_kink():
    found = np.array(drawn(floats(4, away_from=0.5, margin=0.25)))
    assert (found <= 0.25).any() and (found >= 0.75).any()
    assert (found == 0).any()  # a kink at 0.5 leaves 0 alone
    assert np.abs(found - 0.5).min() >= 0.25
    found = np.array(drawn(floats(4, smallest=1, away_from=[-3, 0.8, 3.9, 9], margin=0.25)))
    assert found.min() >= 1.05 and found.max() <= 3.65  # kinks outside the bounds count as well


@SETTINGS
@given(data=st.data(), kinks=st.just([]) | KINKS, margin=st.sampled_from([0.01, 0.1, 0.3]))
def test_no_two_entries_of_a_row_are_near_each_other(data, kinks, margin):
    """And none is near a kink; what is drawn stays inside the bounds."""
    strategy = floats(
        shapes(extents(2, 5)), dtypes(), away_from=kinks, ties=False, margin=margin
    )
    x = data.draw(strategy).astype(np.float64)
    assert np.diff(np.sort(x, axis=-1), axis=-1).min() >= margin * (1 - 1e-12)
    assert np.abs(x).max() <= 4
    if kinks:
        assert np.abs(x[..., None] - kinks).min() >= margin * (1 - 1e-12)


def test_rows_without_ties_fill_all_the_room_there_is():
    """Five entries, 1 apart, just fit between -2 and 2, whatever was drawn at first."""
    for x in drawn(floats((3, 5), np.float64, 2.0001, ties=False, margin=1), 20):
        np.testing.assert_allclose(np.sort(x), [[-2, -1, 0, 1, 2]] * 3, atol=2e-3)
    orders = {tuple(np.argsort(x)) for x in drawn(floats(3, ties=False, margin=0.5))}
    assert len(orders) == 6  # and any entry may be the largest one
    for x in drawn(floats(4, away_from=0, ties=False, margin=1.5), 20):
        assert (np.sign(np.sort(x)) == [-1, -1, 1, 1]).all()  # two on each side are all that fit


def test_differences_are_right_where_there_is_no_kink_near():
    """A maximum of rows, hand-written, passes a check by differences at every such point."""

    def forward(x):
        return np.abs(x).max(axis=-1), x

    def backward(dy, x):
        largest = np.abs(x).argmax(axis=-1)[..., None]  # (..., 1)
        dx = np.zeros_like(x)
        sign = np.sign(np.take_along_axis(x, largest, axis=-1))
        np.put_along_axis(dx, largest, dy[..., None] * sign, axis=-1)
        return dx

    op = types.SimpleNamespace(__name__="largest", forward=forward, backward=backward)

    @settings(SETTINGS, max_examples=10)
    @given(floats(shapes(3), smallest=0, away_from=0, ties=False), seeds())
    def check(x, seed):
        signs = np.random.default_rng(seed).choice([-1, 1], x.shape)
        gradcheck(op, signs * x, method="central").raise_if_wrong()

    check()


@pytest.mark.parametrize(
    "arguments, parts",
    [
        ({"margin": 0}, ["margin 0", "above 0"]),
        ({"margin": np.nan}, ["margin nan"]),
        ({"largest": np.inf}, ["largest inf", "finite"]),
        ({"away_from": [0, np.nan]}, ["away_from", "nan", "finite"]),
        ({"largest": 1, "smallest": 2}, ["no number from 2 to 1"]),
        ({"away_from": 0, "margin": 5}, ["from -4.0 to 4.0", "5 away from [0.0]", "smaller"]),
    ],
)
def test_floats_that_there_are_not_are_refused(arguments, parts):
    """When the strategy is made, before anything is drawn."""
    with pytest.raises(ValueError) as raised:
        floats((2, 3), **arguments)
    assert all(part in str(raised.value) for part in parts), str(raised.value)


def test_a_row_that_is_too_long_for_its_room_is_refused():
    message = "rows of 12 entries, any two at least 0.8 apart, .* wider bounds or a smaller margin"
    with pytest.raises(ValueError, match=message):
        drawn(floats((2, 12), ties=False, margin=0.8), 1)
    with pytest.raises(ValueError, match="do not fit"):  # 0 to 4 would, but for the kink
        drawn(floats(5, smallest=0, away_from=2, ties=False, margin=1), 1)


@pytest.mark.parametrize("strategy", [floats, cotangents])
@pytest.mark.parametrize("dtype", [int, np.float16, np.complex128, bool])
def test_other_dtypes_are_refused(strategy, dtype):
    for given_ in (dtype, st.just(dtype)):
        with pytest.raises(TypeError, match=f"{np.dtype(dtype)}, expected float32 or float64"):
            drawn(strategy(3, given_), 1)


def test_shapes_that_there_are_not_are_refused():
    for arguments in ({"leading": (2, 1)}, {"leading": (-1, 1)}, {"smallest": 4}):
        with pytest.raises(ValueError, match="the smaller number first"):
            shapes(**arguments)
    with pytest.raises(InvalidArgument):
        drawn(extents(3, 2), 1)


# masks, ids, cotangents


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 1, 3), (2, 2, 3, 4)])
def test_masks_often_have_a_row_that_allows_nothing(shape):
    """Unless every row is to allow something; then other rows are as before."""
    found = drawn(masks(shape))
    assert {(mask.shape, mask.dtype) for mask in found} == {(shape, np.dtype(bool))}
    assert sum(not np.atleast_2d(mask)[..., 0, :].any() for mask in found) > 22  # of 60
    assert any(mask.any() and not mask.all() for mask in found)
    found = drawn(masks(st.just(shape), every_row=True))
    assert all(mask.any(axis=-1).all() for mask in found)
    assert any(mask.all() for mask in found) and any(not mask.all() for mask in found)
    assert len({tuple(np.atleast_2d(mask)[..., 0, :].argmax(axis=-1).flat) for mask in found}) > 1


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0), (2, 0, 0)])
@pytest.mark.parametrize("every_row", [False, True])
def test_masks_of_nothing(shape, every_row):
    """A row without entries cannot allow anything, and none has to."""
    assert {mask.shape for mask in drawn(masks(shape, every_row), 5)} == {shape}


def test_a_mask_without_axes_is_refused():
    with pytest.raises(ValueError, match=r"the shape is \(\), expected \(..., T, S\)"):
        drawn(masks(()), 1)


def test_ids_are_below_the_vocabulary_and_often_repeated():
    found = drawn(ids((2, 5), 1000))
    assert {(array.shape, array.dtype) for array in found} == {((2, 5), np.dtype(np.int64))}
    assert all(array.min() >= 0 and array.max() < 1000 for array in found)
    assert sum(found[0] == found[1] for found in drawn(ids(2, 1000))) > 25  # of 60
    assert any(len(np.unique(array)) > 2 for array in found)
    assert {array.max(initial=-1) for array in drawn(ids(shapes(smallest=0), 1))} == {-1, 0}


@pytest.mark.parametrize("pad_id", [0, 2, 4, 7, -100])
def test_padding_stands_at_the_end_of_rows_of_different_lengths(pad_id):
    """And nowhere else, whether or not it is one of the ids."""
    found = drawn(ids((2, 3), 5, pad_id), 100)
    lengths = {tuple((array != pad_id).sum(axis=1)) for array in found}
    assert {(0, 0), (3, 3)} <= lengths and any(a != b for a, b in lengths)
    for array in found:
        real = array != pad_id
        assert (real[:, :-1] >= real[:, 1:]).all()
        assert set(array[real]) <= set(range(5)) - {pad_id}
    assert set(np.ravel(found)) == set(range(5)) | {pad_id}


def test_ids_at_the_limits():
    """One id alone, which is padding, and none at all where none is needed."""
    assert {tuple(array) for array in drawn(ids(2, 1, pad_id=0), 5)} == {(0, 0)}
    assert {tuple(array) for array in drawn(ids((2,), 0, pad_id=-1), 5)} == {(-1, -1)}
    assert {array.shape for array in drawn(ids((2, 0), 0), 5)} == {(2, 0)}
    assert {int(array) for array in drawn(ids((), 3))} == {0, 1, 2}
    with pytest.raises(ValueError, match=r"the shape is \(2, 3\), but the vocabulary has no ids"):
        drawn(ids((2, 3), 0), 1)
    with pytest.raises(ValueError, match="the vocabulary is -1"):
        ids((2, 3), -1)


def test_cotangents_are_never_constant():
    """Normal numbers, other ones for another seed, in the dtype that was asked for."""
    found = drawn(cotangents((2, 3), dtypes()))
    assert {dy.dtype for dy in found} == {np.dtype(np.float32), np.dtype(np.float64)}
    assert all(np.ptp(dy) > 0.1 and (dy != 0).all() for dy in found)
    assert len({float(dy[0, 0]) for dy in found}) > 5
    assert 0.8 < np.std(found) < 1.2
    number = drawn(cotangents(()), 1)[0]
    assert isinstance(number, np.ndarray) and number.shape == ()
