"""The error of a measured derivative against the length of the step: a V, and why.

A derivative that is measured with a step ``h`` is wrong for two reasons.

**Truncation**: a formula leaves out the rest of the Taylor series. One of order ``p`` is off by
about ``h^p``: with order 4, a step ten times shorter makes the error ten thousand times smaller.

**Rounding**: ``y(h)`` and ``y(-h)`` begin with the same digits, which cancel in the difference.
What is left is off by about ``eps y``, with ``eps`` 2e-16 in float64 and 1e-7 in float32, and the
division by ``h`` makes that ten times larger for a step ten times shorter. ``x + h`` is rounded as
well, and in the end it is ``x``: the derivative comes out as 0, which is a relative error of 1.

The sum is smallest near the step where both are equal, ``h = eps^(1/(p+1))``, and there it is
about ``eps^(p/(p+1))``. Step and error, for a function whose derivatives are all of size 1 (the
last, the complex step, subtracts nothing, so that no step is too short)::

    formula                order   best step       float64         float32
    (y(h) - y(0)) / h        1     eps^(1/2)    1e-8   1e-8     3e-4   3e-4
    (y(h) - y(-h)) / 2h      2     eps^(1/3)    6e-6   4e-11    5e-3   2e-5
    central, of order 4      4     eps^(1/5)    7e-4   3e-13    4e-2   3e-6
    imag(y(ih)) / h          2     any below    1e-8   2e-16    3e-4   1e-7

Source: Press, Teukolsky, Vetterling and Flannery, "Numerical Recipes", section 5.7, "Numerical
Derivatives" (where steps are chosen so that ``x + h`` is exact; here they are taken as they come);
Squire and Trapp 1998, "Using Complex Variables to Estimate Derivatives of Real Functions".
"""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from numpy_transformer.gradcheck import entries, lines, projections
from numpy_transformer.gradcheck.face import Call, FaceError, independent

STEPS = tuple(float(f"1e-{k}") for k in range(1, 15))
METHODS = {  # and how the curve of each goes, from long steps to short ones
    "central": "falls as h^4, four digits a row, then grows as 1/h, one digit a row",
    "direction": "the same, along a line on which everything moves at once",
    "complex": "falls as h^2, then stays: nothing is subtracted, nothing is lost",
    "taylor": "|f(x + hv) - f(x) - h g.v| / h falls as h, then grows as 1/h",
}
ENDINGS = (".png", ".svg", ".pdf")  # of the file of a picture

_ENTRIES = 100  # so many are measured, of all gradients together
_DIRECTIONS = 8  # so many are drawn; the one along which the derivative is largest is taken
_FLAT = 1e-6  # where all is well, the best step in float64 is far below this


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


def sweep(call: Call, rng: np.random.Generator | int = 0) -> list[Point]:
    """Measure the derivative of a call with every step of ``STEPS``.

    ``central`` and ``complex`` measure entries of the gradients: 100 drawn at random, and the
    largest of each. The error is the largest ``|measured - g|`` in a gradient, divided by the
    largest entry of that gradient, and of these the largest. (A gradient below 1e-9 of the largest
    is zero but for rounding: its error is divided by the largest entry of all.)

    ``direction`` and ``taylor`` measure ``g.v`` along one direction ``v`` through everything (the
    one with the largest ``|g.v|`` of eight that are drawn), by central differences and by
    ``(f(x + hv) - f(x)) / h``; the error is ``|measured - g.v| / |g.v|``.

    ``g`` is what ``backward`` returns in float64, for float32 as well, and both stand at the same
    point: the arguments are rounded to float32 first. ``rng`` draws the cotangent, the entries and
    the direction. There is no ``complex`` where ``forward`` does not take complex numbers, and no
    float32 where it does not keep float32. Raises ``FaceError`` where ``op`` does not have the
    face, and ``ValueError`` where there is nothing to compare with.

    >>> from numpy_transformer.ops import softmax
    >>> points = sweep(Call(softmax, (np.array([[0.5, -1.0, 2.0]]),)))
    >>> [f"{p.step:.0e} {p.error:.0e}" for p in points if p[:2] == ("complex", "float64")][:3]
    ['1e-01 7e-04', '1e-02 7e-06', '1e-03 7e-08']
    """
    with np.errstate(all="ignore"):  # what is not finite is shown as such
        single = call.as_type(np.float32)
        double = single.as_type(np.float64)
        truth = _truth(double, independent(rng))
        found, calls = [], [double]
        with suppress(FaceError):
            calls += [single] if single.forward()[0].dtype == np.float32 else []
        for method, call in itertools.product(METHODS, calls):
            errors = [_error(method, call, truth, step) for step in STEPS]
            if np.isfinite(errors).any():
                found += [Point(method, call.dtype.name, *both) for both in zip(STEPS, errors)]
    return found


