"""The parameters of a model: a tree of arrays, its dotted names, and the one flat vector behind it.

A tree is a nested dictionary with arrays at its leaves. The keys along the way to an array, joined
by dots, are its name: ``decoder.layers.0.cross_attention.query.weight``. Gradients come as a tree
with the same keys, and caches nest the same way, so one name finds a value
(``find(params, name)``), its gradient (``find(dparams, name)``) and what was kept beside it
(``find(cache, name)`` for the part of the name that names an operation).

``pack`` lays all arrays of a tree into one vector and returns a tree of views into it. The
optimizer, the clipping, the finite check and a checkpoint each work on that one vector; the model
reads the views and sees every change.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Tree = dict[str, Any]  # str -> array or Tree


def items(tree: Tree, prefix: str = "") -> list[tuple[str, np.ndarray]]:
    """The dotted name and the array of every leaf, in the order in which the tree was built.

    >>> tree = {"norm": {"weight": np.ones(2)}, "output": {"bias": np.zeros(3)}}
    >>> [(name, array.shape) for name, array in items(tree)]
    [('norm.weight', (2,)), ('output.bias', (3,))]
    """
    found = []
    for key, value in tree.items():
        if isinstance(value, dict):
            found += items(value, f"{prefix}{key}.")
        else:
            found.append((prefix + key, value))
    return found


def nest(named: dict[str, Any]) -> Tree:
    """A tree from dotted names, the inverse of ``items``.

    >>> nest({"norm.weight": 1, "norm.bias": 2, "output.weight": 3})
    {'norm': {'weight': 1, 'bias': 2}, 'output': {'weight': 3}}
    """
    tree: Tree = {}
    for name, array in named.items():
        *path, last = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = array
    return tree


def find(tree: Any, name: str) -> Any:
    """What a dotted name stands for, in a tree of arrays or in a nest of caches.

    Raises ``KeyError``, saying which part of the name was not found and what there is instead.

    >>> find({"layers": {"0": {"weight": 5}}}, "layers.0.weight")
    5
    """
    for part in name.split("."):
        if isinstance(tree, dict):
            children = tree
        elif hasattr(tree, "_asdict"):
            children = tree._asdict()
        elif isinstance(tree, (tuple, list)):
            children = {str(index): child for index, child in enumerate(tree)}
        else:
            children = {}
        if part not in children:
            raise KeyError(f"no {part!r} on the way to {name!r}; there is {', '.join(children)}")
        tree = children[part]
    return tree


def count(tree: Tree) -> int:
    """How many numbers a tree holds.

    >>> count({"weight": np.ones((2, 3)), "bias": np.ones(3)})
    9
    """
    return sum(array.size for _, array in items(tree))


def pack(tree: Tree) -> tuple[np.ndarray, Tree]:
    """Lay a tree into one new vector; return the vector and a tree of views into it.

    >>> vector, views = pack({"weight": np.ones((2, 2)), "bias": np.zeros(2)})
    >>> vector *= 3
    >>> views
    {'weight': array([[3., 3.],
           [3., 3.]]), 'bias': array([0., 0.])}
    """
    vector = gather(tree)
    return vector, views(vector, tree)


def gather(tree: Tree, out: np.ndarray | None = None, like: Tree | None = None) -> np.ndarray:
    """Copy all arrays of a tree, one after the other, into one vector (into ``out`` if given).

    In the order of the tree, or in that of ``like``, a tree with the same names.

    >>> gather({"weight": np.ones((2, 2)), "bias": np.zeros(2)})
    array([1., 1., 1., 1., 0., 0.])
    """
    arrays = items(tree)
    if like is not None:
        arrays = items(from_items(dict(arrays), like))
    return np.concatenate([array.reshape(-1) for _, array in arrays], out=out)


def views(vector: np.ndarray, like: Tree) -> Tree:
    """A tree with the keys and shapes of ``like`` whose arrays are views into ``vector``."""
    parts = iter(slices(like).values())
    return _map(like, lambda array: vector[next(parts)].reshape(array.shape))


def slices(tree: Tree) -> dict[str, slice]:
    """Where each array of a tree lies in its flat vector.

    >>> slices({"weight": np.ones((2, 2)), "bias": np.zeros(2)})
    {'weight': slice(0, 4, None), 'bias': slice(4, 6, None)}
    """
    where, start = {}, 0
    for name, array in items(tree):
        where[name] = slice(start, start + array.size)
        start += array.size
    return where


def from_items(named: dict[str, np.ndarray], like: Tree) -> Tree:
    """A tree with the keys of ``like`` and the arrays of ``named`` (dotted names).

    Raises ``ValueError`` naming what is missing, unknown or of another shape.
    """
    expected = {name: array.shape for name, array in items(like)}
    problems = [f"missing: {name}" for name in expected if name not in named]
    problems += [f"unknown: {name}" for name in named if name not in expected]
    problems += [
        f"{name} is {named[name].shape}, expected {shape}"
        for name, shape in expected.items()
        if name in named and named[name].shape != shape
    ]
    if problems:
        raise ValueError("the parameters do not fit the model: " + "; ".join(problems))
    arrays = iter([named[name] for name in expected])
    return _map(like, lambda _: next(arrays))


def xavier_uniform(
    rng: np.random.Generator, shape: tuple[int, int], dtype: type, fan_out: int | None = None
) -> np.ndarray:
    """A weight ``(in, out)`` drawn from U(-a, a) with ``a = sqrt(6 / (in + out))``.

    ``fan_out`` takes the place of ``out`` where the weight is one part of a wider one.

    Source: Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward
    neural networks", equation 16.
    """
    bound = math.sqrt(6 / (shape[0] + (fan_out or shape[1])))
    return rng.uniform(-bound, bound, shape).astype(dtype)


def _map(tree: Tree, function: Callable[[np.ndarray], np.ndarray]) -> Tree:
    """A tree with the same keys and what ``function`` makes of each array."""
    return {
        key: _map(value, function) if isinstance(value, dict) else function(value)
        for key, value in tree.items()
    }
