"""The folder of a model as Hugging Face lays it out: settings, and weights in one of four ways.

::

    config.json                     the settings, in JSON
    model.safetensors               the weights; or
    model.safetensors.index.json      an index, and the files that it names; or
    pytorch_model.bin                 a file of PyTorch's; or
    pytorch_model.bin.index.json      an index, and the files that it names

Of several that are there, the first is read, as transformers does. An index says in which file
each tensor is::

    {"weight_map": {"wte.weight": "model-00001-of-00002.safetensors", ...}}

Nothing here knows what model it is. What cannot be used raises ``PortingError``.

Source: ``save_pretrained`` of https://github.com/huggingface/transformers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from numpy_transformer.files import write_bytes
from numpy_transformer.models import settings
from numpy_transformer.porting import raw, safetensors, torch_file
from numpy_transformer.porting.errors import PortingError, shown

Reader = Callable[[Path], dict[str, Any]]

CONFIG = "config.json"
INDEX = ".index.json"  # behind the name of the weights
READERS = {"model.safetensors": safetensors.read, "pytorch_model.bin": torch_file.read}
WEIGHTS = [name + index for name in READERS for index in ("", INDEX)]  # in this order
MOST_LISTED = 8  # names in a message


def read_json(path: Path) -> dict[str, Any]:
    """The values of a JSON object in a file."""
    content = raw.map_file(path).tobytes()
    try:
        values = json.loads(content.decode("utf-8"), parse_int=_integer)
    except RecursionError:
        raise PortingError(f"{path} nests far too deep") from None
    except ValueError as error:
        raise PortingError(f"{path} is damaged: {error}") from error
    if not isinstance(values, dict):
        raise PortingError(f"{path} holds {shown(values)}, expected a JSON object")
    return values


def _integer(digits: str) -> int:
    """A whole number; one with millions of digits would take Python hours."""
    if len(digits) > 20:
        raise ValueError(f"a number is {shown(digits)}")
    return int(digits)


def read_config(folder: str | Path) -> dict[str, Any]:
    """The settings in ``config.json``.

    >>> read_config("no/such/folder")
    Traceback (most recent call last):
    numpy_transformer.porting.errors.PortingError: there is no folder no/such/folder; give one \
with config.json and the weights
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PortingError(f"there is no folder {folder}; give one with {CONFIG} and the weights")
    return read_json(folder / CONFIG)


def read_tensors(folder: str | Path) -> dict[str, np.ndarray]:
    """The weights by name, in whichever of the four ways they are there."""
    folder = Path(folder)
    for name, read in READERS.items():
        if (folder / name).exists():
            return _read_file(folder / name, read)
        if (folder / (name + INDEX)).exists():
            return _read_shards(folder / (name + INDEX), read)
    there = sorted(path.name for path in folder.iterdir())
    raise PortingError(
        f"{folder} holds no weights, expected {' or '.join(WEIGHTS)}; there is {listed(there)}"
    )


def _read_file(path: Path, read: Reader) -> dict[str, np.ndarray]:
    """The tensors of one file, and nothing else: one of PyTorch's may hold anything."""
    tensors = read(path)
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            raise PortingError(f"{path} holds {shown(value)} as {shown(name)}, expected a tensor")
    return tensors


def _read_shards(path: Path, read: Reader) -> dict[str, np.ndarray]:
    """The tensors of all files that an index names; each tensor that it names must be in them."""
    where = read_json(path).get("weight_map")
    if not isinstance(where, dict) or not all(isinstance(file, str) for file in where.values()):
        raise PortingError(f"{path} is damaged: weight_map must say in which file each tensor is")
    files = sorted(set(where.values()))
    outside = [
        file for file in files if Path(file).name != file or "\\" in file or file in ("", "..")
    ]
    if outside:
        raise PortingError(f"{path} names {listed(outside)}, expected files beside it")
    missing = [file for file in files if not os.path.exists(path.parent / file)]
    if missing:
        raise PortingError(
            f"of the {len(files)} files that {path} names, {len(missing)} cannot be found: "
            f"{listed(missing)}"
        )
    tensors: dict[str, np.ndarray] = {}
    for file in files:
        shard = _read_file(path.parent / file, read)
        twice = sorted(tensors.keys() & shard.keys())
        if twice:
            raise PortingError(f"{path.parent / file} holds once more: {listed(twice)}")
        tensors |= shard
    absent = [name for name in where if name not in tensors]
    if absent:
        raise PortingError(f"{path} names tensors that are in none of its files: {listed(absent)}")
    return tensors


