"""What a point is, and how its arrays are drawn."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from numpy_transformer import parameters

# All different, so that no two axes can be confused.
B, H, K, S, T, F, V = 3, 2, 4, 6, 5, 9, 11
D = H * K
RATE = 0.3
RATES = dict.fromkeys(("P_drop", "attention_dropout", "activation_dropout"), RATE)  # of a model


class Point(NamedTuple):
    """The arguments of one check."""

    op: ModuleType
    args: tuple
    settings: dict[str, Any] = {}
    zero: tuple[str, ...] = ()  # gradients that are zero for a good reason


def with_(point: Callable[..., Point], *args, **settings) -> Callable[[np.random.Generator], Point]:
    """The point with these arguments, to be drawn later."""
    return lambda rng: point(rng, *args, **settings)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Numbers of size about 1."""
    return rng.standard_normal(shape)


def generator(rng: np.random.Generator) -> np.random.Generator:
    """A generator of its own, for dropout."""
    return np.random.default_rng(rng.integers(2**32))


def random_tree(rng: np.random.Generator, tree: parameters.Tree) -> parameters.Tree:
    """The same tree in float64, every array of size about 1 and nowhere at a special point."""

    def draw(name, array):
        values = normal(rng, *array.shape)
        if array.ndim == 2:
            # Maps (in, out) keep the size of what passes through them; tables have rows of size 1.
            is_table = "embedding" in name or name.startswith("segments")
            return values / np.sqrt(array.shape[1 if is_table else 0])
        return values + (1.5 if name.endswith("norm.weight") else 0)

    named = {name: draw(name, array) for name, array in parameters.items(tree)}
    return parameters.from_items(named, like=tree)


def ids(rng: np.random.Generator, batch: int, length: int, vocabulary: int) -> np.ndarray:
    """Ids with repetitions and with ragged padding (0): one row full, the others shorter."""
    drawn = rng.integers(1, vocabulary, (batch, length))
    drawn[:, 1] = drawn[:, 0]
    for row in range(1, batch):
        drawn[row, length - row :] = 0
    return drawn


def mask(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """A random mask, every row with something to attend to but the first."""
    drawn = rng.random(shape) < 0.6
    drawn[..., -1] = True
    drawn[(0,) * (drawn.ndim - 1)] = False
    return drawn


def key_biases(params: parameters.Tree) -> tuple[str, ...]:
    """A bias of the key adds the same number to all scores of a query; softmax takes it out."""
    return tuple(
        f"dparams.{name}" for name, _ in parameters.items(params) if name.endswith("key.bias")
    )
