"""Safetensors: named arrays in one file, after a header in JSON.

A file is::

    8 bytes           the length N of the header, unsigned, little-endian
    N bytes           the header: JSON in UTF-8 that begins with "{", padded with spaces
    the rest          the data: all tensors without a gap, little-endian, last axis fastest

and the header, where offsets count from the beginning of the data::

    {"__metadata__": {"format": "pt"},
     "weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}

Read here are F64, F32, F16, BF16 (as float32, exactly), the integers of 8 to 64 bits, and BOOL.

A file is refused unless the header is all of this and nothing else: at most 100 million bytes, no
name twice, no other key, only whole numbers, and ranges that follow on one another from 0 to the
end of the file, each as long as its shape says. This is stricter than the library of Hugging Face,
which takes the last of two tensors with one name, passes over keys that it does not know, over
spaces before the "{" and over ``"__metadata__": null``, and takes any byte as a bool.

Source: the format's description and reference, https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numpy_transformer.files import replacing
from numpy_transformer.porting import raw
from numpy_transformer.porting.errors import PortingError, shown

METADATA = "__metadata__"
LONGEST_HEADER = 100_000_000  # bytes, as in the reference

# The kinds by the format's names, in the order in which the reference writes them: the widest
# first, so that every number lies at a multiple of its width.
KINDS = {
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
    "F32": "float32",
    "U32": "uint32",
    "I32": "int32",
    "BF16": "bfloat16",
    "F16": "float16",
    "U16": "uint16",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_NAMES = {kind: name for name, kind in KINDS.items()}
_ORDER = list(KINDS)


class _Tensor(NamedTuple):
    """A tensor as the header describes it, after all checks."""

    kind: str
    shape: list[int]
    start: int  # in the data
    stop: int


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a file, by name, in the order of the header.

    They are read-only views of a memory map: nothing is copied, and what is never looked at is
    never read from disk. BF16, which NumPy lacks, becomes a float32 array of its own. Raises
    ``PortingError`` for a file that is not as the format wants it.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> write(path, {"weight": np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)})
    >>> read(path)
    {'weight': array([[1., 2.],
           [3., 4.]], dtype=float32)}
    """
    header, data = _open(path)
    arrays = {}
    for name, tensor in _tensors(path, header, len(data)).items():
        numbers = raw.decode(data[tensor.start : tensor.stop], tensor.kind, _where(path, name))
        arrays[name] = numbers.reshape(tensor.shape)
    return arrays


def metadata(path: str | Path) -> dict[str, str]:
    """What the file says about itself: the texts under ``__metadata__``, if there are any.

    Raises ``PortingError`` for a file whose header cannot be used.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> write(path, {}, {"format": "np"})
    >>> metadata(path)
    {'format': 'np'}
    """
    header, _ = _open(path)
    return header.get(METADATA, {})


