"""The learning rate as a function of the step, counted from 1.

Each schedule is a function ``step -> rate``; ``peak`` is the largest rate it reaches.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def constant(peak: float) -> Schedule:
    """The same rate at every step.

    >>> constant(0.1)(7)
    0.1
    """
    return lambda step: peak


def inverse_square_root(peak: float, warmup: int) -> Schedule:
    """Linear up to ``peak`` at step ``warmup``, then falling as ``1 / sqrt(step)``.

    ``peak = 1 / sqrt(d_model * warmup)`` gives the paper's rates.

    Source: Vaswani et al. 2017, "Attention Is All You Need", equation 3.

    >>> rate = inverse_square_root(peak=1.0, warmup=4)
    >>> [rate(step) for step in (1, 4, 16)]
    [0.25, 1.0, 0.5]
    """
    _check("warmup", warmup)
    return lambda step: peak * min(step / warmup, math.sqrt(warmup / step))


def cosine(peak: float, warmup: int, steps: int) -> Schedule:
    """Linear up to ``peak`` at step ``warmup``, then along a cosine down to 0 after ``steps``.

    Source: Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts",
    equation 5, without restarts.

    >>> rate = cosine(peak=1.0, warmup=2, steps=10)
    >>> [round(rate(step), 3) for step in (1, 2, 6, 10)]
    [0.5, 1.0, 0.5, 0.0]
    """
    _check("warmup", warmup)

    def rate(step: int) -> float:
        if step <= warmup:
            return peak * step / warmup
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return peak * (1 + math.cos(math.pi * progress)) / 2

    return rate


SCHEDULES = ("constant", "inverse-square-root", "cosine")


def make(name: str, peak: float, warmup: int, steps: int) -> Schedule:
    """The schedule called ``name``; ``ValueError`` where there is none."""
    if name == "constant":
        return constant(peak)
    if name == "inverse-square-root":
        return inverse_square_root(peak, warmup)
    if name == "cosine":
        return cosine(peak, warmup, steps)
    raise ValueError(f"no schedule {name!r}, expected one of {SCHEDULES}")


def _check(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} is {value}, expected at least 1")
