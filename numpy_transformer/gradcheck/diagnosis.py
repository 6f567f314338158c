"""What is wrong with a gradient that is wrong: is it a recognisable distortion of the right one?

Mistakes in backward passes are few in kind. A factor is forgotten, a sign is turned, axes are
mixed up, a mean is not subtracted. Each leaves a trace in the numbers: here ``wrong`` (what
``backward`` returned) is held against ``right`` (what was measured), one kind after the other, and
the first that fits is named.

====================  ===========================================================================
``zero``              every entry is 0
``sign``              minus the right gradient
``factor``            the right gradient times one number, such as 1/B, sqrt(K), T or 2
``sum``               right once it is summed over an axis that ``forward`` broadcast
``swapped``           the right gradient of another argument
``through``           ``dy``, handed on as it is
``transpose``         the right numbers in another order
``mask``              right where the right gradient is not 0, but not 0 where it should be
``part``              right but for some indices of one axis: a batch row, a head
``mean``              off by something constant along an axis: a mean that was not subtracted
``scale``             off by factors along an axis, an argument or something in the cache
``term``              off by something in the cache, times a number for each row
====================  ===========================================================================
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Surroundings:
    """What there is around a gradient, to tell a mistake by."""

    dy: np.ndarray
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)  # arguments, parts of the cache
    others: Mapping[str, np.ndarray] = field(default_factory=dict)  # the other right gradients
    numbers: Mapping[str, float] = field(default_factory=dict)  # extents and settings by name


def diagnose(
    wrong: np.ndarray, right: np.ndarray, around: Surroundings, precision: float
) -> tuple[str, str]:
    """The kind of distortion and a sentence, or two empty strings.

    ``precision`` is the relative error that ``right`` may have.

    >>> right = np.array([[1.0, 2.0, 4.0], [3.0, -1.0, 0.5]])
    >>> around = Surroundings(np.ones((2, 3)), numbers={"x.shape[0]": 2})
    >>> diagnose(right / 2, right, around, 1e-9)
    ('factor', 'it is 0.5 times the right gradient throughout: 1/2, where 2 = x.shape[0]')
    """
    same = _Same(right, precision)
    if wrong.shape != right.shape:
        return _other_shape(wrong, right, same)
    if not np.isfinite(wrong).all():
        return "", ""
    for look in (_zero, _factor, _handed_on, _transposed, _masked, _part, _mean, _scaled, _term):
        kind, sentence = look(wrong, right, around, same)
        if kind:
            return kind, sentence
    return "", ""


class _Same:
    """Whether two arrays are equal, as far as ``right`` is known."""

    def __init__(self, right: np.ndarray, precision: float):
        self.slack = 4 * precision * float(np.abs(right).max(initial=0))

    def __call__(self, a: np.ndarray, b: np.ndarray) -> bool:
        with np.errstate(all="ignore"):
            return bool(np.abs(a - b).max(initial=0) <= self.slack)


def _other_shape(wrong, right, same):
    if wrong.size == right.size:
        for axes in itertools.permutations(range(right.ndim)):
            if right.transpose(axes).shape == wrong.shape and same(wrong, right.transpose(axes)):
                return "transpose", f"it is the right gradient with its axes in the order {axes}"
    for count in range(1, wrong.ndim + 1):
        for axes in itertools.combinations(range(wrong.ndim), count):
            total = wrong.sum(axis=axes)
            if total.size == right.size and same(total.reshape(right.shape), right):
                return "sum", f"summed over the axes {axes}, it is right: forward broadcasts there"
    return "", ""


def _zero(wrong, right, around, same):
    return ("zero", "it is zero throughout") if not wrong.any() else ("", "")


def _factor(wrong, right, around, same):
    square = float((right * right).sum())
    factor = float((wrong * right).sum()) / square if square else 0.0
    if not same(wrong, factor * right):
        return "", ""
    if abs(factor + 1) < 1e-6:
        return "sign", "it is the right gradient with the opposite sign"
    name = name_factor(factor, around.numbers)
    if right.size < 2 and not name:
        return "", ""  # any two numbers differ by a factor
    return "factor", f"it is {factor:.6g} times the right gradient throughout" + (
        f": {name}" if name else ""
    )


def name_factor(factor: float, numbers: Mapping[str, float]) -> str:
    """What a factor is made of, in terms of ``numbers``: all that it may be, or an empty string.

    >>> name_factor(0.5, {"query.shape[-1]": 4, "query.shape[1]": 2})
    '1/2, where 2 = query.shape[1], or 1/sqrt(4), where 4 = query.shape[-1]'
    """
    size, minus = abs(factor), "-" if factor < 0 else ""
    forms = {
        "{n}": lambda n: n,
        "1/{n}": lambda n: 1 / n,
        "sqrt({n})": math.sqrt,
        "1/sqrt({n})": lambda n: 1 / math.sqrt(n),
        "({n} - 1)/{n}": lambda n: (n - 1) / n if n > 2 else 0,
        "{n}/({n} - 1)": lambda n: n / (n - 1) if n > 2 else 0,
        "1 - {n}": lambda n: 1 - n if n < 1 else 0,
        "1/(1 - {n})": lambda n: 1 / (1 - n) if n < 1 else 0,
    }
    found = []
    for form, function in forms.items():
        values = {value for value in numbers.values() if 0 < value < math.inf and value != 1}
        for value in sorted(values):
            if math.isclose(function(value), size, rel_tol=1e-6):
                names = [name for name, other in numbers.items() if other == value and name]
                where = f", where {value:g} = {' = '.join(names[:3])}" if names else ""
                found.append(minus + form.format(n=f"{value:g}") + where)
    if found:
        return ", or ".join(found[:3])
    finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
    for name, value in finite.items():  # such as 12/15: so many of the rows were counted
        share = size * value
        whole = math.isclose(share, round(share), rel_tol=1e-6)
        if name and whole and 0 < round(share) < value:
            return f"{minus}{round(share)}/{value:g}, where {value:g} = {name}"
    return ""


def _handed_on(wrong, right, around, same):
    for name, other in around.others.items():
        if other.shape == wrong.shape and same(wrong, other):
            return "swapped", f"it is the right gradient d{name} in the wrong place"
    if wrong.shape == around.dy.shape and same(wrong, around.dy):
        return "through", "it is dy, handed on as it is"
    return "", ""


def _transposed(wrong, right, around, same):
    axes_in_order = tuple(range(right.ndim))
    for axes in itertools.permutations(axes_in_order):
        moved = right.transpose(axes)
        if axes == axes_in_order:
            continue
        if moved.shape == right.shape and same(wrong, moved):
            return "transpose", f"it is the right gradient with its axes in the order {axes}"
        if same(wrong, moved.reshape(right.shape)):
            return "transpose", (
                f"it has the right numbers in the wrong places: reshaped as if the axes were in "
                f"the order {axes}, where they had to be transposed"
            )
    if right.size > 3 and same(np.sort(wrong, axis=None), np.sort(right, axis=None)):
        return "transpose", "it has the right numbers in another order"
    return "", ""


def _bad(wrong, right, same) -> np.ndarray:
    return np.abs(wrong - right) > same.slack


def _masked(wrong, right, around, same):
    bad, zero = _bad(wrong, right, same), np.abs(right) <= same.slack
    if bad.any() and not (bad & ~zero).any() and not zero.all():
        return "mask", (
            f"it is right, but not 0 at {int(bad.sum())} of the {int(zero.sum())} entries that "
            "have to be 0: a mask is missing"
        )
    return "", ""


def _part(wrong, right, around, same):
    bad, telling = _bad(wrong, right, same), np.abs(right) > same.slack
    best = None
    for axis in range(right.ndim):
        rest = tuple(a for a in range(right.ndim) if a != axis)
        is_bad, is_telling = bad.any(axis=rest), (telling | bad).any(axis=rest)
        good = is_telling & ~is_bad
        if good.any() and (best is None or is_bad.mean() < best[1].mean()):
            best = axis, is_bad
    if best is None:
        return "", ""
    axis, is_bad = best
    indices = np.flatnonzero(is_bad)
    there = np.take(wrong, indices, axis), np.take(right, indices, axis)
    kind, sentence = _zero(*there, around, same)
    if not kind:
        kind, sentence = _factor(*there, around, same)
    also = f"; there {sentence.replace(' throughout', '')}" if kind else ""
    return "part", (
        f"it is wrong only at {_indices(indices, len(is_bad))} of axis {axis}, and right "
        f"elsewhere{also}"
    )


def _indices(indices: np.ndarray, extent: int) -> str:
    """``index 2``, ``indices 1, 4``, or a block."""
    first, last, count = int(indices[0]), int(indices[-1]), len(indices)
    if count == 1:
        return f"index {first} ({extent} in all)"
    if last - first + 1 == count:
        block = (
            f", block {first // count + 1} of {extent // count}"
            if extent % count == 0 and first % count == 0 else ""
        )
        return f"indices {first} to {last} ({extent} in all{block})"
    listed = ", ".join(map(str, indices[:8])) + (", ..." if count > 8 else "")
    return f"indices {listed} ({extent} in all)"


def _mean(wrong, right, around, same):
    error = wrong - right
    axes = [
        axis
        for axis in range(right.ndim)
        if right.shape[axis] > 1 and same(error, error.mean(axis=axis, keepdims=True))
    ]
    if not axes:
        return "", ""
    along = " and ".join(map(str, axes))
    return "mean", (
        f"it is off by something that is constant along axis {along}: has a mean not been "
        "subtracted there?"
    )


def _broadcastable(arrays: Mapping[str, np.ndarray], shape) -> Iterator[tuple[str, np.ndarray]]:
    for name, array in arrays.items():
        fits = array.ndim <= len(shape) and all(
            extent in (1, full) for extent, full in zip(array.shape[::-1], shape[::-1])
        )
        if fits and array.size > 1:
            yield name, array


def _scaled(wrong, right, around, same):
    with np.errstate(all="ignore"):
        for name, array in _broadcastable(around.arrays, right.shape):
            if same(wrong, right * array):
                return "scale", f"it is the right gradient times {name}"
            if same(wrong * array, right):
                return "scale", f"it is the right gradient divided by {name}"
    for axis in reversed(range(right.ndim)):
        square = (right * right).sum(axis=axis, keepdims=True)
        factor = (wrong * right).sum(axis=axis, keepdims=True) / np.where(square, square, 1)
        if right.shape[axis] > 2 and same(wrong, factor * right):
            return "scale", f"along axis {axis} it is the right gradient times one factor a row"
    return "", ""


def _term(wrong, right, around, same):
    error = wrong - right
    for name, array in {**around.arrays, "dy": around.dy}.items():
        if array.shape != right.shape:
            continue
        for axis in reversed(range(right.ndim)):
            if right.shape[axis] < 3:
                continue
            square = (array * array).sum(axis=axis, keepdims=True)
            number = (error * array).sum(axis=axis, keepdims=True) / np.where(square, square, 1)
            if np.isfinite(number).all() and same(error, number * array):
                return "term", (
                    f"it is off by {name} times one number for each row along axis {axis}: a term "
                    "is missing, or is there once too often"
                )
    return "", ""


def arrays_in(value: Any, name: str) -> Iterator[tuple[str, np.ndarray]]:
    """Every float array in a nest of caches, by its dotted name."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        yield name, value
    elif hasattr(value, "_asdict"):
        for key, child in value._asdict().items():
            yield from arrays_in(child, f"{name}.{key}")
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from arrays_in(child, f"{name}.{key}")
    elif isinstance(value, (tuple, list)):
        for index, child in enumerate(value):
            yield from arrays_in(child, f"{name}.{index}")
