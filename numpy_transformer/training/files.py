"""Reading and writing files: whole or not at all, and nothing that is read can run code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np


def write_bytes(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``; whoever reads it finds the old content or the new, never both.

    The new content has reached the disk before the old is gone.
    """
    beside = path.with_name(path.name + ".tmp")
    with open(beside, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def write_json(path: Path, values: Any) -> None:
    """Put ``values`` at ``path`` as JSON."""
    write_bytes(path, (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Put named arrays at ``path`` as ``.npz``; for a folder that is itself renamed when whole."""
    with open(path, "wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())


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