def _truth(call: Call, rng: np.random.Generator) -> _Truth:
    """Draw what is random, and ask ``backward``."""
    y, cache = call.forward()
    if y.dtype != np.float64 or not np.isfinite(y).all():
        raise ValueError(f"{call.name}: a sweep needs a finite output, float64 for float64")
    dy = np.asarray(rng.standard_normal(y.shape))
    gradients = call.gradients(dy.copy(), cache)
    for leaf, gradient in gradients.items():
        shape = call.leaves[leaf].shape
        if gradient is None or gradient.shape != shape or not np.isfinite(gradient).all():
            wrong = f"its d{leaf} is missing, not finite or not of shape {shape}"
            raise ValueError(f"{call.name}: a sweep compares with backward, but {wrong}")
    peaks = {leaf: float(np.abs(gradient).max(initial=0)) for leaf, gradient in gradients.items()}
    largest = max(peaks.values()) or 1.0
    scales = {leaf: peak if peak > 1e-9 * largest else largest for leaf, peak in peaks.items()}
    drawn = rng.permutation(sum(gradient.size for gradient in gradients.values())) < _ENTRIES
    chosen = {}
    for leaf, gradient in gradients.items():
        mine, drawn = drawn[: gradient.size], drawn[gradient.size :]
        mine[np.argsort(-np.abs(gradient), axis=None)[:1]] = True
        chosen[leaf] = mine.reshape(gradient.shape) & np.isfinite(call.leaves[leaf])
    directions = [projections.direction(call, gradients, rng) for _ in range(_DIRECTIONS)]
    slopes = [projections.claimed(gradients, towards)[0] for towards in directions]
    most = int(np.argmax(np.abs(slopes)))
    return _Truth(dy, gradients, scales, chosen, directions[most], slopes[most])


def _error(method: str, call: Call, truth: _Truth, step: float) -> float:
    """The error of a method with a step; NaN where ``forward`` does not take the step."""
    derivative = partial(lines.complex_step if method == "complex" else lines.central, h=step)
    try:
        if method in ("direction", "taylor"):
            line = lines.Line(call, truth.towards)
            change = derivative(line) if method == "direction" else (line(step) - line(0)) / step
            return float(abs((truth.dy * change).sum() - truth.slope) / (abs(truth.slope) or 1.0))
        errors = []
        for leaf, chosen in truth.chosen.items():
            measured = entries.measure(call, leaf, truth.dy, [derivative], chosen)
            absolute = np.abs(measured - truth.gradients[leaf])[chosen]
            errors.append(absolute.max(initial=0) / truth.scales[leaf])
        return float(np.max(errors)) if np.isfinite(errors).all() else np.nan
    except FaceError:
        return np.nan


