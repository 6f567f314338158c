"""What the names in a PyTorch file stand for: storages, tensors and a few harmless things.

A tensor in PyTorch is a view of a *storage*, a flat run of numbers: where it begins (offset), its
shape (size), and how many numbers lie between neighbours along each axis (stride). Several tensors
may share a storage: tied weights, slices, a matrix and its transpose. In the pickle a tensor is a
call, ``torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...)``, and a storage is a
persistent id, ``("storage", torch.FloatStorage, key, location, length)``; its numbers lie elsewhere
in the file, under the key. So both can be described before any number is read, as they are here.

Source: ``torch/_utils.py`` and ``torch/serialization.py`` of PyTorch 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_transformer.porting import raw
from numpy_transformer.porting.errors import PortingError, shown
from numpy_transformer.porting.unpickler import Maker

PYTORCHS_AXES = 64  # the most that a tensor can have


@dataclass(frozen=True)
class StorageType:
    """Stands for ``torch.FloatStorage`` and its like."""

    kind: str  # of its numbers, as in ``raw``


@dataclass(frozen=True)
class NumberType:
    """Stands for ``torch.float32`` and its like."""

    name: str
    kind: str


@dataclass(frozen=True)
class Storage:
    """A storage, by where its numbers are to be found."""

    key: str
    kind: str
    length: int  # in numbers


@dataclass(frozen=True)
class Tensor:
    """A tensor, not yet checked against its storage. Offset and stride count numbers."""

    storage: Storage
    kind: str  # the storage's, but for the types that have no storage of their own
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def storage(identity: Any, where: str) -> Storage:
    """The storage that a persistent id describes.

    Raises ``PortingError``, beginning with ``where``, when it describes anything else.

    >>> storage(("storage", StorageType("float32"), "0", "cuda:0", 6), "an example")
    Storage(key='0', kind='float32', length=6)
    """
    match identity:
        # The older format has one more entry, which is None but for storages inside storages,
        # and those are long gone.
        case (
            ("storage", StorageType(kind=kind), str() as key, str(), int() as length)
            | ("storage", StorageType(kind=kind), str() as key, str(), int() as length, None)
        ) if _whole(length):
            return Storage(key, kind, length)
    raise PortingError(f"{where} asks for {shown(identity)}, expected the description of a storage")


def array(tensor: Tensor, flat: np.ndarray, most: int, where: str) -> np.ndarray:
    """A tensor as a read-only view of ``flat``, the numbers of its storage.

    Raises ``PortingError``, beginning with ``where``, when it reaches beyond them, or has more
    entries than ``most``: an axis of stride 0 repeats one number without end.

    >>> shared = Storage("0", "float32", 4)
    >>> transposed = Tensor(shared, "float32", 0, (2, 2), (1, 2))
    >>> array(transposed, np.arange(4.0), 4, "an example")
    array([[0., 2.],
           [1., 3.]])
    """
    offset, size, stride = tensor.offset, tensor.size, tensor.stride
    number = raw.entries(size, where)
    if len(stride) != len(size):
        raise PortingError(f"{where} has the shape {size}, but the stride {shown(stride)}")
    if not number:  # whatever the storage is, nothing of it is looked at
        flat, offset, stride = np.zeros(1, flat.dtype), 0, (0,) * len(size)
    if number > most:
        raise PortingError(
            f"{where} repeats its numbers to {number} entries, more than the file has bytes; "
            "save a tensor.clone() of it"
        )
    last = offset + sum((extent - 1) * step for extent, step in zip(size, stride))
    if last >= len(flat):
        raise PortingError(
            f"{where} reaches number {last} of its storage, which has {len(flat)}: the file is "
            "damaged"
        )
    # A step along an axis of one entry is never taken, and can be any number.
    steps = [step * flat.itemsize if extent > 1 else 0 for extent, step in zip(size, stride)]
    view = np.ndarray(size, flat.dtype, buffer=flat, offset=offset * flat.itemsize, strides=steps)
    view.flags.writeable = False
    return view


# What the stand-ins make of their arguments.


def _ordered_dict(arguments: tuple, where: str) -> dict:
    """An ``OrderedDict`` is empty when it is made."""
    if arguments:
        raise PortingError(
            f"{where}: an OrderedDict is made of {shown(arguments)}, as by Python 2: load the file "
            "with PyTorch and save it again"
        )
    return {}


def _size(arguments: tuple, where: str) -> tuple:
    """``torch.Size`` becomes a tuple."""
    match arguments:
        case (tuple() as size,):
            return size
    raise PortingError(f"{where}: torch.Size is made of {shown(arguments)}")


def _layout(arguments: tuple, where: str) -> str:
    """``torch.strided``, a layout of tensors, becomes its name."""
    match arguments:
        case (str() as name,):
            return name
    raise PortingError(f"{where}: a layout is made of {shown(arguments)}")


def _tensor(arguments: tuple, where: str) -> Tensor:
    """Versions 1 to 3 of a tensor: the type is the storage's, or given at the end in version 3.

    What else stands there is for training: whether it has a gradient, and its hooks. One more
    argument would say that the numbers are still to be negated or conjugated.

    A pickle may come here a million times with the same shape, so only a short one is looked at.
    """
    match arguments:
        case (Storage() as of, offset, tuple() as size, tuple() as stride, *more) if (
            len(size) + len(stride) <= 2 * PYTORCHS_AXES
            and all(_whole(number) for number in (offset, *size, *stride))
        ):
            match more:
                case [] | [bool(), dict()]:
                    return Tensor(of, of.kind, offset, size, stride)
                case [bool(), dict(), NumberType(kind=kind)]:
                    return Tensor(of, kind, offset, size, stride)
    raise PortingError(f"{where}: a tensor is made of {shown(arguments)}, which is not known here")


def _whole(number: Any) -> bool:
    """Whether this is a whole number from 0 on, of 64 bits as all are in PyTorch; True is none."""
    return type(number) is int and 0 <= number < 2**63


def _parameter(arguments: tuple, where: str) -> Tensor:
    """A parameter is its tensor; what training wants to know is passed over."""
    match arguments:
        case (Tensor() as data, bool(), dict()) | (Tensor() as data, bool(), dict(), _):
            return data
    raise PortingError(f"{where}: a parameter is made of {shown(arguments)}")


_MAKERS = {
    "collections.OrderedDict": _ordered_dict,
    "torch.Size": _size,
    "torch.serialization._get_layout": _layout,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}
_STORAGES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
    "torch.UntypedStorage": "uint8",
    "torch.storage.UntypedStorage": "uint8",
}

# All names that a file may ask for.
NAMES: dict[str, Maker | StorageType | NumberType] = {
    **{name: Maker(name, make) for name, make in _MAKERS.items()},
    **{name: StorageType(kind) for name, kind in _STORAGES.items()},
    **{f"torch.{kind}": NumberType(f"torch.{kind}", kind) for kind in raw.CODES},
}