def write(
    path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays under their names; whoever reads finds the old file or the new, never half.

    The bytes are those of the reference, which sorts by type and then by name, for at most one
    text of metadata (with more, the reference's own order changes from run to run). Raises
    ``PortingError`` for a name or a type that the format does not have, and when the file cannot
    be written.

    >>> write("model.safetensors", {"spectrum": np.array([1j])})
    Traceback (most recent call last):
    numpy_transformer.porting.errors.PortingError: model.safetensors: 'spectrum' is complex128, \
which safetensors does not have
    """
    path = Path(path)
    header: dict[str, Any] = {}
    if metadata is not None:
        header[METADATA] = _checked_metadata(path, dict(metadata))
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    types = {name: _type_of(path, name, array) for name, array in arrays.items()}
    names = sorted(arrays, key=lambda name: (_ORDER.index(types[name]), name))
    end = 0
    for name in names:
        start, end = end, end + arrays[name].nbytes
        shape = list(arrays[name].shape)
        header[name] = {"dtype": types[name], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LONGEST_HEADER:
        raise PortingError(f"{path}: the header would have {len(text)} bytes, more than is allowed")

    try:
        with replacing(path) as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in names:
                little = arrays[name].dtype.newbyteorder("<")
                array = arrays[name].astype(little, order="C", copy=False)
                file.write(array.data)
    except OSError as error:
        raise PortingError(f"{path} cannot be written: {error.strerror}") from error


# Reading the header.


def _where(path: str | Path, name: str) -> str:
    """The beginning of a message about one tensor."""
    return f"{path}: tensor {shown(name)}"


def _open(path: str | Path) -> tuple[dict[str, Any], np.ndarray]:
    """The header as the JSON has it, with its metadata checked, and the bytes of the data."""
    content = raw.map_file(path)
    length = int.from_bytes(content[:8].tobytes(), "little")
    if len(content) < 8 or length > len(content) - 8:
        raise PortingError(
            f"{path} has {len(content)} bytes, but its header would end at {8 + length}: it is cut "
            f"off, or no safetensors file. {raw.NOT_ITSELF}"
        )
    if length > LONGEST_HEADER:
        raise PortingError(
            f"{path} has a header of {length} bytes, allowed are {LONGEST_HEADER}"
        )
    header = _parse(path, content[8 : 8 + length].tobytes())
    if METADATA in header:
        _checked_metadata(path, header[METADATA])
    return header, content[8 + length :]


def _parse(path: str | Path, text: bytes) -> dict[str, Any]:
    """The JSON of a header."""
    if not text.startswith(b"{"):
        raise PortingError(
            f"{path}: the header begins with {shown(text[:1])}, expected '{{': this is no "
            f"safetensors file. {raw.NOT_ITSELF}"
        )
    try:
        return json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
    except RecursionError:
        raise PortingError(f"{path}: the header nests far too deep") from None
    except ValueError as error:  # of UTF-8, of the JSON, or of the functions below
        raise PortingError(f"{path}: the header is damaged: {error}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; ``json`` alone would keep the last of two values with one name."""
    values = {}
    for name, value in pairs:
        if name in values:
            raise ValueError(f"{shown(name)} stands twice")
        name.encode()  # half a surrogate pair ("\ud800") is no text, and raises here
        values[name] = value
    return values


def _integer(digits: str) -> int:
    """A whole number; one with millions of digits would take Python hours."""
    if digits.startswith("-"):
        raise ValueError(f"a number is {shown(digits)}, expected 0 or more")
    if len(digits) > 20:
        raise ValueError(f"a number is {shown(digits)}, expected at most 20 digits")
    return int(digits)


def _no_number(text: str) -> None:
    """Refuse ``1.0``, ``1e3``, ``NaN`` and ``Infinity``."""
    raise ValueError(f"a number is {shown(text)}, expected a whole number")


def _checked_metadata(path: str | Path, texts: Any) -> dict[str, str]:
    """The metadata, if it is texts by name and nothing else."""
    if not isinstance(texts, dict):
        raise PortingError(f"{path}: {METADATA} is {shown(texts)}, expected texts by name")
    for name, text in texts.items():
        if not _is_text(name) or not _is_text(text):
            raise PortingError(
                f"{path}: {METADATA} has {shown(name)}: {shown(text)}, expected a text"
            )
    return texts


def _is_text(value: Any) -> bool:
    """Whether this is a string that UTF-8 can hold; half a surrogate pair is not."""
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def _tensors(path: str | Path, header: dict[str, Any], size: int) -> dict[str, _Tensor]:
    """The tensors of a header, each checked, and all of them together covering ``size`` bytes."""
    tensors = {
        name: _tensor(_where(path, name), entry)
        for name, entry in header.items()
        if name != METADATA
    }
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if tensor.start != end:
            what = "overlap" if tensor.start < end else "leave a gap"
            raise PortingError(
                f"{_where(path, name)} begins at {tensor.start}, but the one before it ends at "
                f"{end}: they {what}"
            )
        end = tensor.stop
    if end != size:
        raise PortingError(
            f"{path}: the tensors take {end} bytes, but {size} follow the header: it is cut off, "
            "or something was added; fetch it again"
        )
    return tensors


def _tensor(where: str, entry: Any) -> _Tensor:
    """One entry of the header, checked by itself."""
    keys = {"dtype", "shape", "data_offsets"}
    if not isinstance(entry, dict) or entry.keys() != keys:
        raise PortingError(f"{where} is {shown(entry)}, expected dtype, shape and data_offsets")
    kind = KINDS.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if kind is None:
        raise PortingError(
            f"{where} has the type {shown(entry['dtype'])}; read are {', '.join(KINDS)}"
        )
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not isinstance(shape, list):
        raise PortingError(f"{where} has the shape {shown(shape)}, expected a list")
    if not isinstance(offsets, list) or [type(offset) for offset in offsets] != [int, int]:
        raise PortingError(f"{where} has data_offsets {shown(offsets)}, expected two whole numbers")
    start, stop = offsets
    needed = raw.entries(shape, where) * raw.width(kind)
    if stop - start != needed:
        raise PortingError(
            f"{where} has the range {offsets}, {stop - start} bytes; {entry['dtype']} of the shape "
            f"{shape} needs {needed}"
        )
    return _Tensor(kind, shape, start, stop)


# Writing.


def _type_of(path: Path, name: Any, array: np.ndarray) -> str:
    """The format's name for an array's type, after a look at the array's own name."""
    if not _is_text(name) or name == METADATA:
        raise PortingError(f"{path}: an array cannot be called {shown(name)}")
    if array.dtype.name not in _NAMES:
        raise PortingError(
            f"{path}: {shown(name)} is {array.dtype.name}, which safetensors does not have"
        )
    return _NAMES[array.dtype.name]
