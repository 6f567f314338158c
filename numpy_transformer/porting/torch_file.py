"""PyTorch's ``pytorch_model.bin``, read without PyTorch and without running what is in it.

``torch.save`` has written two formats. Since PyTorch 1.6 a file is a zip archive, uncompressed,
all of whose entries lie in one folder::

    archive/data.pkl      a pickle of the object, with storages by their keys
    archive/byteorder     "little" or "big"; without it, little
    archive/data/0        the numbers of the storage with the key "0", and so on

An older file is five pickles, and the storages::

    a magic number, the version 1001, a dictionary about the system that wrote it
    the object, with storages by their keys
    a list of the keys
    for each of them 8 bytes, how many numbers it has, and the numbers; all of it little-endian

``unpickler`` reads the pickles, and ``torch_tensors`` says what may stand in them.

Source: ``torch/serialization.py`` of PyTorch 2; the zip format's APPNOTE, sections 4.3.7 and 4.4.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from numpy_transformer.porting import raw, torch_tensors
from numpy_transformer.porting.errors import PortingError, shown
from numpy_transformer.porting.torch_tensors import NumberType, Storage, Tensor
from numpy_transformer.porting.unpickler import WEIGHTS_ALONE, unpickle

MAGIC = 0x1950A86A20F9469CFC6C  # of the older format
VERSION = 1001  # the only one that the older format ever had
MOST_ENTRIES = 300_000  # in all dictionaries, lists and tuples
DEEPEST = 20  # dictionaries, lists and tuples within one another


def read(path: str | Path) -> dict[str, Any]:
    """The dictionary in a file of ``torch.save``, with NumPy's arrays in place of its tensors.

    Arrays are read-only views of a memory map, strided as the tensors were: a transposed matrix
    stays a view, and tensors that shared their numbers still share them. What is copied: bfloat16,
    which becomes float32, and numbers in the other byte order. Dictionaries within dictionaries,
    lists, tuples, texts, numbers, bools and None stay what they are; an ``OrderedDict`` becomes a
    dict, a ``torch.Size`` a tuple, and a type such as ``torch.float32`` its name.

    Raises ``PortingError`` for a file that is damaged, asks for any name that weights do not need,
    or holds something other than a dictionary.

    >>> import pickle, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "pytorch_model.bin"
    >>> with zipfile.ZipFile(path, "w") as archive:
    ...     archive.writestr("archive/data.pkl", pickle.dumps({"epoch": 3, "loss": 0.25}))
    >>> read(path)
    {'epoch': 3, 'loss': 0.25}
    """
    content = raw.map_file(path)
    if content[:4].tobytes() == b"PK\x03\x04":
        value, storages, order = _read_zip(path, content)
    elif content[:1].tobytes() == b"\x80":
        value, storages, order = _read_older(path, content)
    else:
        raise PortingError(
            f"{path} begins with {shown(content[:8].tobytes())}, as neither of the two formats of "
            f"torch.save does. {raw.NOT_ITSELF}"
        )
    if not isinstance(value, dict):
        raise PortingError(
            f"{path} holds {shown(value)}, expected a dictionary of tensors. {WEIGHTS_ALONE}"
        )
    return _Finisher(path, storages, order, len(content)).finish(value, "", 0)


class _Storages:
    """The storages that a pickle asks for, by their keys."""

    def __init__(self, path: str | Path) -> None:
        """None as yet."""
        self.path = path
        self.found: dict[str, Storage] = {}

    def load(self, identity: Any) -> Storage:
        """Make a storage of a persistent id, and keep it in mind."""
        storage = torch_tensors.storage(identity, str(self.path))
        if self.found.setdefault(storage.key, storage) != storage:
            raise PortingError(
                f"{self.path}: the storage {shown(storage.key)} is described in two ways, "
                f"{self.found[storage.key]} and {storage}"
            )
        return self.found[storage.key]

    def check(self, storage: Storage, size: int) -> None:
        """Raise ``PortingError`` unless ``size`` bytes are what the pickle says."""
        needed = storage.length * raw.width(storage.kind)
        if needed != size:
            raise PortingError(
                f"{self.path}: the storage {shown(storage.key)} has {size} bytes, but "
                f"{storage.length} numbers of {storage.kind} take {needed}"
            )


# The zip format.


def _read_zip(path: str | Path, content: np.ndarray) -> tuple[Any, dict[str, np.ndarray], str]:
    """The object with stand-ins for tensors, the bytes of the storages, and the byte order."""
    entries = _entries(path, content)
    pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise PortingError(
            f"{path} is a zip archive with {len(pickles)} entries <folder>/data.pkl, expected one: "
            "it was not written by torch.save"
        )
    folder = pickles[0].removesuffix("data.pkl")
    if folder + "constants.pkl" in entries:
        raise PortingError(f"{path} is a program of TorchScript, not weights. {WEIGHTS_ALONE}")
    order = "little"
    if folder + "byteorder" in entries:
        order = entries[folder + "byteorder"].tobytes().decode("latin-1")
    if order not in ("little", "big"):
        raise PortingError(f"{path}: the byte order is {shown(order)}, expected little or big")

    program = memoryview(entries[folder + "data.pkl"])
    storages = _Storages(path)
    value, end = unpickle(program, 0, str(path), torch_tensors.NAMES, storages.load)
    if end != len(program):
        raise PortingError(f"{path}: {len(program) - end} bytes follow the pickle in data.pkl")
    found = {}
    for key, storage in storages.found.items():
        name = f"{folder}data/{key}"
        if name not in entries:
            raise PortingError(f"{path} lacks the entry {shown(name)}")
        storages.check(storage, len(entries[name]))
        found[key] = entries[name]
    return value, found, order


def _entries(path: str | Path, content: np.ndarray) -> dict[str, np.ndarray]:
    """The entries of a zip archive by their full names, as views of the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            directory = archive.infolist()
    # A damaged archive shows itself in many ways: zipfile.BadZipFile, struct.error, EOFError, ...
    except Exception as error:
        raise PortingError(
            f"{path} is a damaged zip archive, perhaps cut off: {error}; fetch it again"
        ) from error
    if len({info.filename for info in directory}) < len(directory):
        raise PortingError(f"{path} is a zip archive in which an entry stands twice")
    # The same bytes in a thousand entries would be summed up, and copied, a thousand times.
    if sum(info.file_size for info in directory) > len(content):
        raise PortingError(f"{path} is a zip archive whose entries overlap, or go beyond its end")
    return {info.filename: _entry(path, content, info) for info in directory}