def write(folder: str | Path, config: dict[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Write ``model.safetensors`` and ``config.json`` into a folder, made if it is not there.

    Each file is written beside and then renamed, ``config.json`` last. Nothing is written over: a
    folder that already holds settings or weights is refused, other files in it stay as they are.
    """
    folder = Path(folder)
    there = [name for name in (CONFIG, *WEIGHTS) if (folder / name).exists()]
    if there:
        raise PortingError(
            f"{folder} already holds {listed(there)}, and nothing is written over: "
            "give another folder, or remove them"
        )
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    weights = folder / "model.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        safetensors.write(weights, tensors, {"format": "pt"})
        write_bytes(folder / CONFIG, text.encode())
    except OSError as error:
        if folder.is_dir():
            weights.unlink(missing_ok=True)  # useless without the settings, and in the way
        raise PortingError(f"{folder} cannot be written: {error.strerror}") from error


# Weights by name.


def check(shapes: Mapping[str, tuple[int, ...]], arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ``PortingError`` unless the arrays have these names and shapes, and are real numbers.

    >>> check({"a": (2,), "b": (3,)}, {"b": np.ones(4), "c": np.ones(3)})
    Traceback (most recent call last):
    numpy_transformer.porting.errors.PortingError: the weights do not fit the settings: \
1 missing: 'a'; 1 unknown: 'c'; 1 of another shape: b is (4,), expected (3,)
    """
    common = [name for name in shapes if name in arrays]
    problems = {
        "missing": [shown(name) for name in shapes if name not in arrays],
        "unknown": [shown(name) for name in arrays if name not in shapes],
        "of another shape": [
            f"{name} is {arrays[name].shape}, expected {shapes[name]}"
            for name in common
            if arrays[name].shape != shapes[name]
        ],
        "not floating-point": [
            f"{name} is {arrays[name].dtype}" for name in common if arrays[name].dtype.kind != "f"
        ],
    }
    texts = [f"{len(found)} {what}: {_first(found)}" for what, found in problems.items() if found]
    if texts:
        raise PortingError(f"the weights do not fit the settings: {'; '.join(texts)}")


def check_dtype(dtype: str | None) -> None:
    """Raise ``PortingError`` unless it is None, or a dtype that our models have."""
    if dtype not in (None, *settings.DTYPES):
        raise PortingError(f"dtype is {dtype!r}, expected one of {', '.join(settings.DTYPES)}")


def dtype_of(tensors: Mapping[str, np.ndarray]) -> str:
    """The dtype in which none of them is rounded: float64 if any of them is, else float32.

    >>> dtype_of({"weight": np.ones(2, np.float16), "bias": np.ones(2, np.float32)})
    'float32'
    """
    double = any(tensor.dtype == np.float64 for tensor in tensors.values())
    return "float64" if double else "float32"


# Messages.


@contextmanager
def told_of(path: str | Path) -> Iterator[None]:
    """Put the path before the message of a ``PortingError``.

    >>> with told_of("config.json"):
    ...     raise PortingError("n_layer is 'x', expected a whole number")
    Traceback (most recent call last):
    numpy_transformer.porting.errors.PortingError: config.json: n_layer is 'x', expected a whole \
number
    """
    try:
        yield
    except PortingError as error:
        raise PortingError(f"{path}: {error}") from error


def listed(names: Iterable[str]) -> str:
    """Names for a message: the first few, and how many more there are.

    >>> print(listed(["a", "b"]))
    'a', 'b'
    >>> print(listed([f"h.{i}" for i in range(100)]))
    'h.0', 'h.1', 'h.2', 'h.3', 'h.4', 'h.5', 'h.6', 'h.7' and 92 more
    """
    return _first([shown(name) for name in names])


def _first(texts: list[str]) -> str:
    """The first few texts, and how many more there are."""
    rest = f" and {len(texts) - MOST_LISTED} more" if len(texts) > MOST_LISTED else ""
    return ", ".join(texts[:MOST_LISTED]) + rest
