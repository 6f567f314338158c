"""The docstrings of Python's standard library: text that comes with every Python, with labels.

Each belongs to a module, a class or a function. Which of these can be told from the text more or
less well ("Return the ..." is a function's, "A ... that ..." a class's), and that makes it a task:
the labels are as the library's authors meant them, and no one had to make them up.
"""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from numpy_transformer.data.pairs import DataError

KINDS = ("module", "class", "function")
LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}


class Docstring(NamedTuple):
    """One docstring."""

    text: str  # without indentation
    kind: str  # of what it belongs to: one of KINDS; a method is a function


def docstrings() -> list[Docstring]:
    """All docstrings of the standard library but those of its tests, each text once.

    In the order of the files' names, and in a file of their places. Texts that stand at things of
    different kinds are left out. They differ a little from one version of Python to the next, and
    where a system packs a part of the library by itself (``tkinter``). Raises ``DataError`` where a
    Python comes without the source of its library.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    kinds: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        if not LEFT_OUT & set(path.relative_to(folder).parts):
            for text, kind in _of_file(path):
                kinds.setdefault(text, set()).add(kind)
    if not kinds:
        raise DataError(f"this Python comes without the source of its library ({folder})")
    return [Docstring(text, *found) for text, found in kinds.items() if len(found) == 1]


def hold_out(share: float) -> tuple[list[Docstring], list[Docstring]]:
    """All docstrings in two parts, in a random order that is always the same.

    ``share`` of them are in the second part. Raises ``ValueError`` for a share that is none, and
    when one of the two would be empty.
    """
    found = docstrings()
    count = round(share * len(found))
    if not 0 < share < 1 or not 0 < count < len(found):
        raise ValueError(
            f"the share to hold out is {share}: expected above 0 and below 1, and so that both "
            f"parts have some of the {len(found)} docstrings"
        )
    order = np.random.default_rng(0).permutation(len(found))
    shuffled = [found[i] for i in order]
    return shuffled[:-count], shuffled[-count:]


def summary(text: str) -> str:
    """The first paragraph of a docstring, in one line: what PEP 257 calls the summary.

    >>> summary("Return the\\n    name.\\n\\nOf the file.")
    'Return the name.'
    """
    return " ".join(text.split("\n\n")[0].split())


def _of_file(path: Path) -> Iterator[Docstring]:
    """The docstrings of a file; none of one that this Python cannot parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in strings
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            kind = "function"
        elif isinstance(node, ast.ClassDef | ast.Module):
            kind = type(node).__name__.removesuffix("Def").lower()
        else:
            continue
        if text := ast.get_docstring(node):
            yield Docstring(text, kind)
