"""Checks of what the pipelines are called with."""

from __future__ import annotations

from numbers import Integral
from typing import Any


def texts(name: str, given: Any) -> list[str]:
    """One text or several as a list; ``TypeError`` for anything else.

    >>> texts("inputs", "a"), texts("inputs", ("a", "b"))
    (['a'], ['a', 'b'])
    """
    found = [given] if isinstance(given, str) else given
    if not isinstance(found, (list, tuple)) or not all(isinstance(text, str) for text in found):
        raise TypeError(f"{name} is {given!r}, expected a text or a list of texts")
    return list(found)


def check_whole(name: str, value: Any, least: int) -> None:
    """Raise ``ValueError`` unless the value is a whole number, and at least ``least``.

    >>> check_whole("top_k", 0, least=1)
    Traceback (most recent call last):
        ...
    ValueError: top_k is 0, expected a whole number, at least 1
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r}, expected a whole number, at least {least}")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise ``ValueError`` unless the value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, choices))}")