def _entry(path: str | Path, content: np.ndarray, info: zipfile.ZipInfo) -> np.ndarray:
    """The bytes of an entry, after a look at its checksum.

    The directory at the end of an archive, which is ``zipfile``'s work, says where an entry begins:
    30 bytes of header come first, then its name once more, and an extra field of some length.
    """
    where = f"{path}: the entry {shown(info.filename)}"
    if info.flag_bits & 1 or info.compress_type != zipfile.ZIP_STORED:
        raise PortingError(
            f"{where} is compressed or encrypted, which torch.save never does; unpack the archive "
            "and pack it again uncompressed, as 'zip -0' does"
        )
    begin = max(info.header_offset, 0)
    header = content[begin : begin + 30].tobytes()
    name = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
    start = begin + 30 + len(name) + int.from_bytes(header[28:30], "little")
    stop = start + info.file_size
    if (
        header[:4] != b"PK\x03\x04"
        or content[begin + 30 : begin + 30 + len(name)].tobytes() != name
        or int.from_bytes(header[26:28], "little") != len(name)
        or info.file_size != info.compress_size
        or stop > len(content)
    ):
        raise PortingError(f"{where} is damaged, or lies beyond the end of the file")
    entry = content[start:stop]
    # With its checksums switched off, PyTorch writes 0.
    if info.CRC and zlib.crc32(entry) != info.CRC:
        raise PortingError(f"{where} is damaged: its checksum is wrong; fetch the file again")
    return entry


