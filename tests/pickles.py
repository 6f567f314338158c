"""Programs for pickle machines, and files of ``torch.save`` around them, made without PyTorch.

A program is put together of pieces, each of which leaves one value on the machine's stack.
"""

from __future__ import annotations

import io
import pickle
import zipfile

MAGIC = 0x1950A86A20F9469CFC6C


def value(plain):
    """A plain value: numbers, texts, lists, dictionaries."""
    return pickle.dumps(plain, 2)[2:-1]  # without PROTO and STOP


def name(full):
    """What the machine finds under a name."""
    module, _, last = full.rpartition(".")
    return pickle.GLOBAL + f"{module}\n{last}\n".encode()


def tuple_of(*pieces):
    return pickle.MARK + b"".join(pieces) + pickle.TUPLE


def list_of(*pieces):
    return pickle.EMPTY_LIST + pickle.MARK + b"".join(pieces) + pickle.APPENDS


def call(function, *arguments):
    """What a function makes of arguments; each of them is a piece."""
    return function + tuple_of(*arguments) + pickle.REDUCE


def dictionary(**pieces):
    inner = b"".join(value(key) + piece for key, piece in pieces.items())
    return pickle.EMPTY_DICT + pickle.MARK + inner + pickle.SETITEMS


def storage(kind="torch.FloatStorage", key="0", length=6, *more):
    """A storage, as the zip format describes it; the older format has ``None`` more."""
    parts = [value("storage"), name(kind), value(key), value("cpu"), value(length)]
    return tuple_of(*parts, *map(value, more)) + pickle.BINPERSID


def tensor(of, offset=0, size=(2, 3), stride=(3, 1), *more):
    """A tensor of the storage ``of``; ``more`` are pieces."""
    arguments = [of, value(offset), value(size), value(stride), value(False), value({}), *more]
    version = 3 if more else 2
    return call(name(f"torch._utils._rebuild_tensor_v{version}"), *arguments)


def program(piece, protocol=2):
    """A whole program."""
    return pickle.PROTO + bytes([protocol]) + piece + pickle.STOP


def archive(piece, storages=None, folder="archive", **others):
    """A file of the zip format; ``others`` are more of its entries."""
    entries = {"data.pkl": program(piece)} | others
    entries |= {f"data/{key}": content for key, content in (storages or {}).items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for entry, content in entries.items():
            file.writestr(zipfile.ZipInfo(f"{folder}/{entry}"), content)
    return buffer.getvalue()


def older(piece, storages=None, magic=MAGIC, version=1001, keys=None):
    """A file of the older format; ``storages`` has how many numbers there are, and their bytes."""
    storages = storages or {}
    keys = sorted(storages) if keys is None else keys
    parts = [pickle.dumps(magic, 2), pickle.dumps(version, 2), pickle.dumps({}, 2)]
    parts += [program(piece), pickle.dumps(keys, 2)]
    for key in sorted(storages):
        length, content = storages[key]
        parts += [length.to_bytes(8, "little"), content]
    return b"".join(parts)
