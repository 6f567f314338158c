"""Reading and writing files: whole or not at all, and nothing that is read can run code.

On the lowest floor, as training, tokenizers and checkpoints from outside all write files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of ``path`` when the block ends without an error.

    It is written beside, and has reached the disk before what was at ``path`` is gone: whoever
    reads finds the old content or the new, never a part. After an error the old stays, and nothing
    is left beside it.
    """
    beside = path.with_name(path.name + ".tmp")
    try:
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    except Exception:
        beside.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``, whole or not at all."""
    with replacing(path) as file:
        file.write(content)


def write_json(path: Path, values: Any) -> None:
    """Put ``values`` at ``path`` as JSON."""
    write_bytes(path, (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Put named arrays at ``path`` as ``.npz``, whole or not at all."""
    with replacing(path) as file:
        np.savez(file, **arrays)


def read_json(path: Path) -> Any:
    """The values in a JSON file; ``ValueError`` saying what is wrong with it, and where it is."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file; ``ValueError`` saying what is wrong with it.

    Nothing that is read can run code: pickled objects are refused.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError:
        raise ValueError(f"{path} is missing") from None
    # A damaged archive shows itself in many ways: zipfile.BadZipFile, zlib.error, EOFError, ...
    except Exception as error:
        raise ValueError(f"{path} is damaged: {error}") from error
