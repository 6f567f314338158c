"""The docstrings of Python's standard library: text that comes with every Python, and a task.

Some docstrings have examples, as one would type them at the prompt. ``doctest`` tells these from
the text around them, and so there are labels that no one had to make up: of each line, whether it
is code or prose. The line is all that a model gets to see; the prompt before it is taken away.
"""

from __future__ import annotations

import ast
import doctest
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from numpy_transformer.data.labelled import Example
from numpy_transformer.data.pairs import DataError

LABELS = ("code", "prose")
LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
LEAST_LETTERS, LEAST_WORDS = 4, 2  # of a line; fewer say nothing


@lru_cache(maxsize=1)  # seconds of parsing
def docstrings() -> tuple[str, ...]:
    """All docstrings of the standard library but those of its tests, each text once.

    Without indentation, in the order of the files' names, and in a file of their places. They
    differ a little from one version of Python to the next, and where a system packs a part of the
    library by itself (``tkinter``). Raises ``DataError`` where a Python comes without the source of
    its library.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    found: dict[str, None] = {}  # a set that keeps its order
    for path in sorted(folder.rglob("*.py")):
        if not LEFT_OUT & set(path.relative_to(folder).parts):
            found |= dict.fromkeys(_of_file(path))
    if not found:
        raise DataError(f"this Python comes without the source of its library ({folder})")
    return tuple(found)


def hold_out(share: float) -> tuple[list[str], list[str]]:
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


def lines(texts: Iterable[str]) -> list[Example]:
    """The lines of docstrings that have examples, each once, with its label: ``code`` or ``prose``.

    What an example prints is neither, and lines that are both are left out; so are those of less
    than two words.

    >>> text = "Give each its place.\\\\n\\\\nHere is how:\\\\n\\\\n>>> list(enumerate('ab'))  # twice"
    >>> [(example.texts[0], example.label) for example in lines([text])]
    [('Give each its place.', 'prose'), ('Here is how:', 'prose'), \
("list(enumerate('ab')) # twice", 'code')]
    """
    found: dict[str, set[str]] = {}
    for text in texts:
        try:
            parts = doctest.DocTestParser().parse(text)
        except ValueError:  # what is indented wrongly
            continue
        if not any(isinstance(part, doctest.Example) for part in parts):
            continue
        for part in parts:
            is_code = isinstance(part, doctest.Example)
            for line in (part.source if is_code else part).split("\n"):
                words = line.split()
                if len(words) >= LEAST_WORDS and sum(map(str.isalpha, line)) >= LEAST_LETTERS:
                    found.setdefault(" ".join(words), set()).add(LABELS[not is_code])
    return [Example((line,), *labels) for line, labels in found.items() if len(labels) == 1]


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
