"""The normal distribution function in float32, fast: ``P(x) = (1 + erf(x / sqrt(2))) / 2``.

From -6 to 6 its curve is taken as 12,288 short straight lines, 1,024 a unit, which is all that
float32 can tell from the curve::

    P(x) = slope_i x + start_i        i = floor((x + 6) * 1024)

Between two points ``h = 1/1024`` apart, the curve is at most ``h^2 / 8 * max|P''| = 3e-8`` away
from the line that joins them. The first line is 0 and the last one 1, as P is beyond them:
otherwise the GELU of a large negative ``x`` would be ``x`` times a little, and not 0.

This takes half the time of a series (``erf.py``), as a line needs two look-ups and no powers.

Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.2.29, for P and erf.
"""

from __future__ import annotations

import math

import numpy as np

_PER_UNIT, _END = 1024, 6


def _lines() -> tuple[np.ndarray, np.ndarray]:
    """The slopes of all lines, and where they would cross the axis: ``(12288,)`` each."""
    points = np.arange(-_END * _PER_UNIT, _END * _PER_UNIT + 1) / _PER_UNIT  # (12289,)
    values = np.array([(1 + math.erf(x / math.sqrt(2))) / 2 for x in points])
    slope = np.diff(values) * _PER_UNIT
    start = values[:-1] - slope * points[:-1]
    slope[0], start[0] = 0, 0
    slope[-1], start[-1] = 0, 1
    return slope.astype(np.float32), start.astype(np.float32)


_SLOPE, _START = _lines()


def probability(x: np.ndarray, out: np.ndarray) -> None:
    """Put ``P(x)`` into ``out``, both float32; the error is at most 1e-7. NaN stays NaN.

    >>> out = np.empty(3, np.float32)
    >>> probability(np.array([-1.0, 0.0, 9.0], np.float32), out)
    >>> out.round(4)
    array([0.1587, 0.5   , 1.    ], dtype=float32)
    """
    x = np.clip(x, -_END, _END)
    place = x * _PER_UNIT
    place += _END * _PER_UNIT  # 0 to 12288
    with np.errstate(invalid="ignore"):  # a NaN gets some index, and the line makes it NaN again
        index = place.astype(np.intp)
    # With mode="clip", 6 itself belongs to the last line.
    _SLOPE.take(index, mode="clip", out=out)
    out *= x
    out += _START.take(index, mode="clip", out=place)
