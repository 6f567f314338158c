"""A gradient as a whole, along random directions: methods ``direction`` and ``taylor``.

A direction moves every entry of everything at once, none of them by less than half of what is
usual, so that no coordinate is left out. The derivative along it is the sum of all entries of the
gradient times the direction: one number, for a handful of forward passes, however large the model.
It is right by accident only if errors cancel, which for a random direction has no probability.

``direction`` compares that number with differences. ``taylor`` asks how fast the rest of the
Taylor series falls::

    R(h) = | f(x + h v) - f(x) - h g.v |,    f = sum(dy * y)

(here the larger one of ``R(h)`` and ``R(-h)``, so that a kink at the point shows). With the right
gradient ``g`` this is ``h^2`` times something, and with a wrong one ``h`` times
something: halving the step must divide it by four. The order is 2 or it is not, and no tolerance
has to be chosen.

Source: Farrell, Ham, Funke and Rognes 2013, "Automated Derivation of the Adjoint of High-Level
Transient Finite Element Programs", section 6, for the test by Taylor's remainder.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from numpy_transformer.gradcheck import lines
from numpy_transformer.gradcheck.face import Call, FaceError

# Shorter steps, tried where a kink, or the end of where ``forward`` is defined, may be too near.
FINER = (1.0, 2.0**-7, 2.0**-11, 2.0**-18)

# So near to differences, against the scale, the complex step has to be to decide in their place.
_NEAR = 1e-3

# Taylor's remainder: the steps are 4^-2, 4^-3, ..., and what is within this many roundings of the
# output, or of the gradient, says nothing.
STEPS = tuple(4.0**-k for k in range(2, 14))
_NOISE, _NOISE_OF_GRADIENT = 64, 1024


class Projection(NamedTuple):
    """The derivative along one direction."""

    numeric: float  # from forward
    analytic: float  # from backward
    scale: float  # the size that such a number has when no error is made
    allowed: float  # the relative error that is allowed
    kinks: int  # 1 if a kink lay within the step
    broken: str  # "kink" or "jump": no derivative at the point, backward's value will do

    @property
    def relative(self) -> float:
        """The error against the scale."""
        return abs(self.numeric - self.analytic) / (self.scale or 1.0)

    @property
    def ok(self) -> bool:
        """Whether the error is as small as it has to be."""
        return self.relative <= self.allowed


class Remainder(NamedTuple):
    """Taylor's remainder along one direction."""

    steps: tuple[float, ...]
    remainders: tuple[float, ...]
    order: float  # 2 for the right gradient, 1 for a wrong one; infinite if there is no remainder
    numeric: float
    analytic: float
    scale: float
    broken: str
    kinks: int

    @property
    def relative(self) -> float:
        """The error of the derivative by differences, as in ``Projection``."""
        return abs(self.numeric - self.analytic) / (self.scale or 1.0)

    @property
    def ok(self) -> bool:
        """Whether the order is nearer to 2 than to 1, or a kink excuses it."""
        return self.order >= 1.5 or self.broken != ""

    def say(self) -> str:
        """The order in words."""
        if math.isnan(self.order):
            return "not to be measured, as forward is not finite beside the point"
        if self.order == math.inf:
            return "below rounding from the start"
        return f"of order {self.order:.2f}"


