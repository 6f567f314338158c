"""How gradients are often checked, and why that is not enough.

Each protocol here is a sound check but for one thing: its cotangent is all ones, or it looks at a
single entry, or it works in float32 with one fixed step, or its weights are small and its tolerance
absolute. All of them can be found in public code. ``gradcheck --bugs`` runs them beside the methods
of this package on every bug of the catalogue, and on correct code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from numpy_transformer.gradcheck import entries, lines
from numpy_transformer.gradcheck.face import Call

Gradients = Mapping[str, np.ndarray]


def ones(call: Call, rng: np.random.Generator) -> bool:
    """Every entry in float64, but with a cotangent of ones: is ``sum(y)`` differentiated right?

    The sum of a softmax is 1 whatever its argument is, and that of a normalised row 0: their
    gradients are zero in front of a cotangent of ones, right or wrong.
    """
    y, cache = call.forward()
    dy = np.ones_like(y)
    gradients = call.gradients(dy, cache)
    return any(_differs(call, leaf, dy, gradients, np.ndindex) for leaf in call.leaves)


def one_entry(call: Call, rng: np.random.Generator) -> bool:
    """A random cotangent in float64, but one random entry of each gradient.

    What is wrong in one batch row or one head only is not where it looks.
    """
    y, cache = call.forward()
    dy = rng.standard_normal(y.shape)
    gradients = call.gradients(dy, cache)

    def one(shape):
        yield tuple(int(rng.integers(extent)) for extent in shape)

    return any(_differs(call, leaf, dy, gradients, one) for leaf in call.leaves)


def single_precision(call: Call, rng: np.random.Generator) -> bool:
    """Every entry, a random cotangent, but in float32, with two points a step of 1e-3 apart.

    What is left after the subtraction is good for two or three digits. The tolerance (a hundredth
    of an entry, or 1e-3) has to be so wide that small errors fit in, and is still too narrow for
    correct code now and then.
    """
    call = call.as_type(np.float32)
    y, cache = call.forward()
    dy = rng.standard_normal(y.shape).astype(np.float32)
    gradients = call.gradients(dy, cache)
    for leaf, array in call.leaves.items():
        for index in np.ndindex(array.shape):
            line = _unit(call, leaf, index)
            numeric = np.float32((dy * ((line(1e-3) - line(-1e-3)) / 2e-3)).sum())
            analytic = _entry(gradients, leaf, array, index)
            if not abs(analytic - numeric) <= 1e-3 + 1e-2 * abs(numeric):
                return True
    return False


def small_weights(call: Call, rng: np.random.Generator) -> bool:
    """Every entry, a random cotangent, float64, but weights of 0.02 and a tolerance of 1e-4.

    With the weights that training starts from, all that comes through the network is small, and
    so are its gradients: an absolute tolerance lets them pass, whatever they are.
    """
    data = next(iter(call.leaves)).partition(".")[0]
    scaled = {
        leaf: array if leaf.partition(".")[0] == data else 0.02 * array / lines.size(array)
        for leaf, array in call.leaves.items()
    }
    call = call.with_leaves(scaled)
    y, cache = call.forward()
    dy = rng.standard_normal(y.shape)
    gradients = call.gradients(dy, cache)
    for leaf, array in call.leaves.items():
        for index in np.ndindex(array.shape):
            line = _unit(call, leaf, index)
            numeric = float((dy * (line(1e-5) - line(-1e-5))).sum() / 2e-5)
            if not abs(_entry(gradients, leaf, array, index) - numeric) <= 1e-4:
                return True
    return False


PROTOCOLS: dict[str, Callable[[Call, np.random.Generator], bool]] = {
    "ones": ones,
    "one entry": one_entry,
    "float32": single_precision,
    "weights 0.02": small_weights,
}


def _unit(call, leaf, index) -> lines.Line:
    """The line along one entry, in its own units."""
    direction = np.zeros(call.leaves[leaf].shape)
    direction[index] = 1.0
    return lines.Line(call, {leaf: direction})


def _entry(gradients: Gradients, leaf: str, array: np.ndarray, index) -> float:
    """An entry of what ``backward`` returned; NaN where it returned nothing that fits."""
    gradient = gradients[leaf]
    fits = gradient is not None and gradient.shape == array.shape
    return float(gradient[index]) if fits else np.nan


def _differs(call, leaf, dy, gradients, indices) -> bool:
    """Whether one of the entries is wrong; kinks are told from mistakes by a shorter step."""
    array, step = call.leaves[leaf], lines.step_size(call)
    for index in indices(array.shape) if array.size else ():
        analytic = _entry(gradients, leaf, array, index)

        def is_wrong(step):
            numeric = entries.entry(call, leaf, index, dy, entries.differences(step))
            return not abs(analytic - numeric) <= 1e-8 + 1e-6 * abs(numeric)

        if is_wrong(step) and is_wrong(step * entries.FINER):
            return True
    return False
