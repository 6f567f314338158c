"""What a bug of the catalogue is, and how it is planted."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Bug:
    """One mistake, and what there is to know about it."""

    name: str  # "layer_norm.mean-term-dropped"
    what: str  # what it is, in a sentence
    seen: str  # where such a bug has been seen, or why it is easily made
    module: ModuleType  # whose function it replaces
    function: str  # which function: "backward", "forward", or a helper of the module
    replacement: Callable  # called as replacement(right, *args), right being what it replaces
    point: str  # the name of the point at which to look for it
    gradients: tuple[str, ...]  # what it spoils there: "dx", "dparams.query.weight"
    kind: str  # what a diagnosis should call the damage; "" if it is of no kind that has a name
    invisible: str  # why no gradient check can show it; "" for nearly all

    @contextlib.contextmanager
    def planted(self) -> Iterator[None]:
        """Have the bug in the package for as long as the ``with`` block lasts."""
        right = getattr(self.module, self.function)
        setattr(self.module, self.function, functools.partial(self.replacement, right))
        try:
            yield
        finally:
            setattr(self.module, self.function, right)


def catalogue() -> tuple[list[Bug], Callable]:
    """An empty list, and the decorator that adds the function below it to the list as a bug."""
    bugs: list[Bug] = []

    def bug(
        name: str,
        module: ModuleType,
        *gradients: str,
        seen: str,
        kind: str = "",
        function: str = "backward",
        point: str = "",
        invisible: str = "",
    ) -> Callable:
        def add(replacement: Callable) -> Callable:
            place = module.__name__.rpartition(".")[2]
            bugs.append(
                Bug(
                    f"{place}.{name}",
                    " ".join(inspect.getdoc(replacement).split()),
                    seen,
                    module,
                    function,
                    replacement,
                    point or place,
                    gradients,
                    kind,
                    invisible,
                )
            )
            return replacement

        return add

    return bugs, bug


def under(place: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names with ``place`` before each."""
    return tuple(f"{place}.{name}" for name in names)


def cut(cache: NamedTuple) -> NamedTuple:
    """The cache of a linear map through which nothing comes back to its input."""
    return cache._replace(weight=np.zeros_like(cache.weight))
