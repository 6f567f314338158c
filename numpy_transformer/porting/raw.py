"""A file's bytes as numbers: the memory map, the kinds of numbers, and shapes that can be true.

A *kind* is what the numbers are, by NumPy's name for it: ``"float32"``, ``"int64"``, ``"bool"``.
One kind has no name in NumPy: ``"bfloat16"``, the upper half of a float32 (sign, 8 bits of
exponent, 7 of fraction). It becomes a float32 by putting 16 zero bits behind it, which is exact.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from numpy_transformer.porting.errors import PortingError, shown

# What a number of each kind is in a file.
CODES = {
    "float64": "f8",
    "float32": "f4",
    "float16": "f2",
    "bfloat16": "u2",
    "int64": "i8",
    "int32": "i4",
    "int16": "i2",
    "int8": "i1",
    "uint64": "u8",
    "uint32": "u4",
    "uint16": "u2",
    "uint8": "u1",
    "bool": "b1",
}

MOST_AXES = 32  # NumPy 2 allows 64, NumPy 1 no more than this
MOST_ENTRIES = 2**59  # 8 bytes each are then still counted by NumPy's integers

NOT_ITSELF = "If it is the pointer of git-lfs or a web page, fetch the file itself."


def map_file(path: str | Path) -> np.ndarray:
    """The bytes of a file, ``(bytes,)`` in uint8: read-only, and read from disk when looked at.

    Raises ``PortingError`` for a file that is missing, empty or no plain file. As with every
    memory map, the file must not be cut short by someone else while the array is in use.

    >>> map_file("no/such/file")
    Traceback (most recent call last):
    numpy_transformer.porting.errors.PortingError: no/such/file is missing
    """
    path = Path(path)
    try:
        if not path.exists():
            raise PortingError(f"{path} is missing")
        if not path.is_file():  # opening a pipe would wait for ever
            raise PortingError(f"{path} is no file")
        if not path.stat().st_size:
            raise PortingError(f"{path} is empty")
        with open(path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise PortingError(f"{path} cannot be read: {error.strerror}") from error
    return np.frombuffer(mapped, np.uint8)


def width(kind: str) -> int:
    """How many bytes a number of this kind takes in a file.

    >>> width("bfloat16"), width("bool")
    (2, 1)
    """
    return np.dtype(CODES[kind]).itemsize


def decode(raw: np.ndarray, kind: str, where: str, order: str = "little") -> np.ndarray:
    """Bytes as numbers, ``(len(raw) / width(kind),)``, read-only.

    A view of the bytes where NumPy has the kind and the machine the order; otherwise a copy.
    ``len(raw)`` must be a multiple of the width. Raises ``PortingError``, beginning with
    ``where``, for a bool that is neither 0 nor 1: NumPy would take it as True in one place and
    as something else in another.

    >>> decode(np.array([0x80, 0x3F, 0xC0, 0xBF], np.uint8), "bfloat16", "an example")
    array([ 1. , -1.5], dtype=float32)
    """
    if kind == "bool" and raw.size and raw.max() > 1:
        raise PortingError(f"{where} holds a bool with the byte {raw.max()}, expected 0 or 1")
    stored = np.dtype(CODES[kind]).newbyteorder("<" if order == "little" else ">")
    numbers = raw.view(stored)
    if kind == "bfloat16":
        numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
    numbers = numbers.astype(numbers.dtype.newbyteorder("="), copy=False)
    numbers.flags.writeable = False
    return numbers


def entries(shape: Sequence[int], where: str) -> int:
    """How many entries an array of this shape has.

    Raises ``PortingError``, beginning with ``where``, for a shape that no array can have.

    >>> entries([2, 3], "an example"), entries([], "an example"), entries([5, 0], "an example")
    (6, 1, 0)
    """
    if len(shape) > MOST_AXES:
        raise PortingError(f"{where} has {len(shape)} axes, at most {MOST_AXES} are read")
    for extent in shape:
        if type(extent) is not int or extent < 0:  # True is an int to isinstance
            raise PortingError(f"{where} has the shape {shown(shape)}, expected whole numbers >= 0")
    # An extent of 0 makes the product 0, but NumPy multiplies the others all the same.
    if math.prod(extent for extent in shape if extent) > MOST_ENTRIES:
        raise PortingError(f"{where} has the shape {shown(shape)}, which is beyond all memory")
    return math.prod(shape)
