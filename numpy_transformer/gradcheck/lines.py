"""The derivative of an operation along a straight line, from values of ``forward`` alone.

Every method of the checker goes along lines through the point: an entry of a gradient is the
derivative along the line on which only that entry moves, a projection is the derivative along a
line on which all move. With ``y(t)`` the output at the place ``t`` of the line, there are two ways
to the derivative at ``t = 0``.

Central differences, of fourth order::

    y' ~ (8 (y(h) - y(-h)) - (y(2h) - y(-2h))) / 12 h

The formula is off by about ``h^4 y'''''/30``, and rounding adds about ``eps y / h``, where ``eps``
is 2e-16 in float64: the sum is smallest near ``h = eps^(1/5)``, with ten to thirteen digits right.

The complex step::

    y' ~ imag(y(ih)) / h

For a function that takes complex numbers ``y(ih) = y + ih y' - h^2 y''/2 - ...``, so the imaginary
part holds ``h y'`` by itself. Nothing is subtracted, so nothing is lost to rounding, and ``h`` may
be so small that the rest of the series vanishes.

Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", table 25.2; Squire and Trapp
1998, "Using Complex Variables to Estimate Derivatives of Real Functions".
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from numpy_transformer.gradcheck.face import Call

TINY = 1e-30  # the complex step; its square is far below the last digit of anything


class Line:
    """The output of ``forward`` at ``x + t * direction``, as a function of ``t``."""

    def __init__(self, call: Call, direction: Mapping[str, np.ndarray]):
        """``direction`` holds an array for each leaf that moves; the others stay."""
        self._call, self._direction = call, direction
        self.eps = float(np.finfo(call.dtype).eps)

    def __call__(self, t: float | complex) -> np.ndarray:
        """The output at ``t``, in double precision, so that nothing more is lost later."""
        leaves = self._call.leaves
        kind = np.result_type(self._call.dtype, np.complex64) if t.imag else self._call.dtype
        moved = {
            name: (leaves[name] + t * direction).astype(kind)
            for name, direction in self._direction.items()
        }
        y = self._call.output(moved)
        return y.astype(np.complex128 if y.dtype.kind == "c" else np.float64)


def step_size(call: Call) -> float:
    """The step of central differences, for directions of the size of what moves.

    The fourth root of the dtype's precision, 1.2e-4 in float64: a little below the optimum, as
    a shorter step meets fewer kinks. A power of two, so that ``x + h`` is hardly ever rounded.
    """
    return float(2.0 ** np.round(np.log2(float(np.finfo(call.dtype).eps) ** 0.25)))


def size(array: np.ndarray) -> float:
    """The typical size of an entry, the root of the mean square; 1 if it is 0."""
    finite = array[np.isfinite(array)]
    root = float(np.sqrt(np.mean(np.square(finite, dtype=np.float64)))) if finite.size else 0.0
    return root or 1.0


def central(line: Line, h: float) -> np.ndarray:
    """The derivative of every output along the line, by the differences above."""
    near = line(h) - line(-h)
    far = line(2 * h) - line(-2 * h)
    return (8 * near - far) / (12 * h)


def complex_step(line: Line, h: float = TINY) -> np.ndarray:
    """The derivative of every output along the line, by the complex step.

    Raises ``FaceError`` if ``forward`` does not take complex numbers. If it makes real numbers of
    them, as ``abs`` does, the derivative comes out as 0, so compare with differences once.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        y = line(1j * h)
    return y.imag / h


class Break(NamedTuple):
    """What is known about a point without a derivative."""

    kind: str  # "kink", or "jump" where the output is not even continuous
    low: float  # the smallest and the largest value that ``sum(dy * y')`` can be given,
    high: float  # choosing the slope to the left or to the right for each output
    where: np.ndarray  # bool: the outputs that have no derivative


def find_break(line: Line, dy: np.ndarray, h: float) -> Break | None:
    """The kink or the jump at the point, if there is one.

    At a kink, the slopes to the right and to the left differ, and go on to differ as the step is
    made shorter; where the output is smooth, the difference falls with the step. At a jump it
    grows, and the output itself differs between the two sides by the same amount for every step,
    which tells it from noise. One number a direction is not enough: of two ReLUs at 0 with
    opposite signs the sum is smooth, so each output is looked at by itself.
    """
    y, sides, jumps, size = line(0.0), [], [], 0.0
    for step in (h, h / 16, h / 256):
        right, left = line(step), line(-step)
        sides.append(((right - y) / step, (y - left) / step))
        jumps.append(right - left)
        size = np.maximum(size, np.maximum(np.abs(right), np.abs(left)))
    noise = 1e2 * line.eps * (np.abs(y) + size)
    difference, finer = (np.abs(right - left) for right, left in sides[:2])
    broken = (finer > difference / 4) & (finer > 16 * noise / h)
    steady = [np.abs(jump - jumps[0]) <= np.abs(jumps[0]) / 4 for jump in jumps[1:]]
    jump = broken & (finer > 4 * difference) & steady[0] & steady[1]
    broken &= jump | (finer <= 4 * difference)
    if not broken.any():
        return None
    # At a jump one side is steep as a wall, and only the slope to the other one counts.
    right, left = sides[1]
    wall = np.abs(right) > np.abs(left)
    right, left = np.where(jump & wall, left, right), np.where(jump & ~wall, right, left)
    rest = np.where(broken, 0, dy * (right + left) / 2).sum()
    ends = np.where(broken, dy * right, 0), np.where(broken, dy * left, 0)
    return Break(
        "jump" if jump.any() else "kink",
        float(rest + np.minimum(*ends).sum()),
        float(rest + np.maximum(*ends).sum()),
        broken,
    )


def excuse(line: Line, dy: np.ndarray, slope: float, h: float) -> str:
    """Whether a kink or a jump excuses that ``slope`` is not the derivative along the line.

    At a kink, a slope between those of the two sides is as right as any; at a jump, the slope of
    the side that the point belongs to. Returns ``"kink"``, ``"jump"`` or ``""``.
    """
    found = find_break(line, dy, h)
    if found is None:
        return ""
    slack = 1e-3 * (abs(found.high) + abs(found.low))
    return found.kind if found.low - slack <= slope <= found.high + slack else ""
