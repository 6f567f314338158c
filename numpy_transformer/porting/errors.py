"""What a file from outside raises when it cannot be used, and how its contents are shown."""

from __future__ import annotations

import reprlib
from typing import Any

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlevel = 3


class PortingError(ValueError):
    """A file from outside cannot be used; the message says which, what is wrong and what to do.

    >>> raise PortingError("model.bin is empty")
    Traceback (most recent call last):
    numpy_transformer.porting.errors.PortingError: model.bin is empty
    """


def shown(value: Any) -> str:
    """A value out of a file, for a message: never long, and with nothing that a terminal obeys.

    >>> print(shown("weight"), shown([1, 2.5, None]), shown("\\x1b[2J"))
    'weight' [1, 2.5, None] '\\x1b[2J'
    >>> len(shown("a" * 1_000_000))
    100
    """
    text = _SHORT.repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
