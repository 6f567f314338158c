"""Every entry of one gradient, measured from ``forward``: methods ``central`` and ``complex``.

The entry at ``index`` is the derivative of ``sum(dy * y)`` along the line on which that entry of
the argument moves alone. This is what says *which* entry of *which* gradient is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from numpy_transformer.gradcheck import lines
from numpy_transformer.gradcheck.face import Call

Derivative = Callable[[lines.Line], np.ndarray]

FINER = 2.0**-7  # a step this much shorter is tried where a kink may lie within the step
_PROBES = 4  # so many of the wrong entries are looked at before kinks are ruled out for all


class Entries(NamedTuple):
    """A gradient as measured."""

    numeric: np.ndarray
    kinks: np.ndarray  # bool: a kink lies within the step, or at the point
    broken: np.ndarray  # bool: there is no derivative, and backward's value is as good as any
    kind: str  # "kink" or "jump" if any is broken


def differences(step: float) -> Derivative:
    """Central differences with this step, in the place of the complex step."""
    return partial(lines.central, h=step)


def shorter_and_shorter(step: float) -> tuple[Derivative, ...]:
    """Central differences with this step, and with shorter ones if need be."""
    return tuple(differences(step * FINER**k) for k in range(4))


def measure(
    call: Call,
    leaf: str,
    dy: np.ndarray,
    derivatives: Sequence[Derivative],
    chosen: np.ndarray | None = None,
) -> np.ndarray:
    """The gradient of ``leaf``, each entry by the first of ``derivatives`` that is finite there.

    NaN where the argument is not finite or was not ``chosen``, infinite where no derivative was
    finite, as ``forward`` is not finite beside the point.
    """
    array = call.leaves[leaf]
    numeric = np.full(array.shape, np.nan)
    wanted = np.isfinite(array) if chosen is None else np.isfinite(array) & chosen
    for index in zip(*np.nonzero(np.atleast_1d(wanted))):
        index = index if array.ndim else ()
        for derivative in derivatives:
            found = entry(call, leaf, index, dy, derivative)
            if np.isfinite(found):
                break
        numeric[index] = found if np.isfinite(found) else np.inf
    return numeric


def settle(
    call: Call,
    leaf: str,
    dy: np.ndarray,
    analytic: np.ndarray,
    numeric: np.ndarray,
    bad: np.ndarray,
    step: float,
    exact: bool,
) -> Entries:
    """Look again at the entries that seem wrong (``bad``): is a kink to blame?

    They are measured once more with shorter steps, and a value that is much closer to backward's
    counts. Where that does not help, the slopes to both sides are compared at the point itself.

    What the complex step measured (``exact``) is the slope at the point, on one side of a kink that
    lies there. Where a difference, which takes both sides, agrees with it, there is no kink.
    """
    numeric, kinks, broken = numeric.copy(), np.zeros(bad.shape, bool), np.zeros(bad.shape, bool)
    kind = ""
    where = list(zip(*np.nonzero(np.atleast_1d(bad))))
    where = [index if bad.ndim else () for index in where]
    every = max(1, len(where) // _PROBES)
    probes = where[::every]
    for indices in (probes, [index for i, index in enumerate(where) if i % every]):
        for index in indices:
            error = abs(numeric[index] - analytic[index])
            again = [entry(call, leaf, index, dy, differences(step))]
            if exact and abs(again[0] - numeric[index]) < 0.01 * error:
                continue
            again += [
                entry(call, leaf, index, dy, differences(step * shorter))
                for shorter in (FINER, FINER**2)
            ]
            found = min(again, key=lambda value: abs(value - analytic[index]))
            if abs(found - analytic[index]) < 0.1 * error:
                numeric[index], kinks[index] = found, True
                continue
            line, speed = _line(call, leaf, index)
            slope = float(analytic[index]) * speed
            excuse = lines.excuse(line, dy, slope, lines.step_size(call) * FINER)
            if excuse:
                numeric[index], kinks[index], broken[index] = analytic[index], True, True
                kind = excuse
        if not kinks.any():
            break
    return Entries(numeric, kinks, broken, kind)


def _line(call: Call, leaf: str, index: tuple[int, ...]) -> tuple[lines.Line, float]:
    """The line along one entry, and how fast it moves."""
    array = call.leaves[leaf]
    direction = np.zeros(array.shape)
    direction[index] = lines.size(array)
    return lines.Line(call, {leaf: direction}), float(direction[index])


def entry(
    call: Call, leaf: str, index: tuple[int, ...], dy: np.ndarray, derivative: Derivative
) -> float:
    """One entry of the gradient of ``leaf``."""
    line, speed = _line(call, leaf, index)
    return float((dy * derivative(line)).sum() / speed)
