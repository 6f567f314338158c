"""A table that says which array of ours is which tensor of theirs, and what it is of it.

One line for each array, its columns cut by bars::

    ours                            | theirs              | shape | what ours is of theirs
    layers.{i}.hidden.weight        | h.{i}.mlp.weight    | F, D  | transposed

``{i}`` is the layer, from 0; such a line stands for one array in each layer. A shape is that of
theirs, in letters. Ours is *all* of theirs, or theirs *transposed* (a weight that is kept as
``(out, in)``), or one *third* of its last axis (query, key and value side by side).

The same table is used both ways, for parameters and for gradients. ``gpt2.py`` and ``bert.py``
have one each, and nothing here knows of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_transformer import parameters
from numpy_transformer.parameters import Tree
from numpy_transformer.porting import hugging_face
from numpy_transformer.porting.errors import PortingError

THIRDS = ("first third", "second third", "last third")  # of the last axis
WRITTEN = ("float16", "float32", "float64")  # the dtypes that a file may be written in


class Row(NamedTuple):
    """A line of a table."""

    ours: str
    theirs: str
    shape: tuple[Any, ...]  # of theirs: in letters in a table, in numbers in that of one model
    part: str  # what ours is of theirs


def parse(text: str) -> tuple[Row, ...]:
    """The lines of a table, cut at its bars.

    >>> parse("output.weight | lm_head.weight | V, D | transposed")[0].shape
    ('V', 'D')
    """
    found = []
    for line in text.strip().splitlines():
        ours, theirs, shape, part = (cell.strip() for cell in line.split("|"))
        found.append(Row(ours, theirs, tuple(shape.split(", ")), part))
    return tuple(found)


def in_numbers(rows: Iterable[Row], sizes: Mapping[str, int], layers: int) -> list[Row]:
    """The table of one model: a row for each array, in the order of ours, shapes in numbers.

    The lines of a layer have to stand together; they are repeated for each of the ``layers``.

    >>> rows = parse("layers.{i}.bias | h.{i}.b | D | all")
    >>> [row.theirs for row in in_numbers(rows, {"D": 4}, layers=2)]
    ['h.0.b', 'h.1.b']
    """

    def filled(row: Row, i: int = 0) -> Row:
        shape = tuple(sizes[letter] for letter in row.shape)
        return row._replace(ours=_layer(row.ours, i), theirs=_layer(row.theirs, i), shape=shape)

    rows = list(rows)
    of_layers = [row for row in rows if "{i}" in row.ours]
    first = rows.index(of_layers[0])
    return [
        *(filled(row) for row in rows[:first]),
        *(filled(row, i) for i in range(layers) for row in of_layers),
        *(filled(row) for row in rows[first + len(of_layers) :]),
    ]


def _layer(name: str, i: int | str) -> str:
    """A name in a table, for one layer."""
    return name.replace("{i}", str(i))


def their_name(rows: Iterable[Row], name: str) -> str | None:
    """Their name for one of ours, in a table in letters; None if they have none.

    >>> their_name(parse("layers.{i}.bias | h.{i}.b | D | all"), "layers.3.bias")
    'h.3.b'
    """
    number = re.search(r"\.layers\.(\d+)\.", f".{name}")
    i = number[1] if number else ""
    return next((_layer(row.theirs, i) for row in rows if _layer(row.ours, i) == name), None)


def our_shape(row: Row) -> tuple[int, ...]:
    """The shape of our array, from that of theirs; for a row in numbers.

    >>> our_shape(Row("hidden.weight", "mlp.weight", (31, 12), "transposed"))
    (12, 31)
    """
    if row.part == "transposed":
        return row.shape[::-1]
    if row.part in THIRDS:
        return (*row.shape[:-1], row.shape[-1] // 3)
    return row.shape


def part_of(tensor: np.ndarray, part: str) -> np.ndarray:
    """What ours is of a tensor of theirs: a view, which can be read from and written into.

    >>> part_of(np.array([[1, 2, 3], [4, 5, 6]]), "second third")
    array([[2],
           [5]])
    """
    if part == "all":
        return tensor
    if part == "transposed":
        return tensor.T
    D, k = tensor.shape[-1] // 3, THIRDS.index(part)
    return tensor[..., k * D : (k + 1) * D]


def take_out(found: dict[str, np.ndarray], name: str, other: str) -> bool:
    """Take out of ``found`` a tensor that is ``other`` under a second name; False if it is not.

    If only ``name`` is there, it comes to stand in the place of ``other``.

    >>> found = {"lm_head.weight": np.ones(2)}
    >>> take_out(found, "lm_head.weight", "wte.weight"), list(found)
    (True, ['wte.weight'])
    """
    if name not in found:
        return True
    tensor = found.pop(name)
    return np.array_equal(tensor, found.setdefault(other, tensor))


def to_ours(rows: Sequence[Row], found: Mapping[str, np.ndarray], dtype: str) -> Tree:
    """Their tensors, by name, as our parameters; views of theirs where the dtype is right.

    Raises ``PortingError`` naming all tensors that are missing, unknown or of another shape.

    >>> rows = [Row("hidden.weight", "mlp.weight", (1, 3), "transposed")]
    >>> to_ours(rows, {"mlp.weight": np.array([[1.0, 2.0, 3.0]])}, "float32")
    {'hidden': {'weight': array([[1.],
           [2.],
           [3.]], dtype=float32)}}
    """
    hugging_face.check({row.theirs: row.shape for row in rows}, found)
    return parameters.nest(
        {row.ours: part_of(found[row.theirs], row.part).astype(dtype, copy=False) for row in rows}
    )


def to_theirs(
    rows: Sequence[Row], ours: Mapping[str, np.ndarray], dtype: str
) -> dict[str, np.ndarray]:
    """Our arrays, by name, as their tensors, new and in ``dtype``, one of ``WRITTEN``.

    Raises ``PortingError`` for numbers that ``dtype`` cannot hold, and naming all arrays that are
    missing, unknown or of another shape.

    >>> rows = [Row("hidden.weight", "mlp.weight", (1, 3), "transposed")]
    >>> to_theirs(rows, {"hidden.weight": np.array([[1.0], [2.0], [3.0]])}, "float16")
    {'mlp.weight': array([[1., 2., 3.]], dtype=float16)}
    """
    if dtype not in WRITTEN:
        raise PortingError(f"dtype is {dtype!r}, expected one of {', '.join(WRITTEN)}")
    hugging_face.check({row.ours: our_shape(row) for row in rows}, ours)
    tensors = {row.theirs: np.empty(row.shape, dtype) for row in rows}
    for row in rows:
        try:
            with np.errstate(over="raise"):
                part_of(tensors[row.theirs], row.part)[...] = ours[row.ours]
        except FloatingPointError:
            raise PortingError(
                f"{row.ours} holds numbers of up to {np.abs(ours[row.ours]).max():.3g}, which "
                f"{dtype} cannot hold; leave dtype out to write them as they are"
            ) from None
    return tensors
