"""Record files of PyTorch and of the reference's safetensors, for the tests to read.

Run it in an environment that has PyTorch and safetensors (PyTorch 2.14.1 and safetensors 0.8.0 made
the files that are kept here)::

    python tests/recordings/record_porting.py

It writes into the folder ``porting`` beside itself. The tests need the files and never PyTorch.
Nothing here imports ``numpy_transformer``. Two runs write the same bytes, but for the older format,
whose keys of storages are addresses in memory.

- ``types.safetensors``: a tensor of every type that is read, and a few odd shapes and names, from
  ``safetensors.torch``; ``numpy.safetensors``: the same but bfloat16, from ``safetensors.numpy``.
- ``zip.bin`` and ``older.bin``: one object, in both formats of ``torch.save``: every type; views,
  transposes, slices and tied tensors; parameters; tensors without axes or entries; a model's
  dictionary with its note; and plain values. ``protocol4.bin`` is the zip format with that version
  of pickle.
- ``big.bin``: the zip format as a big-endian machine would write it: every type, but for those that
  PyTorch itself does not turn round, and a transpose, with the values that ``zip.bin`` has under
  ``types``. That PyTorch reads it so is checked here.
- ``small.bin`` and ``small_older.bin``: a few tensors, for the tests that damage files.
- ``expected.npz``: every tensor of the object as an array, bfloat16 as float32, under its place in
  the object, the keys joined by ``/``; and ``plain``, a text in JSON: all else by its place.
  ``expected_safetensors.npz``: the arrays of ``types.safetensors``, numbered, and ``names``, their
  names in JSON.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from torch import nn

FOLDER = Path(__file__).parent / "porting"

FLOATS = ("float64", "float32", "float16", "bfloat16")
INTEGERS = ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64")
UNTYPED = ("uint16", "uint32", "uint64")  # types without a storage of their own


def every_type() -> dict[str, torch.Tensor]:
    """A tensor of every type, with the values at which mistakes show."""
    tensors = {}
    for name in FLOATS:
        dtype = getattr(torch, name)
        smallest = torch.finfo(dtype).smallest_normal / 4
        values = [[0.0, -0.0, 1.5], [float("inf"), float("nan"), smallest]]
        tensors[name] = torch.tensor(values, dtype=torch.float64).to(dtype)
    for name in INTEGERS:
        dtype = getattr(torch, name)
        ends = torch.iinfo(dtype)
        tensors[name] = torch.tensor([[0, 1, 2], [ends.min, ends.max, ends.max - 1]], dtype=dtype)
    tensors["bool"] = torch.tensor([[True, False, True], [False, True, True]])
    return tensors


def everything() -> dict[str, Any]:
    """The object of the ``.bin`` files."""
    torch.manual_seed(0)
    base = torch.arange(24.0).reshape(4, 6)
    halves = torch.arange(6.0).reshape(2, 3).bfloat16()
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    noted = nn.Parameter(torch.tensor([1.0, 2.0]))
    noted.note = "an attribute of its own"
    return {
        "types": every_type(),
        "views": OrderedDict(
            base=base,
            transposed=base.t(),
            slice=base[1:3, 1::2],
            row=base[2],
            column=base[:, 5],
            last=base[3, 5],
            diagonal=base.diagonal(),
            expanded=torch.tensor([7.0]).expand(2, 3),
            permuted=torch.arange(24).reshape(2, 3, 4).permute(2, 0, 1),
            bfloat16=halves,
            bfloat16_transposed=halves.t(),
        ),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0),
        "no rows": torch.zeros(0, 3, dtype=torch.int32),
        "no columns": torch.zeros(2, 0),
        "model": model.state_dict(),
        "parameter": nn.Parameter(torch.tensor([[1.0, -1.0]])),
        "parameter with an attribute": noted,
        "a list": [base, [torch.tensor([1, 2, 3])]],
        "plain": {
            "text": "naïve ≠ naive",
            "whole": [0, 1, -1, 255, 65536, 2**31, -(2**31), 2**40, 10**30],
            "real": [0.5, -1e300],
            "truth": [True, False, None],
            "size": torch.Size([2, 3]),
            "type": torch.float32,
            "layout": torch.strided,
        },
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}, 1: {}}, "betas": (0.9, 0.999)},
    }


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as an array of its own, bfloat16 as float32."""
    known = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return np.array(known.detach().numpy(), order="C")


def places(value: Any, place: str = "") -> dict[str, Any]:
    """Everything in an object that is no dictionary, list or tuple, by its place."""
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, (list, tuple)):
        inner = enumerate(value)
    else:
        return {place: value}
    found: dict[str, Any] = {}
    for key, entry in inner:
        found |= places(entry, f"{place}/{key}" if place else str(key))
    return found


def big_endian(path: Path) -> None:
    """Write a file of the zip format as a big-endian machine would."""
    tensors = {k: v for k, v in every_type().items() if k not in UNTYPED}
    tensors["transposed"] = torch.arange(6.0).reshape(2, 3).t()
    expected = {name: tensor.clone() for name, tensor in tensors.items()}
    for tensor in tensors.values():
        tensor.untyped_storage().byteswap(tensor.dtype)
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    with zipfile.ZipFile(buffer) as swapped, zipfile.ZipFile(path, "w") as archive:
        for entry in swapped.infolist():
            content = b"big" if entry.filename.endswith("/byteorder") else swapped.read(entry)
            archive.writestr(zipfile.ZipInfo(entry.filename), content)
    for name, tensor in torch.load(path).items():
        assert as_array(tensor).tobytes() == as_array(expected[name]).tobytes(), name


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    value = everything()
    torch.save(value, FOLDER / "zip.bin")
    torch.save(value, FOLDER / "older.bin", _use_new_zipfile_serialization=False)
    torch.save(value, FOLDER / "protocol4.bin", pickle_protocol=4)
    leaves = places(value)
    arrays = {k: as_array(v) for k, v in leaves.items() if isinstance(v, torch.Tensor)}
    plain = {k: v for k, v in leaves.items() if k not in arrays}
    plain = {k: str(v) if "torch." in str(v) else v for k, v in plain.items()}
    versions = {"torch": torch.__version__, "safetensors": safetensors.__version__}
    np.savez_compressed(
        FOLDER / "expected.npz",
        **arrays,
        plain=np.array(json.dumps(plain)),
        versions=np.array(json.dumps(versions)),
    )

    big_endian(FOLDER / "big.bin")

    small = OrderedDict(
        weight=torch.arange(6.0).reshape(2, 3).t(),
        bias=torch.tensor([0.5, -0.5]).bfloat16(),
        mask=torch.tensor([True, False, True]),
    )
    torch.save(small, FOLDER / "small.bin")
    torch.save(small, FOLDER / "small_older.bin", _use_new_zipfile_serialization=False)

    named = every_type() | {
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0),
        "no columns": torch.zeros(2, 0, dtype=torch.int64),
        'a "name" \\ with\n\t\x01\x7f ≠ /': torch.tensor([1, 2, 3]),
        "": torch.tensor([4], dtype=torch.uint8),
    }
    safetensors.torch.save_file(named, FOLDER / "types.safetensors", {"format": "pt"})
    arrays = {str(index): as_array(tensor) for index, tensor in enumerate(named.values())}
    names = np.array(json.dumps(list(named)))
    np.savez_compressed(FOLDER / "expected_safetensors.npz", **arrays, names=names)
    del named["bfloat16"]
    safetensors.numpy.save_file(
        {key: as_array(tensor) for key, tensor in named.items()},
        FOLDER / "numpy.safetensors",
        {"format": "np"},
    )


if __name__ == "__main__":
    main()
