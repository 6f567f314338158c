"""Is a backward pass right? Compare it with differences of the forward pass.

The checker knows the face of a module and nothing else. For an operation ``y = forward(*args)`` it
draws a random cotangent ``dy``, asks ``backward`` for the gradients of ``sum(dy * y)``, and finds
the same numbers from values of ``forward`` alone, one entry ``x`` of one argument at a time, by
central differences of fourth order::

    g ~ (8 (f(x + h) - f(x - h)) - (f(x + 2h) - f(x - 2h))) / 12 h

The error of the formula falls as h^4 and that of rounding as 1/h, so that in float64 and with
``h = 1e-4`` about ten digits are right.

What a check needs in order to say anything (and many a public one lacks): a cotangent that is
random, as the sum of a softmax has no gradient at all; arguments that are not at a special point,
such as a layer norm's initial weights; every entry of every gradient; float64.

Source of the formula: Abramowitz and Stegun, "Handbook of Mathematical Functions", 25.3.21 with
three points, table 25.2 with five.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_transformer import parameters

STEP = 1e-4
TOLERANCE = 1e-6

# Entries smaller than this share of the largest entry of the same gradient are measured against
# that share: their own last digits are rounding.
_SMALL = 1e-3

# A gradient whose largest entry is below this share of the operation's largest is zero.
_ZERO = 1e-9


@dataclass(frozen=True)
class Gradient:
    """What was found about the gradient of one argument or parameter."""

    name: str  # "dx", or dotted: "dparams.query.weight"
    shape: tuple[int, ...]
    error: float  # largest relative error of an entry
    where: tuple[int, ...]  # the index of that entry
    analytic: float  # its value from backward
    numeric: float  # its value from differences
    verdict: str  # "right", "wrong" or "zero"
    reason: str  # a sentence, empty where all is well

    @property
    def ok(self) -> bool:
        """Whether there is nothing to complain about."""
        return not self.reason


@dataclass(frozen=True)
class Report:
    """The result of one check: a line per gradient."""

    name: str  # of the operation
    gradients: tuple[Gradient, ...]

    @property
    def ok(self) -> bool:
        """Whether every gradient is right."""
        return all(gradient.ok for gradient in self.gradients)

    @property
    def error(self) -> float:
        """The largest relative error of all."""
        return max(gradient.error for gradient in self.gradients)

    def table(self) -> str:
        """A line per gradient: name, shape, largest relative error, verdict."""
        width = max([len(gradient.name) for gradient in self.gradients] + [24])
        lines = [self.name]
        for g in self.gradients:
            shape = "x".join(map(str, g.shape)) or "scalar"
            reason = f": {g.reason}" if g.reason else ""
            lines.append(f"  {g.name:<{width}}  {shape:>9}  {g.error:8.1e}  {g.verdict}{reason}")
        return "\n".join(lines)

    def raise_if_wrong(self) -> None:
        """Raise ``AssertionError`` with the table if a gradient is wrong, for use in tests."""
        if not self.ok:
            raise AssertionError("a gradient is wrong\n" + self.table())


def gradcheck(
    op: Any,
    *args: Any,
    seed: int = 0,
    step: float = STEP,
    tolerance: float = TOLERANCE,
    zero: Collection[str] = (),
    name: str | None = None,
    **settings: Any,
) -> Report:
    """Check every entry of every gradient of ``op`` at the point ``args``.

    ``op`` is anything with ``forward`` and ``backward`` of the project's face. Float arrays and
    trees of them among ``args`` are differentiated and must be float64; all other arguments (ids,
    masks, generators, settings) are passed on as they are, generators as fresh copies, so that
    dropout draws the same mask in every evaluation. ``zero`` names gradients that are zero for a
    good reason; any other that is zero throughout has shown nothing, and counts as wrong.

    The error of an entry is relative to its size, or to a thousandth of the largest entry of the
    same gradient if it is smaller than that. Raises ``TypeError`` where ``op`` does not have the
    face, ``args`` are not float64, or there is nothing to differentiate.

    >>> from numpy_transformer.ops import softmax
    >>> report = gradcheck(softmax, np.array([[0.3, -1.0, 2.0]]))
    >>> report.ok, report.error < 1e-9
    (True, True)
    """
    name = name or getattr(op, "__name__", type(op).__name__).rpartition(".")[2]
    for function in ("forward", "backward"):
        if not callable(getattr(op, function, None)):
            raise TypeError(f"{name} has no function {function!r}; it needs forward and backward")
    bound = inspect.signature(op.forward).bind(*args, **settings)
    # Work on copies that may be changed, so that the caller's arrays stay as they are.
    args, settings = tuple(_copy(arg) for arg in bound.args), bound.kwargs
    leaves = dict(_leaves(op, args))
    if not leaves:
        raise TypeError(f"{name}: there is no float array among the arguments, so nothing to check")
    y, cache = _forward(op, args, settings)
    dy = np.random.default_rng(seed).standard_normal(y.shape)
    analytic = dict(zip(leaves, _gradients(op, dy, cache, args), strict=True))
    numeric = {
        leaf: _differences(
            lambda: _forward(op, args, settings)[0], dy, array, step, analytic[leaf], tolerance
        )
        for leaf, array in leaves.items()
    }
    largest = max((np.abs(array).max(initial=0) for array in numeric.values()), default=0)
    return Report(
        name,
        tuple(
            _compare(leaf, analytic[leaf], numeric[leaf], largest, tolerance, leaf in zero)
            for leaf in leaves
        ),
    )


def _forward(op, args, settings):
    """``forward`` with a fresh copy of each generator: every evaluation draws the same numbers."""
    settings = {key: _fresh(value) for key, value in settings.items()}
    return op.forward(*map(_fresh, args), **settings)


def _fresh(value):
    return copy.deepcopy(value) if isinstance(value, np.random.Generator) else value


def _copy(arg):
    if isinstance(arg, dict):
        return {key: _copy(value) for key, value in arg.items()}
    return np.array(arg) if isinstance(arg, np.ndarray) else arg


def _leaves(op, args) -> Iterator[tuple[str, np.ndarray]]:
    """The name and the array of everything that is differentiated, in order."""
    names = list(inspect.signature(op.forward).parameters)
    for name, arg in zip(names, args):
        if isinstance(arg, dict):
            leaves = parameters.items(arg, f"d{name}.")
        elif isinstance(arg, np.ndarray) and arg.dtype.kind == "f":
            leaves = [(f"d{name}", arg)]
        else:
            continue
        for leaf, array in leaves:
            if array.dtype != np.float64:
                raise TypeError(f"{leaf[1:]} is {array.dtype}; a check needs float64")
            yield leaf, array


def _gradients(op, dy, cache, args) -> Iterator[np.ndarray]:
    """What ``backward`` returns, one array after the other; trees in the order of the argument."""
    returned = op.backward(dy, cache)
    returned = returned if isinstance(returned, tuple) else (returned,)
    arguments = [
        arg
        for arg in args
        if isinstance(arg, dict) or (isinstance(arg, np.ndarray) and arg.dtype.kind == "f")
    ]
    # None stands in the place of an argument that was None.
    returned = [gradient for gradient in returned if gradient is not None]
    if len(returned) != len(arguments):
        raise TypeError(
            f"backward returned {len(returned)} gradients for {len(arguments)} arguments"
        )
    for arg, gradient in zip(arguments, returned):
        if isinstance(arg, dict):
            tree = parameters.from_items(dict(parameters.items(gradient)), like=arg)
            yield from (array for _, array in parameters.items(tree))
        elif gradient.shape != arg.shape:
            raise TypeError(f"a gradient is {gradient.shape}, its argument {arg.shape}")
        else:
            yield gradient


def _differences(f, dy, array, step, analytic, tolerance) -> np.ndarray:
    """The gradient of ``sum(dy * f())`` with respect to every entry of ``array``.

    Where a kink (ReLU's at 0) lies within the step, differences mean nothing. So where they
    disagree with ``analytic``, they are taken again with a hundredth of the step, and the closer
    of the two counts.
    """
    gradient = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        gradient[index] = _difference(f, dy, array, index, step)
        error = abs(gradient[index] - analytic[index])
        if error > tolerance * abs(gradient[index]):
            finer = _difference(f, dy, array, index, step / 100)
            if abs(finer - analytic[index]) < error:
                gradient[index] = finer
    return gradient


def _difference(f, dy, array, index, step) -> float:
    """One entry of the gradient, by the formula above."""
    x = array[index]

    def at(offset):
        array[index] = x + offset
        return np.array(f())  # a copy: an operation may return its argument

    # Subtract before summing: what the entry does not touch cancels exactly.
    near = at(step) - at(-step)
    far = at(2 * step) - at(-2 * step)
    array[index] = x
    return (dy * (8 * near - far)).sum() / (12 * step)


def _compare(name, analytic, numeric, largest, tolerance, may_be_zero) -> Gradient:
    """Hold two arrays of the same gradient against each other."""
    size = np.maximum(np.abs(analytic), np.abs(numeric))
    scale = np.maximum(size, _SMALL * size.max(initial=0))
    is_zero = size.max(initial=0) <= _ZERO * largest
    if is_zero:
        scale = np.full_like(size, largest or 1)
    errors = np.where(np.isfinite(analytic), np.abs(analytic - numeric) / scale, np.inf)
    where = np.unravel_index(np.argmax(errors), errors.shape) if errors.size else ()
    error = float(errors[where]) if errors.size else 0.0
    values = (float(analytic[where]), float(numeric[where])) if errors.size else (0.0, 0.0)
    verdict, reason = "right", ""
    if not error <= tolerance:
        verdict = "wrong"
        index = ", ".join(map(str, map(int, where)))
        reason = f"at [{index}] backward says {values[0]:.6g}, differences {values[1]:.6g}"
    elif is_zero:
        verdict = "zero"
        reason = "" if may_be_zero else "every entry is 0, so nothing was shown"
    return Gradient(
        name, analytic.shape, error, tuple(map(int, where)), *values, verdict, reason
    )