def table(name: str, points: Sequence[Point]) -> str:
    """The curves for a terminal: a row a step, the best step of each, and how to read them.

    The best step is the longest with at most twice the smallest error: below that, chance decides.

    >>> table("f", [Point("taylor", "float64", 0.1, 0.02)]).splitlines()[4]
    '1e-01   2.0e-02'
    """
    curves = _curves(points)
    last = {method: (method, dtype) for method, dtype in curves}  # above it the method is named
    width = 10 if len(last) == len(curves) else 9
    said = [f"{name}: relative error of a measured derivative against the step", ""]
    said.append(" " * 5 + "".join(f"{m if last[m] == (m, d) else '':>{width}}" for m, d in curves))
    said.append("step " + "".join(f"{dtype:>{width}}" for _, dtype in curves))
    for step in dict.fromkeys(point.step for point in points):
        errors = [curve.get(step, np.nan) for curve in curves.values()]
        cells = (f"{error:.1e}" if np.isfinite(error) else "-" for error in errors)
        said.append(f"{step:.0e}" + "".join(f"{cell:>{width}}" for cell in cells))
    said.append("")
    best = {}
    for (method, dtype), curve in curves.items():
        enough = 2 * min(filter(np.isfinite, curve.values()), default=np.nan)
        step = max((step for step in curve if curve[step] <= enough), default=np.nan)
        best[method, dtype] = error = curve.get(step, np.nan)
        said.append(f"{method:<9}  {dtype}: best step {step:.0e}, error {error:.1e}")
    said += ["", "Down a column, steps grow shorter: truncation first, then rounding."]
    said += [f"{method:<9}  {METHODS[method]}" for method in last]
    said.append("A column that ends in 1.0: x + h is x there, and the difference is 0.")
    said.append("Rows at the top that do not follow: the step reaches over a kink, as of ReLU.")
    if best.get(("central", "float64"), 0.0) > _FLAT:
        said.append("No step is good: backward is wrong, or the point itself is at a kink.")
    elif best.get(("complex", "float64"), 0.0) > _FLAT:
        said.append("The complex step is wrong: is there an abs, a conj or a real in forward?")
    return "\n".join(said)


def _curves(points: Sequence[Point]) -> dict[tuple[str, str], dict[float, float]]:
    """Errors by step, by method and dtype."""
    keys = dict.fromkeys(point[:2] for point in points)
    return {key: {p.step: p.error for p in points if p[:2] == key} for key in keys}


def csv(points: Sequence[Point]) -> str:
    """The points as CSV, every digit of them.

    >>> print(csv([Point("central", "float64", 0.001, 4.25e-13)]), end="")
    method,dtype,step,error
    central,float64,0.001,4.25e-13
    """
    rows = (",".join(map(str, point)) for point in points)
    return "\n".join(["method,dtype,step,error", *rows]) + "\n"


def picture(name: str, points: Sequence[Point], path: str | Path) -> None:
    """Draw the curves into a file with one of ``ENDINGS``, steps growing shorter to the right.

    Raises ``ValueError`` for another ending, and where matplotlib is missing.

    >>> picture("f", [Point("taylor", "float64", 0.1, 0.02)], "curves.txt")
    Traceback (most recent call last):
    ValueError: curves.txt: a picture ends in .png, .svg, .pdf
    """
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{path.name}: a picture ends in {', '.join(ENDINGS)}")
    try:
        import matplotlib.figure
    except ImportError as error:
        needed = f"a picture needs matplotlib ({error}): pip install 'numpy-transformer[plot]'"
        raise ValueError(needed) from error
    figure = matplotlib.figure.Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for (method, dtype), curve in _curves(points).items():
        errors = [max(error, 1e-17) for error in curve.values()]  # 0 has no logarithm
        color, line = f"C{list(METHODS).index(method)}", ".-" if dtype == "float64" else ".--"
        axes.loglog(list(curve), errors, line, color=color, label=f"{method} {dtype}")
    axes.set(title=name, xlabel="step, relative to the tensor", ylabel="relative error")
    axes.invert_xaxis()
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center")
    figure.savefig(drawn := io.BytesIO(), format=path.suffix[1:].lower(), dpi=150)
    beside = path.with_name(path.name + ".tmp")  # half a file is never seen under its name
    beside.write_bytes(drawn.getvalue())
    os.replace(beside, path)
