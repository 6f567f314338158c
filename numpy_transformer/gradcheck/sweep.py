"""The error of a measured derivative against the length of the step: a V, and why.

A derivative that is measured with a step ``h`` is wrong for two reasons.

**Truncation**: a formula leaves out the rest of the Taylor series. One of order ``p`` is off by
about ``h^p``, so that with order 4 a step ten times shorter leaves an error 10^4 times smaller.

**Rounding**: ``y(h)`` and ``y(-h)`` begin with the same digits, which cancel when one is subtracted
from the other. What is left is off by about ``eps y``, where ``eps`` is the precision, 2e-16 in
float64 and 1e-7 in float32, and the division by ``h`` makes it ``eps / h``: a step ten times
shorter makes this error ten times larger. (``x + h`` is rounded as well, with the same effect.)
In the end ``x + h`` is ``x``, and the derivative comes out as 0: a relative error of 1.

The sum of both is smallest near the step where they are equal, ``h = eps^(1/(p+1))``, and there it
is about ``eps^(p/(p+1))``. For a function whose derivatives are all of size 1, step and error::

    formula              order  best step      float64          float32
    (y(h) - y(0)) / h      1    eps^(1/2)   1e-8   1e-8      3e-4   3e-4
    (y(h) - y(-h)) / 2h    2    eps^(1/3)   6e-6   4e-11     5e-3   2e-5
    central, here          4    eps^(1/5)   7e-4   3e-13     4e-2   3e-6
    imag(y(ih)) / h        2    any short   1e-8   2e-16     3e-4   1e-7

The last one, the complex step, subtracts nothing: there is no branch of rounding, no step is too
short, and the step given is the one from which on the error is that of ``forward`` itself.

Source: Press, Teukolsky, Vetterling and Flannery, "Numerical Recipes", section 5.7, "Numerical
Derivatives" (which chooses steps for which ``x + h`` is exact; here steps are taken as they come);
Squire and Trapp 1998, "Using Complex Variables to Estimate Derivatives of Real Functions".
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numpy_transformer.gradcheck import entries, lines, projections
from numpy_transformer.gradcheck.face import Call, FaceError

STEPS = tuple(float(f"1e-{k}") for k in range(1, 15))
METHODS = ("central", "direction", "complex", "taylor")
ENDINGS = (".png", ".svg", ".pdf")  # of the file of a picture

_READING = {
    "central": "falls as h^4, four digits a row, then grows as 1/h, one digit a row",
    "direction": "the same for a line along which everything moves at once",
    "complex": "falls as h^2, then stays: nothing is subtracted, nothing is lost",
    "taylor": "|f(x + hv) - f(x) - h g.v| / h falls as h, then grows as 1/h",
}
_ENTRIES = 150  # so many are measured, of all gradients together
_DIRECTIONS = 8  # so many are drawn; the one along which the derivative is largest is used
_FLAT = 1e-6  # where backward is right, the best step in float64 is far below this
_LOWEST = 1e-17  # an error of 0 is drawn here, as it has no logarithm


class Point(NamedTuple):
    """One point of one curve."""

    method: str  # one of ``METHODS``
    dtype: str  # "float64" or "float32"
    step: float  # in units of the size of the tensor that moves
    error: float  # relative; not finite where the output of ``forward`` was not


class _Truth(NamedTuple):
    """What measurements are compared with, and where they are made."""

    dy: np.ndarray
    gradients: Mapping[str, np.ndarray]  # what backward returns in float64
    scales: Mapping[str, float]  # the largest entry of each
    chosen: Mapping[str, np.ndarray]  # bool: the entries that are measured
    towards: Mapping[str, np.ndarray]  # the direction
    slope: float  # the derivative along it, g.v


def sweep(
    op: Any,
    args: tuple,
    settings: Mapping[str, Any] | None = None,
    rng: np.random.Generator | int = 0,
    name: str = "",
) -> list[Point]:
    """Measure the derivative of ``op.forward(*args, **settings)`` with every step of ``STEPS``.

    ``central`` and ``complex`` measure entries of the gradients: 150 drawn at random, and the
    largest of each. Of one gradient, the error is the largest ``|measured - g|`` divided by the
    gradient's largest entry; of all, it is the largest of these. (A gradient below 1e-9 of the
    largest gradient is zero but for rounding, and its error is divided by that one's instead.)

    ``direction`` and ``taylor`` measure ``g.v`` along one direction ``v`` through everything, by
    central differences and by ``(f(x + hv) - f(x)) / h``; the error is
    ``|measured - g.v| / |g.v|``.

    ``g`` is what ``backward`` returns in float64, for the columns of float32 as well, and both
    stand at the same point: the arguments are rounded to float32 first. ``rng``, a generator or a
    seed, draws the cotangent, the entries and the direction.

    There are no points of ``complex`` where ``forward`` does not take complex numbers, and none of
    float32 where its output is not float32. Raises ``FaceError`` where ``op`` does not have the
    face, ``ValueError`` where there is nothing to compare.

    >>> from numpy_transformer.ops import softmax
    >>> points = sweep(softmax, (np.array([[0.5, -1.0, 2.0]]),))
    >>> [f"{p.step:.0e} {p.error:.0e}" for p in points if p[:2] == ("complex", "float64")][:3]
    ['1e-01 7e-03', '1e-02 7e-05', '1e-03 7e-07']
    """
    with np.errstate(all="ignore"):  # what is not finite is shown as such
        single = Call(op, args, settings or {}, name).as_type(np.float32)
        double = single.as_type(np.float64)
        truth = _truth(double, np.random.default_rng(rng))
        curves = [
            [Point(method, call.dtype.name, step, _error(method, call, truth, step))
             for step in STEPS]
            for method in METHODS
            for call in (double, single)
            if _keeps_dtype(call)
        ]  # fmt: skip
    return [point for curve in curves if _best(curve) for point in curve]


def _truth(call: Call, rng: np.random.Generator) -> _Truth:
    """Draw what is random, and ask ``backward``."""
    y, cache = call.forward()
    if y.dtype != np.float64 or not np.isfinite(y).all():
        what = "not finite" if y.dtype == np.float64 else f"{y.dtype} for arguments of float64"
        raise ValueError(f"{call.name}: the output is {what}, so there is nothing to compare with")
    dy = np.asarray(rng.standard_normal(y.shape))
    gradients = call.gradients(dy.copy(), cache)
    for leaf, gradient in gradients.items():
        shape = call.leaves[leaf].shape
        if gradient is None or gradient.shape != shape or not np.isfinite(gradient).all():
            raise ValueError(
                f"{call.name}: a sweep needs what backward says, but d{leaf} is missing, not "
                f"finite or not of shape {shape}; gradcheck says which"
            )
    peaks = {leaf: float(np.abs(gradient).max(initial=0)) for leaf, gradient in gradients.items()}
    largest = max(peaks.values()) or 1.0
    scales = {leaf: peak if peak > 1e-9 * largest else largest for leaf, peak in peaks.items()}
    drawn = rng.permutation(sum(gradient.size for gradient in gradients.values())) < _ENTRIES
    chosen = {}
    for leaf, gradient in gradients.items():
        mine, drawn = drawn[: gradient.size], drawn[gradient.size :]
        if mine.size:
            mine[np.argmax(np.abs(gradient))] = True
        chosen[leaf] = mine.reshape(gradient.shape) & np.isfinite(call.leaves[leaf])
    directions = [projections.direction(call, gradients, rng) for _ in range(_DIRECTIONS)]
    slopes = [projections.claimed(gradients, towards)[0] for towards in directions]
    steepest = int(np.argmax(np.abs(slopes)))
    return _Truth(dy, gradients, scales, chosen, directions[steepest], slopes[steepest])


def _keeps_dtype(call: Call) -> bool:
    try:
        return call.forward()[0].dtype == call.dtype
    except FaceError:
        return False


def _error(method: str, call: Call, truth: _Truth, step: float) -> float:
    """The error of a method with a step; NaN where ``forward`` does not take the step."""
    try:
        if method == "central":
            return _error_of_entries(call, truth, entries.differences(step))
        if method == "complex":
            return _error_of_entries(call, truth, partial(lines.complex_step, h=step))
        line = lines.Line(call, truth.towards)
        if method == "direction":
            change = lines.central(line, step)
        else:
            change = (line(step) - line(0.0)) / step
    except FaceError:
        return math.nan
    return abs(float((truth.dy * change).sum()) - truth.slope) / (abs(truth.slope) or 1.0)


def _error_of_entries(call: Call, truth: _Truth, derivative: entries.Derivative) -> float:
    errors = [0.0]
    for leaf, chosen in truth.chosen.items():
        measured = entries.measure(call, leaf, truth.dy, derivative, chosen)
        absolute = np.abs(measured - truth.gradients[leaf])[chosen]
        errors.append(absolute.max(initial=0) / truth.scales[leaf])
    return float(np.max(errors))  # NaN if one is NaN


def _best(curve: Sequence[Point]) -> Point | None:
    """The longest step with at most twice the smallest error; below that, chance decides."""
    finite = [point for point in curve if math.isfinite(point.error)]
    smallest = min((point.error for point in finite), default=0.0)
    return next((point for point in finite if point.error <= 2 * smallest), None)


def _curves(points: Sequence[Point]) -> dict[tuple[str, str], list[Point]]:
    curves: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        curves.setdefault((point.method, point.dtype), []).append(point)
    return curves


def table(name: str, points: Sequence[Point]) -> str:
    """The curves for a terminal: a row for each step, the best steps, and how to read it.

    >>> print(table("f", [Point("taylor", "float64", h, h) for h in (0.1, 0.01)]))
    """
    curves = _curves(points)
    methods = list(dict.fromkeys(method for method, _ in curves))
    # Two columns of a method need 9 characters each, one alone 10 for the longest name.
    width = {m: 9 if sum(key[0] == m for key in curves) > 1 else 10 for m in methods}
    errors = {point[:3]: point.error for point in points}

    def row(first: str, cells: Mapping[tuple[str, str], str]) -> str:
        return f"{first:<5}" + "".join(f"{cell:>{width[key[0]]}}" for key, cell in cells.items())

    said = [f"{name}: relative error of a measured derivative, by the step", ""]
    firsts = {key[0]: key for key in reversed(curves)}
    said.append(row("", {key: key[0] if firsts[key[0]] == key else "" for key in curves}))
    said.append(row("step", {key: key[1] for key in curves}))
    for step in dict.fromkeys(point.step for point in points):
        cells = {key: _digits(errors.get((*key, step), math.nan)) for key in curves}
        said.append(row(f"{step:.0e}", cells))
    said += ["", "best step and the error there:"]
    best = {key: _best(curve) for key, curve in curves.items()}
    for (method, dtype), found in best.items():
        where = f"{found.step:.0e}  {_digits(found.error)}" if found else "-"
        said.append(f"  {method:<9}  {dtype}  {where}")
    said += ["", "how to read it, from the top, where truncation rules, down to rounding:"]
    said += [f"  {method:<9}  {_READING[method]}" for method in methods if method in _READING]
    return "\n".join(said + _remarks(best))


def _digits(error: float) -> str:
    return f"{error:.1e}" if math.isfinite(error) else "-"
