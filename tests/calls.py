"""A call of any module, as trees of its arrays: its output, its gradients, its derivatives."""

from __future__ import annotations

import copy
import inspect

import numpy as np

from numpy_transformer import parameters

# What rounding may amount to. A layer norm of a row that hardly varies multiplies it, and in
# float32 too much so: layers and models are compared in float64.
ROUNDING = {np.float32: 1e-4, np.float64: 1e-9}


def close(actual, expected, tolerance=None):
    """Equal but for rounding, which is measured against the largest entry, and against 1."""
    assert actual.shape == expected.shape
    if tolerance is None:
        tolerance = max(ROUNDING[array.dtype.type] for array in (actual, expected))
    largest = max(1, np.abs(expected).max(initial=0))
    assert np.abs(actual - expected).max(initial=0) <= tolerance * largest


def close_trees(actual, expected):
    """The same names, in the same order, with arrays that are equal but for rounding."""
    actual, expected = dict(parameters.items(actual)), dict(parameters.items(expected))
    assert list(actual) == list(expected)
    for name in expected:
        close(actual[name], expected[name])


# Any module: calls, as trees of their arrays


def differentiated(point):
    """The arguments that have a gradient, by name."""
    named = zip(inspect.signature(point.op.forward).parameters, point.args)
    kinds = (dict, np.ndarray)
    return {
        name: arg
        for name, arg in named
        if isinstance(arg, kinds) and (isinstance(arg, dict) or arg.dtype.kind in "fc")
    }


def leaves(point):
    """Every array that has a gradient, by its dotted name."""
    return dict(parameters.items(differentiated(point)))


def with_leaves(point, named):
    """The same call with these arrays in place of its own."""
    tree = parameters.from_items(leaves(point) | named, like=differentiated(point))
    names = inspect.signature(point.op.forward).parameters
    return point._replace(args=tuple(tree.get(name, arg) for name, arg in zip(names, point.args)))


def mapped(arg, function):
    """An argument with each of its arrays put through ``function``, ids and masks as well."""
    if isinstance(arg, dict):
        return {key: mapped(value, function) for key, value in arg.items()}
    return function(arg) if isinstance(arg, np.ndarray) else arg


def forward(point):
    """The output and the cache. Generators are copied: each time dropout draws the same masks."""
    args = (copy.deepcopy(a) if isinstance(a, np.random.Generator) else a for a in point.args)
    return point.op.forward(*args, **point.settings)


def backward(point, dy, cache):
    """Every gradient by the name of its argument, which ``leaves`` has, too."""
    returned = point.op.backward(dy, cache)
    returned = returned if isinstance(returned, tuple) else (returned,)
    # None stands in the place of a bias that was None.
    returned = [gradient for gradient in returned if gradient is not None]
    return dict(parameters.items(dict(zip(differentiated(point), returned, strict=True))))


def cotangent(y, seed=0):
    """A random ``dy``, an array even where ``y`` is one number."""
    return np.asarray(np.random.default_rng(seed).standard_normal(y.shape)).astype(y.real.dtype)


def arrays_in(cache):
    """All arrays in a nest of caches."""
    if isinstance(cache, np.ndarray):
        yield cache
    elif isinstance(cache, tuple):
        for part in cache:
            yield from arrays_in(part)


STEP = 1e-30


def complex_step(point, directions, dy):
    """The derivative of ``sum(dy * y)``, where the leaves move in these directions.

    Nothing is subtracted, so no digit is lost. Source: Squire and Trapp 1998, "Using Complex
    Variables to Estimate Derivatives of Real Functions".
    """
    arrays = leaves(point)
    moved = {leaf: arrays[leaf] + 1j * STEP * directions[leaf] for leaf in directions}
    y, _ = forward(with_leaves(point, moved))
    assert y.dtype == np.complex128
    return (dy * y.imag).sum() / STEP


def central_difference(point, directions, dy, step=1e-4):
    """The same derivative by central differences of fourth order, of real numbers alone."""
    arrays = leaves(point)

    def value(t):
        moved = {leaf: arrays[leaf] + t * directions[leaf] for leaf in directions}
        return (dy * forward(with_leaves(point, moved))[0]).sum()

    near, far = value(step) - value(-step), value(2 * step) - value(-2 * step)
    return (8 * near - far) / (12 * step)


def check_gradients(point, derivative=complex_step, tolerance=1e-10, together=False):
    """Every gradient of a call in float64, along a random direction, against ``forward`` alone.

    One after the other, or all of them along one direction.
    """
    y, cache = forward(point)
    dy = cotangent(y)
    gradients = backward(point, dy, cache)
    directions = {leaf: cotangent(array, 1) for leaf, array in leaves(point).items()}
    for names in [list(directions)] if together else [[leaf] for leaf in directions]:
        terms = [directions[leaf] * gradients[leaf] for leaf in names]
        found = derivative(point, {leaf: directions[leaf] for leaf in names}, dy)
        size = max(1, sum(np.abs(term).sum() for term in terms))
        assert abs(found - sum(term.sum() for term in terms)) <= tolerance * size, names