def direction(call: Call, leaves: Iterable[str], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A random direction that leaves out no coordinate, in units of each tensor's size.

    Signs are random, magnitudes uniform between 0.5 and 1.5. Entries that are not finite stay.
    """
    found = {}
    for leaf in leaves:
        array = call.leaves[leaf]
        magnitude = rng.uniform(0.5, 1.5, array.shape) * lines.size(array)
        sign = rng.choice([-1.0, 1.0], array.shape)
        found[leaf] = np.where(np.isfinite(array), magnitude * sign, 0.0)
    return found


def claimed(
    gradients: Mapping[str, np.ndarray], towards: Mapping[str, np.ndarray]
) -> tuple[float, float]:
    """The derivative along a direction according to ``gradients``, and the size of its terms."""
    terms = [gradients[leaf] * v for leaf, v in towards.items()]
    total = sum(float(term.sum()) for term in terms)
    return total, math.sqrt(sum(float((term * term).sum()) for term in terms))


def project(
    call: Call,
    gradients: Mapping[str, np.ndarray],
    dy: np.ndarray,
    towards: Mapping[str, np.ndarray],
    step: float,
    tolerance: float,
    tight: float,
) -> Projection:
    """Compare the derivative along ``towards`` with what ``gradients`` make of it.

    By the complex step, which is exact (``tight``) and meets no kinks, where a pair of real points
    comes near enough to show that ``forward`` does with complex numbers what it does with real
    ones. If that does not settle it, by central differences (``tolerance``), with ever shorter
    steps, as a kink may lie within the first. If there still is a difference, there may be a kink
    at the point itself.
    """
    line = lines.Line(call, towards)
    analytic, scale = claimed(gradients, towards)
    exact = _complex(line, dy)
    by_complex = Projection(exact, analytic, max(scale, abs(exact)), tight, 0, "")
    if by_complex.ok:
        short = step * FINER[1]  # few kinks lie within it
        coarse = float((dy * (line(short) - line(-short))).sum()) / (2 * short)
        if abs(exact - coarse) <= _NEAR * by_complex.scale:
            return by_complex
    best = None
    for kinks, finer in enumerate(FINER):
        numeric = float((dy * lines.central(line, step * finer)).sum())
        if not math.isfinite(numeric):
            continue
        size = max(scale, abs(numeric))
        found = Projection(numeric, analytic, size, tolerance, min(kinks, 1), "")
        closer = abs(numeric - analytic) < 0.1 * abs(exact - analytic)
        if abs(exact - numeric) <= tolerance * by_complex.scale and not closer:
            return by_complex  # differences confirm it
        if found.ok:
            return found
        if best is None or found.relative < best.relative:
            best = found
    if best is None:
        return Projection(math.nan, analytic, scale, tolerance, 0, "")
    broken = lines.excuse(line, dy, analytic, step * FINER[1])
    return best._replace(kinks=int(broken != ""), broken=broken)


def _complex(line: lines.Line, dy: np.ndarray) -> float:
    """The derivative by complex step; NaN where ``forward`` takes no complex numbers."""
    try:
        return float((dy * lines.complex_step(line)).sum())
    except FaceError:
        return math.nan


def taylor(
    call: Call,
    gradients: Mapping[str, np.ndarray],
    dy: np.ndarray,
    towards: Mapping[str, np.ndarray],
) -> Remainder:
    """Measure the order at which Taylor's remainder falls, at the shortest steps that say it."""
    line = lines.Line(call, towards)
    analytic, scale = claimed(gradients, towards)
    y = line(0.0)
    floor = _NOISE * line.eps * float(np.abs(dy * y).sum())
    eps = max(float(np.finfo(gradients[leaf].dtype).eps) for leaf in towards)
    steps, remainders, after = [], [], None
    for h in STEPS:
        rises = ((sign, float((dy * (line(sign * h) - y)).sum())) for sign in (1, -1))
        remainder = max(abs(rise - sign * h * analytic) for sign, rise in rises)
        if not math.isfinite(remainder):
            continue  # forward is not finite so far from the point
        if not remainder > floor + _NOISE_OF_GRADIENT * eps * h * scale:
            after = max(remainder, floor / 1e3, 1e-300)
            break
        steps.append(h)
        remainders.append(remainder)
    step = lines.step_size(call) * FINER[1]
    numeric = float((dy * lines.central(line, step)).sum())
    order, broken = math.inf if after is not None else math.nan, ""
    if len(steps) > 1:
        order = float(np.polyfit(np.log(steps[-3:]), np.log(remainders[-3:]), 1)[0])
        if after is not None:
            # Long steps may have crossed a kink. Then the remainder drops as soon as they do not.
            order = max(order, math.log(remainders[-1] / after) / math.log(steps[-2] / steps[-1]))
    if order < 1.5:
        broken = lines.excuse(line, dy, analytic, step)
    return Remainder(
        tuple(steps), tuple(remainders), order, numeric, analytic, max(scale, abs(numeric)),
        broken, int(broken != ""),
    )  # fmt: skip
