"""A person's own operation: find it, and draw the arguments at which to check it.

``load`` finds it by the name of a file or of a module::

    my_ops.py                     the file itself: it has forward and backward
    my_ops.py:Gelu                a class or an object in it; my_ops.py:Outer.Gelu goes deeper
    my_ops.py:gelu                two functions in it, gelu_forward and gelu_backward
    my_package.my_ops             a module, by its dotted name, seen from the current folder
    my_package.my_ops:Gelu        something in it, after a colon or a dot

The arguments come from a function ``sample(rng)`` beside the operation (``sampled``) or from a
description (``draw``): names and what they stand for, with commas between them::

    x: (2, 3, 4)                  an array of standard normal numbers, float64; () is a scalar
    x: (2, 3) float32             the same in single precision
    x: (4,) positive              numbers between 0.5 and 2, for logarithms and roots
    ids: (2, 3) int 7             whole numbers from 0 to 6, one of them at least twice
    mask: (2, 1, 3) bool          every row (last axis) has a True and, if there is room, a False
    rng: generator                a random generator
    params.query.weight: (4, 4)   dots make nested dictionaries
    rate: 0.1                     anything else as Python writes it: 2, 'tanh', None, [1, 2]
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import inspect
import math
import os
import re
import sys
import traceback
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

_FACES = ("forward", "backward")
_FACE = "expected two functions:\n  y, cache = forward(*args)\n  gradients = backward(dy, cache)"
_TARGETS = "expected a file (my_ops.py, my_ops.py:gelu) or a module (my_package.my_ops:gelu)"
_VALUES = "expected a shape such as (2, 3), the word generator, or a value such as 0.1 or 'tanh'"
_WORDS = "float32, positive, positive float32, bool, or int and how many, such as int 7"
_LARGEST = 10_000_000  # numbers in an array
_NAME = r"[^\W\d]\w*(?:\.\w+)*"
_TARGET = re.compile(rf"(?:(.+\.py)|({_NAME}))(?::({_NAME}))?", re.DOTALL)
# In a value, commas stand only within quotes and brackets.
_VALUE = r"""(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\([^)]*\)|\[[^]]*\]|{[^}]*}|[^,'"([{])*"""
_ENTRY = re.compile(rf"\s*({_NAME})\s*:({_VALUE})(?:,\s*|$)", re.DOTALL)


class Own(NamedTuple):
    """An operation and the function that draws its arguments, ``None`` if there is none.

    >>> load("numpy_transformer.ops.relu").sample is None
    True
    """

    name: str
    op: Any
    sample: Callable[[np.random.Generator], Any] | None


def load(target: str) -> Own:
    """Find the operation that ``target`` names (see above) and its ``sample``, if it has one.

    ``sample`` is ``op.sample``, or else ``<name>_sample`` or ``sample`` in the file. An object is
    made of a class whose functions need one. A file's folder is importable while the file runs.
    Raises ``ValueError``, saying what is missing, or what went wrong and where.

    >>> load("numpy_transformer.ops.relu").name
    'relu'
    """
    if not (match := _TARGET.fullmatch(target)):
        raise ValueError(f"{target!r} does not name an operation; {_TARGETS}{_near(target)}")
    file, dotted, inside = match.groups()
    module, rest = (_run_file(file), []) if file else _import(dotted)
    op, name = module, os.path.basename(file)[:-3] if file else dotted.rpartition(".")[2]
    for name in rest + (inside.split(".") if inside else []):
        owner, op = op, _operation(op, name)
        if op is None:
            raise ValueError(f"{target}: there is no {name!r}{_inside(owner)}")
    op = _ready(op, target)
    samples = (_get(op, "sample"), _get(module, f"{name}_sample"), _get(module, "sample"))
    return Own(name, op, next(filter(callable, samples), None))


def sampled(own: Own, rng: np.random.Generator) -> tuple[tuple, dict[str, Any]]:
    """What ``own.sample`` draws: the arguments in order, and those by name.

    Raises ``ValueError`` where ``sample`` fails, or returns neither a tuple nor a dictionary.

    >>> from numpy_transformer.ops import relu
    >>> sampled(Own("relu", relu, lambda rng: (np.ones(2),)), np.random.default_rng(0))
    ((array([1., 1.]),), {})
    """
    if own.sample is None:
        raise ValueError(missing_inputs(own))
    drawn = _run(f"{own.name}: sample(rng)", own.sample, rng)
    if isinstance(drawn, tuple):
        return drawn, {}
    if isinstance(drawn, dict) and all(isinstance(name, str) for name in drawn):
        return (), drawn
    kind, wanted = type(drawn).__name__, "a tuple of arguments, such as (x,), or a dict by name"
    raise ValueError(f"{own.name}: sample(rng) returned a {kind}; expected {wanted}")


def draw(op: Any, text: str, rng: np.random.Generator) -> dict[str, Any]:
    """Draw the arguments of ``op.forward`` that ``text`` describes (see above), by name.

    Raises ``ValueError`` with the description, the place and what is wrong there.

    >>> from numpy_transformer.ops import gelu
    >>> draw(gelu, "x: (2,), approximate: 'tanh'", np.random.default_rng(0))
    {'x': array([ 0.12573022, -0.13210486]), 'approximate': 'tanh'}
    """
    known, takes_any = _parameters(op)
    named, rest = {}, text.strip()
    try:
        while rest or not named:
            if not (entry := _ENTRY.match(rest)):
                raise ValueError("expected name: value, with all quotes and brackets closed")
            name, value = entry.groups()
            if name.split(".")[0] not in known and not takes_any:
                raise ValueError(f"forward takes {', '.join(known) or 'nothing'}, but no {name}")
            _put(named, name, _value(value.strip(), rng))
            rest = rest[entry.end() :]
    except ValueError as error:
        raise ValueError(f"the inputs {text!r}, at {rest!r}: {error}") from None
    if missing := [name for name, is_needed in known.items() if is_needed and name not in named]:
        raise ValueError(f"the inputs {text!r} lack {', '.join(missing)}, which forward needs")
    return named


def missing_inputs(own: Own) -> str:
    """What to say where there is neither a description nor a ``sample``.

    >>> from numpy_transformer.ops import linear
    >>> print(missing_inputs(Own("linear", linear, None)))
    linear: there are no arguments to check it at; describe them, with shapes that fit:
      --inputs "x: (2, 3), weight: (2, 3)"
    or let a function sample(rng) beside it return them
    """
    known, _ = _parameters(own.op)
    names = [name for name, is_needed in known.items() if is_needed] or [*known, "x"][:1]
    kinds = {"rng": "generator", "mask": "(2, 3) bool", "ids": "(2, 3) int 5", "rate": "0.1"}
    entries = (f"{name}: {kinds.get(name.rpartition('_')[2], '(2, 3)')}" for name in names)
    return (
        f"{own.name}: there are no arguments to check it at; describe them, with shapes that fit:"
        f'\n  --inputs "{", ".join(entries)}"\nor let a function sample(rng) beside it return them'
    )


def _run(what: str, function: Callable, *args: Any, folder: str | None = None) -> Any:
    """Call a person's code; tell of whatever it raises, with the line in it."""
    sys.path[:0] = [] if folder is None else [folder]
    importlib.invalidate_caches()
    try:
        return function(*args)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        frames = [f for f in frames if f.filename != __file__ and "importlib" not in f.filename]
        lines = [f for f in frames if f.filename == frames[0].filename]
        where = "".join(f" (line {f.lineno} of {f.filename}: {f.line})" for f in lines[-1:])
        raise ValueError(f"{what} raised {type(error).__name__}: {error}{where}") from error
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def _run_file(place: str) -> ModuleType:
    if not os.path.isfile(place):
        raise ValueError(f"there is no file {place!r}{_near(place)}")
    path = os.path.realpath(place)
    # No import statement can ask for a name with slashes, so this one stands in nobody's way.
    spec = importlib.util.spec_from_file_location(f"file {path}".replace(".", "_"), path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # for dataclasses
    folder, before = os.path.dirname(path), set(sys.modules)
    # Not from bytecode, which does not notice a second change within a second.
    code = _run(place, lambda: spec.loader.source_to_code(spec.loader.get_data(path), path))
    _run(place, exec, code, vars(module), folder=folder)
    # Forget the neighbours that it imported: another file's may have the same names.
    for name in {name for name in sys.modules if name.partition(".")[0] not in before}:
        file = str(_get(sys.modules[name], "__file__"))
        if file.startswith(os.path.join(folder, "")) and "-packages" not in file:
            del sys.modules[name]
    return module


def _import(place: str) -> tuple[ModuleType, list[str]]:
    """The module with the longest name that there is, and the rest of the name."""
    parts = place.split(".")
    for count in range(len(parts), 0, -1):
        name = ".".join(parts[:count])
        try:
            return _run(name, importlib.import_module, name, folder=""), parts[count:]
        except ValueError as error:
            cause = error.__cause__
            is_missing = isinstance(cause, ModuleNotFoundError) and cause.name
            if not is_missing or not f"{name}.".startswith(f"{cause.name}."):
                raise  # it is there, but something in it is wrong
    raise ValueError(f"there is no module {parts[0]!r}; {_TARGETS}{_near(parts[0])}")


def _near(place: str) -> str:
    """The files beside ``place`` that may have been meant."""
    folder, name = os.path.split(place)
    files = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
    files = sorted(file for file in files if file.endswith(".py"))
    near = difflib.get_close_matches(name, files) or files[:5]
    return f"; the folder has {', '.join(near)}" if near else ""


def _get(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name, None)
    except Exception:
        return None


def _lacking(op: Any) -> list[str]:
    return [function for function in _FACES if not callable(_get(op, function))]


def _operation(owner: Any, name: str) -> Any:
    """What is called ``name``; two functions, ``<name>_forward`` and ``<name>_backward``, too."""
    found = _get(owner, name)
    pair = SimpleNamespace(__name__=name, **{f: _get(owner, f"{name}_{f}") for f in _FACES})
    return pair if _lacking(found) and len(_lacking(pair)) < 2 else found


def _inside(owner: Any) -> str:
    """What there is in a module or a class, operations first."""
    names = {name.removesuffix("_forward") for name in dir(owner) if not name.startswith("_")}
    found = {name: _operation(owner, name) for name in sorted(names)}
    names = [name for name in found if not _lacking(found[name])]
    names += [name for name in found if callable(found[name]) and name not in names]
    return f"; there is {', '.join(names[:20])}" if names else ""


def _ready(op: Any, target: str) -> Any:
    """``op``, or an object of it if it is a class whose functions need one."""
    if lacking := _lacking(op):
        raise ValueError(f"{target} has no function {lacking[0]}{_inside(op)}; {_FACE}")
    kinds = {type(inspect.getattr_static(op, function, None)) for function in _FACES}
    if not isinstance(op, type) or kinds <= {staticmethod, classmethod}:
        return op
    return _run(f"{target} is a class; name an object of it, as {op.__name__}()", op)


def _parameters(op: Any) -> tuple[dict[str, bool], bool]:
    """The names that ``forward`` takes, whether it needs each, and whether it takes any other."""
    parameters = inspect.signature(op.forward).parameters.values()
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return {p.name: p.default is p.empty for p in named}, takes_any


def _put(tree: dict[str, Any], name: str, value: Any) -> None:
    *path, last = name.split(".")
    for part in path:
        tree = tree.setdefault(part, {}) if isinstance(tree, dict) else tree
    if not isinstance(tree, dict) or last in tree:
        raise ValueError(f"{name}, or a part of it, has a value already")
    tree[last] = value


def _value(text: str, rng: np.random.Generator) -> Any:
    """What an entry stands for: a generator, a literal or an array."""
    if text == "generator":
        return np.random.default_rng(rng.integers(2**32))
    literal, bracket, words = text.partition(")") if text[:1] == "(" else (text, "", "")
    try:
        shape = ast.literal_eval(literal + bracket)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise ValueError(_VALUES) from None
    if not bracket:
        return shape
    if type(shape) is not tuple or any(type(extent) is not int or extent < 0 for extent in shape):
        raise ValueError(f"{literal}) is not a shape; expected one such as (2, 3), (4,) or ()")
    if len(shape) > 32 or max(shape, default=0) > _LARGEST or math.prod(shape) > _LARGEST:
        raise ValueError(f"an array may have 32 axes and {_LARGEST:,} numbers, but not more")
    words = " ".join(words.split())
    if words in ("", "float64", "float32", "positive", "positive float32"):
        array = rng.uniform(0.5, 2, shape) if "positive" in words else rng.standard_normal(shape)
        return np.asarray(array, "float32" if "float32" in words else "float64")
    if words == "bool":  # the largest of a row is True, the smallest, if it is another, False
        row = rng.random(shape or (1,))
        low, high = row.min(-1, keepdims=True, initial=1), row.max(-1, keepdims=True, initial=0)
        return ((row == high) | (row > 0.5) & (row > low)).reshape(shape)
    if integers := re.fullmatch("int ([1-9][0-9]{0,17})", words):
        ids = np.asarray(rng.integers(int(integers[1]), size=shape))
        ids.flat[-1:] = ids.flat[:1]
        return ids
    raise ValueError(f"{words!r} after a shape is unknown; expected {_WORDS}")
