"""An operation at a point: ``forward`` and ``backward`` at one set of arguments.

This is all that the checker knows of an operation, its face::

    y, cache = op.forward(*args)
    gradients = op.backward(dy, cache)

Float arrays among the arguments, and those in trees of parameters, are differentiated, and
``backward`` returns their gradients in the order of the signature. Everything else (ids, masks,
settings, generators) is passed on as it is.

A ``Call`` can be evaluated as often as wanted. Each evaluation gets fresh copies of all arrays, so
that an operation that changes its arguments spoils nothing, and fresh copies of all random
generators, so that dropout draws the same mask each time.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass, replace
from typing import Any

import numpy as np

FACE = "expected y, cache = forward(*args) and gradients = backward(dy, cache)"


class FaceError(TypeError):
    """The operation does not have the face, so that it cannot be checked."""


class Call:
    """One call of ``op.forward``: its arguments by name, and what in it is differentiated."""

    def __init__(
        self, op: Any, args: tuple, settings: Mapping[str, Any] | None = None, name: str = ""
    ):
        """Bind the arguments; raises ``FaceError`` where ``op`` does not have the face."""
        self.name = name or getattr(op, "__name__", type(op).__name__).rpartition(".")[2]
        self.op = _instance(op, self.name)
        self._bound = _bind(self.op, args, settings or {}, self.name)
        # The caller's arrays may change later; these do not.
        self._bound.arguments = self._fresh(self._bound.arguments, "", {}, _copy)
        self.leaves: dict[str, np.ndarray] = dict(_leaves(self._bound.arguments))
        if not self.leaves:
            raise FaceError(
                f"{self.name}: there is no float array among the arguments, so there is "
                "nothing to differentiate"
            )
        dtypes = {array.dtype for array in self.leaves.values()}
        if len(dtypes) > 1 or dtypes.pop() not in (np.float32, np.float64):
            listed = ", ".join(f"{name} {array.dtype}" for name, array in self.leaves.items())
            raise FaceError(f"{self.name}: expected all float64, or all float32; given {listed}")
        self.dtype = next(iter(self.leaves.values())).dtype

    @property
    def arguments(self) -> dict[str, Any]:
        """What ``forward`` is called with, by name."""
        return self._bound.arguments

    def forward(
        self,
        moved: Mapping[str, np.ndarray] | None = None,
        change: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> tuple[np.ndarray, Any]:
        """The output and the cache, with the arrays of ``moved`` in place of the call's own.

        ``change`` makes the copies of arrays, where they are to be of a special kind.
        """
        bound = copy.copy(self._bound)
        bound.arguments = self._fresh(self._bound.arguments, "", moved or {}, change or _copy)
        return self._forward(bound)

    def _forward(self, bound: inspect.BoundArguments) -> tuple[np.ndarray, Any]:
        returned = self._run("forward", self.op.forward, *bound.args, **bound.kwargs)
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise FaceError(
                f"{self.name}: forward returned {_say(returned)}; expected two things, "
                "the output and the cache"
            )
        y, cache = returned
        is_array = isinstance(y, (np.ndarray, np.generic, float))
        if not is_array or np.asarray(y).dtype.kind not in "fc":
            raise FaceError(
                f"{self.name}: the output of forward is {_say(y)}; expected an array of floats"
            )
        return np.asarray(y), cache

    def output(self, moved: Mapping[str, np.ndarray]) -> np.ndarray:
        """The output alone, a copy."""
        return np.array(self.forward(moved)[0])

    def gradients(self, dy: np.ndarray, cache: Any) -> dict[str, np.ndarray | None]:
        """What ``backward`` returns, by the names of ``leaves``; ``None`` where it is missing."""
        returned = self._run("backward", self.op.backward, dy, cache)
        returned = tuple(returned) if isinstance(returned, (tuple, list)) else (returned,)
        wanted = [name for name, arg in self.arguments.items() if dict(_leaves({name: arg}))]
        if len(returned) != len(wanted):
            # None stands in the place of an argument that was None.
            returned = tuple(gradient for gradient in returned if gradient is not None)
        if len(returned) != len(wanted):
            plural = "s" if len(wanted) > 1 else ""
            raise FaceError(
                f"{self.name}: backward returned {len(returned)} gradient"
                f"{'s' if len(returned) != 1 else ''}, but forward has {len(wanted)} argument"
                f"{plural} to differentiate ({', '.join(wanted)}); expected one for each, "
                "in this order"
            )
        found: dict[str, np.ndarray | None] = dict.fromkeys(self.leaves)
        for name, gradient in zip(wanted, returned):
            for leaf, array in _items(gradient, name):
                if array is None:
                    continue
                if leaf not in found:
                    if leaf in dict(_all_items(self.arguments)):
                        continue  # of something that has no gradient: integers, a mask
                    raise FaceError(
                        f"{self.name}: backward returned a gradient d{leaf}, but there is no "
                        f"such argument; there is {', '.join(self.leaves)}"
                    )
                if not isinstance(array, (np.ndarray, np.generic, float)):
                    raise FaceError(f"{self.name}: d{leaf} is {_say(array)}; expected an array")
                found[leaf] = np.array(array)
                if found[leaf].dtype.kind != "f":
                    raise FaceError(f"{self.name}: d{leaf} is {_say(found[leaf])}; expected floats")
        return found

    def as_type(self, dtype: type) -> Call:
        """The same call in another precision.

        Settings that are a dataclass with a field ``dtype`` are told so.
        """

        other = self.with_leaves({name: a.astype(dtype) for name, a in self.leaves.items()})
        for name, arg in other.arguments.items():
            if is_dataclass(arg) and not isinstance(arg, type) and hasattr(arg, "dtype"):
                other.arguments[name] = replace(arg, dtype=np.dtype(dtype).name)
        other.dtype = np.dtype(dtype)
        return other

    def with_leaves(self, leaves: Mapping[str, np.ndarray]) -> Call:
        """The same call with these arrays in place of its own."""
        other = copy.copy(self)
        other._bound = copy.copy(self._bound)
        other._bound.arguments = self._fresh(self._bound.arguments, "", leaves, _copy)
        other.leaves = dict(_leaves(other.arguments))
        return other

    def _run(self, what: str, function: Callable, *args, **kwargs):
        try:
            with np.errstate(all="ignore"):  # what is not finite is found and named later
                return function(*args, **kwargs)
        except (Exception, SystemExit) as error:
            kind = type(error).__name__
            raise FaceError(f"{self.name}: {what} raised {kind}: {error}") from error

    def _fresh(self, value, name, moved, change):
        """A copy of ``value``, with moved arrays in it."""
        if name in moved:
            return change(moved[name])
        if isinstance(value, np.ndarray):
            return change(value)
        if isinstance(value, (np.random.Generator, np.random.RandomState)):
            return copy.deepcopy(value)
        if isinstance(value, dict):
            return {
                key: self._fresh(child, f"{name}.{key}" if name else str(key), moved, change)
                for key, child in value.items()
            }
        if type(value) in (tuple, list):
            children = (
                self._fresh(child, f"{name}.{index}", moved, change)
                for index, child in enumerate(value)
            )
            return type(value)(children)
        return value


def independent(rng: np.random.Generator | int) -> np.random.Generator:
    """A stream of numbers that has nothing in common with the first ones of ``rng``.

    People draw arguments from seed 0, and a cotangent from the same seed would be the same
    numbers: no random direction at all.
    """
    return np.random.default_rng(np.random.default_rng(rng).integers(2**63, size=4))


def _instance(op: Any, name: str) -> Any:
    """``op``, or an object of it if it is a class whose functions need one."""
    for function in ("forward", "backward"):
        if not callable(getattr(op, function, None)):
            raise FaceError(f"{name} has no function {function!r}; {FACE}")
    if isinstance(op, type):
        kinds = {type(inspect.getattr_static(op, f)) for f in ("forward", "backward")}
        if not kinds <= {staticmethod, classmethod}:
            try:
                return op()
            except Exception as error:
                raise FaceError(
                    f"{name} is a class that cannot be made without arguments ({error}); "
                    "pass an object of it"
                ) from error
    return op


def _bind(op: Any, args: tuple, settings: Mapping[str, Any], name: str) -> inspect.BoundArguments:
    try:
        signature = inspect.signature(op.forward)
    except ValueError as error:
        raise FaceError(f"{name}: forward has no signature; wrap it in a function") from error
    try:
        return signature.bind(*args, **settings)
    except TypeError as error:
        names = ", ".join(signature.parameters)
        raise FaceError(f"{name}: the arguments do not fit forward({names}): {error}") from error


def _copy(array: np.ndarray) -> np.ndarray:
    return array.copy()


def _items(value: Any, name: str):
    """Whatever stands at the ends of a tree, by dotted name."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _items(child, f"{name}.{key}")
    elif type(value) in (tuple, list):
        for index, child in enumerate(value):
            yield from _items(child, f"{name}.{index}")
    else:
        yield name, value


def _all_items(arguments: Mapping[str, Any]):
    for name, arg in arguments.items():
        yield from _items(arg, name)


def _leaves(arguments: Mapping[str, Any]):
    """The float arrays among the arguments, by dotted name."""
    for name, value in _all_items(arguments):
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            yield name, value


def _say(value: Any) -> str:
    """What ``value`` is, for a sentence."""
    if isinstance(value, (np.ndarray, np.generic)):
        return f"an array {value.shape} of {value.dtype}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"of type {type(value).__name__}"
