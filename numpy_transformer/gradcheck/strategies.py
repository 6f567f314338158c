"""Hypothesis strategies: shapes, values, masks and ids for tests of hand-written gradients.

A strategy says how to draw an argument. Hypothesis draws many, and when a test fails it looks for
the simplest ones that make it fail. A test of an operation of your own::

    >>> from hypothesis import given, settings
    >>> from numpy_transformer.gradcheck import gradcheck, strategies
    >>> from numpy_transformer.ops import relu
    >>> @settings(max_examples=10, deadline=None, derandomize=True)
    ... @given(x=strategies.floats(strategies.shapes(), away_from=0))
    ... def test_relu(x):
    ...     gradcheck(relu, x, zero=("dx",)).raise_if_wrong()  # zero, if no entry is above 0
    >>> test_relu()

Arguments whose shapes belong together are drawn one after the other::

    >>> from hypothesis import strategies as st
    >>> from numpy_transformer.ops import linear
    >>> @settings(max_examples=10, deadline=None, derandomize=True)
    ... @given(st.data())
    ... def test_linear(data):
    ...     rows, width, out = data.draw(strategies.shapes()), 3, data.draw(strategies.extents())
    ...     x = data.draw(strategies.floats((*rows, width)))
    ...     weight = data.draw(strategies.floats((width, out)))
    ...     y, cache = linear.forward(x, weight)
    ...     dx, dweight, _ = linear.backward(data.draw(strategies.cotangents(y.shape)), cache)
    ...     assert (dx.shape, dweight.shape) == (x.shape, weight.shape)
    >>> test_linear()

Two kinds of points have no derivative, and a difference taken across one of them is wrong. At a
kink, such as that of ReLU at 0, the slope changes: ``floats(..., away_from=0)`` stays away from
it. Where two entries of a row are equal, the place of the maximum changes: ``floats(...,
ties=False)`` keeps them apart. Without these settings, zeros and ties are drawn often.

This file needs hypothesis, and nothing else in the package imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

try:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError as error:
    raise ImportError(
        "numpy_transformer.gradcheck.strategies needs hypothesis, which is not installed: "
        "pip install 'numpy-transformer[test]' or pip install hypothesis"
    ) from error

__all__ = [
    "cotangents", "dtypes", "extents", "floats", "generators", "ids", "masks", "seeds", "shapes",
]  # fmt: skip

Shape = tuple[int, ...]
Interval = tuple[float, float]


def dtypes() -> st.SearchStrategy[type]:
    """``np.float32`` or ``np.float64``, the two precisions in which gradients are checked.

    >>> from hypothesis import given, settings
    >>> @settings(deadline=None, derandomize=True)
    ... @given(dtypes())
    ... def test(dtype):
    ...     assert np.ones(3, dtype).dtype in (np.float32, np.float64)
    >>> test()
    """
    return st.sampled_from([np.float32, np.float64])


def seeds() -> st.SearchStrategy[int]:
    """Seeds of a random generator, 0 to ``2**32 - 1``.

    >>> from hypothesis import given, settings
    >>> @settings(deadline=None, derandomize=True)
    ... @given(seeds())
    ... def test(seed):
    ...     assert np.random.default_rng(seed).random() == np.random.default_rng(seed).random()
    >>> test()
    """
    return st.integers(0, 2**32 - 1)


def generators() -> st.SearchStrategy[np.random.Generator]:
    """Random generators, for dropout and the like; each is new, and no two tests share one.

    A generator changes when numbers are drawn. To call ``forward`` twice with the same random
    numbers, draw a seed and make two generators of it.

    >>> from hypothesis import given, settings
    >>> from numpy_transformer.ops import dropout
    >>> @settings(deadline=None, derandomize=True)
    ... @given(generators())
    ... def test(rng):
    ...     y, _ = dropout.forward(np.ones(5), 0.5, rng)
    ...     assert set(y) <= {0, 2}
    >>> test()
    """
    return st.builds(np.random.default_rng, seeds())


def extents(smallest: int = 1, largest: int = 4) -> st.SearchStrategy[int]:
    """The extent of an axis: a number from ``smallest`` to ``largest``.

    Ask for 0 where an operation takes arrays without entries: an empty batch, a sequence without
    tokens.

    >>> from hypothesis import given, settings
    >>> @settings(deadline=None, derandomize=True)
    ... @given(extents(0))
    ... def test(T):
    ...     assert np.zeros((T, 3)).sum(axis=0).shape == (3,)
    >>> test()
    """
    return st.integers(smallest, largest)


def shapes(
    *last: int | st.SearchStrategy[int],
    leading: tuple[int, int] = (0, 2),
    smallest: int = 1,
    largest: int = 3,
) -> st.SearchStrategy[Shape]:
    """Shapes: some leading axes, and then the axes ``last``, if any are given.

    ``leading`` is the smallest and the largest number of leading axes, and ``smallest`` and
    ``largest`` bound the extent of each. Each of ``last`` is an extent or a strategy for one.
    Without it and with no leading axis the shape is ``()``, that of a single number.

    Raises ``ValueError`` for bounds below 0, or with the larger one first.

    >>> from hypothesis import given, settings
    >>> @settings(deadline=None, derandomize=True)
    ... @given(shapes(extents(0), 8))  # (8 columns, any number of rows, in any number of batches)
    ... def test(shape):
    ...     assert 2 <= len(shape) <= 4 and shape[-1] == 8
    >>> test()
    """
    fewest, most = leading
    if not 0 <= fewest <= most or not 0 <= smallest <= largest:
        raise ValueError(
            f"shapes: leading is {leading}, and the extents are {smallest} to {largest}: "
            "expected at least 0, and the smaller number first"
        )
    first = st.lists(st.integers(smallest, largest), min_size=fewest, max_size=most)
    rest = (axis if isinstance(axis, st.SearchStrategy) else st.just(axis) for axis in last)
    return st.tuples(first, st.tuples(*rest)).map(lambda drawn: (*drawn[0], *drawn[1]))


def floats(
    shape: int | Shape | st.SearchStrategy[Shape],
    dtype: type | st.SearchStrategy[type] = np.float64,
    largest: float = 4.0,
    smallest: float | None = None,
    *,
    away_from: float | Sequence[float] = (),
    ties: bool = True,
    margin: float = 0.05,
) -> st.SearchStrategy[np.ndarray]:
    """Arrays of numbers between ``smallest`` and ``largest``, often with zeros and ties.

    ``shape``, ``dtype``
        Given, or strategies for them. All numbers fit float32, also where the dtype is float64,
        so that an array can be put to the test in both precisions.
    ``smallest``
        By default ``-largest``; for logarithms and roots something above 0.
    ``away_from``
        The kinks of the operation, a number or several: every entry is at least ``margin`` away
        from each of them.
    ``ties``
        If ``False``, any two entries of a row (the last axis) are at least ``margin`` apart, so
        that the largest one stays the largest when entries move a little.
    ``margin``
        A check by differences moves entries by its step, so a margin has to be longer. For
        numbers up to 4, 0.05 is thirty times what this package's differences need in float64.

    Raises ``TypeError`` for a dtype other than float32 and float64, and ``ValueError`` for bounds
    that leave no number, or, when drawn, for rows that have more entries than there is room for.

    >>> from hypothesis import given, settings
    >>> @settings(deadline=None, derandomize=True)
    ... @given(floats((2, 5), away_from=[-1, 1], ties=False))
    ... def test(x):
    ...     assert np.abs(np.abs(x) - 1).min() >= 0.05
    ...     assert np.diff(np.sort(x)).min() >= 0.05
    >>> test()
    """
    if not isinstance(dtype, st.SearchStrategy):
        _check_dtype("floats", dtype)
    smallest = -largest if smallest is None else smallest
    points = sorted(map(float, np.ravel(away_from)))
    if not margin > 0 or not np.isfinite([smallest, largest, margin, *points]).all():
        raise ValueError(
            f"floats: smallest is {smallest}, largest {largest}, away_from {points} and margin "
            f"{margin}: expected finite numbers, and a margin above 0"
        )
    room = _room(smallest, largest, points, margin)
    if not room:
        raise ValueError(
            f"floats: no number from {smallest} to {largest} is {margin} away from {points}; "
            "choose a smaller margin or wider bounds"
        )
    return _floats(shape, dtype, room, None if ties else margin)


def masks(
    shape: Shape | st.SearchStrategy[Shape], every_row: bool = False
) -> st.SearchStrategy[np.ndarray]:
    """Boolean arrays ``(..., T, S)``: whether a query (a row) may attend to a key (a column).

    Often the first row is ``False`` throughout, a query that may attend to nothing. With
    ``every_row`` there is at least one ``True`` in every row, if a row has any entries at all. A
    shape with one axis is that of a single row.

    Raises ``ValueError``, when drawn, for the shape ``()``.

    >>> from hypothesis import given, settings
    >>> @settings(deadline=None, derandomize=True)
    ... @given(masks((2, 3, 4), every_row=True))
    ... def test(mask):
    ...     assert mask.any(axis=-1).all()
    >>> test()
    """
    return _masks(shape, every_row)


def ids(
    shape: int | Shape | st.SearchStrategy[Shape], vocabulary: int, pad_id: int | None = None
) -> st.SearchStrategy[np.ndarray]:
    """Integers from 0 to ``vocabulary - 1``, int64, often with repetitions.

    With a ``pad_id``, rows (the last axis) are of different lengths, some of them often 0: from
    its end on, each is filled up with ``pad_id``, which stands nowhere else. It need not be below
    ``vocabulary``: -100 makes targets of which a loss ignores some.

    Raises ``ValueError`` for a vocabulary below 0, and, when drawn, where an id is needed and the
    vocabulary has none.

    >>> from hypothesis import given, settings
    >>> @settings(deadline=None, derandomize=True)
    ... @given(ids((2, 5), vocabulary=7, pad_id=0))
    ... def test(source):
    ...     real = source != 0
    ...     assert (real[:, :-1] >= real[:, 1:]).all() and source.max() < 7
    >>> test()
    """
    if vocabulary < 0:
        raise ValueError(f"ids: the vocabulary is {vocabulary}, expected at least 0")
    return _ids(shape, vocabulary, pad_id)


def cotangents(
    shape: int | Shape | st.SearchStrategy[Shape],
    dtype: type | st.SearchStrategy[type] = np.float64,
) -> st.SearchStrategy[np.ndarray]:
    """What arrives at ``backward`` as ``dy``: standard normal numbers, drawn from a seed.

    Not such simple numbers as ``floats`` likes to draw: behind a ``dy`` of ones, or any other
    constant, the gradient of a softmax is zero whether the code is right or wrong.

    Raises ``TypeError`` for a dtype other than float32 and float64.

    >>> from hypothesis import given, settings
    >>> @settings(deadline=None, derandomize=True)
    ... @given(cotangents((2, 3), np.float32))
    ... def test(dy):
    ...     assert dy.dtype == np.float32 and len(set(dy.flat)) > 1
    >>> test()
    """
    if not isinstance(dtype, st.SearchStrategy):
        _check_dtype("cotangents", dtype)
    return _cotangents(shape, dtype)


@st.composite
def _floats(draw, shape, dtype, room, gap):
    shape, dtype = _drawn(draw, shape), _drawn(draw, dtype)
    _check_dtype("floats", dtype)
    # The highest numbers first: hypothesis simplifies towards the first strategy of several.
    elements = st.one_of(
        st.floats(low, high, width=32, allow_subnormal=False) for low, high in reversed(room)
    )
    x = draw(hnp.arrays(dtype, shape, elements=elements))
    return x if gap is None or not x.size else _apart(x, room, gap)


@st.composite
def _masks(draw, shape, every_row):
    shape = _drawn(draw, shape)
    if not shape:
        raise ValueError("masks: the shape is (), expected (..., T, S)")
    mask = draw(hnp.arrays(bool, shape))
    if draw(st.booleans()):
        np.atleast_2d(mask)[..., :1, :] = False  # a view
    if every_row and shape[-1]:
        columns = st.integers(0, shape[-1] - 1)
        allowed = draw(hnp.arrays(np.int64, shape[:-1], elements=columns))  # (..., T)
        mask |= np.arange(shape[-1]) == allowed[..., None]
    return mask


@st.composite
def _ids(draw, shape, vocabulary, pad_id):
    shape = _drawn(draw, shape)
    shape = tuple(shape) if np.ndim(shape) else (shape,)
    inside = pad_id is not None and 0 <= pad_id < vocabulary
    others = vocabulary - inside  # ids that are not padding
    if not others and pad_id is not None:
        return np.full(shape, pad_id, np.int64)
    if not others and 0 not in shape:
        raise ValueError(f"ids: the shape is {shape}, but the vocabulary has no ids")
    found = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, max(others - 1, 0))))
    if inside:
        found += found >= pad_id
    if found.size > 1 and draw(st.booleans()):
        found.flat[1] = found.flat[0]
    if pad_id is None or not shape:
        return found
    lengths = draw(hnp.arrays(np.int64, (*shape[:-1], 1), elements=st.integers(0, shape[-1])))
    return np.where(np.arange(shape[-1]) < lengths, found, pad_id)


@st.composite
def _cotangents(draw, shape, dtype):
    shape, dtype = _drawn(draw, shape), _drawn(draw, dtype)
    _check_dtype("cotangents", dtype)
    return np.asarray(np.random.default_rng(draw(seeds())).standard_normal(shape), dtype)


def _drawn(draw: Callable, value):
    return draw(value) if isinstance(value, st.SearchStrategy) else value


def _check_dtype(name: str, dtype) -> None:
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise TypeError(f"{name}: the dtype is {np.dtype(dtype)}, expected float32 or float64")


def _room(smallest: float, largest: float, points: list[float], margin: float) -> list[Interval]:
    """The intervals of numbers that are away from all points, in order; their ends fit float32."""
    room, low = [], _single(smallest, np.inf)
    for point in [*points, np.inf]:
        high = _single(min(point - margin, largest), -np.inf)
        if low <= high:
            room.append((low, high))
        if point < np.inf:
            low = max(low, _single(point + margin, np.inf))
    return room


def _single(x: float, towards: float) -> float:
    """``x`` rounded to float32, in one direction."""
    rounded = float(np.float32(x))  # a float, as NumPy 2 would compare in float32
    wrong = rounded < x if towards > 0 else rounded > x
    return float(np.nextafter(np.float32(x), np.float32(towards))) if wrong else rounded


def _apart(x: np.ndarray, room: list[Interval], gap: float) -> np.ndarray:
    """The same rows, entries that are too near to each other moved: up, or down at the top.

    ``x (..., D)`` keeps the order of its entries, and all of them stay inside the room.
    """
    lows, highs = np.transpose(room)
    gap += float(np.spacing(np.float32(max(-lows[0], highs[-1]))))  # what rounding may take away
    D = x.shape[-1] if x.ndim else 1
    rows = x.reshape(-1, D).astype(np.float64)  # (N, D)
    order = np.argsort(rows, axis=-1, kind="stable")
    found = np.take_along_axis(rows, order, axis=-1)  # (N, D), ascending
    for i in range(1, D):
        up = np.maximum(found[:, i], found[:, i - 1] + gap)  # (N,)
        at = np.searchsorted(highs, up)  # the first interval that does not end before
        found[:, i] = np.maximum(up, np.append(lows, np.inf)[at])
    ceiling = np.full(len(rows), highs[-1])  # (N,)
    for i in reversed(range(D)):
        down = np.minimum(found[:, i], ceiling)
        at = np.searchsorted(lows, down, side="right")  # the last interval that begins before
        found[:, i] = np.minimum(down, np.append(-np.inf, highs)[at])
        ceiling = found[:, i] - gap
    if not np.isfinite(found).all():
        raise ValueError(
            f"floats: rows of {D} entries, any two at least {gap:.3g} apart, do not fit into "
            f"{room}; choose wider bounds or a smaller margin"
        )
    np.put_along_axis(rows, order, found, axis=-1)
    return rows.astype(np.float32).astype(x.dtype).reshape(x.shape)