# The older format.


def _read_older(path: str | Path, content: np.ndarray) -> tuple[Any, dict[str, np.ndarray], str]:
    """The object with stand-ins for tensors, the bytes of the storages, and the byte order."""
    program = memoryview(content)
    magic, end = unpickle(program, 0, str(path))
    if magic != MAGIC:
        raise PortingError(f"{path} is a pickle, but none that torch.save has written")
    version, end = unpickle(program, end, str(path))
    if version != VERSION:
        raise PortingError(f"{path} has version {shown(version)} of the format, known is {VERSION}")
    _, end = unpickle(program, end, str(path))  # about the system
    storages = _Storages(path)
    value, end = unpickle(program, end, str(path), torch_tensors.NAMES, storages.load)
    keys, end = unpickle(program, end, str(path))
    if not isinstance(keys, list) or keys != sorted(storages.found):
        raise PortingError(
            f"{path} lists the storages {shown(keys)}, but its tensors need "
            f"{shown(sorted(storages.found))}"
        )
    found = {}
    for key in keys:
        storage = storages.found[key]
        start = end + 8
        length = int.from_bytes(content[end:start].tobytes(), "little")
        end = start + length * raw.width(storage.kind)
        if end > len(content):
            raise PortingError(f"{path} is cut off in the storage {shown(key)}; fetch it again")
        found[key] = content[start:end]
        storages.check(storage, len(found[key]))
    if end != len(content):
        raise PortingError(f"{path}: {len(content) - end} bytes follow the last storage")
    return value, found, "little"


# From stand-ins to arrays.


class _Finisher:
    """Goes through the object, and puts arrays in the place of tensors."""

    def __init__(
        self, path: str | Path, storages: dict[str, np.ndarray], order: str, size: int
    ) -> None:
        """Nothing done as yet. ``size`` is the file's, in bytes."""
        self.path = path
        self.storages = storages
        self.order = order
        self.size = size
        self.flat: dict[tuple[str, str], np.ndarray] = {}  # storages as numbers, by key and kind
        self.arrays: dict[int, np.ndarray] = {}  # by the identity of the tensor
        self.entries = 0

    def finish(self, value: Any, name: str, depth: int) -> Any:
        """The value with arrays in the place of tensors; ``name`` is its place in the object.

        A container can be its own entry, or hold another a thousand times that holds a third a
        thousand times: hence the two limits.
        """
        self.entries += 1
        if depth > DEEPEST or self.entries > MOST_ENTRIES:
            raise PortingError(
                f"{self.path} nests more than {DEEPEST} deep, or has more than {MOST_ENTRIES} "
                "entries: these are no weights"
            )
        if isinstance(value, dict):
            return {
                key: self.finish(entry, f"{name}.{key}" if name else str(key), depth + 1)
                for key, entry in value.items()
            }
        if isinstance(value, (list, tuple)):
            entries = (self.finish(v, f"{name}[{i}]", depth + 1) for i, v in enumerate(value))
            return type(value)(entries)
        if isinstance(value, Tensor):
            return self.array(value, f"{self.path}: tensor {shown(name)}")
        if isinstance(value, NumberType):
            return value.name
        if value is None or isinstance(value, (str, int, float)):
            return value
        raise PortingError(f"{self.path}: {shown(name)} is {shown(value)}, expected a tensor")

    def array(self, tensor: Tensor, where: str) -> np.ndarray:
        """The array of a tensor; the same one whenever the same tensor comes again."""
        if id(tensor) not in self.arrays:
            place = tensor.storage.key, tensor.kind
            if place not in self.flat:
                stored = self.storages[tensor.storage.key]
                whole = len(stored) // raw.width(tensor.kind) * raw.width(tensor.kind)
                self.flat[place] = raw.decode(stored[:whole], tensor.kind, where, self.order)
            self.arrays[id(tensor)] = torch_tensors.array(
                tensor, self.flat[place], self.size, where
            )
        return self.arrays[id(tensor)]
