"""The docstrings of Python's standard library: text that comes with every Python, and a task.

Each docstring stands in a part of the library, ``asyncio`` or ``email``, and so there are labels
that no one had to make up: of a summary, which part it is from. Much of it can be told from the
words, if one knows which words go together.
"""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from numpy_transformer.data.labelled import Example
from numpy_transformer.data.pairs import DataError

# Parts of the library that have many docstrings, in every version of Python.
PARTS = (
    *("_pydecimal", "asyncio", "email", "http", "importlib", "logging", "multiprocessing"),
    *("tarfile", "turtle", "unittest", "urllib", "xml"),
)
LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
LEAST = 30  # characters of a docstring whose part is asked for; less says nothing


class Docstring(NamedTuple):
    """One docstring."""

    text: str  # without indentation
    part: str | None  # the module or package at the top that it stands in; None: in several


@lru_cache(maxsize=1)  # seconds of parsing
def docstrings() -> tuple[Docstring, ...]:
    """All docstrings of the standard library but those of its tests, each text once.

    In the order of the files' names, and in a file of their places. They differ a little from one
    version of Python to the next, and where a system packs a part of the library by itself
    (``tkinter``). Raises ``DataError`` where a Python comes without the source of its library.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    parts: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        place = path.relative_to(folder).with_suffix("").parts
        if not LEFT_OUT & set(place):
            for text in _of_file(path):
                parts.setdefault(text, set()).add(place[0])
    if not parts:
        raise DataError(f"this Python comes without the source of its library ({folder})")
    return tuple(
        Docstring(text, *found) if len(found) == 1 else Docstring(text, None)
        for text, found in parts.items()
    )


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


def summaries(found: Iterable[Docstring]) -> list[Example]:
    """The first paragraph of each docstring of ``PARTS``, in one line, with its part as the label.

    PEP 257 calls it the summary. One that stands in two parts is left out.

    >>> text = "Return the\\n    name of a task.\\n\\nIt is a text."
    >>> summaries([Docstring(text, "asyncio"), Docstring("Another text of some length.", "abc")])
    [Example(texts=('Return the name of a task.',), label='asyncio')]
    """
    parts: dict[str, set[str]] = {}
    for text, part in found:
        if part in PARTS and len(text) >= LEAST:
            summary = " ".join(text.split("\n\n")[0].split())
            parts.setdefault(summary, set()).add(part.removeprefix("_py"))
    return [Example((summary,), *names) for summary, names in parts.items() if len(names) == 1]


def _of_file(path: Path) -> Iterator[str]:
    """The docstrings of a file; none of one that this Python cannot parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in strings
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if text := ast.get_docstring(node):
                yield text
